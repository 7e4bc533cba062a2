//! Dumps whose data is gone, of whatever age: who needs one in years must not be the first to notice.

use super::{
    super::{
        facts::{Holding, NewestDump},
        verdict::{State, Verdict},
    },
    dumps::NAME,
};

const HINT: &str = "bring the file back from another copy, or give the dump up: delete what is left of it, the .json first.";

/// Adds it to the verdicts on the ages of dumps.
pub fn tell(holdings: &[Holding], verdicts: &mut Vec<Verdict>) {
    for holding in holdings {
        for dump in holding.dumps.iter().flatten() {
            if let Some(what) = what(dump, &holding.name) {
                add(&dump.subject.to_string(), &what, verdicts);
            }
        }
    }
}

fn what(dump: &NewestDump, repository: &str) -> Option<String> {
    let first = dump.lost.first()?;
    let more = match dump.lost.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    Some(format!("{first}{more}, in repository {repository}"))
}

/// What is worse already has a hint that comes first.
fn add(subject: &str, what: &str, verdicts: &mut Vec<Verdict>) {
    let is_about = |verdict: &&mut Verdict| {
        verdict.check == NAME && verdict.object.as_deref() == Some(subject)
    };
    let lost = |reason| Verdict::new(NAME, State::Warning, reason, HINT).about(subject);
    match verdicts.iter_mut().find(is_about) {
        None => verdicts.push(lost(what.to_owned())),
        Some(verdict) if verdict.state == State::Ok => {
            *verdict = Verdict {
                figures: std::mem::take(&mut verdict.figures),
                ..lost(format!("{}; {what}", verdict.reason))
            };
        }
        Some(verdict) => verdict.reason = format!("{}; {what}", verdict.reason),
    }
}
