//! A repository: what can be restored from it, as a picture and as tables; then its backups and dumps, and
//! what cleanup will do.

use super::{
    super::facts::{
        Holding,
        stock::{Shelf, Stretch},
    },
    backups, cleanup, drills, dumps,
    html::Html,
    spans::{self, Span},
    table::{Cell, Kind, ROWS, left_out, table},
    timeline::{self, TIMELINES},
    view::View,
};
use crate::{
    domain::list::{Line, ShownWindow, Wal},
    postgres::lsn::TimelineId,
    util::{clock::Time, units},
};

/// The newest of each that are told of in full; more would be a wall.
const SYSTEMS: usize = 4;
const SPANS: usize = 3;

pub fn section(
    html: &mut Html,
    number: usize,
    shelf: &Shelf,
    holding: Option<&Holding>,
    now: Time,
) {
    let id = format!("repository-{number}");
    html.tag("section", &[("aria-labelledby", &id)], |html| {
        html.leaf("h2", &[("id", &id)], format!("Repository {}", shelf.name));
        html.leaf("p", &[("class", "place")], &shelf.place);
        let stock = match &shelf.stock {
            Ok(stock) => stock,
            Err(error) => {
                let hint = error.hint_text().unwrap_or_default();
                let why = format!("Can't be read: {}. {hint}", error.in_one_line());
                return html.leaf("p", &[("class", "notice")], why);
            }
        };
        let view = View::of(stock, now);
        html.raw("<h3>What can be restored</h3>");
        for lost in &stock.listing.unregistered {
            let what = format!("System {}: {} {}", lost.system_id, lost.file, lost.what());
            html.leaf("p", &[("class", "notice")], what);
        }
        let has_dumps = holding.is_some_and(|holding| holding.dumps.iter().flatten().count() > 0);
        let systems = stock.listing.wal.iter().rev().take(SYSTEMS);
        for (number, wal) in systems.enumerate() {
            if has_dumps && wal.segments == 0 && !view.has_backup_of(wal.system_id) {
                html.leaf("p", &[], format!("System {}: dumps alone.", wal.system_id));
                continue;
            }
            system(html, &view, wal, number == 0);
        }
        left_out(
            html,
            stock.listing.wal.len().saturating_sub(SYSTEMS),
            "older systems",
        );
        html.raw(LEGEND);
        left_out(
            html,
            view.left_out(),
            "older backups, which are in no picture",
        );
        backups::part(html, &view);
        if let Some(holding) = holding {
            dumps::part(html, holding);
            drills::part(html, holding);
        }
        cleanup::part(html, &stock.cleanup);
    });
}

fn system(html: &mut Html, view: &View<'_>, wal: &Wal, is_newest: bool) {
    let spans = spans::of_system(&view.stock.listing.backups, wal.system_id);
    html.leaf(
        "h4",
        &[],
        format!(
            "System {} (PostgreSQL {})",
            wal.system_id, wal.postgres_major
        ),
    );
    if spans.is_empty() && is_newest {
        html.raw(
            "<p class=\"notice\">Nothing can be restored: there is no backup with its WAL. Take one: \
             <code>pgstow base</code></p>",
        );
    } else if spans.is_empty() {
        html.raw("<p>Nothing of it can be restored any more.</p>");
    }
    if !spans.is_empty() {
        html.tag("ul", &[("class", "spans")], |html| {
            let newest = spans.iter().rev().take(TIMELINES);
            newest.for_each(|(timeline, spans)| along(html, *timeline, spans));
        });
        html.raw(
            "<p class=\"made\">What can be restored ends when its last WAL arrived, by the clock of the \
             repository.</p>",
        );
    }
    html.leaf("p", &[], stored(wal));
    for range in &wal.given_up {
        let what = format!(
            "Given up by wal.drop_above: WAL {} to {}; what comes behind it can be restored only with a full backup that was begun later.",
            range.first_segment, range.last_segment
        );
        html.leaf("p", &[("class", "notice")], what);
    }
    for history in &wal.bad_histories {
        let what = format!(
            "Timeline {}: {history}; {}. {}.",
            history.timeline,
            history.loss(),
            history.cure()
        );
        html.leaf("p", &[("class", "notice")], what);
    }
    if wal.segments == 0 && !view.has_backup_of(wal.system_id) {
        return;
    }
    html.raw("<figure>");
    let timelines = timeline::draw(html, view, wal);
    html.raw("</figure>");
    left_out(html, timelines, "older timelines");
    html.tag("details", &[], |html| {
        html.leaf("summary", &[], "The time line as tables");
        windows(html, view, wal);
        stretches(html, view, wal);
    });
}

/// The newest moments first.
fn along(html: &mut Html, timeline: TimelineId, spans: &[Span]) {
    html.tag("li", &[], |html| {
        html.leaf("strong", &[], format!("Timeline {timeline}:"));
        html.raw(" any moment ");
        for (number, span) in spans.iter().rev().take(SPANS).enumerate() {
            html.raw(if number == 0 {
                "from "
            } else {
                "; before a gap, from "
            });
            html.time(span.from);
            html.raw(" to ");
            html.time(span.to);
        }
        match spans.len().saturating_sub(SPANS) {
            0 => {}
            more => html.text(format!("; and {more} earlier stretches of time")),
        }
    });
}

fn stored(wal: &Wal) -> String {
    let newest = wal.newest.as_ref().map_or_else(String::new, |newest| {
        format!(", the newest of them {newest}")
    });
    format!(
        "WAL: {}, {} stored{newest}.",
        units::count(wal.segments, "segment"),
        units::bytes(wal.stored_bytes)
    )
}

fn windows(html: &mut Html, view: &View<'_>, wal: &Wal) {
    let newest = view.backups_of(wal.system_id).rev();
    let rows = newest.flat_map(|line| line.windows.iter().map(move |window| (line, window)));
    let row = |(line, shown): (&Line, &ShownWindow)| -> Vec<Cell> {
        let window = &shown.window;
        let to = window
            .to_lsn
            .map_or("NOT RESTORABLE".to_owned(), |lsn| lsn.to_string());
        let missing = shown.missing.as_ref().map_or_else(String::new, |missing| {
            missing.missing.describe(wal.segment_size)
        });
        vec![
            line.id.to_string().into(),
            window.timeline.to_string().into(),
            window.from_time.into(),
            to.into(),
            shown.to_archived.into(),
            missing.into(),
        ]
    };
    let columns = [
        ("with backup", Kind::Word),
        ("timeline", Kind::Number),
        ("from", Kind::Word),
        ("to LSN", Kind::Word),
        ("archived", Kind::Word),
        ("WAL missing behind it", Kind::Word),
    ];
    let count = rows.clone().count();
    table(
        html,
        "What each backup can be restored to",
        &columns,
        rows.take(ROWS).map(row),
    );
    left_out(html, count.saturating_sub(ROWS), "older rows");
}

fn stretches(html: &mut Html, view: &View<'_>, wal: &Wal) {
    let Some(of_system) = view.wal_of(wal.system_id) else {
        return;
    };
    let gaps = of_system.gaps.iter().map(|gap| ("MISSING", gap));
    let there = of_system.stretches.iter().map(|one| ("there", one));
    let row = |(state, one): (&'static str, &Stretch)| -> Vec<Cell> {
        vec![
            state.into(),
            one.timeline.to_string().into(),
            one.first.to_string().into(),
            one.last.to_string().into(),
            one.from.into(),
            one.to.into(),
        ]
    };
    let columns = [
        ("WAL", Kind::Word),
        ("timeline", Kind::Number),
        ("first segment", Kind::Word),
        ("last segment", Kind::Word),
        ("from", Kind::Word),
        ("to", Kind::Word),
    ];
    table(
        html,
        "WAL and its gaps",
        &columns,
        gaps.rev().chain(there.rev()).map(row),
    );
    left_out(html, of_system.left_out, "older stretches and gaps of WAL");
}

/// Of the time lines. The marks are those of `SYMBOLS`.
const LEGEND: &str = "<ul class=\"legend\" aria-label=\"Marks in the time line\">\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><svg class=\"mark full\" x=\"9\" y=\"9\" overflow=\"visible\"><use href=\"#full\"/></svg></svg>full backup</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><svg class=\"mark incremental\" x=\"9\" y=\"9\" overflow=\"visible\"><use href=\"#incremental\"/></svg></svg>incremental</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><svg class=\"mark waits\" x=\"9\" y=\"9\" overflow=\"visible\"><use href=\"#waits\"/></svg></svg>runs, or waits for WAL</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><svg class=\"mark bad\" x=\"9\" y=\"9\" overflow=\"visible\"><use href=\"#bad\"/></svg></svg>can't be used</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><svg class=\"mark full goes\" x=\"9\" y=\"9\" overflow=\"visible\"><use href=\"#full\"/></svg></svg>goes at the next cleanup</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><rect class=\"span\" x=\"1\" y=\"3\" width=\"16\" height=\"12\"/></svg>can be restored</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><rect class=\"wal\" x=\"1\" y=\"5\" width=\"16\" height=\"8\"/></svg>WAL is there</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><rect class=\"gap\" x=\"1\" y=\"5\" width=\"16\" height=\"8\"/></svg>WAL is missing</li>\
    <li><svg class=\"swatch\" aria-hidden=\"true\"><line class=\"window\" x1=\"9\" x2=\"9\" y1=\"0\" y2=\"18\"/></svg>from here on retention keeps all that can be restored</li></ul>";
