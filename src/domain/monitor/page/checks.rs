//! The verdicts: what is wrong in full, worst first, then what could not be looked at because of it, and
//! what is well.

use std::cmp::Reverse;

use super::{
    super::{
        checks::is_consequence,
        verdict::{State, Verdict},
    },
    html::Html,
    table::{Cell, Kind, table},
};

pub fn section(html: &mut Html, verdicts: &[Verdict]) {
    let (well, wrong): (Vec<&Verdict>, Vec<_>) =
        verdicts.iter().partition(|one| one.state == State::Ok);
    let (follows, mut wrong): (Vec<&Verdict>, Vec<_>) = wrong
        .into_iter()
        .partition(|one| is_consequence(one, verdicts));
    wrong.sort_by_key(|one| Reverse(one.state));
    html.tag("section", &[("aria-labelledby", "checks")], |html| {
        html.raw("<h2 id=\"checks\">Checks</h2>");
        if wrong.is_empty() {
            html.raw("<p>Nothing is wrong that could be seen.</p>");
        }
        for verdict in wrong {
            card(html, verdict);
        }
        list(
            html,
            &follows,
            "could not be looked at because of that",
            "Not looked at",
        );
        list(html, &well, "ok", "Checks that are ok");
    });
}

/// The state as a word in its colour.
pub fn badge(html: &mut Html, state: State) {
    let class = format!("badge {}", class(state));
    html.leaf("span", &[("class", &class)], state.word());
}

fn class(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Unknown => "unknown",
        State::Critical => "critical",
    }
}

fn card(html: &mut Html, verdict: &Verdict) {
    let class = format!("card {}", class(verdict.state));
    html.tag("article", &[("class", &class)], |html| {
        html.tag("h3", &[], |html| {
            badge(html, verdict.state);
            html.raw(" ");
            html.text(verdict.title());
        });
        html.tag("p", &[], |html| html.prose(&verdict.reason));
        if let Some(hint) = &verdict.hint {
            html.tag("p", &[("class", "hint")], |html| {
                html.raw("<strong>What to do:</strong> ");
                html.prose(hint);
            });
        }
    });
}

fn list(html: &mut Html, verdicts: &[&Verdict], what: &str, caption: &str) {
    if verdicts.is_empty() {
        return;
    }
    html.tag("details", &[], |html| {
        html.leaf("summary", &[], format!("{} {what}", verdicts.len()));
        let columns = [
            ("check", Kind::Word),
            ("of", Kind::Word),
            ("what it found", Kind::Prose),
        ];
        let row = |verdict: &&Verdict| -> Vec<Cell> {
            let of = verdict.object.clone().unwrap_or_default();
            vec![
                verdict.check.into(),
                of.into(),
                verdict.reason.clone().into(),
            ]
        };
        table(html, caption, &columns, verdicts.iter().map(row));
    });
}
