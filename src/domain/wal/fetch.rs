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

use super::{
    TEXT_LIMIT,
    follow::{Follower, what_follows},
    offered::check_text,
    pass::pass,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        wal_header::{self, WalHeader},
        wal_name::{Segment, WalName},
    },
    repo::{
        layout::ObjectName,
        repository::{Repository, System},
    },
    util::{fs::NewFile, meter::Meter},
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
    /// Proven: the repository answered, and nothing follows. Every doubt is an error.
    Absent,
}

pub fn fetch(
    repository: &Repository,
    system: &System,
    wanted: &Wanted<'_>,
    meter: &Meter,
) -> Result<Fetched> {
    let begin = Instant::now();
    let codec = system.codec_of(wanted.name);
    let object = repository
        .layout()
        .wal_file(system.system_id, wanted.name, codec);
    meter.begin(
        &format!("fetching {}", repository.storage().place(&object)),
        0,
    );
    loop {
        match repository.storage().get(&object, None) {
            Ok(reader) => {
                place(repository, system, wanted, &object, reader)?;
                return Ok(Fetched::Placed);
            }
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            Err(_) => {}
        }
        let Some(follower) = what_proves_a_hole(repository, system, wanted)? else {
            return Ok(Fetched::Absent);
        };
        if begin.elapsed() + PAUSE > wanted.patience {
            return Err(hole(wanted.name, follower));
        }
        thread::sleep(PAUSE);
    }
}

fn hole(name: WalName, follower: Follower) -> Error {
    Error::failed(format!(
        "{name} is missing, but is not the end of the archive: {follower}"
    ))
    .hint(
        "this segment is lost, or not archived yet: look for it in pg_wal of the server that wrote it \
         and store it with `pgstow archive-wal`; `pgstow list` shows how far can be restored without it.",
    )
}

fn what_proves_a_hole(
    repository: &Repository,
    system: &System,
    wanted: &Wanted<'_>,
) -> Result<Option<Follower>> {
    let follower = match wanted.name {
        WalName::Segment(segment) if !is_behind(segment, wanted.last, system) => {
            what_follows(repository, system, segment)?
        }
        // The server asks for histories to find out which timelines there are, and people alone
        // ask for the rest.
        _ => None,
    };
    // Last, so that nothing before it was an answer of a store that is not there.
    repository.confirm()?;
    Ok(follower)
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
    let store = repository.storage();
    let place = store.place(object);
    let unreadable = |error| store.failed("read", object, error);
    let limit = match wanted.name.segment() {
        Some(_) => system.segment_size.bytes(),
        None => TEXT_LIMIT,
    };
    let keep = match wanted.name.segment() {
        Some(_) => wal_header::LENGTH,
        None => TEXT_LIMIT as usize,
    };
    let mut first = Vec::new();
    let mut file = NewFile::create(wanted.destination, FILE_MODE)?;
    let decoder = system
        .codec_of(wanted.name)
        .decoder(reader)
        .map_err(unreadable)?;
    // A byte more than there may be shows that there are too many.
    let length = pass(decoder, limit + 1, unreadable, |bytes| {
        first.extend(bytes.iter().take(keep - first.len()));
        file.write_all(bytes).at("write", wanted.destination)
    })?;
    check(system, wanted.name, &first, length).map_err(|error| {
        error
            .context(format!("what is stored as {place} can't be used"))
            .hint("`pgstow verify --wal` shows what else is damaged and which restores it harms.")
    })?;
    file.publish_over()
}

/// Whether a file of `length` bytes that begins with `first`, which of a text file are all, is
/// the file `name` of `system`.
pub(super) fn check(system: &System, name: WalName, first: &[u8], length: u64) -> Result<()> {
    let Some(segment) = name.segment() else {
        return check_text(name, first);
    };
    let header = WalHeader::parse(first)?;
    header.check(segment, length)?;
    if (header.system, header.segment_size) == (system.system_id, system.segment_size) {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "WAL segment {name} is of system {} with segments of {} bytes, not of system {} with {} bytes",
        header.system,
        header.segment_size.bytes(),
        system.system_id,
        system.segment_size.bytes()
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::domain::wal::sample::{Sample, segment_file};

    const QUICK: Duration = Duration::from_millis(0);

    fn fetch_named(sample: &Sample, name: &str, last: Option<&str>) -> Result<Fetched> {
        let destination = sample.path("RECOVERYXLOG");
        let wanted = Wanted {
            name: name.parse().unwrap(),
            destination: &destination,
            last: last.map(|last| last.parse().unwrap()),
            patience: QUICK,
        };
        let result = fetch(
            &sample.repository,
            &sample.system,
            &wanted,
            &Meter::default(),
        );
        let placed = matches!(result, Ok(Fetched::Placed));
        assert_eq!(destination.exists(), placed, "{name}");
        result
    }

    #[test]
    fn what_was_stored_comes_back_byte_for_byte() {
        for codec in ["none", "gzip", "lz4", "zstd"] {
            let sample = Sample::new(codec);
            for name in [
                "000000010000000000000003",
                "000000010000000000000004.partial",
            ] {
                sample.push(name).unwrap();
                assert_eq!(fetch_named(&sample, name, None).unwrap(), Fetched::Placed);
                let found = fs::read(sample.path("RECOVERYXLOG")).unwrap();
                assert!(found == segment_file(name), "{codec} {name}");
                fs::remove_file(sample.path("RECOVERYXLOG")).unwrap();
            }
            // Nothing temporary is left beside it.
            assert_eq!(sample.strays(), Vec::<String>::new());
        }
    }

    #[test]
    fn an_old_file_in_the_way_is_replaced() {
        let sample = Sample::new("zstd");
        let name = "000000010000000000000003";
        sample.push(name).unwrap();
        fs::write(sample.path("RECOVERYXLOG"), b"half").unwrap();
        fetch_named(&sample, name, None).unwrap();
        assert!(fs::read(sample.path("RECOVERYXLOG")).unwrap() == segment_file(name));
    }

    #[test]
    fn damage_is_never_placed_and_never_absent() {
        let name = "000000010000000000000003";
        let other = "000000010000000000000004";
        for (codec, damage) in [
            ("zstd", "cut"),
            ("zstd", "flip"),
            ("zstd", "empty"),
            ("zstd", "other"),
            ("gzip", "cut"),
            ("lz4", "flip"),
            ("none", "cut"),
            ("none", "empty"),
            ("none", "longer"),
            ("none", "other"),
            ("none", "system"),
        ] {
            let sample = Sample::new(codec);
            sample.push(name).unwrap();
            sample.push(other).unwrap();
            let object = sample.object(name);
            let mut bytes = fs::read(&object).unwrap();
            match damage {
                "cut" => bytes.truncate(bytes.len() - 1),
                "flip" => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                }
                "empty" => bytes.clear(),
                "longer" => bytes.push(0),
                "other" => bytes = fs::read(sample.object(other)).unwrap(),
                // xlp_sysid
                _ => bytes[24] ^= 1,
            }
            fs::write(&object, bytes).unwrap();
            let error = fetch_named(&sample, name, None).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{codec} {damage}: {error}");
            assert_eq!(sample.strays(), Vec::<String>::new());
        }
    }

    #[test]
    fn absent_is_only_what_nothing_follows() {
        // Segments of 1 MiB: 0/500000 is the first byte of segment 5.
        let history = |line: &str| format!("{line}\tno recovery target specified\n");
        let inside = history("1\t0/480000");
        let border = history("1\t0/500000");
        let grandchild = format!("{}{}", history("1\t0/500000"), history("2\t0/900000"));
        for (stored, histories, last, hole) in [
            (vec![], vec![], None, false),
            (vec!["000000010000000000000003"], vec![], None, false),
            (vec!["000000010000000000000005"], vec![], None, true),
            (vec!["000000010000000000000005.partial"], vec![], None, true),
            (vec!["000000010000000100000000"], vec![], None, true),
            // Its own partial one is never served, and proves nothing.
            (
                vec!["000000010000000000000004.partial"],
                vec![],
                None,
                false,
            ),
            // Of another timeline.
            (vec!["000000020000000000000005"], vec![], None, false),
            // A fork inside the segment is where the old timeline ends, one behind it is not.
            (vec![], vec![(2, inside.as_str())], None, false),
            (vec![], vec![(2, border.as_str())], None, true),
            (
                vec!["000000020000000000000004"],
                vec![(2, &inside)],
                None,
                false,
            ),
            (
                vec!["000000020000000000000005"],
                vec![(2, &inside), (7, &grandchild)],
                None,
                true,
            ),
            // Behind the last that is needed, whatever follows.
            (
                vec!["000000010000000000000005"],
                vec![],
                Some("000000010000000000000003"),
                false,
            ),
            (
                vec!["000000010000000000000005"],
                vec![],
                Some("000000010000000000000004"),
                true,
            ),
        ] {
            let sample = Sample::new("zstd");
            for name in &stored {
                sample.push(name).unwrap();
            }
            for (timeline, text) in &histories {
                sample.push_history(*timeline, text).unwrap();
            }
            let found = fetch_named(&sample, "000000010000000000000004", last);
            let case = format!("{stored:?} {histories:?} {last:?}");
            match found {
                Ok(found) => assert_eq!((found, hole), (Fetched::Absent, false), "{case}"),
                Err(error) => assert!(
                    hole && error.message().contains("missing"),
                    "{case} {error}"
                ),
            }
        }
    }

    #[test]
    fn a_history_is_asked_for_to_find_out_whether_there_is_one() {
        let sample = Sample::new("zstd");
        sample.push_history(3, "1\t0/500000\tx\n").unwrap();
        let get = |name| fetch_named(&sample, name, None).unwrap();
        assert_eq!(get("00000002.history"), Fetched::Absent);
        assert_eq!(get("00000004.history"), Fetched::Absent);
        assert_eq!(get("00000003.history"), Fetched::Placed);
    }

    #[test]
    fn a_hole_that_closes_in_time_is_none() {
        let sample = Sample::new("zstd");
        sample.push("000000010000000000000005").unwrap();
        let destination = sample.path("RECOVERYXLOG");
        let wanted = Wanted {
            name: "000000010000000000000004".parse().unwrap(),
            destination: &destination,
            last: None,
            patience: Duration::from_secs(60),
        };
        let found = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(PAUSE / 2);
                sample.push("000000010000000000000004").unwrap();
            });
            fetch(
                &sample.repository,
                &sample.system,
                &wanted,
                &Meter::default(),
            )
        });
        assert_eq!(found.unwrap(), Fetched::Placed);
    }

    #[test]
    fn a_repository_that_went_away_proves_nothing() {
        let sample = Sample::new("zstd");
        fs::rename(sample.path("repository"), sample.path("elsewhere")).unwrap();
        for name in ["000000010000000000000004", "00000002.history"] {
            assert!(fetch_named(&sample, name, None).is_err());
        }
        // The mount point without the disk.
        fs::create_dir(sample.path("repository")).unwrap();
        for name in ["000000010000000000000004", "00000002.history"] {
            assert!(fetch_named(&sample, name, None).is_err());
        }
    }

    #[test]
    fn a_history_that_can_not_be_read_is_doubt() {
        let sample = Sample::new("zstd");
        sample.push_history(2, "1\t0/480000\tx\n").unwrap();
        fs::write(sample.object("00000002.history"), b"?").unwrap();
        let error = fetch_named(&sample, "000000010000000000000004", None).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(fetch_named(&sample, "00000002.history", None).is_err());
    }
}
