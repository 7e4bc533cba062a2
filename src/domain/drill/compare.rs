//! What is there now beside what an earlier drill saw: what was emptied or is gone was so before the backup was taken,
//! and no other check would notice.

use crate::{
    domain::restore::archive::Archive,
    error::Result,
    postgres::lsn::Lsn,
    repo::{
        drill::{Drill, Drilled, DrilledDatabase},
        repository::Repository,
        verified::VerifiedCheck,
    },
    util::{
        clock::{readable, whole_seconds},
        units,
    },
};

use super::objects::Seen;

/// A drill of an earlier state, and what it saw.
pub struct Earlier {
    pub when: String,
    pub held: Drilled,
}

/// The newest state that an earlier drill saw of the same system, if this one came by it: what was on a timeline behind
/// the place where ours left it never was on ours.
pub fn earlier(
    repository: &Repository,
    archive: &Archive,
    this: &Drill,
) -> Result<Option<Earlier>> {
    let reached = this.reached.as_ref().map(|reached| reached.lsn);
    let history = |drill: &Drill| {
        drill
            .timeline
            .and_then(|timeline| archive.history(timeline))
    };
    let own = history(this);
    let came_by = |one: &Drill, lsn: Lsn| match (&own, history(one)) {
        (Some(own), Some(other)) => own.timeline_at(lsn) == other.timeline_at(lsn),
        _ => one.timeline == this.timeline,
    };
    let mut drills = repository.drills()?.all;
    drills.retain(|one| {
        let lsn = one.reached.as_ref().map(|reached| reached.lsn);
        one.system_id == this.system_id
            && lsn <= reached
            && lsn.is_some_and(|lsn| came_by(one, lsn))
    });
    drills.sort_by_key(|one| (one.reached.as_ref().map(|reached| reached.lsn), one.time));
    for drill in drills.iter().rev() {
        if let Some(held) = repository.drilled(drill)? {
            return Ok(Some(Earlier {
                when: readable(whole_seconds(drill.time)),
                held,
            }));
        }
    }
    Ok(None)
}

/// Tables that had rows and have none, databases and schemas that are gone. Tables that are gone are only told:
/// migrations and partitions come and go.
pub fn judge(earlier: Option<&Earlier>, now: &Seen) -> VerifiedCheck {
    const NAME: &str = "contents";
    let now = &now.held;
    let tables = now.databases.values().map(|one| one.tables.len());
    let count = format!(
        "{}, {}",
        units::count(now.databases.len() as u64, "database"),
        units::count(tables.sum::<usize>() as u64, "table")
    );
    let Some(Earlier { when, held }) = earlier else {
        return VerifiedCheck::passed(NAME, format!("{count}; no earlier drill to compare with"));
    };
    let (mut wrong, mut gone) = (Vec::new(), Vec::new());
    for (name, before) in &held.databases {
        match now.databases.get(name) {
            None => wrong.push(format!(
                "database {name} is gone, which the drill of {when} saw"
            )),
            Some(now) => compare(name, before, now, when, &mut wrong, &mut gone),
        }
    }
    let told = match gone.len() {
        0 => String::new(),
        _ => format!("; gone since then: {}", gone.len()),
    };
    let fine = format!("{count}; nothing emptied since the drill of {when}{told}");
    let mut check = VerifiedCheck::of(NAME, wrong, fine);
    check.details.extend(gone);
    check
}

fn compare(
    database: &str,
    before: &DrilledDatabase,
    now: &DrilledDatabase,
    when: &str,
    wrong: &mut Vec<String>,
    gone: &mut Vec<String>,
) {
    for schema in &before.schemas {
        if !now.schemas.contains(schema) {
            wrong.push(format!(
                "{database}: schema {schema} is gone, which the drill of {when} saw"
            ));
        }
    }
    for (table, had_rows) in &before.tables {
        match now.tables.get(table) {
            Some(false) if *had_rows => wrong.push(format!(
                "{database}: table {table} is empty, and had rows at the drill of {when}"
            )),
            Some(_) => {}
            None => gone.push(format!("{database}: table {table} is gone")),
        }
    }
}
