//! What retention will do at the next cleanup, as its dry run says.

use super::{
    html::Html,
    table::{Cell, Kind, ROWS, left_out, table},
};
use crate::{
    domain::retention::{plan::Decision, run::Outcome, wal::WalRow},
    postgres::wal_name::Segment,
    util::units,
};

/// Warnings; more would hide the rest.
const WARNINGS: usize = 10;

pub fn part(html: &mut Html, cleanup: &Outcome) {
    let plan = &cleanup.plan;
    html.raw("<h3>Next cleanup</h3>");
    html.tag("p", &[], |html| {
        html.text(format!(
            "Every moment stays restorable of: {}",
            plan.window.what
        ));
        if let Some(from) = plan.window.from {
            html.raw(", from ");
            html.time(from);
        }
        html.raw(".");
    });
    for warning in plan.warnings.iter().take(WARNINGS) {
        html.leaf("p", &[("class", "notice")], warning);
    }
    left_out(
        html,
        plan.warnings.len().saturating_sub(WARNINGS),
        "more warnings",
    );
    let (stays, goes): (Vec<&Decision>, Vec<_>) = plan.backups.iter().partition(|one| one.keep);
    let (backups, wal) = (&cleanup.deleted.backups, &cleanup.deleted.wal);
    let told = match backups.objects + wal.objects {
        0 => "If it ran now, it would delete nothing.".to_owned(),
        _ => format!(
            "If it ran now, it would delete {} ({}) and {} of WAL ({}); {} would stay.",
            units::count(goes.len() as u64, "backup"),
            units::bytes(backups.bytes),
            units::count(wal.objects, "object"),
            units::bytes(wal.bytes),
            units::count(stays.len() as u64, "backup"),
        ),
    };
    html.leaf("p", &[], told);
    decisions(html, &goes, "Backups that go");
    decisions(html, &stays, "Backups that stay");
    of_wal(html, cleanup);
}

fn decisions(html: &mut Html, decisions: &[&Decision], caption: &str) {
    if decisions.is_empty() {
        return;
    }
    let row = |decision: &&Decision| -> Vec<Cell> {
        vec![
            decision.id.to_string().into(),
            units::bytes(decision.stored_bytes).into(),
            decision.reasons.join("; ").into(),
        ]
    };
    let columns = [
        ("backup", Kind::Word),
        ("stored", Kind::Number),
        ("because", Kind::Prose),
    ];
    html.tag("details", &[], |html| {
        html.leaf("summary", &[], format!("{caption}: {}", decisions.len()));
        let newest = decisions.iter().rev().take(ROWS);
        table(html, caption, &columns, newest.map(row));
        left_out(html, decisions.len().saturating_sub(ROWS), "older backups");
    });
}

fn of_wal(html: &mut Html, cleanup: &Outcome) {
    let systems = cleanup.facts.systems.iter().zip(&cleanup.plan.wal);
    let rows = systems.flat_map(|(system, keeps)| {
        let size = system.wal.size();
        let rows = keeps.rows(system).into_iter();
        rows.map(move |row| (row, size))
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let row = |(row, size): &(WalRow, _)| -> Vec<Cell> {
        let nth = |number: &u64| Segment::nth(row.timeline, *number, *size).to_string();
        let (first, last) = (row.numbers.start(), row.numbers.end());
        vec![
            if row.keep { "stays" } else { "goes" }.into(),
            nth(first).into(),
            nth(last).into(),
            (last - first + 1).to_string().into(),
            row.reason.clone().into(),
        ]
    };
    let columns = [
        ("WAL", Kind::Word),
        ("from", Kind::Word),
        ("to", Kind::Word),
        ("segments", Kind::Number),
        ("because", Kind::Prose),
    ];
    html.tag("details", &[], |html| {
        html.leaf("summary", &[], "WAL that stays and goes");
        table(
            html,
            "WAL that stays and goes",
            &columns,
            rows.iter().rev().take(ROWS).map(row),
        );
        left_out(html, rows.len().saturating_sub(ROWS), "older rows");
    });
}
