//! `pgstow find-target`: what happened is named, and the restore that it prints brings back the state before it.

mod accidents;
mod files;
mod loads;
mod looked_for;
mod prepared;
mod received;
mod records;
mod told;

use pgstow::postgres::lsn::Lsn;
use serde_json::Value;

use crate::harness::{Cluster, PgBin, Scratch, Stow, tool::Invocation};

/// A cluster with small segments that archives and is backed up.
struct Place {
    // Dropped in this order: the server ends before its folder goes.
    stow: Stow,
    scratch: Scratch,
}

impl Place {
    fn new(pg: PgBin) -> Self {
        let scratch = Scratch::new();
        let stow = Stow::build(&scratch, pg)
            .cluster(|cluster| {
                // Numbers of transactions are those of the test alone.
                cluster.initdb("--wal-segsize=1").conf("autovacuum", "off")
            })
            .start();
        Self { stow, scratch }
    }

    fn main(&self) -> &Cluster {
        &self.stow.cluster
    }

    fn pgstow(&self, arguments: &[&str]) -> Invocation {
        let command = self.stow.tool.command(arguments);
        command.env("PGSTOW_CLUSTER_BINDIR", &self.main().pg.bindir)
    }

    /// The server's time, as `find-target` takes it.
    fn now(&self) -> String {
        self.main().psql(
            "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')",
        )
    }

    #[track_caller]
    fn found(&self, arguments: &[&str]) -> Value {
        let fixed = ["--json", "find-target"];
        self.pgstow(&[&fixed, arguments].concat()).ok().json()
    }
}

/// Runs `sql` in one transaction; its number.
#[track_caller]
fn transaction(cluster: &Cluster, database: &str, sql: &str) -> u64 {
    let sql = format!("select pg_current_xact_id(); {sql}");
    let answer = cluster.psql_in(database, &sql);
    answer.lines().next().unwrap().parse().unwrap()
}

fn events(found: &Value) -> Vec<&Value> {
    found["events"].as_array().unwrap().iter().collect()
}

fn losses(found: &Value) -> Vec<&Value> {
    let events = events(found).into_iter();
    events.filter(|event| event["loss"] == true).collect()
}

fn of_kind<'a>(found: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = events(found).into_iter();
    events.filter(|event| event["kind"] == kind).collect()
}

#[track_caller]
fn of_xid(found: &Value, xid: u64) -> &Value {
    let mut events = events(found).into_iter();
    let event = events.find(|event| event["xid"] == xid);
    event.unwrap_or_else(|| panic!("no transaction {xid} in {found:#}"))
}

fn lsn(event: &Value) -> Lsn {
    event["lsn"].as_str().unwrap().parse().unwrap()
}

/// The names of relations that met this fate, as `find-target --table` takes them.
fn with_fate(event: &Value, fate: &str) -> Vec<String> {
    let relations = event["relations"].as_array().unwrap().iter();
    let mut names: Vec<String> = relations
        .filter(|one| one["fate"] == fate && one["relation_kind"] == "r")
        .map(name)
        .collect();
    names.sort();
    names
}

fn name(relation: &Value) -> String {
    ["database", "schema", "name"]
        .map(|part| relation[part].as_str().unwrap_or("?"))
        .join(".")
}

/// How many rows of a relation went, and how many changed.
#[track_caller]
fn rows(event: &Value, relation: &str) -> (u64, u64) {
    let mut relations = event["relations"].as_array().unwrap().iter();
    let one = relations.find(|one| name(one) == relation);
    let one = one.unwrap_or_else(|| panic!("no {relation} in {event:#}"));
    (
        one["deleted"].as_u64().unwrap(),
        one["updated"].as_u64().unwrap(),
    )
}
