//! Pieces of a segment that is still being received: what of the last transactions outlives the receiver's host, too.
//!
//! A receiver that was killed begins its segment anew, so pieces may overlap. They hold the same bytes where they do,
//! since a server never writes others where it had written some durably; unless two servers gave their timelines one
//! number, which who reads them finds out.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
};

use tracing::warn;

use super::{
    codec::Compression,
    layout::{ObjectName, Piece},
    object_writer::ObjectWriter,
    repository::{Repository, System},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::wal_name::Segment,
};

impl Repository {
    /// Stores a piece durably; one that is there is the same.
    pub fn put_piece(
        &self,
        system: &System,
        piece: Piece,
        wanted: Compression,
        bytes: &[u8],
    ) -> Result<()> {
        let coding = system.wal_coding();
        let name = self.layout().piece(system.system_id, piece, coding);
        let failed =
            |error| Error::passed(error, |error| self.storage().failed("write", &name, error));
        let wanted = wanted.of(coding.codec);
        let mut writer = ObjectWriter::begin_new(self, name.clone(), wanted, coding.encrypted)?;
        writer.write_all(bytes).map_err(failed)?;
        match writer.finish() {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    }

    /// The plain bytes of a piece: as many as its name says, or it is damaged.
    pub fn read_piece(&self, system: &System, piece: Piece) -> Result<Vec<u8>> {
        let coding = system.wal_coding();
        let name = self.layout().piece(system.system_id, piece, coding);
        let failed = |error| self.storage().failed("read", &name, error);
        let length = u64::from(piece.to - piece.from);
        let mut bytes = Vec::new();
        self.read_coded(&name, coding)?
            .take(length + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(Error::damaged(format!(
            "{} does not hold the {length} bytes that its name says",
            self.storage().place(&name)
        )))
    }

    /// Removes the pieces of a segment that is stored.
    pub fn delete_pieces(&self, system: &System, segment: Segment) -> Result<()> {
        let pieces = self.pieces(system, segment)?.into_iter();
        let names: Vec<ObjectName> = pieces.map(|(_, name)| name).collect();
        self.storage().delete_all(&names)
    }

    /// In the order of where they begin.
    fn pieces(&self, system: &System, segment: Segment) -> Result<Vec<(Piece, ObjectName)>> {
        let id = system.system_id;
        let mut pieces = Vec::new();
        for info in self
            .storage()
            .list(&self.layout().pieces(id, segment), None)?
        {
            let name = info?.name;
            match self.layout().read_piece(id, &name) {
                Some((piece, coding)) if coding == system.wal_coding() => {
                    pieces.push((piece, name))
                }
                _ => {}
            }
        }
        Ok(pieces)
    }
}

/// The bytes of a segment in progress from its beginning on, as far as pieces of it give them without a hole: of one
/// repository, and of others behind where that one's end.
pub struct Pieces {
    segment: Segment,
    upto: u32,
    last: Option<Last>,
    /// Those that can't be read, by their places.
    told: BTreeSet<String>,
}

/// That gave the last bytes.
struct Last {
    place: String,
    piece: Piece,
    bytes: Vec<u8>,
}

impl Pieces {
    pub fn of(segment: Segment) -> Self {
        Self {
            segment,
            upto: 0,
            last: None,
            told: BTreeSet::new(),
        }
    }

    /// How many of the segment's first bytes were given.
    pub fn upto(&self) -> u32 {
        self.upto
    }

    /// Gives what `repository` has behind what was given before to `sink`. One that can't be read is told, and ends it,
    /// unless others hold the same. Why it ended before the last of them.
    pub fn read(
        &mut self,
        repository: &Repository,
        system: &System,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<Error>> {
        let mut ended: Option<(u32, Error)> = None;
        // Of another repository, they are held against the last bytes, too.
        let mut known = self.last.as_ref().map_or(0, |last| last.piece.from);
        for (piece, name) in repository.pieces(system, self.segment)? {
            let place = repository.storage().place(&name);
            if piece.from > self.upto {
                let hole = || Error::damaged(format!("what lies before {place} is missing"));
                return Ok(Some(ended.map_or_else(hole, |(_, why)| why)));
            }
            if piece.to <= known {
                continue;
            }
            match repository.read_piece(system, piece) {
                Ok(bytes) => {
                    let one = Last {
                        place,
                        piece,
                        bytes,
                    };
                    if let Some(last) = &self.last
                        && !agree((&last.piece, &last.bytes), (&piece, &one.bytes))
                    {
                        return Err(of_two_servers(last, &one));
                    }
                    if piece.to > self.upto {
                        sink(&one.bytes[(self.upto - piece.from) as usize..])?;
                        self.upto = piece.to;
                        self.last = Some(one);
                    }
                }
                Err(error) if error.kind() == Kind::NotFound || repository.is_of_object(&error) => {
                    if self.told.insert(place.clone()) {
                        let why = error.in_one_line();
                        warn!("the transactions in {place} may be lost: {why}");
                    }
                    ended = Some((piece.to, error));
                }
                Err(error) => return Err(error),
            }
            known = self.upto;
        }
        let upto = self.upto;
        Ok(ended.filter(|(to, _)| *to > upto).map(|(_, why)| why))
    }
}

fn of_two_servers(one: &Last, other: &Last) -> Error {
    Error::damaged(format!(
        "{} and {} have other bytes for the same place: two servers used one timeline",
        one.place, other.place
    ))
    .hint(
        "move the pieces of the server that isn't meant away, or restore from another repository (--repo), or to a \
         target before this segment.",
    )
}

/// Whether two pieces of a segment have the same bytes where they overlap.
fn agree((one, of_one): (&Piece, &[u8]), (other, of_other): (&Piece, &[u8])) -> bool {
    fn cut<'a>(piece: &Piece, bytes: &'a [u8], from: u32, to: u32) -> Option<&'a [u8]> {
        let range = (from - piece.from) as usize..(to - piece.from) as usize;
        bytes.get(range)
    }
    let (from, to) = (one.from.max(other.from), one.to.min(other.to));
    from >= to || cut(one, of_one, from, to) == cut(other, of_other, from, to)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pieces_agree_where_they_overlap() {
        let segment: Segment = "000000010000000000000003".parse().unwrap();
        let piece = |from, to| Piece { segment, from, to };
        let same = |other: Piece, bytes: &[u8]| agree((&piece(2, 6), b"cdef"), (&other, bytes));
        assert!(same(piece(6, 8), b"xx"));
        assert!(same(piece(0, 2), b"xx"));
        assert!(same(piece(4, 8), b"efgh"));
        assert!(same(piece(0, 8), b"abcdefgh"));
        assert!(!same(piece(4, 8), b"eXgh"));
        assert!(!same(piece(2, 6), b"cdeX"));
    }
}
