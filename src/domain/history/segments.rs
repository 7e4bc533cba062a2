//! Reads a stored segment of WAL.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use super::{digest::Digest, way::Way};
use crate::{
    domain::{restore::sources::Sources, wal::fetch},
    error::{Error, Kind, Result},
    postgres::{
        lsn::Lsn,
        version::Major,
        wal_event::{Happened, WalEvent},
        wal_name::Segment,
        wal_records::{Followed, Take, WalRecords},
    },
    repo::repository::{Repository, System},
    util::{cancel::Cancel, clock::Time},
};

/// At least what a page of WAL has (XLOG_BLCKSZ in `src/include/pg_config.h`).
const PAGE: u64 = 64 << 10;

#[derive(Clone, Copy)]
pub struct Segments<'a> {
    pub sources: &'a Sources<'a>,
    pub system: &'a System,
    pub major: Major,
    pub way: &'a Way,
    /// To where the pieces lead that end the way.
    pub live_upto: Option<Lsn>,
    /// Where segments lie that the repository has not got.
    pub received: &'a BTreeMap<Segment, PathBuf>,
    pub cancel: &'a Cancel,
}

/// What came of reading a segment.
#[derive(Debug, Default)]
pub struct Read {
    /// Of the records that begin and end in it.
    pub digest: Digest,
    /// What it has of others.
    pub followed: Followed,
    /// More of it is to come: that it ends anywhere is no damage.
    pub is_open: bool,
    /// Why what it holds, or the rest of it, is not known.
    pub trouble: Option<String>,
}

impl Read {
    fn nothing(why: String) -> Self {
        Self {
            trouble: Some(why),
            ..Self::default()
        }
    }
}

impl Segments<'_> {
    /// Reads the segment at a place of the way.
    pub fn read(&self, place: usize) -> Result<Read> {
        let read = self.wherever_it_is(place, |repository, system, segment| {
            let mut digest = Digest::default();
            let mut take = |lsn: Lsn, bytes: &[u8]| digest.note(self.event(lsn, bytes));
            let (mut followed, ended) =
                self.follow(repository, system, segment, &mut take, || false)?;
            let is_open = self.way.is_open(segment);
            let broken = followed.broken.take().filter(|_| !is_open);
            let trouble = broken.map(|broken| broken.problem);
            Ok(Read {
                digest,
                followed,
                is_open,
                trouble: trouble.or(ended.map(|error| error.in_one_line())),
            })
        })?;
        Ok(read.unwrap_or_else(Read::nothing))
    }

    /// When the first transaction of a segment ended; why that is not known, where it is about this segment alone.
    pub fn first_time(&self, place: usize) -> Result<Result<Option<Time>, String>> {
        self.wherever_it_is(place, |repository, system, segment| {
            let first = Cell::new(None);
            let mut take = |lsn: Lsn, bytes: &[u8]| {
                if first.get().is_none()
                    && let Happened::Ended(ended) = self.event(lsn, bytes).happened
                {
                    first.set(ended.time);
                }
            };
            let enough = || first.get().is_some();
            match self.follow(repository, system, segment, &mut take, enough) {
                Err(error) if first.get().is_none() => Err(error),
                _ => Ok(first.get()),
            }
        })
    }

    pub fn event(&self, lsn: Lsn, bytes: &[u8]) -> WalEvent {
        WalEvent::read(lsn, bytes, self.major)
    }

    /// Has `look` read a segment as the repository has it or, where that can't give it, another one.
    fn wherever_it_is<T>(
        &self,
        place: usize,
        look: impl Fn(&Repository, &System, Segment) -> Result<T>,
    ) -> Result<Result<T, String>> {
        self.cancel.check()?;
        let Some(segment) = self.way.segment(place) else {
            return Ok(Err("there is none".to_owned()));
        };
        let what = segment.to_string();
        let look = |repository: &Repository, system: &System| look(repository, system, segment);
        match self.sources.read_wal(self.system, &what, look) {
            Ok(found) => Ok(Ok(found)),
            Err(error)
                if error.kind() == Kind::NotFound || self.sources.chosen.is_of_object(&error) =>
            {
                self.sources.chosen.confirm()?;
                Ok(Err(error.in_one_line()))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives each whole record of a segment to `take`; an error, too, when it was `enough`. With why its pieces ended
    /// before the last of them, where there are pieces alone.
    fn follow<'t>(
        &self,
        repository: &Repository,
        system: &System,
        segment: Segment,
        take: &'t mut Take<'t>,
        enough: impl Fn() -> bool,
    ) -> Result<(Followed, Option<Error>)> {
        let mut ended = None;
        let mut records = WalRecords::giving(segment.timeline, take);
        let mut sink = |bytes: &[u8]| {
            self.cancel.check()?;
            records.feed(bytes);
            match enough() {
                true => Err(Error::failed("it was enough")),
                false => Ok(()),
            }
        };
        match self
            .received
            .get(&segment)
            .map(|path| (path, File::open(path)))
        {
            Some((path, Ok(mut file))) => {
                io::copy(&mut file, &mut Sink(sink)).map_err(|error| {
                    Error::passed(error, |error| Error::io("read", path, error))
                })?;
            }
            // There, or stored meanwhile.
            _ => match fetch::read(repository, system, self.way.stored_as(segment), &mut sink) {
                Err(error)
                    if error.kind() == Kind::NotFound && self.way.in_pieces() == Some(segment) =>
                {
                    let (mut read, upto) = (0, self.live_upto.unwrap_or_default());
                    ended = self
                        .sources
                        .read_pieces(self.system, segment, upto, |bytes| {
                            read += bytes.len() as u64;
                            sink(bytes)
                        })?;
                    // The last page is whole for who reads it, as in the file that the server writes.
                    let rest = system.segment_size.bytes().saturating_sub(read);
                    let rest = rest.min(PAGE) as usize;
                    sink(&[0; PAGE as usize][..rest])?;
                }
                read => read?,
            },
        }
        Ok((records.finish(), ended))
    }
}

struct Sink<F>(F);

impl<F: FnMut(&[u8]) -> Result<()>> Write for Sink<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
