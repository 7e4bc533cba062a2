//! receive-wal: streams WAL through a replication slot, so that hardly any is lost with the server's host.
//!
//! What came is synced into a file of this host before the server is told so ([`files`]): a synchronous
//! commit that the server reports is in that file, whatever fails then. Whole segments are stored as
//! archive-wal stores them ([`hand_over`]), so both may run, and leave the folder once every repository has
//! them.
//!
//! On request the segment in progress goes into the repositories as well, in pieces ([`live`]).
//!
//! Where it starts, also after a crash: at the beginning of the segment that it was receiving. The server
//! still has all of it, since a slot keeps whole segments. A timeline that ends is received to its end, then
//! the history of the next one, then that from the beginning of the segment in which it forked, as the server
//! has that under both names (`doc/src/sgml/ref/pg_receivewal.sgml` does the same).

mod destination;
pub mod files;
mod hand_over;
mod live;
pub mod slot;

use std::{
    collections::BTreeSet,
    fs::File,
    path::PathBuf,
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::stores::Store;
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        conninfo::ConnInfo,
        lsn::{Lsn, TimelineId},
        replication::{IdentifySystem, Replication},
        server_error::{ServerError, sqlstate},
        socket,
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize, WalName},
        wal_stream::{Slot, Streamed, Switch},
    },
    repo::layout::ClusterName,
    util::{
        cancel::Cancel,
        fs::{create_folders, open_lock, write_over},
        meter::Meter,
    },
};
use destination::Destination;
use files::Files;
use hand_over::{HandOver, Shelf};
use live::Live;

/// Below the state folder.
pub const FOLDER: &str = "receive";
const LOCK: &str = "running";
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Between two words to a server from which nothing comes; it gives up after a minute (wal_sender_timeout).
const STATUS: Duration = Duration::from_secs(10);

/// How long to wait for a word of the server: a stop is noticed sooner.
const LISTEN: Duration = Duration::from_secs(1);

/// While more and more comes, so much is synced at once.
const UNSYNCED: u64 = 1 << 20;

/// Pauses before a new session.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub struct Receiver<'a> {
    pub server: ConnInfo,
    pub slot: &'a str,
    pub folder: PathBuf,
    pub cluster: &'a ClusterName,
    /// All must have a segment before it leaves this host.
    pub stores: Vec<Store>,
    /// How often at most a piece of the segment in progress is stored; None: never.
    pub live: Option<Duration>,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}

/// What a receiver leaves behind that was asked to stop.
#[derive(Debug)]
pub struct Received {
    /// Where it goes on; None: nothing came.
    pub upto: Option<(TimelineId, Lsn)>,
    pub segments: u64,
    /// Whole ones that not all repositories have yet.
    pub waiting: usize,
}

/// How a session ended that did not fail.
enum Ended {
    Stopped,
    Shutdown,
}

impl Receiver<'_> {
    /// Makes the slot, unless it is there; true if it was made. From then on the server keeps its WAL.
    pub fn make_slot(&self) -> Result<bool> {
        let mut server = Replication::connect(&self.server, self.cancel)?;
        if server.slot(self.slot)?.is_some() {
            return Ok(false);
        }
        server.create_physical_slot(self.slot, false, true)?;
        Ok(true)
    }

    /// Receives until a stop is asked for, over restarts of the server and losses of the connection.
    ///
    /// # Errors
    /// What no new session can mend: another server, no slot, WAL that the server has no longer, a second
    /// receiver.
    pub fn run(&self) -> Result<Received> {
        create_folders(&self.folder, FOLDER_MODE, None)?;
        let _lock = self.lock()?;
        let stop = self.cancel.part();
        // A word for each repository that a segment is whole.
        let (wakes, waits): (Vec<_>, Vec<_>) = self.stores.iter().map(|_| sync_channel(1)).unzip();
        let tell = move || {
            for wake in &wakes {
                // Full: it knows already.
                let _ = wake.try_send(());
            }
        };
        let mut files = Files::new(&self.folder, tell);
        let reached = files.reached();
        let shelf = Shelf::new(&self.folder, self.stores.len(), reached.clone());
        let result = thread::scope(|scope| {
            for (number, (store, waits)) in self.stores.iter().zip(waits).enumerate() {
                let hand_over = HandOver {
                    store,
                    number,
                    shelf: &shelf,
                    cluster: self.cluster,
                    live: self.live.map(|every| Live::new(every, reached.clone())),
                    asked: BTreeSet::new(),
                    stop: &stop,
                };
                scope.spawn(move || hand_over.run(&waits));
            }
            let result = self.sessions(&mut files);
            stop.set();
            files.end().and(result)
        });
        result?;
        Ok(Received {
            upto: files.upto(),
            segments: files.finished,
            waiting: files::whole(&self.folder)?.len(),
        })
    }

    fn lock(&self) -> Result<File> {
        let path = self.folder.join(LOCK);
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => Err(Error::failed(format!(
                "another receive-wal of this cluster runs on this host: it holds {}",
                path.display()
            ))),
        }
    }

    fn sessions(&self, files: &mut Files) -> Result<()> {
        let mut pause = PAUSE;
        loop {
            let begun = Instant::now();
            match self.session(files) {
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::Shutdown) => {
                    info!("the server at {} shuts down", self.server.server());
                }
                Err(error) if error.kind() == Kind::Interrupted => return Ok(()),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => warn!("{}; trying again", error.in_one_line()),
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = PAUSE;
            }
            if socket::pause(pause, self.cancel).is_err() {
                return Ok(());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn session(&self, files: &mut Files) -> Result<Ended> {
        let mut server = Replication::connect(&self.server, self.cancel)?;
        let identity = server.identify_system()?;
        let destination = Destination {
            stores: &self.stores,
            cluster: self.cluster,
            folder: &self.folder,
            meter: self.meter,
            cancel: self.cancel,
        };
        let size = destination.check(&mut server, identity.system_id)?;
        let Some(slot) = server.slot(self.slot)? else {
            return Err(Error::new(
                Kind::NotFound,
                format!("the server has no replication slot {}", self.slot),
            )
            .hint("`pgstow receive-wal --create-slot` makes it. If it was there before: what the server wrote since is here only if archive_command is ours too; take a new backup."));
        };
        let (mut timeline, mut from) = self.start(&mut server, &identity, slot, size)?;
        info!(
            "receiving from {} on, timeline {timeline}, through slot {}",
            from, self.slot
        );
        loop {
            self.bring_history(&mut server, timeline)?;
            files.begin(timeline, from, size)?;
            let switch = match server.stream_wal(Some(self.slot), from, timeline)? {
                Some(switch) => switch,
                None => match self.stream(&mut server, files) {
                    Ok(Some(switch)) => switch,
                    Ok(None) => return Ok(Ended::Shutdown),
                    Err(error) if error.kind() == Kind::Interrupted => {
                        files.sync()?;
                        // The server may be gone: what is here is safe all the same.
                        let _ = server.confirm_wal(files.written, files.flushed);
                        let _ = server.end_wal();
                        return Ok(Ended::Stopped);
                    }
                    Err(error) => return Err(error),
                },
            };
            info!(
                "timeline {timeline} ended at {}; going on along timeline {}",
                switch.at, switch.timeline
            );
            timeline = switch.timeline;
            from = Segment::holding(timeline, switch.at, size).start(size);
        }
    }

    /// Where the last session stopped, if the slot and the server's history still lead on from there; else
    /// where the slot begins.
    fn start(
        &self,
        server: &mut Replication,
        identity: &IdentifySystem,
        slot: Slot,
        size: SegmentSize,
    ) -> Result<(TimelineId, Lsn)> {
        let Slot::From(timeline, kept) = slot else {
            return Err(Error::new(
                Kind::NotFound,
                format!("replication slot {} keeps no WAL: it was invalidated, or made without reserving any", self.slot),
            )
            .hint("raise max_slot_wal_keep_size, drop the slot, make it anew with `pgstow receive-wal --create-slot`, and take a new backup."));
        };
        let of_slot = (timeline, Segment::holding(timeline, kept, size).start(size));
        let Some(own) = files::newest(&self.folder, size)? else {
            return Ok(of_slot);
        };
        let (timeline, lsn) = own;
        if !self.is_in_history(server, identity, timeline, lsn)? {
            warn!(
                "what was received to {lsn} on timeline {timeline} is not in the server's history; going on from the slot, at {}",
                of_slot.1
            );
            return Ok(of_slot);
        }
        if lsn < of_slot.1 {
            warn!(
                "WAL between {lsn} and {} was not received: slot {} begins there; take a new backup, unless archive_command is ours too",
                of_slot.1, self.slot
            );
            return Ok(of_slot);
        }
        Ok(own)
    }

    fn is_in_history(
        &self,
        server: &mut Replication,
        identity: &IdentifySystem,
        timeline: TimelineId,
        lsn: Lsn,
    ) -> Result<bool> {
        if timeline == identity.timeline {
            return Ok(true);
        }
        if identity.timeline == TimelineId::FIRST {
            return Ok(false);
        }
        let (_, bytes) = server.timeline_history(identity.timeline)?;
        Ok(TimelineHistory::parse(identity.timeline, &bytes)?.contains(timeline, lsn))
    }

    /// Beside its segments, where those who store them look for it.
    fn bring_history(&self, server: &mut Replication, timeline: TimelineId) -> Result<()> {
        if timeline == TimelineId::FIRST {
            return Ok(());
        }
        let path = self.folder.join(WalName::History(timeline).to_string());
        if path.exists() {
            return Ok(());
        }
        let (_, bytes) = server.timeline_history(timeline)?;
        TimelineHistory::parse(timeline, &bytes)?;
        write_over(&path, FILE_MODE, &bytes)
    }

    /// To the end of the timeline; None: the server shuts down.
    fn stream(&self, server: &mut Replication, files: &mut Files) -> Result<Option<Switch>> {
        server.confirm_wal(files.written, files.flushed)?;
        let mut confirmed = files.flushed;
        let mut told = Instant::now();
        loop {
            let mut answer = false;
            match server.next_wal(LISTEN)? {
                Streamed::Wal { start, bytes } => files.write(start, bytes)?,
                Streamed::Alive { wants_answer, .. } => answer = wants_answer,
                Streamed::Silence => {}
                Streamed::End(switch) => {
                    files.sync()?;
                    return Ok(switch);
                }
            }
            // One sync does for all that is here already. What ends with its segment is synced, and a commit may wait for it.
            let is_news = files.written > confirmed;
            if is_news && (files.unsynced() >= UNSYNCED || !server.has_more_wal()) {
                answer = true;
            }
            if answer || told.elapsed() >= STATUS {
                files.sync()?;
                if let Err(error) = server.confirm_wal(files.written, files.flushed) {
                    return has_shut_down(server).then_some(None).ok_or(error);
                }
                confirmed = files.flushed;
                told = Instant::now();
            }
        }
    }
}

/// Whether the last word of a server that hears no more was a farewell.
fn has_shut_down(server: &mut Replication) -> bool {
    loop {
        match server.next_wal(LISTEN) {
            Ok(Streamed::End(None)) => return true,
            Ok(Streamed::Alive { .. }) => {}
            _ => return false,
        }
    }
}

/// What another session would meet again, and a person has to mend.
fn is_final(error: &Error) -> bool {
    let is_gone = |error: &ServerError| error.code == sqlstate::UNDEFINED_FILE;
    matches!(error.kind(), Kind::Foreign | Kind::Usage | Kind::NotFound)
        || ServerError::of(error).is_some_and(is_gone)
}
