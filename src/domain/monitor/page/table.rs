//! Tables: each with a caption, in a frame of its own that a keyboard can scroll where it is wider
//! than the screen.

use super::html::Html;
use crate::util::clock::Time;

/// Rows of a long table: the newest.
pub const ROWS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// To the right.
    Number,
    /// Sentences, which are given room.
    Prose,
}

#[derive(Debug)]
pub enum Cell {
    Text(String),
    Time(Option<Time>),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<Time> for Cell {
    fn from(time: Time) -> Self {
        Cell::Time(Some(time))
    }
}

impl From<Option<Time>> for Cell {
    fn from(time: Option<Time>) -> Self {
        Cell::Time(time)
    }
}

/// The first cell of each row is its heading. Without any row there is no table.
pub fn table(
    html: &mut Html,
    caption: &str,
    columns: &[(&'static str, Kind)],
    rows: impl Iterator<Item = Vec<Cell>>,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let frame = [
        ("class", "scroll"),
        ("role", "group"),
        ("aria-label", caption),
        ("tabindex", "0"),
    ];
    html.tag("div", &frame, |html| {
        html.tag("table", &[], |html| {
            html.leaf("caption", &[], caption);
            html.raw("<thead><tr>");
            for (name, kind) in columns {
                html.leaf("th", &[("scope", "col"), ("class", class(*kind))], name);
            }
            html.raw("</tr></thead><tbody>");
            for row in rows {
                html.tag("tr", &[], |html| cells(html, columns, row));
            }
            html.raw("</tbody>");
        });
    });
}

/// What the tables and pictures don't show.
pub fn left_out(html: &mut Html, count: usize, what: &str) {
    if count > 0 {
        let text = format!("Left out: {count} {what}. `pgstow list` shows all.");
        html.tag("p", &[("class", "left-out")], |html| html.prose(&text));
    }
}

fn cells(html: &mut Html, columns: &[(&'static str, Kind)], row: Vec<Cell>) {
    for (number, (cell, (_, kind))) in row.into_iter().zip(columns).enumerate() {
        let write = |html: &mut Html| match cell {
            Cell::Text(text) if *kind == Kind::Prose => html.prose(&text),
            Cell::Text(text) => html.text(text),
            Cell::Time(Some(time)) => html.time(time),
            Cell::Time(None) => {}
        };
        match number {
            0 => html.tag("th", &[("scope", "row")], write),
            _ => html.tag("td", &[("class", class(*kind))], write),
        }
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Word => "word",
        Kind::Number => "number",
        Kind::Prose => "prose",
    }
}
