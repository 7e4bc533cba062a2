//! One WAL file from the repository to where PostgreSQL wants it: whole and checked, or not at all.
//!
//! The bytes go into a temporary file beside the destination, which gets its name only after the
//! file was found to be the right one. A crash before that leaves a file that no server looks at.

use std::{
    io::{Read, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    follow::{Follower, what_follows},
    stored::Stored,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::wal_name::{Segment, WalName},
    repo::{
        layout::ObjectName,
        repository::{Repository, System},
    },
    util::{
        clock::Time,
        fs::{NewFile, write_over},
        meter::Meter,
    },
};

/// As PostgreSQL's own files: its umask takes the group's bit away where it does.
const FILE_MODE: u32 = 0o640;

/// Between two looks at a hole that may be about to close.
const PAUSE: Duration = Duration::from_millis(250);

/// What is wanted, and where.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub name: WalName,
    pub destination: &'a Path,
    /// Behind this segment, absent is the end whatever follows: PostgreSQL decodes ahead and asks
    /// for more than it needs.
    pub last: Option<Segment>,
    /// How long a hole is looked at again: of two segments, the later may be stored first.
    pub patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    Placed,
    /// Proven: the repository answered, and nothing follows; or a damaged history that isn't
    /// needed. Every doubt is an error.
    Absent,
}

pub fn fetch(
    repository: &Repository,
    system: &System,
    wanted: &Wanted<'_>,
    meter: &Meter,
) -> Result<Fetched> {
    let begin = Instant::now();
    let object = repository.wal_object(system, wanted.name);
    let place_of_object = repository.storage().place(&object);
    meter.begin(&format!("fetching {place_of_object}"), 0);
    loop {
        match repository.storage().get(&object, None) {
            Ok(reader) => {
                return match place(repository, system, wanted, &object, reader) {
                    Err(error) if error.kind() == Kind::Damaged => without_history(wanted, error),
                    placed => placed.map(|()| Fetched::Placed),
                };
            }
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            Err(_) => {}
        }
        let Some(doubt) = doubt(repository, system, wanted)? else {
            return Ok(Fetched::Absent);
        };
        if begin.elapsed() + PAUSE > wanted.patience {
            return Err(doubt.error(wanted.name));
        }
        thread::sleep(PAUSE);
    }
}

/// What a server is told of a history that is damaged.
///
/// Who gave the last segment has seen that the way there doesn't need it. But at the end of
/// recovery the server asks for the history of each later timeline, to find a number that is free
/// (findNewestTimeLine in `src/backend/access/transam/timeline.c`). So there is one, whose text
/// no server can take for a history: it stops where it needs it after all.
fn without_history(wanted: &Wanted<'_>, error: Error) -> Result<Fetched> {
    let (WalName::History(timeline), Some(last)) = (wanted.name, wanted.last) else {
        return Err(error);
    };
    warn!("{}", error.in_one_line());
    if timeline <= last.timeline {
        return Ok(Fetched::Absent);
    }
    let text = format!("the history of timeline {timeline} is damaged in the repository\n");
    write_over(wanted.destination, FILE_MODE, text.as_bytes())?;
    Ok(Fetched::Placed)
}

/// Why an absent file is not taken for the end of the archive.
enum Doubt {
    Hole(Follower),
    /// There is no WAL of the system at all.
    Empty(String),
}

impl Doubt {
    fn error(self, name: WalName) -> Error {
        match self {
            Doubt::Hole(follower) => Error::failed(format!(
                "{name} is missing, but is not the end of the archive: {follower}"
            ))
            .hint(
                "this segment is lost, or not archived yet: look for it in pg_wal of the server that wrote it \
                 and store it with `pgstow archive-wal`; `pgstow list` shows how far can be restored without it.",
            ),
            Doubt::Empty(place) => Error::failed(format!(
                "{name} is missing, and so is all other WAL of its system: {place} is empty"
            ))
            .hint(
                "check that the disk below this folder is mounted; if nothing was ever archived, restore with \
                 `pgstow restore`, which tells restore-wal so.",
            ),
        }
    }
}

fn doubt(repository: &Repository, system: &System, wanted: &Wanted<'_>) -> Result<Option<Doubt>> {
    let hole = match wanted.name {
        WalName::Segment(segment) if !is_behind(segment, wanted.last, system) => {
            what_follows(repository, system, segment)?
        }
        // The server asks for histories to find out which timelines there are, and people alone
        // ask for the rest.
        _ => None,
    };
    let doubt = match hole {
        Some(follower) => Some(Doubt::Hole(follower)),
        // Who gave the last segment has seen what is there.
        None if wanted.last.is_some() || has_any(repository, system)? => None,
        None => {
            let folder = repository.layout().wal(system.system_id);
            Some(Doubt::Empty(repository.storage().place(&folder.object(""))))
        }
    };
    // Last, so that nothing before it was an answer of a store that is not there.
    repository.confirm()?;
    Ok(doubt)
}

/// Whether there is any WAL of the system. Below a disk of its own that isn't mounted there is none.
fn has_any(repository: &Repository, system: &System) -> Result<bool> {
    let (layout, id) = (repository.layout(), system.system_id);
    for object in repository.storage().list(&layout.wal(id), None)? {
        if layout.read_wal_file(id, &object?.name).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// By position, whatever timeline each is named after.
fn is_behind(segment: Segment, last: Option<Segment>, system: &System) -> bool {
    let size = system.segment_size;
    last.is_some_and(|last| segment.number(size) > last.number(size))
}

fn place(
    repository: &Repository,
    system: &System,
    wanted: &Wanted<'_>,
    object: &ObjectName,
    reader: impl Read + Send,
) -> Result<()> {
    let stored = Stored {
        repository,
        system,
        object,
        file: wanted.name,
    };
    let file = unpack(&stored, wanted.destination, reader)?;
    match is_recoverys_own(wanted.destination) {
        true => file.appear_over(),
        false => file.publish_over(),
    }
}

/// PostgreSQL removes what is under these names before it asks, and syncs what it keeps
/// (RestoreArchivedFile, KeepFileRestoredFromArchive in
/// `src/backend/access/transam/xlogarchive.c`): so they needn't survive a crash of the host.
pub fn is_recoverys_own(destination: &Path) -> bool {
    destination.ends_with("RECOVERYXLOG") || destination.ends_with("RECOVERYHISTORY")
}

/// One stored segment into the spool, under the time of the object that it comes from.
pub fn spool_one(
    repository: &Repository,
    system: &System,
    file: WalName,
    path: &Path,
    made: Time,
) -> Result<()> {
    let mut unpacked = NewFile::create(path, FILE_MODE)?;
    read(repository, system, file, |bytes| {
        unpacked.write_all(bytes).at("write", path)
    })?;
    unpacked
        .file()
        .set_modified(made.into())
        .at("set the time of", path)?;
    unpacked.appear_over()
}

/// Gives the plain bytes of a stored file to `sink`. Only when it returns is it known that they were the right ones.
pub fn read(
    repository: &Repository,
    system: &System,
    file: WalName,
    sink: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let object = repository.wal_object(system, file);
    let stored = Stored {
        repository,
        system,
        object: &object,
        file,
    };
    stored.read(repository.storage().get(&object, None)?, sink)
}

/// Whole and checked, but without a name yet.
fn unpack(stored: &Stored<'_>, path: &Path, reader: impl Read + Send) -> Result<NewFile> {
    let mut file = NewFile::create(path, FILE_MODE)?;
    stored.read(reader, |bytes| file.write_all(bytes).at("write", path))?;
    Ok(file)
}
