//! Why archive-wal failed last, in the state folder: `archive-failed.json`. PostgreSQL's statistics tell that
//! it failed and with which file; the reason stands in the server's log alone, where few look while they wait.
//!
//! Only a help: who can't leave or read the note does without. The next file that is stored removes it.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, IoContext, Result},
    postgres::wal_name::WalName,
    util::fs::{read_if_there, write_over},
};

const FILE: &str = "archive-failed.json";
const FILE_MODE: u32 = 0o640;

/// What it could not store, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub wal: String,
    pub error: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Failed {
    /// Notes how archiving `file` ended.
    pub fn note<T>(state: &Path, file: WalName, ended: &Result<T>) {
        let noted = match ended {
            Ok(_) => {
                // Mostly there is none.
                let _ = fs::remove_file(state.join(FILE));
                return;
            }
            Err(error) => Self {
                wal: file.to_string(),
                error: error.in_one_line(),
                hint: error.hint_text().map(str::to_owned),
            }
            .write(state),
        };
        if let Err(error) = noted {
            tracing::debug!("no note of the failure is left: {}", error.in_one_line());
        }
    }

    fn write(&self, state: &Path) -> Result<()> {
        // A call by hand as root must leave nothing that the server's own calls can't read or change.
        if fs::metadata(state).at("look at", state)?.uid() != geteuid().as_raw() {
            return Ok(());
        }
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::failed("can't note why archiving fails").because(error))?;
        write_over(&state.join(FILE), FILE_MODE, &json)
    }

    /// None, too, where it can't be read.
    pub fn read(state: &Path) -> Option<Self> {
        let json = read_if_there(&state.join(FILE)).ok()??;
        serde_json::from_slice(&json).ok()
    }

    /// Why `wal`, which failed last by PostgreSQL's statistics, was not stored, or who can tell.
    pub fn why(noted: Option<&Self>, wal: &str) -> String {
        let of_wal = noted.filter(|noted| noted.wal == wal);
        of_wal.map_or_else(
            || "the server's log tells why".to_owned(),
            |noted| noted.error.clone(),
        )
    }

    /// What to do about that: as archive-wal said, or else in general.
    pub fn cure(noted: Option<&Self>, wal: &str) -> String {
        let of_wal = noted.filter(|noted| noted.wal == wal);
        let hint = of_wal.and_then(|noted| noted.hint.as_deref());
        let mend = hint.unwrap_or("mend what the reason names.");
        format!("{mend} PostgreSQL goes on trying by itself.")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_note_lies_in_a_folder_of_ones_own_until_the_next_success() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let file: WalName = "000000010000000000000003".parse().unwrap();
        let failed: Result<()> = Err(Error::failed("no room").because("full").hint("make some."));
        // None is made, and what is another's is left alone.
        Failed::note(&state, file, &failed);
        assert!(!state.exists());
        fs::create_dir(&state).unwrap();
        if geteuid().is_root() {
            chown(&state, Some(1), None).unwrap();
            Failed::note(&state, file, &failed);
            assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
            chown(&state, Some(0), None).unwrap();
        }
        Failed::note(&state, file, &failed);
        let noted = Failed::read(&state);
        assert_eq!(
            Failed::why(noted.as_ref(), &file.to_string()),
            "no room: full"
        );
        let cure = |wal: &str| Failed::cure(noted.as_ref(), wal);
        let own = "make some. PostgreSQL goes on trying by itself.";
        assert_eq!(cure(&file.to_string()), own);
        let other = "000000010000000000000004";
        assert_eq!(
            Failed::why(noted.as_ref(), other),
            "the server's log tells why"
        );
        assert!(cure(other).starts_with("mend what the reason names."));
        Failed::note(&state, file, &Ok(()));
        assert_eq!(Failed::read(&state), None);
    }
}
