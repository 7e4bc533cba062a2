//! Pieces of a segment that is still being received: what of the last transactions outlives the receiver's host, too.
//!
//! A receiver that was killed begins its segment anew, so pieces may overlap. They hold the same bytes where they do,
//! since a server never writes others where it had written some durably; unless two servers gave their timelines one
//! number, which who reads them finds out.

use std::io::{Read, Write};

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

    /// Gives what the pieces of `segment` hold from its beginning on without a hole to `sink`. One that can't be read
    /// is told, and ends it, unless others hold the same. Why it ended before the last of them.
    pub fn read_pieces(
        &self,
        system: &System,
        segment: Segment,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<Error>> {
        let mut upto = 0;
        let mut ended: Option<(u32, Error)> = None;
        let mut before: Option<(ObjectName, Piece, Vec<u8>)> = None;
        for (piece, name) in self.pieces(system, segment)? {
            if piece.from > upto {
                let place = self.storage().place(&name);
                let hole = || Error::damaged(format!("what lies before {place} is missing"));
                return Ok(Some(ended.map_or_else(hole, |(_, why)| why)));
            }
            let Some(known) = upto.checked_sub(piece.from).filter(|_| piece.to > upto) else {
                continue;
            };
            match self.read_piece(system, piece) {
                Ok(bytes) => {
                    if let Some((other, before, theirs)) = &before
                        && !agree((before, theirs), (&piece, &bytes))
                    {
                        return Err(self.of_two_servers(other, &name));
                    }
                    sink(&bytes[known as usize..])?;
                    before = Some((name, piece, bytes));
                }
                Err(error) if error.kind() == Kind::NotFound || self.is_of_object(&error) => {
                    warn!(
                        "the transactions in {} may be lost: {}",
                        self.storage().place(&name),
                        error.in_one_line()
                    );
                    ended = Some((piece.to, error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            upto = piece.to;
        }
        Ok(ended.filter(|(to, _)| *to > upto).map(|(_, why)| why))
    }

    fn of_two_servers(&self, one: &ObjectName, other: &ObjectName) -> Error {
        let place = |name| self.storage().place(name);
        Error::damaged(format!(
            "{} and {} have other bytes for the same place: two servers used one timeline",
            place(one),
            place(other)
        ))
        .hint(
            "move the pieces of the server that isn't meant away, or restore from another repository (--repo), or to a \
             target before this segment.",
        )
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
