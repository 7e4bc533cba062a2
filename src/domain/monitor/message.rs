//! The words of an alert: a subject that says what and where, a text with reasons and hints.

use std::cmp::Reverse;

use serde::Serialize;

use super::{
    alert::{Item, Kind},
    verdict::State,
};
use crate::util::clock::{Time, readable};

/// More of them would hide each other.
const MOST: usize = 20;

/// Characters of a reason or hint.
const LONGEST: usize = 1000;

/// One message to one notifier. Its JSON is the documented form of webhooks.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// Of this form: a field may come, none goes.
    pub version: u32,
    pub cluster: String,
    pub host: String,
    pub time: Time,
    /// The worst of what it tells.
    pub state: State,
    pub subject: String,
    pub text: String,
    pub alerts: Vec<Item>,
}

impl Message {
    pub fn new(cluster: &str, host: &str, time: Time, items: &[Item]) -> Self {
        let mut alerts: Vec<&Item> = items.iter().collect();
        // The worst first, before any is left out.
        alerts.sort_by_key(|item| Reverse(item.state));
        let alerts: Vec<Item> = alerts.into_iter().take(MOST).cloned().map(cut).collect();
        let state = items.iter().map(|item| item.state).max();
        let state = state.unwrap_or(State::Ok);
        let mut paragraphs = vec![format!("{cluster} on {host}, {}", readable(time))];
        paragraphs.extend(alerts.iter().map(paragraph));
        if items.len() > MOST {
            let more = items.len() - MOST;
            paragraphs.push(format!("... and {more} more: run `pgstow monitor`."));
        }
        Self {
            version: 1,
            cluster: cluster.to_owned(),
            host: host.to_owned(),
            time,
            state,
            subject: subject(cluster, host, state, &alerts, items.len()),
            text: paragraphs.join("\n\n"),
            alerts,
        }
    }
}

fn cut(mut item: Item) -> Item {
    for text in [Some(&mut item.reason), item.hint.as_mut()]
        .into_iter()
        .flatten()
    {
        *text = shortened(text, LONGEST);
    }
    item
}

/// At most `longest` characters of `text`.
pub fn shortened(text: &str, longest: usize) -> String {
    match text.chars().count() > longest {
        false => text.to_owned(),
        true => text
            .chars()
            .take(longest - 4)
            .chain(" ...".chars())
            .collect(),
    }
}

fn subject(cluster: &str, host: &str, state: State, alerts: &[Item], all: usize) -> String {
    let Some(first) = alerts.first() else {
        return String::new();
    };
    let title = first.title();
    let (word, what) = match first.kind {
        // What was found before is told already.
        Kind::Failure if first.before == first.state => (state.word(), format!("more of {title}")),
        Kind::Failure => (state.word(), title),
        Kind::Reminder => (state.word(), format!("still {title}")),
        // Others may be as bad as ever.
        Kind::Recovery => ("RECOVERY", format!("{title} is well again")),
        Kind::Missed => (state.word(), format!("{title} was not well for a while")),
        Kind::Success => (state.word(), title),
        Kind::Test => ("TEST", "this is how alerts arrive".to_owned()),
    };
    let more = match all {
        0 | 1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    format!("[pgstow] {word} {cluster} on {host}: {what}{more}")
}

fn paragraph(item: &Item) -> String {
    let word = item.state.word();
    let mut lines = vec![format!("{word} {}: {}", item.title(), item.reason)];
    lines.extend(item.hint.as_ref().map(|hint| format!("hint: {hint}")));
    let since = item.since.map(readable);
    let since = since.map(|since| match item.kind {
        Kind::Recovery => format!("It was {} since {since}.", item.before.word()),
        Kind::Missed => format!("That was since {since}; nobody could be told."),
        Kind::Reminder => format!("It is so since {since}, and was told before."),
        _ => format!("Since {since}."),
    });
    lines.extend(since);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_never_left_out() {
        let item = |state| Item {
            kind: Kind::Failure,
            check: "disk".to_owned(),
            object: None,
            state,
            before: State::Ok,
            since: None,
            reason: "full".to_owned(),
            hint: None,
        };
        let mut items = vec![item(State::Warning); MOST];
        items.push(item(State::Critical));
        let message = Message::new("main", "db1", Time::default(), &items);
        assert_eq!(message.alerts.len(), MOST);
        assert_eq!(message.alerts[0].state, State::Critical);
        assert!(message.text.contains("and 1 more"), "{}", message.text);

        // Who sees the subject alone must not take it for what was told before.
        let subject = |before| {
            let item = Item {
                before,
                ..item(State::Critical)
            };
            Message::new("main", "db1", Time::default(), &[item]).subject
        };
        let begin = "[pgstow] CRITICAL main on db1: ";
        assert_eq!(subject(State::Warning), format!("{begin}disk"));
        assert_eq!(subject(State::Critical), format!("{begin}more of disk"));
    }
}
