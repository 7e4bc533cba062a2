//! That the chosen repository took too long to answer, noted in the state folder: for a while the others are asked first.
//! Recovery asks for thousands of segments, and each would wait for it anew.
//!
//! Only a help: who can't leave or read the note waits.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    error::{Error, Kind},
    util::fs::{create_folders, write_over},
};

const FILE: &str = "repository-away";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Then it is asked first again.
const COUNTS: Duration = Duration::from_secs(5 * 60);

pub struct Absence(PathBuf);

impl Absence {
    pub fn at(state: &Path) -> Self {
        Self(state.join(FILE))
    }

    /// What was noted a short time ago.
    pub fn noted(&self) -> Option<Error> {
        let noted = fs::metadata(&self.0)
            .and_then(|facts| facts.modified())
            .ok()?;
        // Where the clock went back it is too old, too.
        let age = SystemTime::now().duration_since(noted).ok()?;
        let why = || fs::read_to_string(&self.0).ok();
        let why = (age < COUNTS).then(why).flatten()?;
        Some(Error::new(Kind::TimedOut, why))
    }

    pub fn note(&self, error: &Error) {
        let noted = create_folders(self.0.parent().unwrap_or(Path::new("")), FOLDER_MODE, None)
            .and_then(|()| write_over(&self.0, FILE_MODE, error.in_one_line().as_bytes()));
        if let Err(error) = noted {
            tracing::debug!("no note is left: {}", error.in_one_line());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn it_counts_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let absence = Absence::at(&folder.path().join("main"));
        assert!(absence.noted().is_none());
        absence.note(&Error::new(Kind::TimedOut, "no answer"));
        assert_eq!(absence.noted().unwrap().in_one_line(), "no answer");
        for seconds in [COUNTS.as_secs() + 1, 0] {
            let file = File::options().write(true).open(&absence.0).unwrap();
            let time = match seconds {
                0 => SystemTime::now() + Duration::from_secs(3600),
                _ => SystemTime::now() - Duration::from_secs(seconds),
            };
            file.set_modified(time).unwrap();
            assert!(absence.noted().is_none());
        }
    }
}
