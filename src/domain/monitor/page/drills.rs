//! The newest drills of a repository, and what the last of them found and took.

use std::time::Duration;

use super::{
    super::facts::Holding,
    html::Html,
    table::{Cell, Kind, left_out, table},
};
use crate::{
    repo::{
        drill::{Drill, Phase},
        verified::{CheckState, VerifiedCheck},
    },
    util::units,
};

/// The newest.
const DRILLS: usize = 12;

/// Nothing where there are none.
pub fn part(html: &mut Html, holding: &Holding) {
    let Ok(stored) = &holding.stored else { return };
    let drills = &stored.drills.all;
    let Some(newest) = drills.last() else { return };
    html.raw("<h3>Restore drills</h3>");
    let columns = [
        ("begun", Kind::Word),
        ("backup", Kind::Word),
        ("result", Kind::Word),
        ("restored to", Kind::Word),
        ("took", Kind::Number),
        ("host", Kind::Word),
        ("what it says", Kind::Prose),
    ];
    let rows = drills.iter().rev().take(DRILLS).map(row);
    table(html, "Drills, newest first", &columns, rows);
    left_out(html, drills.len().saturating_sub(DRILLS), "older drills");
    if let Some(forecast) = stored.forecast() {
        let text = format!("A restore to the end of the archive takes {forecast}.");
        html.leaf("p", &[], &text);
    }
    html.raw("<details>");
    html.leaf("summary", &[], "The newest drill in full");
    let columns = [
        ("check", Kind::Word),
        ("result", Kind::Word),
        ("what it found", Kind::Prose),
    ];
    table(
        html,
        "Checks of the newest drill",
        &columns,
        newest.checks.iter().map(check),
    );
    let columns = [
        ("phase", Kind::Word),
        ("took", Kind::Number),
        ("on processors", Kind::Number),
        ("bytes", Kind::Number),
    ];
    table(
        html,
        "How long the newest drill took",
        &columns,
        newest.phases.iter().map(phase),
    );
    html.raw("</details>");
}

fn row(drill: &Drill) -> Vec<Cell> {
    let failed: Vec<String> = drill
        .failed()
        .map(|check| format!("{}: {}", check.name, check.what))
        .collect();
    vec![
        drill.time.into(),
        drill
            .backup
            .map(|id| id.to_string())
            .unwrap_or_default()
            .into(),
        match drill.good {
            true => "proven".into(),
            false => "NOT PROVEN".into(),
        },
        drill.moment().into(),
        time(drill.seconds).into(),
        drill.host.clone().into(),
        failed.join("; ").into(),
    ]
}

fn check(check: &VerifiedCheck) -> Vec<Cell> {
    let state = match check.result {
        CheckState::Passed => "ok",
        CheckState::Failed => "FAILED",
        CheckState::Skipped => "not made",
    };
    vec![
        check.name.clone().into(),
        state.into(),
        check.what.clone().into(),
    ]
}

fn phase(phase: &Phase) -> Vec<Cell> {
    vec![
        phase.name.clone().into(),
        time(phase.seconds).into(),
        phase.cpu_seconds.map(time).unwrap_or_default().into(),
        phase.bytes.map(units::bytes).unwrap_or_default().into(),
    ]
}

fn time(seconds: f64) -> String {
    units::duration(Duration::from_secs_f64(seconds.max(0.0)))
}
