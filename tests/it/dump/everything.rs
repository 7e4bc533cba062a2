//! A database that has everything that a dump may get wrong.

use crate::harness::Cluster;

/// What it is called: a name that has to be quoted everywhere.
pub const NAME: &str = "Größe 'x' \"y\"/\\=%";

/// Tables of it with rows of their own, and how many: quoted as SQL has them.
pub const ROWS: [(&str, &str, u64); 12] = [
    ("public", "accounts", 3),
    ("public", "blobs", 2),
    ("public", "capitals", 1),
    ("public", "cities", 2),
    ("public", "events_2025", 1),
    ("public", "events_2026", 2),
    ("public", "events_rest", 0),
    ("public", "orders", 4),
    ("public", "schema_migrations", 1),
    ("public", "tagged", 1),
    ("odd \"schema\"", "odd 'table'\n; drop", 1),
    ("odd \"schema\"", "secret", 2),
];

const SQL: &str = r#"
create role reader;
create extension hstore;
create extension pg_trgm schema public;
create type mood as enum ('sad', 'ok', 'happy ''quoted''');
create type pair as (a int, b text);
create domain posint as int check (value > 0) not null;
create table accounts (
  id int generated always as identity primary key,
  name text collate "C" not null unique,
  feels mood default 'ok',
  owes posint default 1,
  twice int generated always as (owes * 2) stored,
  extra pair,
  constraint short check (length(name) < 100));
comment on table accounts is E'who owes us: it''s a "list"\nof two lines';
comment on column accounts.name is 'unique';
insert into accounts (name, feels, owes, extra) values
  ('ann', 'happy ''quoted''', 7, row(1, 'x,"y'')')),
  (E'bob\ttab\nline\\.', 'sad', 1, null), ('', null, 2, null);
create table orders (
  id bigserial primary key,
  account int references accounts on delete cascade,
  at timestamptz not null default '2026-11-21 02:00:00+00',
  amount numeric(12, 2), tags text[], doc jsonb,
  exclude using gist (int8range(id, id + 1) with &&));
insert into orders (account, amount, tags, doc) select 1, n / 3.0, array['a', null, '{"'], '{"k": [1, null]}'
  from generate_series(1, 4) n;
alter table orders add constraint late foreign key (account) references accounts not valid;
create index orders_trgm on orders using gin ((doc::text) gin_trgm_ops);
create index orders_part on orders (at) where amount > 1;
create table events (at date not null, what text, primary key (at, what)) partition by range (at);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
create table events_rest partition of events default;
create index on events (what);
insert into events values ('2025-05-05', 'a'), ('2026-01-01', 'b'), ('2026-02-02', 'c');
create table cities (name text, population int);
create table capitals (country text) inherits (cities);
insert into cities values ('a', 1), ('b', 2);
insert into capitals values ('c', 3, 'd');
create table blobs (id int, bytes bytea);
insert into blobs values (1, '\x00ff00'), (2, null);
create table tagged (h hstore);
insert into tagged values ('a=>1, b=>NULL');
create table schema_migrations (version bigint primary key, dirty boolean not null);
insert into schema_migrations values (20261121, false);
create unlogged table passing (x int);
create schema "odd ""schema""";
create table "odd ""schema"""."odd 'table'
; drop" ("sel ect" int, "ä" text);
insert into "odd ""schema""" . "odd 'table'
; drop" values (1, 'ö');
create table "odd ""schema""".secret (owner name, what text);
insert into "odd ""schema""".secret values ('reader', 'mine'), ('postgres', 'not yours');
alter table "odd ""schema""".secret enable row level security;
alter table "odd ""schema""".secret force row level security;
create policy own on "odd ""schema""".secret to reader using (owner = current_user);
grant usage on schema "odd ""schema""" to reader;
grant select (what), update on "odd ""schema""".secret to reader;
revoke all on function pg_catalog.version() from public;
alter default privileges in schema public grant select on tables to reader;
create view v with (security_barrier) as select name, twice from accounts;
create materialized view m as select count(*) from orders;
create unique index on m (count);
create function f(x int, variadic rest int[]) returns setof text language plpgsql stable as $body$
begin
  -- COPY public.orders (id) FROM stdin;
  return query select 'x'::text; -- \.
end $body$;
create procedure p() language sql begin atomic; insert into cities values ('p', 0); end;
create aggregate total (int) (sfunc = int4pl, stype = int, initcond = '0');
create operator === (leftarg = int, rightarg = int, function = int4eq);
create trigger t before update on accounts for each row execute function suppress_redundant_updates_trigger();
create rule r as on delete to cities do instead nothing;
create statistics s (dependencies) on account, amount from orders;
create text search configuration ts (copy = simple);
create publication pub for table accounts, orders where (id > 1);
create sequence seq start 5 increment -2 minvalue -100 maxvalue 100 cycle;
select nextval('seq');
select lo_from_bytea(4242, '\x00010203ff');
comment on large object 4242 is 'large';
grant select on large object 4242 to reader;
create table numbers (n float8, t time, i interval, p point, c "char", u uuid, x xml);
"#;

/// Makes it; pg_trgm and hstore ship with PostgreSQL.
#[track_caller]
pub fn make(cluster: &Cluster) {
    cluster.psql(&format!("create database {}", quoted(NAME)));
    cluster.psql_in(&conninfo(NAME), SQL);
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// For programs that take a name with `=` for a connection string.
pub fn conninfo(name: &str) -> String {
    format!(
        "dbname='{}'",
        name.replace('\\', "\\\\").replace('\'', "\\'")
    )
}
