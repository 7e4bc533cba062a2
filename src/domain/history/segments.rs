//! Brings stored segments where pg_waldump finds them, and has it read one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::{digest::Digest, way::Way};
use crate::{
    domain::wal::fetch,
    error::{IoContext, Kind, Result},
    postgres::{
        lsn::Lsn,
        wal_line::{Happened, WalLine},
        wal_name::Segment,
        waldump::Dump,
    },
    repo::{
        others::Others,
        repository::{Repository, System},
    },
    util::{
        cancel::Cancel,
        clock::Time,
        fs::{create_file, link_or_copy},
    },
};

/// Of a second name, should it be a copy.
const FILE_MODE: u32 = 0o600;

/// The kinds of records that tell what is looked for; the others are not even printed.
const KINDS: [&str; 5] = [
    "--rmgr=Transaction",
    "--rmgr=Heap",
    "--rmgr=Storage",
    "--rmgr=Standby",
    "--rmgr=XLOG",
];

/// Before an LSN in what pg_waldump says where it can't go on.
const STOPPED_AT: &str = "error in WAL record at ";

#[derive(Clone, Copy)]
pub struct Segments<'a> {
    pub repository: &'a Repository,
    /// For what it should have and can't give.
    pub others: &'a Others,
    pub system: &'a System,
    pub way: &'a Way,
    pub waldump: &'a Path,
    /// A scratch folder.
    pub folder: &'a Path,
    /// Where segments lie that the repository has not got.
    pub received: &'a BTreeMap<Segment, PathBuf>,
    pub cancel: &'a Cancel,
}

/// What came of reading a segment.
#[derive(Debug)]
pub struct Read {
    pub digest: Digest,
    /// Why what it holds, or the rest of it, is not known.
    pub trouble: Option<String>,
}

impl Read {
    pub fn nothing(why: String) -> Self {
        Self {
            digest: Digest::default(),
            trouble: Some(why),
        }
    }
}

impl Segments<'_> {
    fn path(&self, segment: Segment) -> PathBuf {
        self.folder.join(segment.to_string())
    }

    /// Puts the segment at a place of the way into the folder; why not, where that is about this segment alone.
    pub fn fetch(&self, place: usize) -> Result<Result<(), String>> {
        self.cancel.check()?;
        let Some(segment) = self.way.segment(place) else {
            return Ok(Err("there is none".to_owned()));
        };
        match self.put(self.repository, self.system, segment) {
            Ok(()) => Ok(Ok(())),
            Err(error)
                if error.kind() == Kind::NotFound || self.repository.is_of_object(&error) =>
            {
                self.repository.confirm()?;
                let why = error.in_one_line();
                let elsewhere = self.others.find(&segment.to_string(), |other| {
                    let system = other.system(self.system.system_id)?;
                    self.put(other, &system, segment).map(Some)
                });
                let Some((name, ())) = elsewhere else {
                    return Ok(Err(why));
                };
                warn!("{segment} comes from repository {name}: {why}");
                Ok(Ok(()))
            }
            Err(error) => Err(error),
        }
    }

    /// Nothing is there where it fails.
    fn put(&self, repository: &Repository, system: &System, segment: Segment) -> Result<()> {
        let put = self.copy(repository, system, segment);
        if put.is_err() {
            let _ = fs::remove_file(self.path(segment));
        }
        put
    }

    fn copy(&self, repository: &Repository, system: &System, segment: Segment) -> Result<()> {
        let path = self.path(segment);
        let stored = self.way.stored_as(segment);
        // Its end is near: the disk need not begin with it.
        let mut file = create_file(&path)?;
        if let Some(received) = self.received.get(&segment)
            && let Ok(mut from) = File::open(received)
        {
            return io::copy(&mut from, &mut file)
                .map(drop)
                .at("copy to", &path);
        }
        // There, or stored meanwhile.
        let mut sink = |bytes: &[u8]| file.write_all(bytes).at("write", &path);
        match fetch::read(repository, system, stored, &mut sink) {
            Err(error)
                if error.kind() == Kind::NotFound && self.way.in_pieces() == Some(segment) => {}
            other => return other,
        }
        repository.read_pieces(system, segment, sink)?;
        // As pg_waldump wants it.
        let length = system.segment_size.bytes();
        file.set_len(length).at("write", &path)
    }

    /// Takes the segment at a place out of the folder, if it is there.
    pub fn remove(&self, place: usize) {
        if let Some(segment) = self.way.segment(place) {
            // What stays goes with the folder.
            let _ = fs::remove_file(self.path(segment));
        }
    }

    /// Reads the segment at a place, which is in the folder, as is the one behind it where there is one.
    pub fn read(&self, place: usize, has_next: bool) -> Result<Read> {
        let size = self.system.segment_size;
        let Some(segment) = self.way.segment(place) else {
            return Ok(Read::nothing("there is none".to_owned()));
        };
        let next = (has_next && self.way.goes_on(place)).then(|| self.way.segment(place + 1));
        let next = next.flatten();
        // pg_waldump looks for both under one timeline.
        let name = next.map(|next| Segment::nth(segment.timeline, next.number(size), size));
        let lent = name.filter(|name| Some(*name) != next);
        if let (Some(lent), Some(next)) = (lent, next) {
            link_or_copy(&self.path(next), &self.path(lent), FILE_MODE)?;
        }
        let end = segment.end(size);
        let mut digest = Digest::default();
        let dump = self.dump(segment, name, &KINDS);
        let complaint = dump.lines(self.cancel, |line| {
            // A record that begins in the next segment is told with that.
            if line.lsn >= end {
                return ControlFlow::Break(());
            }
            digest.note(line);
            ControlFlow::Continue(())
        });
        if let Some(lent) = lent {
            let _ = fs::remove_file(self.path(lent));
        }
        let is_open = self.way.is_open(segment);
        let trouble = complaint?.filter(|words| !is_open && stops_within(words, end));
        Ok(Read { digest, trouble })
    }

    /// When the first transaction of a segment in the folder ended.
    pub fn first_time(&self, place: usize) -> Result<Option<Time>> {
        let Some(segment) = self.way.segment(place) else {
            return Ok(None);
        };
        let mut first = None;
        let dump = self.dump(segment, None, &KINDS[..1]);
        dump.lines(self.cancel, |line| match time_of(line) {
            Some(time) => {
                first = Some(time);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        })?;
        Ok(first)
    }

    fn dump<'a>(
        &'a self,
        segment: Segment,
        next: Option<Segment>,
        filter: &'a [&'a str],
    ) -> Dump<'a> {
        Dump {
            waldump: self.waldump,
            folder: self.folder,
            segment,
            next,
            filter,
        }
    }
}

fn time_of(line: &WalLine<'_>) -> Option<Time> {
    match line.happened() {
        Happened::Ended(ended) => ended.time,
        _ => None,
    }
}

/// Whether what pg_waldump said means that records before `end` could not be read.
fn stops_within(words: &str, end: Lsn) -> bool {
    let at = words.split_once(STOPPED_AT).map(|(_, rest)| rest);
    let at = at.and_then(|rest| rest.split(':').next());
    // A record may fill a segment from its beginning to its end.
    at.and_then(|lsn| lsn.parse::<Lsn>().ok())
        .is_some_and(|at| at < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_about_what_follows_are_none() {
        let words = |at: &str| {
            format!(
                "pg_waldump: first record is after 0/3000000, at 0/3000028\npg_waldump: error: error in WAL record at {at}: invalid record length"
            )
        };
        let end = Lsn(0x400_0000);
        for (words, expected) in [
            (words("0/3FFFFF0"), true),
            (words("0/4000000"), false),
            (words("x"), false),
            (String::new(), false),
        ] {
            assert_eq!(stops_within(&words, end), expected, "{words}");
        }
    }
}
