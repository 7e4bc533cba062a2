//! START_REPLICATION: the server sends its WAL as it is flushed there, and hears how far we are.
//!
//! Messages: `doc/src/sgml/protocol.sgml`, "Streaming Replication Protocol"; their order at the end of a
//! timeline and at a shutdown: `src/backend/replication/walsender.c` (WalSndLoop, WalSndDone). The same in 15 to 18.

use std::time::Duration;

use postgres_protocol::message::frontend::{self, CopyData};

use super::{
    auth,
    lsn::{Lsn, TimelineId},
    replication::{Columns, Replication, parse, slot_name, strange, text, timeline},
    server_error::ServerError,
    wire::tag,
};
use crate::{
    error::{Error, Result},
    util::clock::{self, Time},
};

/// 2000-01-01, the beginning of PostgreSQL's times, in seconds of ours
/// (POSTGRES_EPOCH_JDATE in `src/include/datatype/timestamp.h`).
pub(super) const EPOCH: i64 = 946_684_800;

/// What a slot keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    From(TimelineId, Lsn),
    /// Nothing: made without reserving any, or invalidated.
    Empty,
}

/// The server's history goes on along another timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    pub timeline: TimelineId,
    pub at: Lsn,
}

/// What the server sends while it streams.
#[derive(Debug, PartialEq, Eq)]
pub enum Streamed<'a> {
    /// Bytes of WAL, the first of which lies at `start`.
    Wal { start: Lsn, bytes: &'a [u8] },
    /// It is there, and has sent all up to `end`.
    Alive { end: Lsn, wants_answer: bool },
    /// Nothing in the time that was given.
    Silence,
    /// The timeline ends here; None: the server shuts down.
    End(Option<Switch>),
}

impl Replication {
    /// Where a physical slot's WAL begins; None if there is no such slot.
    pub fn slot(&mut self, slot: &str) -> Result<Option<Slot>> {
        let slot = slot_name(slot)?;
        let row = self.one_row(&format!("READ_REPLICATION_SLOT {slot}"))?;
        if text(&row, 0)?.is_none() {
            return Ok(None);
        }
        if text(&row, 1)?.is_none() {
            return Ok(Some(Slot::Empty));
        }
        Ok(Some(Slot::From(timeline(&row, 2)?, parse(&row, 1)?)))
    }

    /// Has the server send its WAL from `from` on, through a slot that keeps it, or as long as it is there; what comes is
    /// read by [`Replication::next_wal`]. Where the timeline ends at that very place, nothing does: the answer is how it goes on.
    pub fn stream_wal(
        &mut self,
        slot: Option<&str>,
        from: Lsn,
        timeline: TimelineId,
    ) -> Result<Option<Switch>> {
        let slot = match slot {
            Some(slot) => format!("SLOT {} ", slot_name(slot)?),
            None => String::new(),
        };
        let command = format!("START_REPLICATION {slot}PHYSICAL {from} TIMELINE {timeline}");
        self.command(&command)?;
        let message = self.wire.read()?;
        match message.tag {
            tag::COPY_BOTH => Ok(None),
            tag::ROW_DESCRIPTION => {
                let rows = self.rest_of(&command)?;
                switch(&rows)?.ok_or_else(strange).map(Some)
            }
            tag::ERROR => {
                let error = ServerError::parse(message.body);
                if error.severity == "ERROR" {
                    self.rest_of(&command)?;
                }
                Err(self.failed(&command, error))
            }
            other => Err(auth::unexpected(&self.wire.info, other)),
        }
    }

    /// What comes next, waiting no longer than `wait`.
    pub fn next_wal(&mut self, wait: Duration) -> Result<Streamed<'_>> {
        const COMMAND: &str = "START_REPLICATION";
        let Some((tag, body)) = self.wire.next_within(wait)? else {
            return Ok(Streamed::Silence);
        };
        match tag {
            tag::COPY_DATA => streamed(self.wire.body(body)).ok_or_else(strange),
            // The end of a timeline: the server waits for ours, and says how it goes on.
            tag::COPY_DONE => {
                frontend::copy_done(&mut self.wire.outgoing);
                self.wire.send()?;
                let rows = self.rest_of(COMMAND)?;
                Ok(Streamed::End(switch(&rows)?))
            }
            tag::COMMAND_COMPLETE => Ok(Streamed::End(None)),
            tag::ERROR => {
                let error = ServerError::parse(self.wire.body(body));
                Err(self.failed(COMMAND, error))
            }
            other => Err(auth::unexpected(&self.wire.info, other)),
        }
    }

    /// Whether [`Replication::next_wal`] would wait.
    pub fn has_more_wal(&mut self) -> bool {
        self.wire.has_more()
    }

    /// Tells the server up to where its WAL is here, and up to where it would outlive a crash of this host:
    /// its synchronous commits wait for that, and it removes what is older.
    pub fn confirm_wal(&mut self, written: Lsn, flushed: Lsn) -> Result<()> {
        let status = status(written, flushed, clock::now());
        CopyData::new(&status[..])
            .map_err(|error| Error::failed("can't send a status").because(error))?
            .write(&mut self.wire.outgoing);
        self.wire.send()
    }

    /// Says that no more WAL is wanted. What the server has sent meanwhile is not read.
    pub fn end_wal(&mut self) -> Result<()> {
        frontend::copy_done(&mut self.wire.outgoing);
        self.wire.send()
    }
}

/// XLogData (`w`) and the primary's keepalive (`k`); None for what is neither.
pub fn streamed(body: &[u8]) -> Option<Streamed<'_>> {
    let (tag, rest) = body.split_first()?;
    let (first, rest) = number(rest)?;
    match tag {
        b'w' => {
            // The end of the server's WAL, and the time: of no use here.
            let (_, rest) = number(rest)?;
            let (_, bytes) = number(rest)?;
            // Nobody counts beyond the last LSN that there can be.
            first.checked_add(bytes.len() as u64)?;
            Some(Streamed::Wal {
                start: Lsn(first),
                bytes,
            })
        }
        b'k' => {
            let (_, rest) = number(rest)?;
            Some(Streamed::Alive {
                end: Lsn(first),
                wants_answer: *rest.first()? != 0,
            })
        }
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// The standby's status (`r`): written, flushed, applied (never), time, no answer wanted.
fn status(written: Lsn, flushed: Lsn, now: Time) -> Vec<u8> {
    let micros = now.timestamp_micros() - EPOCH * 1_000_000;
    let mut status = vec![b'r'];
    for number in [written.0, flushed.0, 0] {
        status.extend(number.to_be_bytes());
    }
    status.extend(micros.to_be_bytes());
    status.push(0);
    status
}

/// None where the server says nothing of a next timeline.
fn switch(rows: &[Columns]) -> Result<Option<Switch>> {
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Switch {
        timeline: timeline(row, 0)?,
        at: parse(row, 1)?,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn messages_are_read_or_refused() {
        let mut wal = vec![b'w'];
        for number in [0x0100_0000_u64, 0x0200_0000, 1] {
            wal.extend(number.to_be_bytes());
        }
        wal.extend(b"wal");
        let (start, bytes) = (Lsn(0x0100_0000), &b"wal"[..]);
        assert_eq!(streamed(&wal), Some(Streamed::Wal { start, bytes }));
        let mut alive = vec![b'k'];
        alive.extend(7_u64.to_be_bytes());
        alive.extend(1_u64.to_be_bytes());
        for (flag, wants_answer) in [(0, false), (1, true)] {
            let message = [&alive[..], &[flag]].concat();
            let end = Lsn(7);
            assert_eq!(
                streamed(&message),
                Some(Streamed::Alive { end, wants_answer })
            );
        }
        for cut in 0..=alive.len() {
            assert_eq!(streamed(&alive[..cut]), None);
        }
        for cut in 0..25 {
            assert_eq!(streamed(&wal[..cut]), None);
        }
        let beyond = [&b"w"[..], &u64::MAX.to_be_bytes(), &[0; 16], b"xy"].concat();
        assert_eq!(streamed(&beyond), None);
        assert_eq!(streamed(b"x123456789"), None);
    }

    #[test]
    fn a_status_has_the_times_of_postgresql() {
        let now = DateTime::from_timestamp(EPOCH + 2, 0).unwrap();
        let status = status(Lsn(3), Lsn(2), now);
        assert_eq!(status.len(), 34);
        assert_eq!(status[..9], *b"r\0\0\0\0\0\0\0\x03");
        assert_eq!(status[9..17], 2_u64.to_be_bytes());
        assert_eq!(status[17..25], [0; 8]);
        assert_eq!(status[25..33], 2_000_000_u64.to_be_bytes());
    }
}
