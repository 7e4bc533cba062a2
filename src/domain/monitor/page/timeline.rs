//! The time line of a system: its backups, from when to when it can be restored along each timeline, and
//! where its WAL is whole.

use std::collections::BTreeMap;

use super::{
    html::Html,
    picture::{Picture, in_picture, line},
    scale::percent,
    spans::{self, Span},
    view::{Look, View},
};
use crate::{
    domain::{
        list::{Line, Wal},
        monitor::facts::stock::{Stretch, SystemWal},
    },
    postgres::lsn::TimelineId,
    util::{
        clock::{readable, whole_seconds},
        units,
    },
};

/// The newest timelines; more would be a wall.
pub const TIMELINES: usize = 6;

/// More backups are drawn smaller.
const MANY: usize = 60;

/// Pixels from the top: of the label of the backups, and of the backups.
const LABEL: f64 = 14.0;
const MARKS: f64 = 34.0;
const MARKS_END: f64 = 50.0;

/// Of a timeline's lane, from its top.
const SPANS: f64 = 22.0;
const SPANS_HEIGHT: f64 = 12.0;
const WAL: f64 = 36.0;
const WAL_HEIGHT: f64 = 8.0;
const LANE: f64 = 54.0;

/// Draws it; the number of older timelines that are left out.
pub fn draw(html: &mut Html, view: &View<'_>, wal: &Wal) -> usize {
    let none = SystemWal {
        system: wal.system_id,
        stretches: Vec::new(),
        gaps: Vec::new(),
        left_out: 0,
    };
    let stretches = view.wal_of(wal.system_id).unwrap_or(&none);
    let spans = spans::of_system(&view.stock.listing.backups, wal.system_id);
    let mut timelines: Vec<TimelineId> = spans.keys().copied().collect();
    timelines.extend(stretches.stretches.iter().map(|one| one.timeline));
    timelines.sort_unstable_by(|a, b| b.cmp(a));
    timelines.dedup();
    let left_out = timelines.len().saturating_sub(TIMELINES);
    timelines.truncate(TIMELINES);

    let height = MARKS_END + LANE * timelines.len() as f64;
    let title = format!("Time line of system {}", wal.system_id);
    let picture = Picture {
        title: &title,
        description: &describe(view, wal, &spans, stretches),
        scale: view.scale,
        height,
    };
    picture.draw(html, |html| {
        let kept = view.stock.cleanup.plan.window.from;
        if let Some(from) = kept.filter(|from| view.scale.shows(*from)) {
            let x = percent(view.scale.x(from));
            let bottom = in_picture(height);
            line(html, "window", [&x, &x], ["0", &bottom]);
        }
        label(html, "Backups", LABEL);
        backups(html, view, wal);
        for (number, timeline) in timelines.iter().enumerate() {
            let top = MARKS_END + LANE * number as f64;
            label(html, &format!("Timeline {timeline}"), top + LABEL);
            for span in spans.get(timeline).into_iter().flatten() {
                let what = format!("restorable {}", range(span));
                let ends = (span.from, span.to);
                view.bar(html, "span", ends, (top + SPANS, SPANS_HEIGHT), &what);
            }
            lane(html, view, stretches, *timeline, top + WAL);
        }
    });
    left_out
}

fn label(html: &mut Html, text: &str, y: f64) {
    let y = in_picture(y);
    html.leaf("text", &[("class", "label"), ("x", "0"), ("y", &y)], text);
}

/// Chains first, so that the marks lie on them. A claim that tells nothing of its system is one of each.
fn backups(html: &mut Html, view: &View<'_>, wal: &Wal) {
    let of_system = |line: &&Line| {
        let system = line.backup.as_ref().map(|backup| backup.system_id);
        system.is_none_or(|system| system == wal.system_id)
    };
    let mut lines: Vec<&Line> = view.backups.iter().filter(of_system).collect();
    let place = |line: &Line| view.scale.x(View::time(line));
    let places: BTreeMap<_, _> = lines.iter().map(|line| (line.id, place(line))).collect();
    lines.sort_by_key(|line| Look::of(line));
    let class = if lines.len() > MANY { "many" } else { "few" };
    html.tag("g", &[("class", class)], |html| {
        for line in &lines {
            let parent = line.backup.as_ref().and_then(|backup| backup.parent);
            if let Some(from) = parent.and_then(|parent| places.get(&parent)) {
                chain(html, *from, place(line));
            }
        }
        for line in &lines {
            mark(html, line, place(line), view.goes.contains(&line.id));
        }
    });
}

fn chain(html: &mut Html, from: f64, to: f64) {
    let (from, to, y) = (percent(from), percent(to), in_picture(MARKS));
    line(html, "chain", [&from, &to], [&y, &y]);
}

fn mark(html: &mut Html, line: &Line, x: f64, goes: bool) {
    let (look, x, y) = (Look::of(line), percent(x), in_picture(MARKS));
    let class = match goes {
        true => format!("mark {} goes", look.class()),
        false => format!("mark {}", look.class()),
    };
    let attributes = [
        ("class", class.as_str()),
        ("x", &x),
        ("y", &y),
        ("overflow", "visible"),
    ];
    html.tag("svg", &attributes, |html| {
        html.leaf("title", &[], told(line));
        html.shape("use", &[("href", look.symbol())]);
    });
}

fn told(line: &Line) -> String {
    let size = line.backup.as_ref().map_or_else(String::new, |backup| {
        format!(", {} stored", units::bytes(backup.stored_bytes))
    });
    format!("{}: {}{size}", line.id, line.state.word())
}

/// The WAL of one timeline, and its gaps.
fn lane(html: &mut Html, view: &View<'_>, wal: &SystemWal, timeline: TimelineId, top: f64) {
    let on_it = |one: &&Stretch| one.timeline == timeline;
    for (class, all, what) in [
        ("wal", &wal.stretches, "WAL"),
        ("gap", &wal.gaps, "missing WAL"),
    ] {
        for one in all.iter().filter(on_it) {
            // Of a gap one of its ends may be unknown.
            let Some(ends) = one.from.or(one.to).zip(one.to.or(one.from)) else {
                continue;
            };
            let what = format!("{what} {} to {}", one.first, one.last);
            view.bar(html, class, ends, (top, WAL_HEIGHT), &what);
        }
    }
}

pub fn range(span: &Span) -> String {
    let shown = |time| readable(whole_seconds(time));
    format!("from {} to {}", shown(span.from), shown(span.to))
}

/// For who can't see the picture.
fn describe(
    view: &View<'_>,
    wal: &Wal,
    spans: &BTreeMap<TimelineId, Vec<Span>>,
    stretches: &SystemWal,
) -> String {
    let count = view.backups_of(wal.system_id).count();
    let mut told = vec![units::count(count as u64, "backup")];
    for (timeline, of_timeline) in spans.iter().rev().take(TIMELINES) {
        let ranges: Vec<String> = of_timeline.iter().rev().take(3).map(range).collect();
        told.push(format!(
            "timeline {timeline} can be restored {}",
            ranges.join(", and ")
        ));
    }
    told.push(units::count(stretches.gaps.len() as u64, "gap") + " in the WAL");
    told.join("; ")
}
