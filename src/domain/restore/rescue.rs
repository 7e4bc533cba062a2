//! WAL that the replaced cluster had and the archive has not: the end of what happened.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::{
    choice::Choice,
    folders::{Owner, give},
    prove,
};
use crate::{
    error::{IoContext, Result},
    postgres::{
        wal_header::WalHeader,
        wal_name::{Segment, WalName},
    },
    repo::{
        repository::{Repository, System},
        wal_index::WalIndex,
    },
    util::{fs::write_over, hash::copy},
};

/// The segments in `pg_wal` that are of this system, whole by their header, and not archived.
/// Recycled ones carry the address of what they held before, and don't count.
pub fn find(pg_wal: &Path, system: &System, wal: &WalIndex) -> Result<BTreeSet<Segment>> {
    let mut found = BTreeSet::new();
    let entries = match fs::read_dir(pg_wal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.at("read", pg_wal)?,
    };
    for entry in entries {
        let entry = entry.at("read", pg_wal)?;
        let name = entry.file_name();
        let Some(segment) = name.to_str().and_then(|name| name.parse::<Segment>().ok()) else {
            continue;
        };
        let number = segment.number(system.segment_size);
        if !segment.fits(system.segment_size) || wal.reach(segment.timeline, number).is_some() {
            continue;
        }
        let path = entry.path();
        let mut file = File::open(&path).at("read", &path)?;
        let length = file.metadata().at("look at", &path)?.len();
        let ours = WalHeader::read(&mut file, &path).and_then(|header| {
            header
                .check(segment, length)
                .map(|()| header.system == system.system_id)
        });
        if ours.is_ok_and(|ours| ours) {
            found.insert(segment);
        }
    }
    Ok(found)
}

/// Puts the choice's rescued segments and its `.partial` into the new pg_wal under their plain
/// names, where the server finds them once the archive has no more.
///
/// Where the server will archive, the rescued ones but the last are marked for it: else the
/// archive would keep a hole in front of the new timeline.
pub fn put(
    choice: &Choice,
    repository: &Repository,
    system: &System,
    old_wal: Option<&Path>,
    pg_wal: &Path,
    archives: bool,
    owner: Option<Owner>,
) -> Result<()> {
    for segment in choice.rescued.iter().chain(&choice.partial) {
        let path = pg_wal.join(segment.to_string());
        let mut file = crate::util::fs::NewFile::create(&path, 0o600)?;
        match old_wal.filter(|_| choice.rescued.contains(segment)) {
            Some(old) => {
                let old = old.join(segment.to_string());
                let mut from = File::open(&old).at("read", &old)?;
                copy(&mut from, &mut file).at("copy to", &path)?;
            }
            None => prove::read_stored(repository, system, choice, *segment, &mut file)?,
        }
        file.flush().at("write", &path)?;
        file.file()
            .set_len(system.segment_size.bytes())
            .at("write", &path)?;
        file.publish_over()?;
        give(&path, owner)?;
    }
    let last = choice.rescued.last();
    for segment in choice
        .rescued
        .iter()
        .filter(|segment| archives && Some(*segment) != last)
    {
        let ready = format!("{}.ready", WalName::Segment(*segment));
        let path = pg_wal.join("archive_status").join(ready);
        write_over(&path, 0o600, b"")?;
        give(&path, owner)?;
    }
    Ok(())
}
