//! Judges gathered facts. Pure: nothing is asked, nothing is touched.
//!
//! Each check gives one verdict, or one for each object that it is about, the same from run to run:
//! who is told of changes can compare them.

pub mod archiving;
pub mod backups;
mod drills;
pub mod dumps;
pub mod good;
mod host;
mod known;
mod objectives;
mod server;
mod stored;
#[cfg(test)]
mod tests;
mod unsynced;
mod wanted;

pub use host::{RUNS, STATE, job};
pub use known::{Yardstick, is_consequence, names};
pub use wanted::Wanted;

use super::{facts::Facts, verdict::Verdict};
use crate::domain::setup::checks::NOT_NEEDED;

/// All verdicts.
pub fn all(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let mut verdicts = server::all(facts, by);
    verdicts.extend(backups::all(facts, by));
    verdicts.extend(dumps::all(facts, by));
    verdicts.extend(unsynced::all(facts, by));
    verdicts.extend(host::all(facts, by));
    if dumps::are_all(facts, by) {
        for verdict in verdicts.iter_mut().filter(|one| known::is_of_backups(one)) {
            let object = verdict.object.take();
            *verdict = Verdict {
                object,
                ..Verdict::ok(verdict.check, NOT_NEEDED)
            };
        }
    }
    verdicts
}
