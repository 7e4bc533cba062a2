//! The safety valve of pg_wal, `wal.drop_above`: when WAL is given up so that the server lives on.
//!
//! Where more waits than the limit allows, the oldest segment is
//! - given up if pg_wal's disk is about to be full, or if the last try to store one took long and failed a
//!   moment ago: so an outage doesn't cost a time limit for each;
//! - else stored, if that can be done, and given up if not and the try before has failed too.
//!
//! So nothing goes while storing works, however much waits, and what goes is the least that keeps
//! the limit. How it goes is told in [`super::gaps`].
//!
//! A note in the state folder tells how the last try went. It says `failed` or `hung` only where an error
//! or the time limit ended it: who is killed is not taken for a repository that is away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::warn;

use super::ahead::is_waiting;
use crate::{
    error::{IoContext, Result},
    postgres::{
        control::Control,
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::{
        fs::{create_folders, folder_of, read_if_there, room, write_over},
        units,
    },
};

/// The note, in the state folder. Its time is that of the word in it.
const FILE: &str = "storing-tried";
const TRYING: &str = "trying";
const FAILED: &str = "failed";
const HUNG: &str = "hung";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// For how long a try that failed speaks for the next ones.
const MEMORY: Duration = Duration::from_secs(60);

/// A try that fails within this time costs little: the next segment is tried too.
const QUICK: Duration = Duration::from_secs(1);

/// Room for so many segments is needed beside pg_wal.
const LEAST_ROOM: u64 = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// As ever.
    Store,
    /// Too much waits, but storing may work: [`Valve::tried`] is to be told how it went. Where it fails, the segment
    /// is given up for this reason, if there is one.
    TryToStore(Option<String>),
    /// For this reason.
    GiveUp(String),
}

pub struct Valve<'a> {
    /// The cluster's folder for notes of this host.
    pub state: &'a Path,
    pub data_dir: &'a Path,
    /// Bytes that may wait; None: without limit.
    pub most: Option<u64>,
    /// A call that isn't done after this time ends.
    pub time_limit: Duration,
}

impl Valve<'_> {
    /// What is to be done with `file`, which lies at `path`. Touches no repository, which may be
    /// what hangs. In doubt it is stored.
    pub fn decide(&self, file: WalName, path: &Path) -> Decision {
        self.look(file, folder_of(path)).unwrap_or_else(|error| {
            warn!(
                "wal.drop_above can't give anything up: {}",
                error.in_one_line()
            );
            Decision::Store
        })
    }

    fn look(&self, file: WalName, wal: &Path) -> Result<Decision> {
        let Some(most) = self.most else {
            return Ok(Decision::Store);
        };
        let status = wal.join("archive_status");
        // Who stores a file by hand has room for it.
        if !is_waiting(wal, &file.to_string()) {
            return Ok(Decision::Store);
        }
        let segment_size = Control::read(self.data_dir)?.segment_size;
        let size = segment_size.bytes();
        if !is_oldest(wal, file, segment_size) || !waits_more_than(&status, most / size)? {
            return Ok(Decision::Store);
        }
        let waits = format!(
            "more than {} of WAL waits (wal.drop_above)",
            units::bytes(most)
        );
        if room(wal)?.available < LEAST_ROOM * size {
            let reason = format!("{waits}, and the disk of pg_wal is nearly full");
            return Ok(Decision::GiveUp(reason));
        }
        let before = self.before()?;
        if before == Some(Before::Hung) {
            let reason = format!("{waits}, and a try to store it has just hung");
            return Ok(Decision::GiveUp(reason));
        }
        create_folders(self.state, FOLDER_MODE, None)?;
        self.note(TRYING)?;
        let otherwise = before.map(|_| format!("{waits}, and storing it fails"));
        Ok(Decision::TryToStore(otherwise))
    }

    /// To be told how a try ended, and how long it took.
    pub fn tried(&self, succeeded: bool, took: Duration) {
        let noted = match succeeded {
            true => fs::remove_file(self.path()).at("remove", self.path()),
            false if took < QUICK => self.note(FAILED),
            false => self.note(HUNG),
        };
        if let Err(error) = noted {
            warn!(
                "wal.drop_above can't note how storing went: {}",
                error.in_one_line()
            );
        }
    }

    /// How the last try went, if it failed a moment ago.
    fn before(&self) -> Result<Option<Before>> {
        let path = self.path();
        let Some(word) = read_if_there(&path)? else {
            return Ok(None);
        };
        let noted = fs::metadata(&path).and_then(|note| note.modified());
        // After the clock was set back it is time to try again.
        let Ok(age) = noted.at("read", &path)?.elapsed() else {
            return Ok(None);
        };
        let failed = match str::from_utf8(&word) {
            Ok(FAILED) => Before::Failed,
            Ok(HUNG) => Before::Hung,
            _ => {
                let hung = (self.time_limit..self.time_limit + MEMORY).contains(&age);
                if hung {
                    self.note(HUNG)?;
                }
                return Ok(hung.then_some(Before::Hung));
            }
        };
        Ok((age < MEMORY).then_some(failed))
    }

    fn note(&self, word: &str) -> Result<()> {
        write_over(&self.path(), FILE_MODE, word.as_bytes())
    }

    fn path(&self) -> PathBuf {
        self.state.join(FILE)
    }
}

/// A try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// At once.
    Failed,
    /// After a time that not every segment can be given.
    Hung,
}

/// Whether the one before it doesn't wait too. PostgreSQL asks for the oldest first; a person may ask for any.
fn is_oldest(wal: &Path, file: WalName, size: SegmentSize) -> bool {
    let WalName::Segment(segment) = file else {
        return true;
    };
    let number = segment.number(size);
    let before = number.checked_sub(1);
    before.is_none_or(|before| {
        let before = Segment::nth(segment.timeline, before, size);
        !is_waiting(wal, &before.to_string())
    })
}

/// Stops counting as soon as it knows.
fn waits_more_than(status: &Path, most: u64) -> Result<bool> {
    let mut waiting = 0;
    for entry in fs::read_dir(status).at("read", status)? {
        let name = entry.at("read", status)?.file_name();
        let file = name.to_str().and_then(|name| name.strip_suffix(".ready"));
        if file.is_some_and(|file| file.parse::<Segment>().is_ok()) {
            waiting += 1;
            if waiting > most {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs::{File, FileTimes},
        time::SystemTime,
    };

    use super::*;
    use crate::domain::wal::tests::sample::Sample;

    const NAME: &str = "000000010000000000000003";

    #[test]
    fn only_a_try_that_has_just_failed_gives_the_oldest_up() {
        let sample = Sample::new("zstd");
        let status = sample.path("pg_wal/archive_status");
        fs::create_dir_all(&status).unwrap();
        for number in 3..8 {
            let name = format!("{:024X}.ready", (1_u128 << 64) + number);
            fs::write(status.join(name), []).unwrap();
        }
        let valve_of = |name: &str, waiting: u64| {
            Valve {
                state: &sample.path("state"),
                data_dir: &sample.path(""),
                most: Some(waiting << 20),
                time_limit: Duration::from_secs(60),
            }
            .decide(name.parse().unwrap(), &sample.path("pg_wal").join(name))
        };
        let valve = |waiting| valve_of(NAME, waiting);
        // As many as may wait.
        assert_eq!(valve(5), Decision::Store);
        assert_eq!(valve(4), Decision::TryToStore(None));
        let note = sample.path("state").join(FILE);
        for (word, age, before) in [
            // A kill, or a call that still runs.
            (TRYING, 1, None),
            (TRYING, 59, None),
            // The time limit.
            (TRYING, 61, Some(Before::Hung)),
            (TRYING, 119, Some(Before::Hung)),
            (TRYING, 121, None),
            (HUNG, 0, Some(Before::Hung)),
            (HUNG, 59, Some(Before::Hung)),
            (HUNG, 61, None),
            (HUNG, -100, None),
            (FAILED, 0, Some(Before::Failed)),
            (FAILED, 59, Some(Before::Failed)),
            (FAILED, 61, None),
            (FAILED, -100, None),
        ] {
            fs::write(&note, word).unwrap();
            let now = SystemTime::now();
            let age_or_future = Duration::from_secs(i64::abs(age) as u64);
            let time = match age < 0 {
                true => now + age_or_future,
                false => now - age_or_future,
            };
            let file = File::options().write(true).open(&note).unwrap();
            file.set_times(FileTimes::new().set_modified(time)).unwrap();
            // Behind another that waits it is stored, or told to be not.
            let behind = valve_of("000000010000000000000004", 4);
            assert_eq!(behind, Decision::Store);
            let decision = valve(4);
            let found = match &decision {
                Decision::GiveUp(_) => Some(Before::Hung),
                Decision::TryToStore(Some(_)) => Some(Before::Failed),
                Decision::TryToStore(None) => None,
                Decision::Store => panic!("{word} {age}"),
            };
            assert_eq!(found, before, "{word} {age}: {decision:?}");
            let left = fs::read_to_string(&note).unwrap();
            assert_eq!(left == HUNG, before == Some(Before::Hung), "{word} {age}");
        }
    }
}
