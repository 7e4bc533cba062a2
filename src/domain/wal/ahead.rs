//! Look-ahead: while one segment is stored, workers store those that wait behind it, and note them
//! ([`super::acks`]), so that their own calls return at once.
//!
//! The order for each segment, and what a crash leaves behind each step:
//! 1. `archive_status/NAME.ready` is there: PostgreSQL has finished and synced the segment, and
//!    doesn't touch it before its own call has succeeded. That file stays PostgreSQL's;
//! 2. it is stored durably in every repository (an object that its own call finds equal);
//! 3. it is still the file that it was at the beginning (nothing more);
//! 4. with all others it is noted, synced (their calls believe it).
//!
//! Segments are read and compressed at once, but get their names one after the other, the wanted
//! one first: whatever crashes, no later segment is in a repository without those before it, and
//! no reader takes the end of the archive for a hole.
//!
//! What fails here fails nobody: the segment's own call will, and says why. After the first
//! failure nothing further is stored.
//!
//! Which segments wait is not listed but guessed: the next number on the same timeline, then the
//! next, until one isn't ready. So an idle server pays for one look at one name, and a hundred
//! thousand that wait cost no more than two.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{Access, access};
use tracing::{info, warn};

use super::{
    acks::{Ack, Acks, Facts, stored_size},
    offered::Offered,
    stores::OpenStore,
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        control::Control,
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::{
        fs::{create_folders, folder_of},
        meter::Meter,
    },
};

/// `init` makes the state folder; this is for who didn't call it.
const FOLDER_MODE: u32 = 0o750;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Segments beside the one that was asked for; 0: none.
    pub most: usize,
    pub workers: usize,
    /// After this time nothing further is begun, after the same again nothing is waited for.
    pub time: Duration,
}

/// Whether PostgreSQL waits for `file` in the folder `wal` to be archived.
fn is_ready(wal: &Path, file: Segment) -> bool {
    let name = format!("archive_status/{file}.ready");
    wal.join(name).symlink_metadata().is_ok()
}

/// Workers at work.
pub struct Ahead {
    shared: Arc<Shared>,
    state: PathBuf,
    results: Receiver<(WalName, Ack)>,
    /// Kept for a further worker.
    sender: Sender<(WalName, Ack)>,
    limits: Limits,
    begin: Instant,
}

struct Shared {
    wal: PathBuf,
    data_dir: PathBuf,
    system: SystemId,
    stores: Vec<OpenStore>,
    queue: Mutex<Queue>,
    /// Somebody's turn has come, or nobody's will.
    moved: Condvar,
}

struct Queue {
    /// The next to be begun.
    next: Option<Segment>,
    /// The next to get its name, as a number; None once one has failed.
    turn: Option<u64>,
    left: usize,
    size: SegmentSize,
    until: Instant,
}

impl Ahead {
    /// Begins to store what waits behind `wanted`, which lies at `path`; None where nothing
    /// waits, or where it would be of no use. The repositories have the history of its timeline.
    pub fn start(
        state: &Path,
        path: &Path,
        wanted: &Offered,
        data_dir: &Path,
        stores: &[OpenStore],
        limits: Limits,
    ) -> Option<Self> {
        let (WalName::Segment(segment), Some(header)) = (wanted.name(), wanted.header()) else {
            return None;
        };
        let size = header.segment_size;
        let next = Segment::nth(segment.timeline, segment.number(size) + 1, size);
        let wal = folder_of(path);
        // A person who stores a lost segment by hand has nothing ready.
        let waits = limits.most > 0 && is_ready(wal, next) && is_ready(wal, segment);
        if !waits || !is_of(data_dir, wanted.system()) {
            return None;
        }
        if let Err(error) = usable(state) {
            warn!(
                "segments are archived one by one: what is stored ahead can't be noted in the state folder: {}",
                error.in_one_line()
            );
            return None;
        }
        let begin = Instant::now();
        let (sender, results) = channel();
        let ahead = Self {
            shared: Arc::new(Shared {
                wal: wal.to_owned(),
                data_dir: data_dir.to_owned(),
                system: wanted.system(),
                stores: stores.to_vec(),
                queue: Mutex::new(Queue {
                    next: Some(next),
                    turn: Some(segment.number(size)),
                    left: limits.most,
                    size,
                    until: begin + limits.time,
                }),
                moved: Condvar::new(),
            }),
            state: state.to_owned(),
            results,
            sender,
            limits,
            begin,
        };
        // The caller works too, on the wanted one.
        for _ in 1..limits.workers {
            ahead.hire();
        }
        Some(ahead)
    }

    /// Waits for what is under way and notes what was stored; the names. `go_on`: the wanted one is
    /// stored, and its worker is free for others.
    pub fn finish(self, go_on: bool) -> Vec<String> {
        match go_on {
            true => {
                self.shared.pass();
                self.hire();
            }
            false => self.shared.stop(),
        }
        drop(self.sender);
        let mut acks = Acks {
            system_id: self.shared.system,
            segments: BTreeMap::new(),
        };
        // A worker that hangs is left behind, as a thread that ends with the process: the wanted
        // one is stored, and that is what the caller was asked for.
        let end = self.begin + 2 * self.limits.time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.results.recv_timeout(left) {
                Ok((name, ack)) => acks.segments.insert(name.to_string(), ack),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            };
        }
        if acks.segments.is_empty() {
            return Vec::new();
        }
        if let Err(error) = acks.write(&self.state) {
            warn!(
                "can't note which segments are stored already: {}",
                error.in_one_line()
            );
            return Vec::new();
        }
        acks.segments.into_keys().collect()
    }

    fn hire(&self) {
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let work = move || {
            while let Some(segment) = shared.take() {
                match shared.store(segment) {
                    Ok(ack) => {
                        shared.pass();
                        // Nobody listens any more where it took too long.
                        let _ = sender.send((WalName::Segment(segment), ack));
                    }
                    Err(error) => {
                        shared.stop();
                        info!("stored nothing ahead of its turn: {}", error.in_one_line());
                    }
                }
            }
        };
        // Without a thread less is stored ahead.
        let _ = thread::Builder::new().name("ahead".to_owned()).spawn(work);
    }
}

impl Shared {
    /// The next segment, if it is ready and there is room and time for it.
    fn take(&self) -> Option<Segment> {
        let mut queue = self.queue();
        let segment = queue.next.take()?;
        if queue.left == 0 || Instant::now() > queue.until || !is_ready(&self.wal, segment) {
            return None;
        }
        queue.left -= 1;
        let number = segment.number(queue.size) + 1;
        queue.next = Some(Segment::nth(segment.timeline, number, queue.size));
        Some(segment)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut queue = self.queue();
        (queue.next, queue.turn) = (None, None);
        self.moved.notify_all();
    }

    /// The segment whose turn it was is stored in every repository.
    fn pass(&self) {
        let mut queue = self.queue();
        queue.turn = queue.turn.map(|turn| turn + 1);
        self.moved.notify_all();
    }

    /// Waits until all segments before this one are stored.
    fn wait_for_turn(&self, segment: Segment) -> Result<()> {
        let mut queue = self.queue();
        loop {
            match queue.turn {
                Some(turn) if turn == segment.number(queue.size) => return Ok(()),
                Some(_) => {
                    queue = self
                        .moved
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                None => return Err(Error::failed("one before it is not stored")),
            }
        }
    }

    fn store(&self, segment: Segment) -> Result<Ack> {
        let name = WalName::Segment(segment);
        let turn = || self.wait_for_turn(segment);
        let path = self.wal.join(name.to_string());
        let facts = Facts::of(&path)?;
        let offered = Offered::open(&path, name, &self.data_dir)?;
        if offered.system() != self.system {
            return Err(Error::failed(format!(
                "{name} is of system {}, not of {}",
                offered.system(),
                self.system
            )));
        }
        let mut stored = BTreeMap::new();
        for store in &self.stores {
            store.push(&offered, &Meter::default(), &turn)?;
            let size = stored_size(&store.repository, self.system, name)?;
            stored.insert(store.repository.id().to_owned(), size);
        }
        if Facts::of(&path)? != facts {
            return Err(Error::damaged(format!(
                "{} changed while it was read",
                path.display()
            )));
        }
        Ok(Ack { facts, stored })
    }
}

/// Whether acknowledgements of that system would be believed in `data_dir`.
fn is_of(data_dir: &Path, system: SystemId) -> bool {
    Control::read(data_dir).is_ok_and(|control| control.system == system)
}

fn usable(state: &Path) -> Result<()> {
    create_folders(state, FOLDER_MODE, None)?;
    access(state, Access::WRITE_OK | Access::EXEC_OK).at("write into", state)
}
