//! The backups of a repository: their sizes and durations over time, and a table of the newest.

use super::{
    chart::{Bar, Chart},
    html::Html,
    table::{Cell, Kind, ROWS, left_out, table},
    view::{Look, View},
};
use crate::{
    domain::list::Line,
    repo::backup::Backup,
    util::{
        clock::{readable, whole_seconds},
        units,
    },
};

const COLUMNS: [(&str, Kind); 9] = [
    ("backup", Kind::Word),
    ("state", Kind::Word),
    ("ended", Kind::Word),
    ("took", Kind::Number),
    ("size", Kind::Number),
    ("stored", Kind::Number),
    ("timeline", Kind::Number),
    ("builds on", Kind::Word),
    ("remarks", Kind::Prose),
];

pub fn part(html: &mut Html, view: &View<'_>) {
    html.raw("<h3>Backups</h3>");
    let all = &view.stock.listing.backups;
    if all.is_empty() {
        return html.raw("<p>No backup yet. Take one: <code>pgstow base</code></p>");
    }
    let bytes = all
        .iter()
        .filter_map(|line| Some(line.backup.as_ref()?.stored_bytes));
    let (count, bytes) = (units::count(all.len() as u64, "backup"), bytes.sum());
    html.leaf(
        "p",
        &[],
        format!("{count}, {} stored.", units::bytes(bytes)),
    );
    chart(
        html,
        view,
        "Stored size of each backup",
        |backup| backup.stored_bytes as f64,
        |value| units::bytes(value as u64),
    );
    chart(
        html,
        view,
        "How long each backup took",
        |backup| backup.duration().as_secs_f64(),
        |value| units::duration(std::time::Duration::from_secs_f64(value.clamp(0.0, 1e12))),
    );
    html.tag("details", &[], |html| {
        let newest = all.iter().rev().take(ROWS);
        let what = match all.len() > ROWS {
            true => format!("The newest {ROWS} of {} as a table", all.len()),
            false => format!("{} as a table", units::count(all.len() as u64, "backup")),
        };
        html.leaf("summary", &[], what);
        table(html, "Backups, newest first", &COLUMNS, newest.map(row));
        left_out(html, all.len().saturating_sub(ROWS), "older backups");
    });
}

/// Of those that have ended.
fn chart(
    html: &mut Html,
    view: &View<'_>,
    title: &str,
    value: fn(&Backup) -> f64,
    unit: fn(f64) -> String,
) {
    let bar = |line: &Line| {
        let backup = line.backup.as_ref()?;
        let value = value(backup);
        Some(Bar {
            time: View::time(line),
            value,
            class: Look::of(line).class(),
            told: format!("{}: {}", line.id, unit(value)),
        })
    };
    let bars: Vec<Bar> = view.backups.iter().filter_map(bar).collect();
    let Some(newest) = bars.last() else { return };
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let description = format!(
        "{}; the most is {}; the newest, {}",
        units::count(bars.len() as u64, "backup"),
        unit(most),
        newest.told
    );
    html.raw("<figure>");
    html.leaf("figcaption", &[], title);
    Chart {
        title,
        description: &description,
        scale: view.scale,
        bars: &bars,
        unit,
    }
    .draw(html);
    html.raw("</figure>");
}

fn row(line: &Line) -> Vec<Cell> {
    let backup = line.backup.as_deref();
    let of = |tell: &dyn Fn(&Backup) -> String| backup.map(tell).unwrap_or_default();
    vec![
        line.id.to_string().into(),
        line.state.word().into(),
        backup.map(|backup| backup.stop_time).into(),
        of(&|backup| units::duration(backup.duration())).into(),
        of(&|backup| units::bytes(backup.bytes)).into(),
        of(&|backup| units::bytes(backup.stored_bytes)).into(),
        of(&|backup| backup.timeline.to_string()).into(),
        of(&|backup| backup.parent.map(|id| id.to_string()).unwrap_or_default()).into(),
        remarks(line).into(),
    ]
}

fn remarks(line: &Line) -> String {
    let mut remarks = Vec::new();
    if let Some(pin) = &line.pin {
        let until = pin
            .until
            .map(|until| format!(" until {}", readable(whole_seconds(until))));
        let reason = pin.reason.as_ref().map(|reason| format!(": {reason}"));
        let (until, reason) = (until.unwrap_or_default(), reason.unwrap_or_default());
        remarks.push(format!("pinned{until}{reason}"));
    }
    remarks.extend(line.note.clone());
    if let Some(backup) = &line.backup {
        let size = backup.segment_size;
        let waits = line
            .waits_for
            .iter()
            .map(|named| named.missing.describe(size));
        let waits: Vec<String> = waits.take(3).collect();
        if !waits.is_empty() {
            remarks.push(format!("waits for WAL {}", waits.join(", ")));
        }
        let failures = backup.page_failures.len() as u64;
        if failures > 0 {
            remarks.push(units::count(failures, "damaged page") + " in the server");
        }
        if !backup.label.is_empty() {
            remarks.push(format!("label: {}", backup.label));
        }
    }
    remarks.join("; ")
}
