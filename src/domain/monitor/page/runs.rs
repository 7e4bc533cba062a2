//! How the newest runs on this host ended.

use super::{
    super::runs::Run,
    html::Html,
    table::{Cell, Kind, table},
};
use crate::{error::Result, util::units};

/// The newest.
const RUNS: usize = 30;

const COLUMNS: [(&str, Kind); 7] = [
    ("job", Kind::Word),
    ("state", Kind::Word),
    ("begun", Kind::Word),
    ("took", Kind::Number),
    ("repository", Kind::Word),
    ("bytes", Kind::Number),
    ("what it says", Kind::Prose),
];

pub fn section(html: &mut Html, runs: &Result<Vec<Run>>) {
    html.tag("section", &[("aria-labelledby", "runs")], |html| {
        html.raw("<h2 id=\"runs\">Runs</h2>");
        let runs = match runs {
            Err(error) => {
                let why = error.in_one_line();
                return html.leaf("p", &[("class", "notice")], format!("Can't be read: {why}"));
            }
            Ok(runs) if runs.is_empty() => return html.raw("<p>No run is noted yet.</p>"),
            Ok(runs) => runs,
        };
        let shown = runs.iter().rev().take(RUNS);
        table(html, "Newest runs on this host", &COLUMNS, shown.map(row));
        if runs.len() > RUNS {
            let left_out = runs.len() - RUNS;
            let text = format!("Left out: {left_out} older ones. `pgstow list --runs` shows all.");
            html.tag("p", &[("class", "left-out")], |html| html.prose(&text));
        }
    });
}

fn row(run: &Run) -> Vec<Cell> {
    let backup = run.told.backup.map(|id| id.to_string());
    vec![
        run.job.clone().into(),
        run.state.word().into(),
        run.begun.into(),
        run.duration()
            .map(units::duration)
            .unwrap_or_default()
            .into(),
        run.repository.clone().into(),
        run.told.bytes.map(units::bytes).unwrap_or_default().into(),
        run.error.clone().or(backup).unwrap_or_default().into(),
    ]
}
