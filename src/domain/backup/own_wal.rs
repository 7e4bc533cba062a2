//! What the first and the last segment that a backup needs hold on the server itself. By these the WAL in the repository is known
//! to be the server's own where receive-wal brings it, and no archiver the note of the backup.
//!
//! It takes both. A server that was put back to an earlier state stores the last one, through a receiver that goes on where it
//! stopped, behind segments of its former life. What lies between is of the life of both ends: a server that is put back
//! while it is backed up ends that backup.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread::{Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Kind, Result},
    postgres::{
        conninfo::ConnInfo,
        lsn::Lsn,
        replication::Replication,
        wal_name::{Segment, SegmentSize},
        wal_stream::Streamed,
    },
    util::{
        cancel::Cancel,
        hash::{Sha256, Sha256Writer},
    },
};

/// A server that has ended the segment sends what is left of it at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait for a word of the server: a stop is noticed sooner.
const LISTEN: Duration = Duration::from_secs(1);

/// Between two words to a server, which gives up after a minute (wal_sender_timeout).
const STATUS: Duration = Duration::from_secs(10);

/// A segment that is read from the server as it is written there: when it is whole, the server may have removed the
/// beginning.
pub struct OwnSegment<'scope> {
    segment: Segment,
    found: Receiver<Result<Sha256>>,
    stop: Cancel,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> OwnSegment<'scope> {
    pub fn begin<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        info: &'env ConnInfo,
        segment: Segment,
        size: SegmentSize,
        cancel: &Cancel,
    ) -> Result<Self> {
        let stop = cancel.part();
        let mut server = Replication::connect(info, &stop)?;
        server.stream_wal(None, segment.start(size), segment.timeline)?;
        let (tell, found) = sync_channel(1);
        let thread = scope.spawn(move || {
            // Nobody waits for it any more: then it is not wanted.
            let _ = tell.send(read(&mut server, segment, size));
        });
        Ok(Self {
            segment,
            found,
            stop,
            thread: Some(thread),
        })
    }

    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// Once the server has ended the segment.
    pub fn finish(self) -> Result<Sha256> {
        match self.found.recv_timeout(PATIENCE) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Error::new(
                Kind::TimedOut,
                format!("the server did not send {}", self.segment),
            )),
        }
    }
}

impl Drop for OwnSegment<'_> {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // It can't panic, and has told what it had to tell.
            let _ = thread.join();
        }
    }
}

fn read(server: &mut Replication, segment: Segment, size: SegmentSize) -> Result<Sha256> {
    let mut hash = Sha256Writer::new(io::sink());
    let begin = segment.start(size);
    let mut told = Instant::now();
    while hash.length() < size.bytes() {
        let mut answer = false;
        match server.next_wal(LISTEN)? {
            Streamed::Wal { start, bytes } => {
                if start != Lsn(begin.0 + hash.length()) {
                    let what = format!("the server sent WAL from {start} on, out of turn");
                    return Err(Error::failed(what));
                }
                let left = size.bytes() - hash.length();
                let left = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                hash.write_all(&bytes[..left])
                    .map_err(|error| Error::failed("can't hash").because(error))?;
            }
            Streamed::Alive { wants_answer, .. } => answer = wants_answer,
            Streamed::Silence => {}
            Streamed::End(_) => {
                return Err(Error::failed(format!(
                    "the server ended its WAL within {segment}"
                )));
            }
        }
        if answer || told.elapsed() >= STATUS {
            // It may shut down, for all we have read; but nothing is safe here, so that no commit may count on us.
            server.confirm_wal(Lsn(begin.0 + hash.length()), Lsn(0))?;
            told = Instant::now();
        }
    }
    // The server may go on, and be told so in vain.
    let _ = server.end_wal();
    Ok(hash.finish().1)
}
