-- The spending ledger of one machine. Amounts are integers: micro-dollars, tokens or requests.
-- Version 1, see `pragma user_version` at the end.
begin immediate;

-- leased is the sum of the account's rows in lease, held that of its lines in decision.
create table if not exists account (
    key          text primary key,
    settled      integer not null check (settled >= 0),
    held         integer not null check (held >= 0),
    leased       integer not null check (leased >= 0),
    kept_until_s real not null
);
create index if not exists account_old on account (kept_until_s);

-- wanted_s: until when others starve for the account.
create table if not exists lease (
    account  text not null,
    worker   text not null,
    amount   integer not null check (amount > 0),
    wanted_s real not null default 0,
    primary key (account, worker)
) without rowid;
create index if not exists lease_wanted on lease (worker) where wanted_s > 0;

-- number and answer are of the last batch, for when its answer was lost.
create table if not exists worker (
    worker   text primary key,
    seen_s   real not null,
    lapses_s real not null,
    number   integer not null,
    answer   blob not null
) without rowid;

-- record is a reckoning.Decision as JSON; due_s is copied from it: when something happens by itself.
create table if not exists decision (
    tenant      text not null,
    decision_id text not null,
    due_s       real not null,
    record      blob not null,
    primary key (tenant, decision_id)
);
create index if not exists decision_due on decision (due_s);

-- Calls and spending of a subject in one minute (minutes = 1) or hour (60), start in Unix minutes.
create table if not exists tally (
    subject  text not null,
    minutes  integer not null,
    start    integer not null,
    calls    integer not null,
    microusd integer not null,
    primary key (subject, minutes, start)
);
create index if not exists tally_old on tally (minutes, start);

create table if not exists switch (
    subject text primary key,
    reason  text not null,
    since_s real not null
) without rowid;

create table if not exists claim (
    notice  text primary key,
    until_s real not null
) without rowid;

pragma user_version = 1;
commit;
