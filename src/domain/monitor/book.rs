//! Notes who was told what, as long as that works, and since when it doesn't: a moment in the file of the lock,
//! which is overwritten in place. So a full disk, or a folder in which nothing can be made, does not keep it from
//! being left; where even that fails, nobody hears that notes can be left again.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use chrono::DateTime;

use super::ledger::{self, Ledger};
use crate::util::clock::Time;

/// `2026-11-22T10:00:00Z`, or as many blanks.
const LENGTH: usize = 20;

/// Writes notes.
pub struct Book<'a> {
    pub state: &'a Path,
    /// What is there; None: to be written in any case.
    pub noted: Option<Ledger>,
    pub works: bool,
}

impl Book<'_> {
    pub fn note(&mut self, ledger: &Ledger) {
        if !self.works || self.noted.as_ref() == Some(ledger) {
            return;
        }
        match ledger.write(self.state, ledger::FILE) {
            Ok(()) => self.noted = Some(ledger.clone()),
            Err(error) => {
                tracing::warn!("alerts are not noted: {}", error.in_one_line());
                self.works = false;
            }
        }
    }
}

/// The file of the lock, which is there and locked.
pub struct Unnoted<'a>(pub &'a File);

impl Unnoted<'_> {
    pub fn since(&self) -> Option<Time> {
        let mut text = [0; LENGTH];
        self.0.read_exact_at(&mut text, 0).ok()?;
        let time = DateTime::parse_from_rfc3339(str::from_utf8(&text).ok()?);
        time.ok().map(|time| time.to_utc())
    }

    /// None: notes can be left. That is written, too, so that there is something to be overwritten.
    pub fn set(&self, since: Option<Time>) {
        let since = since.map(|now| self.since().unwrap_or(now));
        let text = since.map_or_else(String::new, |since| {
            since.format("%Y-%m-%dT%H:%M:%SZ").to_string()
        });
        let text = format!("{text:LENGTH$}");
        let mut there = [0; LENGTH];
        let is_there = self.0.read_exact_at(&mut there, 0).is_ok() && there == text.as_bytes();
        if !is_there && let Err(error) = self.0.write_all_at(text.as_bytes(), 0) {
            tracing::debug!("no mark is left in the lock of alerts: {error}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::util::clock;

    #[test]
    fn the_first_moment_stays_until_it_is_over() {
        let file = tempfile::tempfile().unwrap();
        let mark = Unnoted(&file);
        assert_eq!(mark.since(), None);
        mark.set(None);
        assert_eq!((mark.since(), file.metadata().unwrap().len()), (None, 20));
        let begun = clock::now();
        mark.set(Some(begun));
        mark.set(Some(begun + chrono::TimeDelta::hours(1)));
        assert_eq!(
            mark.since().map(|at| at.timestamp()),
            Some(begun.timestamp())
        );
        mark.set(None);
        assert_eq!((mark.since(), file.metadata().unwrap().len()), (None, 20));
    }
}
