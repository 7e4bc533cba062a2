//! Since when databases are known on this host: in the state folder as `databases.json`.
//!
//! PostgreSQL doesn't tell when a database was made, and a new one has no dump before the next run. Losing it only
//! costs time until a database that has none is missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{super::state_file, server::Server};
use crate::{
    error::{Error, Result},
    util::{cancel::Cancel, clock::Time, fs::read_if_there},
};

const FILE: &str = "databases.json";

/// When each database of the server was first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    seen: BTreeMap<String, Time>,
}

impl Arrivals {
    pub fn read(state: &Path) -> Result<Self> {
        let json = read_if_there(&state.join(FILE))?;
        json.map_or_else(|| Ok(Self::default()), |json| Self::parse(&json))
    }

    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|error| Error::damaged(format!("{FILE} is damaged")).because(error))
    }

    pub fn since(&self, database: &str) -> Option<Time> {
        self.seen.get(database).copied()
    }

    /// Learns of `databases`, and forgets all others; true if that changed something.
    pub fn update(&mut self, databases: impl IntoIterator<Item = String>, now: Time) -> bool {
        let before = self.seen.clone();
        let there: BTreeSet<String> = databases.into_iter().collect();
        // What a clock of tomorrow noted would be young for long.
        self.seen
            .retain(|name, time| there.contains(name) && *time <= now);
        for name in there {
            self.seen.entry(name).or_insert(now);
        }
        self.seen != before
    }

    /// The same of those that `server` has, with a note for later runs.
    pub fn look(
        mut self,
        server: &Server,
        (state, now): (&Path, Time),
        until: Instant,
        cancel: &Cancel,
    ) -> Result<Self> {
        if self.update(server.databases.iter().cloned(), now) {
            state_file::note(state, FILE, "databases", self.clone(), until, cancel)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Time {
        chrono::DateTime::from_timestamp(hour * 3600, 0).unwrap()
    }

    #[test]
    fn a_database_is_known_since_it_was_first_seen() {
        let mut arrivals = Arrivals::default();
        let mut look = |names: &[&str], hour| {
            let names = names.iter().map(|name| (*name).to_owned());
            let changed = arrivals.update(names, at(hour));
            (changed, arrivals.since("shop"))
        };
        assert_eq!(look(&["shop"], 1), (true, Some(at(1))));
        assert_eq!(look(&["shop"], 5), (false, Some(at(1))));
        assert_eq!(look(&["shop", "blog"], 6), (true, Some(at(1))));
        assert_eq!(look(&["blog"], 7), (true, None));
        assert_eq!(look(&["shop", "blog"], 8), (true, Some(at(8))));
        // The clock was wrong, and is right again.
        assert_eq!(look(&["shop"], 2), (true, Some(at(2))));
        let json = serde_json::to_vec(&arrivals).unwrap();
        assert_eq!(Arrivals::parse(&json).unwrap(), arrivals);
    }
}
