//! WAL of the old cluster that the archive has not: it gets a second name outside of the folder
//! before anything in there changes, and stays there. Nothing else has it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::super::{
    folders::{Facts, Owner, give, make_for_notes},
    places,
};
use crate::{
    error::{IoContext, Result},
    postgres::wal_name::{Segment, WalName},
    util::{
        clock::Time,
        fs::{create_new_folder, folder_of, link_or_copy, sync_folder},
    },
};

/// Where it goes: beside the data directory, where a second name costs no room; where nothing can
/// be made there, a copy into `state`.
pub fn place(data_dir: &Facts, state: Option<&Path>, now: Time) -> PathBuf {
    let beside = places::aside(&data_dir.path, now);
    let writable = access(folder_of(&beside), Access::WRITE_OK | Access::EXEC_OK).is_ok();
    match state {
        Some(state) if data_dir.mount_point || !writable => {
            places::free_name(state.join(format!("wal-{}", now.format("%Y%m%dT%H%M%SZ"))))
        }
        _ => beside,
    }
}

/// Keeps `segments` of `pg_wal`, and the histories that lead to them, in `kept`/pg_wal.
pub fn keep(
    pg_wal: &Path,
    segments: &BTreeSet<Segment>,
    kept: &Path,
    owner: Option<Owner>,
) -> Result<()> {
    if !folder_of(kept).is_dir() {
        make_for_notes(folder_of(kept), owner)?;
    }
    create_new_folder(kept, 0o700).map_err(|error| {
        error.hint("another restore took this name just now: wait for it, then run this one again if it failed.")
    })?;
    give(kept, owner)?;
    let to = kept.join("pg_wal");
    create_new_folder(&to, 0o700)?;
    give(&to, owner)?;
    for entry in fs::read_dir(pg_wal).at("read", pg_wal)? {
        let entry = entry.at("read", pg_wal)?;
        let name = entry.file_name();
        let wanted = match name.to_str().and_then(|name| name.parse().ok()) {
            Some(WalName::Segment(segment)) => segments.contains(&segment),
            Some(WalName::History(_)) => true,
            _ => false,
        };
        if wanted && entry.file_type().at("look at", entry.path())?.is_file() {
            let path = to.join(&name);
            link_or_copy(&entry.path(), &path, 0o600)?;
            give(&path, owner)?;
        }
    }
    sync_folder(&to)?;
    sync_folder(kept)?;
    sync_folder(folder_of(kept))
}
