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
                     models varchar[], objective varchar, deterministic boolean,
                     pin_session boolean),
    min_adequacy double, contract varchar,
    exploration struct("share" double, "floor" double, budget_left_usd double, "off" varchar),
    rollout varchar, shadow json,
    -- Since schema 3; NULL in older rows.
    situation json, "lock" varchar,
    -- "router" or "incumbent", and the share of sessions that is routed; NULL: all are.
    adoption struct(arm varchar, "share" double), took_us bigint
);

create type outcome_row as struct(
    "schema" integer, kind varchar, ts_ms bigint, decision_id varchar, attempt integer,
    tenant varchar, model varchar, adequate boolean, reward double, signals json,
    "usage" struct(input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
                 output_tokens bigint, cache_write_1h_tokens bigint, reasoning_tokens bigint),
    cost_usd double, latency_ms double, tool_call_latency_ms double, tool_call_valid boolean,
    error varchar,
    -- Since schema 3.
    n_tool_calls integer, n_tool_call_chunks integer
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

-- Of an outcome that was reported several times, each field counts as it was last given: a late
-- signal leaves the verdict and the cost that came before it. Signals are joined by name. One
-- report of an unknown schema makes the whole outcome one.
create macro outcomes_until(until_ms) as table
    with reports as (
        select *, row(ts_ms, segment, line) as place
        from all_outcomes
        where until_ms is null or ts_ms < until_ms
    )
    select case when count(*) = count("schema")
                then coalesce(max("schema") filter ("schema" not in (1, 2, 3)), max("schema"))
           end as "schema", 'outcome' as kind, max(ts_ms) as ts_ms,
           decision_id, attempt, tenant, arg_max(model, place) as model,
           arg_max(adequate, place) as adequate, arg_max(reward, place) as reward,
           list_reduce(list(signals order by place) filter (signals is not null),
                       lambda before, later: json_merge_patch(before, later)) as signals,
           arg_max("usage", place) as "usage", arg_max(cost_usd, place) as cost_usd,
           arg_max(latency_ms, place) as latency_ms,
           arg_max(tool_call_latency_ms, place) as tool_call_latency_ms,
           arg_max(tool_call_valid, place) as tool_call_valid, arg_max(error, place) as error,
           arg_max(n_tool_calls, place) as n_tool_calls,
           arg_max(n_tool_call_chunks, place) as n_tool_call_chunks
    from reports
    group by tenant, decision_id, attempt;

create view decisions as select * from decisions_until(null);
create view outcomes as select * from outcomes_until(null);

-- A signal of an outcome as a number (false 0, true 1); NULL where it is neither. `path` is
-- "$.name".
create macro signal(signals, path) as case json_type(signals, path)
    when 'BOOLEAN' then (json_extract_string(signals, path) = 'true')::int::double
    when 'UBIGINT' then try_cast(json_extract_string(signals, path) as double)
    when 'BIGINT' then try_cast(json_extract_string(signals, path) as double)
    when 'DOUBLE' then try_cast(json_extract_string(signals, path) as double)
end;

-- The catalog's id of a decided model that an outcome names by its snapshot or, where a caller kept
-- its own model, by the caller's name of it; any other name as it is.
create macro model_served(reported, model, snapshot, requested_model, policy, reason) as
    case when reported = snapshot then model
         when policy = 'incumbent' and reported = requested_model
             and not starts_with(reason, 'incumbent_unknown') then model
         else reported end;

-- One row per outcome of a known decision. A propensity belongs to the drawn action only:
-- attempts with another model (fallbacks after a failure) have none, nor have the decisions of
-- another gateway.
create macro rounds_until(until_ms) as table
    select
        d.tenant, d.decision_id, d.ts_ms, d."key", d."user", d."session", d."group", d.task,
        d.dataset, d.step_type, d.request_hash, d.feedback, d.policy, d.versions,
        d.feature_schema, d.encoder, d.input_tokens as estimated_input_tokens,
        o.attempt,
        model_served(o.model, d.model, d.snapshot, d.requested_model, d.policy, d.reason) as model,
        o.adequate, o.reward, o.error, o.cost_usd,
        o."usage".input_tokens as input_tokens, o."usage".cached_tokens as cached_tokens,
        o."usage".output_tokens as output_tokens, o.latency_ms, o.tool_call_latency_ms,
        o.tool_call_valid, o.signals, o.ts_ms as outcome_ts_ms,
        case when d.feedback = 'full' then 1.0
             when coalesce(d.feedback, 'bandit') = 'bandit' and o.model in (d.model, d.snapshot)
             then d.propensity end as propensity
    from outcomes_until(until_ms) o
    join decisions_until(until_ms) d on o.tenant = d.tenant and o.decision_id = d.decision_id;

create view rounds as select * from rounds_until(null);

-- What was spent, by whom. Imported outcomes (they have a dataset) were paid by nobody here.
create view spending as
    select d.tenant, d."user", d."key", o.model, o.ts_ms, o.cost_usd,
           try(strftime(make_timestamp_ms(o.ts_ms), '%Y-%m-%d')) as "day",
           coalesce(o."usage".input_tokens, 0) as input_tokens,
           coalesce(o."usage".output_tokens, 0) as output_tokens
    from outcomes o join decisions d on o.tenant = d.tenant and o.decision_id = d.decision_id
    where d.dataset is null;

-- Candidates of a decision with the probability that the policy gave them; NULL if unreadable.
create macro options(candidates) as from_json(candidates, '[{"model": "VARCHAR",
    "probability": "DOUBLE", "p_adequate": "DOUBLE", "expected_cost": "DOUBLE",
    "tool_call_latency_ms": "DOUBLE"}]');

-- Live decisions that were logged more than once with different content: which one was acted on
-- is unknown. The same content twice is harmless, also where a retry met another budget, other
-- estimates of cost or another shadow; and an import may be repeated.
create macro conflicting_until(until_ms) as table
    with repeated as (
        select tenant, decision_id from all_decisions
        where dataset is null and (until_ms is null or ts_ms < until_ms)
        group by tenant, decision_id having count(*) > 1
    ),
    contents as (
        select d.tenant, d.decision_id,
               hash(*columns(d.* exclude (ts_ms, segment, line, candidates, excluded, fallbacks,
                                          exploration, shadow, "text", situation, took_us)),
                    list_transform(options(d.candidates), lambda x: [x.model, x.probability::varchar])
               ) as content
        from all_decisions d
        semi join repeated r on r.decision_id = d.decision_id
            and r.tenant is not distinct from d.tenant
        where d.dataset is null and (until_ms is null or d.ts_ms < until_ms)
    )
    select tenant, decision_id from contents
    group by tenant, decision_id having count(distinct content) > 1;

-- Rows that must not be learned from, each with the first reason that applies. Outcomes of a
-- decision in it are left out with their decision and not listed again.
create macro quarantine_until(until_ms) as table
    with read_decisions as (
        select d."schema", d.tenant, d.decision_id, d.ts_ms, d.model, d.snapshot,
               d.propensity, coalesce(d.feedback, 'bandit') as kind_of_feedback,
               options(d.candidates) as options,
               c.decision_id is not null as is_conflicting
        from decisions_until(until_ms) d
        left join conflicting_until(until_ms) c
            on c.tenant is not distinct from d.tenant and c.decision_id = d.decision_id
    ),
    weighed as materialized (
        select * exclude (options), list_transform(options, lambda x: x.model) as models,
               list_transform(options, lambda x: x.probability) as probabilities,
               len(list_filter(options, lambda x: x.p_adequate not between 0 and 1
                                                  or x.expected_cost < 0)) as n_impossible
        from read_decisions
    ),
    judged_decisions as (
        select tenant, decision_id, null::integer as attempt, 'decision' as kind, case
            when "schema" is null or "schema" not in (1, 2, 3)
                then 'decision: schema ' || coalesce("schema"::varchar, 'missing') || ' unknown'
            when tenant is null then 'decision: tenant missing'
            when ts_ms is null then 'decision: time missing'
            when ts_ms not between 0 and 4102444800000
                then 'decision: time not between 1970 and 2100'
            when is_conflicting then 'decision: logged twice with different content'
            when kind_of_feedback not in ('bandit', 'full', 'observational')
                then 'decision: feedback unknown'
            when kind_of_feedback != 'bandit' then null
            when coalesce(model, '') = '' then 'decision: model missing'
            when propensity is null then 'decision: propensity missing'
            when not (propensity > 0 and propensity <= 1 + 1e-9)
                then 'decision: propensity not in (0, 1]'
            when coalesce(len(models), 0) = 0 or len(models) != len(list_distinct(models))
                then 'decision: candidates unreadable'
            when n_impossible > 0 then 'decision: predictions out of range'
            when len(list_filter(probabilities, lambda x: x >= 0)) != len(models)
                or abs(list_sum(probabilities) - 1) > 1e-6
                then 'decision: distribution does not sum to 1'
            when coalesce(abs(probabilities[list_position(models, model)] - propensity), 1) > 1e-6
                then 'decision: propensity differs from the distribution'
            end as reason
        from weighed
    ),
    judged_outcomes as (
        select o.tenant, o.decision_id, o.attempt, 'outcome' as kind, case
            when o."schema" is null or o."schema" not in (1, 2, 3)
                then 'outcome: schema ' || coalesce(o."schema"::varchar, 'missing') || ' unknown'
            when d.decision_id is null then 'outcome: no decision'
            when o.reward not between 0 and 1 then 'outcome: reward not in [0, 1]'
            when coalesce(o.model, '') = '' then 'outcome: model missing'
            when d.kind_of_feedback = 'bandit' and o.model != d.model
                and o.model is distinct from d.snapshot and not coalesce(list_contains(d.models, o.model), false)
                then 'outcome: model was no candidate'
            end as reason
        from outcomes_until(until_ms) o
        left join weighed d on d.tenant = o.tenant and d.decision_id = o.decision_id
    )
    select * from judged_decisions where reason is not null
    union all select * from judged_outcomes where reason is not null;

create view quarantine as select * from quarantine_until(null);
