//! Whether folders are used again (`--delta`), and what is left of them then.

use std::{fs, path::PathBuf};

use super::{
    delta::owned,
    folders::{Facts, State},
    guard,
    request::Delta,
    tablespaces::Tablespace,
};
use crate::{error::Result, postgres::lsn::SystemId};

/// What of the wish holds for a data directory; None where nothing in it can be used.
pub fn decide(
    data_dir: &Facts,
    wish: Option<Delta>,
    system: SystemId,
    warnings: &mut Vec<String>,
) -> Result<Option<Delta>> {
    let Some(wish) = wish else {
        return Ok(None);
    };
    let trust_times = match data_dir.state {
        State::Missing | State::Empty => return Ok(None),
        // Its files may be younger than what is in them: a power cut leaves times, not bytes.
        State::Unfinished(_) => false,
        State::Occupied => {
            guard::refuse_others(&data_dir.path)?;
            let owned = owned::check(&data_dir.path, system);
            let is_owned = owned.is_ok();
            if !wish.force {
                owned?;
            }
            wish.trust_times && is_owned
        }
    };
    if wish.trust_times && !trust_times {
        warnings.push(format!(
            "times of files prove nothing in {}: all are read",
            data_dir.path.display()
        ));
    }
    Ok(Some(Delta {
        trust_times,
        ..wish
    }))
}

/// Tablespaces of the folder that the backup has not, or has elsewhere: their files stay.
pub fn left_tablespaces(data_dir: Option<&PathBuf>, tablespaces: &[Tablespace]) -> Vec<String> {
    let links = data_dir.map(|data_dir| data_dir.join("pg_tblspc"));
    let entries = links.and_then(|links| fs::read_dir(links).ok());
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let left = paths.filter_map(|path| fs::read_link(path).ok());
    let left = left.filter(|to| !tablespaces.iter().any(|space| space.path == *to));
    left.map(|to| {
        format!(
            "the old cluster had a tablespace in {}, the restored one has none there: its files are left as they are",
            to.display()
        )
    })
    .collect()
}
