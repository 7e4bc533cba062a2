//! `restore-dump`, and `verify` of dumps: what comes back is what was dumped, what is wrong is found, and
//! nothing is left behind.

mod altered;
mod at_once;
mod checks;
mod chosen;
mod counted;
mod foreign;
mod globals;
mod kept;
mod lacking;
mod left;
mod locale;
mod logins;
mod lost;
mod one_server;
mod owner;
mod parts;
mod places;
mod properties;
mod replaced;
mod rights;
mod round_trip;
mod single;
mod subscribed;
mod trouble;
mod unverified;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    dump,
    harness::{Cluster, PgBin, Scratch, Stow, output::Output, tool::Invocation},
};

/// What is checked of the shop, and passes.
pub const CHECKS: [&str; 12] = [
    "intact",
    "restored",
    "migration_version",
    "migration_clean",
    "tables",
    "enum_types",
    "indexes",
    "foreign_keys",
    "row_counts",
    "orphans",
    "extensions",
    "sequences",
];

/// A cluster, a repository, and a place of its own for passing work.
pub struct Site {
    pub scratch: Scratch,
    pub stow: Stow,
    temporary: PathBuf,
}

impl Site {
    pub fn start(pg: PgBin) -> Self {
        Self::with(pg, "")
    }

    /// With further lines for the configuration's end.
    pub fn with(pg: PgBin, lines: &str) -> Self {
        let dump::Site { scratch, mut stow } = dump::Site::with(pg, lines);
        let temporary = scratch.folder("t");
        stow.tool = stow.tool.env("TMPDIR", &temporary);
        Self {
            scratch,
            stow,
            temporary,
        }
    }

    pub fn pgstow(&self, arguments: &[&str]) -> Invocation {
        self.stow.tool.command(&[&["--json"], arguments].concat())
    }

    /// Dumps a database; where its data is.
    #[track_caller]
    pub fn dump(&self, database: &str, arguments: &[&str]) -> PathBuf {
        let fixed = ["dump", "--no-globals", database];
        let report = self.pgstow(&[&fixed, arguments].concat()).ok().json();
        let dump = &report["dumps"][0];
        let name = dump["name"].as_str().unwrap();
        let data = dump["data"]["name"].as_str().unwrap();
        let folder = self.stow.root().join("main/dumps");
        folder.join(name).with_file_name(data)
    }

    /// Changes the description of the dump whose data is `data`, as if it had always been so.
    pub fn describe(&self, data: &Path, change: impl FnOnce(&mut Value)) {
        let path = beside(data, "json");
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        // Without it a document is taken as it is.
        json.as_object_mut().unwrap().remove("sha256");
        fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
    }

    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.stow.cluster.psql_in(&conninfo(database), sql)
    }

    /// The databases of `cluster`, but for PostgreSQL's own.
    #[track_caller]
    pub fn databases(cluster: &Cluster) -> String {
        cluster.psql(
            "select string_agg(datname, ',' order by datname) from pg_database
             where datname not in ('postgres', 'template0', 'template1')",
        )
    }

    /// Its rows take long to be restored, each.
    pub fn make_it_slow(&self) {
        self.sql(
            "shop",
            "create function slow(int) returns bool language sql immutable as 'select true';
             create table waits (x int check (slow(x)));
             insert into waits values (1);
             create or replace function slow(int) returns bool language sql immutable
               as 'select pg_sleep(600) is not null'",
        );
    }

    /// Its rows come back once the file is there whose path this is.
    pub fn make_it_wait(&self) -> PathBuf {
        let go = self.scratch.folder("go").join("now");
        self.sql(
            "shop",
            &format!(
                "create function slow(int) returns bool language sql immutable as 'select true';
                 create table waits (x int check (slow(x)));
                 insert into waits values (1);
                 create or replace function slow(int) returns bool language plpgsql immutable as $$ begin
                   while pg_stat_file('{}', true) is null loop perform pg_sleep(0.05); end loop;
                   return true; end $$",
                go.display()
            ),
        );
        go
    }

    /// Waits until so many restores are among those rows.
    #[track_caller]
    pub fn wait_for_restores(&self, count: usize) {
        self.stow.cluster.wait_until(
            "select count(*) from pg_stat_activity where query like 'COPY public.waits%' and state = 'active'",
            &count.to_string(),
        );
    }

    /// The programs of `pg`, but for one that is this script; `REAL` stands for the folder of the others.
    pub fn programs(&self, pg: &PgBin, program: &str, script: &str) -> PathBuf {
        let folder = self.scratch.folder("programs");
        for entry in fs::read_dir(&pg.bindir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != program {
                symlink(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        let path = folder.join(program);
        let script = script.replace("REAL", pg.bindir.to_str().unwrap());
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// Nothing passing is left, and these databases alone.
    #[track_caller]
    pub fn assert_clean(&self, databases: &str) {
        assert_eq!(Self::databases(&self.stow.cluster), databases);
        let left: Vec<_> = fs::read_dir(&self.temporary).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What of a dump lies beside its data.
pub fn beside(data: &Path, ending: &str) -> PathBuf {
    data.with_file_name(format!("{}.{ending}", stem(data)))
}

/// By which people name a dump.
pub fn stem(data: &Path) -> String {
    let name = data.file_name().unwrap().to_str().unwrap();
    name.split_once('.').unwrap().0.to_owned()
}

/// For programs that take a name with `=` for a connection string.
pub fn conninfo(name: &str) -> String {
    format!(
        "dbname='{}'",
        name.replace('\\', "\\\\").replace('\'', "\\'")
    )
}

/// The results of all checks of the only dump of a report, in order: `name result`.
#[track_caller]
pub fn results(output: &Output) -> Vec<String> {
    let report = output.json();
    let [dump] = report["dumps"].as_array().unwrap().as_slice() else {
        panic!("not one dump: {report}");
    };
    let checks = dump["checks"].as_array().unwrap().iter();
    let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
    checks
        .map(|check| format!("{} {}", word(check, "name"), word(check, "result")))
        .collect()
}

/// The names of those of one report that failed.
#[track_caller]
pub fn failed_checks(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["result"] == "failed");
    failed
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Those that failed.
#[track_caller]
pub fn failed(output: &Output) -> Vec<String> {
    let results = results(output).into_iter();
    let failed = results.filter_map(|result| Some(result.strip_suffix(" failed")?.to_owned()));
    failed.collect()
}

/// A small shop, with something of each kind that is checked.
pub const SHOP: &str = r#"
create role "odd role";
create extension hstore;
create type mood as enum ('sad', 'ok');
create schema "odd ""schema""";
create table accounts (id serial primary key, name text not null unique, feels mood default 'ok', h hstore);
create table orders (id int generated always as identity primary key, account int references accounts,
  amount numeric(12, 2), bytes bytea);
create index orders_amount on orders (amount) where amount > 1;
create table events (at date not null, what text, primary key (at, what)) partition by range (at);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_rest partition of events default;
create table schema_migrations (version bigint primary key, dirty boolean not null);
create table "odd ""schema"""."odd 'table'" ("a b" int, t text);
insert into accounts (name) values ('ann'), (E'bob\ttab\nline\\.'), ('');
insert into orders (account, amount, bytes) select 1 + n % 3, n / 3.0, '\x00ff00' from generate_series(1, 20) n;
insert into events values ('2025-05-05', 'a'), ('2026-01-01', 'b');
insert into schema_migrations values (20261121, false);
insert into "odd ""schema"""."odd 'table'" values (1, 'ö');
create view v as select id, name from accounts;
create materialized view m as select count(*) from orders;
create function f() returns trigger language plpgsql as $$ begin
GRANT x TO y;
return new; end $$;
create trigger t before update on orders for each row execute function suppress_redundant_updates_trigger();
alter table accounts enable row level security;
create policy p on accounts to "odd role" using (true);
grant select on accounts to "odd role";
alter table orders owner to "odd role";
comment on table orders is 'it''s';
select lo_from_bytea(4242, '\x00010203ff');
create publication pub for table accounts;
"#;

/// Makes a database with it.
pub fn make_shop(cluster: &Cluster, name: &str) {
    cluster.psql(&format!(
        "create database \"{}\"",
        name.replace('"', "\"\"")
    ));
    cluster.psql_in(&conninfo(name), SHOP);
}
