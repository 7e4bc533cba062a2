//! Puts the record together that begins in one segment and ends in another.

use super::{lsn::Lsn, wal_record::Record, wal_records::Followed};

/// Segments are given in the order of the WAL.
#[derive(Debug, Default)]
pub struct Joint {
    /// What was read so far of the record with which the segment before ends.
    open: Option<(Record, Vec<u8>)>,
}

impl Joint {
    /// Whether a record goes on.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The record that ends in the next segment, and where it began; None: there is none, or it goes on.
    ///
    /// # Errors
    /// Why the next segment does not go on with it; the record is lost.
    pub fn join(&mut self, next: &mut Followed) -> Result<Option<(Lsn, Vec<u8>)>, String> {
        let open = next.open.take();
        let open = open.map(|record| (record, std::mem::take(&mut next.open_bytes)));
        let before = std::mem::replace(&mut self.open, open);
        let Some((mut record, mut bytes)) = before else {
            return Ok(None);
        };
        let Some(rest) = next.rest.take() else {
            return match next.overwrites {
                // After a crash in the midst of it.
                true => Ok(None),
                false => Err(format!(
                    "the record at {} doesn't go on in it",
                    record.start
                )),
            };
        };
        record.go_on(&rest)?;
        bytes.append(&mut next.rest_bytes);
        match record.left {
            0 => Ok(Some((record.start, bytes))),
            _ => {
                self.open = Some((record, bytes));
                Ok(None)
            }
        }
    }
}
