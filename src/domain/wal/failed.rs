//! Why archive-wal failed last, in the state folder: `archive-failed.json`. PostgreSQL's statistics tell that
//! it failed and with which file; the reason stands in the server's log alone, where few look while they wait.
//!
//! Only a help: who can't leave or read the note does without. The next file that is stored removes it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    postgres::wal_name::WalName,
    util::fs::{create_folders, read_if_there, write_over},
};

const FILE: &str = "archive-failed.json";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// What it could not store, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub wal: String,
    pub error: String,
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
            }
            .write(state),
        };
        if let Err(error) = noted {
            tracing::debug!("no note of the failure is left: {}", error.in_one_line());
        }
    }

    fn write(&self, state: &Path) -> Result<()> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::failed("can't note why archiving fails").because(error))?;
        create_folders(state, FOLDER_MODE, None)?;
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
}
