-- Types and views of the log. Statements run in order on a fresh in-memory database.
-- The variables segments, decision_files and outcome_files hold lists of paths.

create type decision_row as struct(
    "schema" integer, kind varchar, ts_ms bigint, decision_id varchar, tenant varchar,
    "key" varchar, "user" varchar, "session" varchar, client varchar, format varchar,
    requested_model varchar, request_hash varchar, step_type varchar, model varchar,
    snapshot varchar, provider varchar, propensity double, policy varchar, reason varchar,
    feedback varchar, fallbacks varchar[], excluded json, candidates json, features varchar,
    feature_schema varchar, embedding varchar, encoder varchar, input_tokens bigint,
    versions struct(artifact varchar, "catalog" varchar, policy varchar),
    dataset varchar, task varchar, "group" varchar, "text" varchar,
    -- Since schema 2; NULL in older rows.
    max_output_tokens bigint,
    overrides struct(min_adequacy double, max_cost_usd double, max_tool_call_latency_ms double,
                     models varchar[]),
    min_adequacy double, contract varchar,
    exploration struct("share" double, "floor" double, budget_left_usd double, "off" varchar),
    rollout varchar, shadow json
);

create type outcome_row as struct(
    "schema" integer, kind varchar, ts_ms bigint, decision_id varchar, attempt integer,
    tenant varchar, model varchar, adequate boolean, reward double, signals json,
    "usage" struct(input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
                 output_tokens bigint),
    cost_usd double, latency_ms double, tool_call_latency_ms double, tool_call_valid boolean,
    error varchar
);

-- A torn or unreadable line comes out as NULL and is left out. `segment` and `line` order rows
-- of the same millisecond; `segment` is the ULID, which grows with time.
create macro segment_decisions(files) as table
    select unnest("row"), segment, line
    from (
        select "row", right(parse_filename(filename, true), 26) as segment,
               row_number() over () as line
        from read_ndjson(files, columns = {"row": 'decision_row'}, ignore_errors = true,
                         filename = true)
    )
    where "row".kind = 'decision' and "row".decision_id is not null;

create macro segment_outcomes(files) as table
    select unnest("row"), segment, line
    from (
        select "row", right(parse_filename(filename, true), 26) as segment,
               row_number() over () as line
        from read_ndjson(files, columns = {"row": 'outcome_row'}, ignore_errors = true,
                         filename = true)
    )
    where "row".kind = 'outcome' and "row".decision_id is not null;

-- Compacted rows. These two are replaced as soon as there are Parquet files.
create view stored_decisions as
    select unnest(null::decision_row), null::varchar as segment, null::bigint as line where false;
create view stored_outcomes as
    select unnest(null::outcome_row), null::varchar as segment, null::bigint as line where false;

-- Every row ever written: Parquet plus the segments that are not folded into it.
create view all_decisions as
    select * from segment_decisions(getvariable('segments'))
    union all by name select * from stored_decisions;
create view all_outcomes as
    select * from segment_outcomes(getvariable('segments'))
    union all by name select * from stored_outcomes;

-- The later row wins, of those written before `until_ms` (all when it is NULL). A tenant can't
-- overwrite another tenant's rows: it is part of every key.
create macro decisions_until(until_ms) as table
    select * exclude (segment, line)
    from all_decisions
    where until_ms is null or ts_ms < until_ms
    qualify row_number() over (
        partition by tenant, decision_id order by ts_ms desc, segment desc, line desc
    ) = 1;

create macro outcomes_until(until_ms) as table
    select * exclude (segment, line)
    from all_outcomes
    where until_ms is null or ts_ms < until_ms
    qualify row_number() over (
        partition by tenant, decision_id, attempt order by ts_ms desc, segment desc, line desc
    ) = 1;

create view decisions as select * from decisions_until(null);
create view outcomes as select * from outcomes_until(null);

-- One row per outcome of a known decision. A propensity belongs to the drawn action only:
-- attempts with another model (fallbacks after a failure) have none.
create macro rounds_until(until_ms) as table
    select
        d.tenant, d.decision_id, d.ts_ms, d."key", d."user", d."session", d."group", d.task,
        d.dataset, d.step_type, d.request_hash, d.feedback, d.policy, d.versions,
        d.feature_schema, d.encoder, d.input_tokens as estimated_input_tokens,
        o.attempt, o.model, o.adequate, o.reward, o.error, o.cost_usd,
        o."usage".input_tokens as input_tokens, o."usage".cached_tokens as cached_tokens,
        o."usage".output_tokens as output_tokens, o.latency_ms, o.tool_call_latency_ms,
        o.tool_call_valid,
        case when d.feedback = 'full' then 1.0 when o.model = d.model then d.propensity end
            as propensity
    from outcomes_until(until_ms) o
    join decisions_until(until_ms) d on o.tenant = d.tenant and o.decision_id = d.decision_id;

create view rounds as select * from rounds_until(null);

-- What was spent, by whom. Imported outcomes (they have a dataset) were paid by nobody here.
create view spending as
    select d.tenant, d."user", d."key", o.model, o.ts_ms, o.cost_usd,
           strftime(make_timestamp_ms(o.ts_ms), '%Y-%m-%d') as "day",
           coalesce(o."usage".input_tokens, 0) as input_tokens,
           coalesce(o."usage".output_tokens, 0) as output_tokens
    from outcomes o join decisions d on o.tenant = d.tenant and o.decision_id = d.decision_id
    where d.dataset is null;
