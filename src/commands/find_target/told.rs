//! What an event says to people, in one line.

use crate::{
    domain::history::{
        event::{DroppedDatabase, Event, Touched, Transaction, What},
        fate::Fate,
        prepared::Prepared,
    },
    postgres::{dotted, sql},
    util::{
        clock::{Time, readable},
        units,
    },
};

/// How many names a line has room for.
const NAMES: usize = 4;

/// WAL doesn't tell the rows of unlogged tables, and backups leave them out.
const NOT_BACK: &str = "no restore brings its rows back";

/// Without the restore that leads to before it.
pub fn line(event: &Event) -> String {
    match &event.what {
        What::Transaction(one) if one.may_be_table => {
            format!("{} (it may have been that table)", transaction(one))
        }
        What::Transaction(one) => transaction(one),
        What::RestorePoint { name } => format!("restore point {name:?}"),
        What::Checkpoint => "checkpoint".to_owned(),
        What::Promotion { timeline, before } => {
            format!("the server left recovery: timeline {timeline} begins, from timeline {before}")
        }
        What::Quiet { since } => match event.time {
            Some(until) => format!(
                "nothing was committed for {}, since {}",
                length(*since, until),
                readable(*since)
            ),
            None => format!("nothing was committed since {}", readable(*since)),
        },
        What::ClockSetBack { from } => format!(
            "the server's clock was set back, from {}: times from here on may have been there before",
            readable(*from)
        ),
        What::Unread { segment, why } => {
            format!("WAL segment {segment} could not be read to its end: {why}")
        }
    }
}

fn length(since: Time, until: Time) -> String {
    units::duration((until - since).to_std().unwrap_or_default())
}

/// `transaction 731 dropped table shop.public.orders, deleted 12 rows of shop.public.items`.
fn transaction(one: &Transaction) -> String {
    let mut deeds: Vec<String> = Vec::new();
    if !one.databases.is_empty() {
        let names: Vec<String> = one.databases.iter().map(database).collect();
        deeds.push(format!("dropped database {}", listed(&names)));
    }
    for (fate, verb) in [
        (Fate::Dropped, "dropped"),
        (Fate::Truncated, "truncated"),
        (Fate::Gone, "dropped, truncated or rewrote"),
        (Fate::Rewritten, "rewrote"),
        (Fate::ColumnsChanged, "changed columns of"),
    ] {
        let touched = one.relations.iter().filter(|one| one.fate == Some(fate));
        let (tables, others): (Vec<_>, Vec<_>) = touched.partition(|one| one.holds_rows());
        let (verb, what) = match (tables.is_empty(), others.is_empty()) {
            (true, true) => continue,
            (true, false) if fate == Fate::Gone => ("dropped or rebuilt", names(&others)),
            (true, false) => (verb, names(&others)),
            // Its indexes and sequences go with a table.
            (false, _) => (verb, names(&tables)),
        };
        let is_unlogged = |one: &&&Touched| fate.loses_rows() && one.unlogged;
        let unlogged: Vec<&Touched> = tables.iter().filter(is_unlogged).copied().collect();
        deeds.push(match unlogged.len() {
            0 => format!("{verb} {what}"),
            all if all == tables.len() => format!("{verb} {what} (unlogged: {NOT_BACK})"),
            _ => format!(
                "{verb} {what} (unlogged is {}: {NOT_BACK})",
                names(&unlogged)
            ),
        });
    }
    let mut changed: Vec<&Touched> = one.relations.iter().collect();
    changed.sort_by_key(|one| std::cmp::Reverse(one.rows.most()));
    deeds.extend(counted("deleted", &changed, |one| one.rows.deleted));
    deeds.extend(counted("updated", &changed, |one| one.rows.updated));
    let more = one.others.deleted + one.others.updated;
    if more > 0 {
        deeds.push(format!(
            "changed {} of other relations",
            units::count(more, "row")
        ));
    }
    let who = match one.part {
        Some(part) => format!("transaction {}, of which {part} is a part,", one.xid),
        None => format!("transaction {}", one.xid),
    };
    match (one.committed, deeds.is_empty()) {
        (true, true) => format!("{who} committed"),
        (true, false) => format!("{who} {}", deeds.join(", ")),
        (false, true) => format!("{who} was rolled back"),
        (false, false) => format!(
            "{}, which was rolled back, {}",
            who.trim_end_matches(','),
            deeds.join(", ")
        ),
    }
}

/// What a restore to before an event holds open.
pub fn held_open(prepared: &[Prepared]) -> String {
    let one = |one: &Prepared| match &one.name {
        Some(name) => format!("{} ({})", sql::literal(name), one.xid),
        None => one.xid.to_string(),
    };
    let all: Vec<String> = prepared.iter().map(one).collect();
    let them = match prepared {
        [
            Prepared {
                name: Some(name), ..
            },
        ] => {
            let name = sql::literal(name);
            format!("COMMIT PREPARED {name} or ROLLBACK PREPARED {name}")
        }
        _ => "COMMIT PREPARED or ROLLBACK PREPARED".to_owned(),
    };
    format!(
        "then open, with {} locks: prepared transaction{} {}; {them}, in the database that pg_prepared_xacts shows, ends {}",
        if all.len() == 1 { "its" } else { "their" },
        if all.len() == 1 { "" } else { "s" },
        all.join(", "),
        if all.len() == 1 { "it" } else { "each" },
    )
}

/// `deleted 12 rows of shop.public.items, 1 row of shop.public.orders`.
fn counted(verb: &str, touched: &[&Touched], count: impl Fn(&Touched) -> u64) -> Option<String> {
    let rows = touched.iter().filter(|one| count(one) > 0);
    let rows: Vec<String> = rows
        .map(|one| format!("{} of {}", units::count(count(one), "row"), name(one)))
        .collect();
    let sum: u64 = touched.iter().map(|one| count(one)).sum();
    match rows.len() {
        0 => None,
        1..=NAMES => Some(format!("{verb} {}", listed(&rows))),
        many => Some(format!(
            "{verb} {} of {}: {}",
            units::count(sum, "row"),
            units::count(many as u64, "relation"),
            listed(&rows)
        )),
    }
}

fn names(touched: &[&Touched]) -> String {
    let names: Vec<String> = touched.iter().map(|one| name(one)).collect();
    listed(&names)
}

/// As `--table` takes it; with its kind where that is no table.
fn name(one: &Touched) -> String {
    let kind = match one.relation_kind.as_deref() {
        Some("i" | "I") => "index ",
        Some("S") => "sequence ",
        Some("m") => "materialized view ",
        _ => "",
    };
    let parts = [&one.database, &one.schema, &one.name];
    match (&one.name, &one.file) {
        (None, Some(file)) => match &one.database {
            Some(database) => {
                format!("a relation without a known name in database {database} (file {file})")
            }
            None => format!("a relation without a known name (file {file})"),
        },
        _ => {
            let parts = parts.into_iter().flatten().map(String::as_str);
            format!("{kind}{}", dotted::join(parts))
        }
    }
}

fn database(one: &DroppedDatabase) -> String {
    one.name
        .clone()
        .unwrap_or_else(|| format!("with OID {}", one.oid))
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join(", ");
    match names.len().checked_sub(NAMES) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
