//! What a browser shows: one page that needs nothing beside it, no script either. Pure: facts and verdicts
//! in, text out.
//!
//! Worst first: what is wrong and what to do, then what can be restored, then the rest. However much a
//! repository holds, the page shows the newest of it, and says what it leaves out.

mod accident;
mod backups;
mod chart;
mod checks;
mod cleanup;
mod drills;
mod dumps;
mod html;
mod picture;
mod repository;
mod runs;
mod scale;
mod spans;
mod table;
mod timeline;
mod view;

use chrono::TimeDelta;
use html::Html;

use super::{
    facts::{Facts, stock::Shelf},
    verdict::{Verdict, tally, worst},
};
use crate::{postgres::version, util::clock::Time};

/// After three runs of a timer that ought to run every five minutes.
const FRESH: TimeDelta = TimeDelta::minutes(15);

pub struct Page<'a> {
    pub cluster: &'a str,
    pub host: &'a str,
    pub now: Time,
    pub facts: &'a Facts,
    /// All of them, whichever were asked for.
    pub verdicts: &'a [Verdict],
    pub shelves: &'a [Shelf],
}

impl Page<'_> {
    pub fn html(&self) -> String {
        let mut html = Html::default();
        html.raw(HEAD);
        let state = worst(self.verdicts);
        html.leaf(
            "title",
            &[],
            format!("{}: {} - pgstow", state.word(), self.cluster),
        );
        html.tag("style", &[], |html| html.raw(STYLE));
        html.raw("</head><body><a class=\"skip\" href=\"#content\">To the content</a>");
        html.raw(SYMBOLS);
        html.tag("header", &[], |html| self.header(html));
        html.raw("<main id=\"content\" tabindex=\"-1\">");
        checks::section(&mut html, self.verdicts);
        for (number, shelf) in self.shelves.iter().enumerate() {
            let mut holdings = self.facts.repositories.iter();
            let holding = holdings.find(|holding| holding.name == shelf.name);
            repository::section(&mut html, number, shelf, holding, self.now);
        }
        accident::section(&mut html, self.cluster, self.now);
        runs::section(&mut html, &self.facts.runs);
        html.raw("</main>");
        html.tag("footer", &[], |html| {
            let version = env!("CARGO_PKG_VERSION");
            html.text(format!(
                "pgstow {version} on {}. Times are UTC. The clock of the server, of this host and of the \
                 repositories may differ.",
                self.host
            ));
        });
        html.raw("</body></html>\n");
        html.into_text()
    }

    fn header(&self, html: &mut Html) {
        let state = worst(self.verdicts);
        html.tag("h1", &[], |html| {
            html.leaf("span", &[("class", "kind")], "pgstow, cluster ");
            html.text(self.cluster);
        });
        html.tag("p", &[("class", "verdict")], |html| {
            checks::badge(html, state);
            html.leaf("span", &[("class", "tally")], tally(self.verdicts));
        });
        html.tag("p", &[], |html| self.server(html));
        html.tag("p", &[("class", "made")], |html| {
            html.raw("Made at ");
            html.time(self.now);
            html.raw(" (UTC). This page doesn't change by itself: load it again. If it is later than ");
            html.time(self.now + FRESH);
            html.raw(
                " and it still has this time, then <code>pgstow monitor</code> no longer runs every five \
                 minutes, or can't write here: trust nothing below.",
            );
        });
        html.tag("nav", &[("aria-label", "Parts of this page")], |html| {
            html.raw("<a href=\"#checks\">Checks</a>");
            for (number, shelf) in self.shelves.iter().enumerate() {
                let target = format!("#repository-{number}");
                let name = format!("Repository {}", shelf.name);
                html.leaf("a", &[("href", &target)], name);
            }
            html.raw("<a href=\"#accident\">After an accident</a>");
            html.raw("<a href=\"#runs\">Runs</a>");
        });
    }

    fn server(&self, html: &mut Html) {
        match &self.facts.server {
            Ok(server) => {
                let facts = &server.facts.server;
                html.text(format!(
                    "Server: PostgreSQL {}, {}, system {}, on timeline {} at {}",
                    version::readable(facts.version),
                    if facts.standby { "standby" } else { "primary" },
                    facts.system_id,
                    server.timeline,
                    server.position,
                ));
            }
            Err(error) => html.text(format!("Server: can't be asked: {}", error.in_one_line())),
        }
    }
}

/// Nothing is loaded from anywhere, whatever the page should hold.
const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <meta name=\"color-scheme\" content=\"light dark\">\
    <meta name=\"robots\" content=\"noindex\"><meta name=\"referrer\" content=\"no-referrer\">";

const STYLE: &str = include_str!("page.css");

/// The marks of backups, around the point where they stand, and the pattern of gaps.
const SYMBOLS: &str = "<svg class=\"symbols\" aria-hidden=\"true\" width=\"0\" height=\"0\"><defs>\
    <path id=\"full\" d=\"M-6-6h12v12h-12z\"/>\
    <circle id=\"incremental\" r=\"4\"/>\
    <circle id=\"waits\" r=\"5\"/>\
    <path id=\"bad\" d=\"M-5-5L5 5M5-5L-5 5\"/>\
    <pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><rect width=\"3\" height=\"6\"/></pattern></defs></svg>";
