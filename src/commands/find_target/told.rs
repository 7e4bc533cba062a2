//! What an event says to people, in one line.

use crate::{
    domain::history::{
        event::{DroppedDatabase, Event, Touched, Transaction, What},
        fate::Fate,
    },
    postgres::dotted,
    util::{
        clock::{Time, readable},
        units,
    },
};

/// How many names a line has room for.
const NAMES: usize = 4;

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
        let what = match (tables.is_empty(), others.is_empty()) {
            (true, true) => continue,
            (true, false) => names(&others),
            // Its indexes and sequences go with a table.
            (false, _) => names(&tables),
        };
        deeds.push(format!("{verb} {what}"));
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
    match (one.committed, deeds.is_empty()) {
        (true, true) => format!("transaction {} committed", one.xid),
        (true, false) => format!("transaction {} {}", one.xid, deeds.join(", ")),
        (false, true) => format!("transaction {} was rolled back", one.xid),
        (false, false) => format!(
            "transaction {}, which was rolled back, {}",
            one.xid,
            deeds.join(", ")
        ),
    }
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
