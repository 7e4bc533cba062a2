//! The safety valve of pg_wal, `wal.drop_above`: when WAL is given up so that the server lives on.
//!
//! Where more waits than the limit allows, a segment is
//! - given up if pg_wal's disk is about to be full, or if the last try to store one has failed a
//!   moment ago: so an outage doesn't cost a time limit for each;
//! - else stored, if that can be done.
//!
//! So nothing goes while storing works, however much waits, and what goes is the least that keeps
//! the limit. How it goes is told in [`super::gaps`].
//!
//! A note in the state folder tells how the last try went. It says `failed` only where an error
//! or the time limit ended it: who is killed is not taken for a repository that is away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::warn;

use crate::{
    error::{IoContext, Result},
    postgres::{
        control::Control,
        wal_name::{Segment, WalName},
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
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// For how long a try that failed speaks for the next ones.
const MEMORY: Duration = Duration::from_secs(60);

/// Room for so many segments is needed beside pg_wal.
const LEAST_ROOM: u64 = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// As ever.
    Store,
    /// Too much waits, but storing may work: [`Valve::tried`] is to be told how it went.
    TryToStore,
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
        if !status.join(format!("{file}.ready")).exists() {
            return Ok(Decision::Store);
        }
        let size = Control::read(self.data_dir)?.segment_size.bytes();
        if !waits_more_than(&status, most / size)? {
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
        if self.has_just_failed()? {
            let reason = format!("{waits}, and storing it has just failed");
            return Ok(Decision::GiveUp(reason));
        }
        create_folders(self.state, FOLDER_MODE, None)?;
        self.note(TRYING)?;
        Ok(Decision::TryToStore)
    }

    /// To be told how a try ended.
    pub fn tried(&self, succeeded: bool) {
        let noted = match succeeded {
            true => fs::remove_file(self.path()).at("remove", self.path()),
            false => self.note(FAILED),
        };
        if let Err(error) = noted {
            warn!(
                "wal.drop_above can't note how storing went: {}",
                error.in_one_line()
            );
        }
    }

    fn has_just_failed(&self) -> Result<bool> {
        let path = self.path();
        let Some(word) = read_if_there(&path)? else {
            return Ok(false);
        };
        let noted = fs::metadata(&path).and_then(|note| note.modified());
        // After the clock was set back it is time to try again.
        let Ok(age) = noted.at("read", &path)?.elapsed() else {
            return Ok(false);
        };
        if word == FAILED.as_bytes() {
            return Ok(age < MEMORY);
        }
        let hung = (self.time_limit..self.time_limit + MEMORY).contains(&age);
        if hung {
            self.note(FAILED)?;
        }
        Ok(hung)
    }

    fn note(&self, word: &str) -> Result<()> {
        write_over(&self.path(), FILE_MODE, word.as_bytes())
    }

    fn path(&self) -> PathBuf {
        self.state.join(FILE)
    }
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
    fn only_a_try_that_has_just_failed_gives_anything_up() {
        let sample = Sample::new("zstd");
        let status = sample.path("pg_wal/archive_status");
        fs::create_dir_all(&status).unwrap();
        for number in 3..8 {
            let name = format!("{:024X}.ready", (1_u128 << 64) + number);
            fs::write(status.join(name), []).unwrap();
        }
        let valve = |waiting: u64| {
            Valve {
                state: &sample.path("state"),
                data_dir: &sample.path(""),
                most: Some(waiting << 20),
                time_limit: Duration::from_secs(60),
            }
            .decide(NAME.parse().unwrap(), &sample.path("pg_wal").join(NAME))
        };
        // As many as may wait.
        assert_eq!(valve(5), Decision::Store);
        assert_eq!(valve(4), Decision::TryToStore);
        let note = sample.path("state").join(FILE);
        for (word, age, gives_up) in [
            // A kill, or a call that still runs.
            (TRYING, 1, false),
            (TRYING, 59, false),
            // The time limit.
            (TRYING, 61, true),
            (TRYING, 119, true),
            (TRYING, 121, false),
            (FAILED, 0, true),
            (FAILED, 59, true),
            (FAILED, 61, false),
            (FAILED, -100, false),
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
            let decision = valve(4);
            let given_up = matches!(decision, Decision::GiveUp(_));
            assert_eq!(given_up, gives_up, "{word} {age}: {decision:?}");
            let left = fs::read_to_string(&note).unwrap();
            assert_eq!(left == FAILED, gives_up, "{word} {age}");
        }
    }
}
