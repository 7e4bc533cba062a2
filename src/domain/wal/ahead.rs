//! Look-ahead: while PostgreSQL asks for one segment after the other, a process of its own stores
//! those that wait behind, and notes them ([`super::acks`]), so that their own calls return at once.
//!
//! A call that has its segment stored looks whether the next one waits, and starts that process for
//! a range of segments; who is told that a later one of them is stored, with half of the range used
//! up, starts the next. A call whose segment it is about to store waits for it.
//!
//! The order for each segment, and what a crash leaves behind each step:
//! 1. `archive_status/NAME.ready` is there: PostgreSQL has finished and synced the segment, and
//!    doesn't touch it before its own call has succeeded. That file stays PostgreSQL's;
//! 2. its bytes are durable in a repository, without a name (nothing that a reader sees);
//! 3. it is still the very file that it was at the beginning: should PostgreSQL have been told
//!    meanwhile that it is archived, by whatever means, it may have recycled it (nothing more);
//! 4. it gets its name there (an object that its own call finds equal);
//! 5. once all repositories have it, it is noted (its call believes it).
//!
//! Segments are read and compressed at once, but get their names one after the other: whatever
//! crashes, no later segment is in a repository without those before it, and no reader takes the
//! end of the archive for a hole.
//!
//! What fails here fails nobody: the segment's own call will, and says why. After the first
//! failure nothing further is stored.
//!
//! While one of several repositories is away, PostgreSQL asks for the same file again and again. The others then get all
//! that waits, by ranges one after the other, so that they have it should this host be lost; the notes name them alone.
//! After each range come the other files that wait, in PostgreSQL's order, up to the first segment that is not stored: a
//! backup counts by its `.backup`, a timeline that has no segment yet leads nowhere without its `.history`.
//!
//! Which segments wait is not listed but guessed: the next number on the same timeline, then the
//! next, until one isn't ready. So an idle server pays for one look at one name, and a hundred
//! thousand that wait cost no more than two.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    acks::{Ack, Acks, Facts, acknowledged, stored_size},
    offered::Offered,
    push::Pushed,
    running::Running,
    stores::OpenStore,
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        control::Control,
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::{fs::create_folders, meter::Meter},
};

/// Its lock, in the state folder.
const RUNNING: &str = "storing-ahead";

/// `init` makes the state folder; this is for who didn't call it.
const FOLDER_MODE: u32 = 0o750;

/// Between two looks for a segment that is being stored.
const PAUSE: Duration = Duration::from_millis(2);

/// Starts the process: for the segments from this one on, into these repositories, with its lock.
pub type Start<'a> = &'a dyn Fn(Segment, &[OpenStore], File) -> Result<()>;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Segments that one process stores; 0: none.
    pub most: usize,
    pub workers: usize,
    /// That of a call: the process ends after it too, whatever hangs.
    pub time: Duration,
}

/// What a call knows.
pub struct LookAhead<'a> {
    pub state: &'a Path,
    pub data_dir: &'a Path,
    /// Where the segments lie.
    pub wal: &'a Path,
    pub limits: Limits,
}

impl LookAhead<'_> {
    /// The system of `segment`, which lies at `path`, if it is certain that all `stores` have it;
    /// waits where the process is about to store it.
    pub fn stored(&self, segment: Segment, path: &Path, stores: &[OpenStore]) -> Option<SystemId> {
        let file = WalName::Segment(segment);
        let begin = Instant::now();
        loop {
            // Asked first, so that what it noted before it ended is found.
            let coming = self.is_coming(segment);
            let system = acknowledged(self.state, file, path, self.data_dir, stores);
            if system.is_some() || !coming || begin.elapsed() > self.limits.time / 4 {
                return system;
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_coming(&self, segment: Segment) -> bool {
        let seen = self.running().look();
        seen.is_some_and(|seen| {
            // Older, it hangs where nothing ends it.
            let is_young = seen.age.is_none_or(|age| age < self.limits.time);
            seen.lives && is_young && seen.segments.contains(&segment)
        })
    }

    fn running(&self) -> Running {
        Running::at(self.state.join(RUNNING))
    }

    /// To be called once all `stores` have `segment`: has those behind it stored. Whether it started
    /// a process.
    pub fn go_on(&self, segment: Segment, stores: &[OpenStore], start: Start<'_>) -> bool {
        or_one_by_one(self.try_to_go_on(segment, stores, start))
    }

    /// To be called where `stores` have `file`, and others have not: has all that waits stored in these. Whether it
    /// started a process.
    pub fn go_on_without(&self, file: WalName, stores: &[OpenStore], start: Start<'_>) -> bool {
        or_one_by_one(self.try_to_go_on_without(file, stores, start))
    }

    fn try_to_go_on_without(
        &self,
        file: WalName,
        stores: &[OpenStore],
        start: Start<'_>,
    ) -> Result<bool> {
        // A person has nothing ready.
        if self.limits.most == 0 || stores.is_empty() || !is_waiting(self.wal, &file.to_string()) {
            return Ok(false);
        }
        let control = Control::read(self.data_dir)?;
        let acks = Acks::of(self.state, control.system);
        let mut left = waiting(self.wal)?;
        left.retain(|file| !acks.cover(*file, self.wal, stores));
        let mut segments = left.iter().filter_map(|file| match file {
            WalName::Segment(segment) => Some(*segment),
            _ => None,
        });
        // WAL begins with segment 1: from 0 on, none is ready, and only what is none is stored.
        let none = |file: &WalName| Segment::nth(file.timeline(), 0, control.segment_size);
        match segments.next().or_else(|| left.first().map(none)) {
            Some(first) => self.start(first, control.segment_size, stores, start),
            None => Ok(false),
        }
    }

    fn try_to_go_on(
        &self,
        segment: Segment,
        stores: &[OpenStore],
        start: Start<'_>,
    ) -> Result<bool> {
        // A person who stores a lost segment by hand has nothing ready.
        if self.limits.most == 0 || !is_ready(self.wal, segment) {
            return Ok(false);
        }
        let control = Control::read(self.data_dir)?;
        let size = control.segment_size;
        let mut next = behind(segment, size);
        if !is_ready(self.wal, next) {
            return Ok(false);
        }
        let acks = Acks::of(self.state, control.system);
        let mut ahead = 0;
        while acks.cover(WalName::Segment(next), self.wal, stores) {
            next = behind(next, size);
            ahead += 1;
        }
        if ahead > self.limits.most / 2 || !is_ready(self.wal, next) {
            return Ok(false);
        }
        self.start(next, size, stores, start)
    }

    /// False where one runs.
    fn start(
        &self,
        first: Segment,
        size: SegmentSize,
        stores: &[OpenStore],
        start: Start<'_>,
    ) -> Result<bool> {
        create_folders(self.state, FOLDER_MODE, None)?;
        match self.running().lock(first, self.last_from(first, size))? {
            Some(lock) => start(first, stores, lock).map(|()| true),
            None => Ok(false),
        }
    }

    fn last_from(&self, first: Segment, size: SegmentSize) -> Segment {
        let number = first.number(size) + self.limits.most as u64 - 1;
        Segment::nth(first.timeline, number, size)
    }
}

fn or_one_by_one(started: Result<bool>) -> bool {
    started.unwrap_or_else(|error| {
        warn!(
            "segments are archived one by one: what waits can't be stored ahead: {}",
            error.in_one_line()
        );
        false
    })
}

/// What the process has to do.
pub struct Order<'a> {
    pub first: Segment,
    /// Where the segments lie.
    pub wal: &'a Path,
    pub data_dir: &'a Path,
    /// Where they are noted.
    pub state: &'a Path,
    pub stores: Vec<OpenStore>,
    /// Others that PostgreSQL waits for are away, so that it asks for nothing else meanwhile.
    pub others_away: bool,
    pub limits: Limits,
}

impl Order<'_> {
    /// Stores the segments from the first on, as many as wait and as the limits allow.
    pub fn run(self) -> Result<()> {
        let control = Control::read(self.data_dir)?;
        let (size, system) = (control.segment_size, control.system);
        let acks = Acks::of(self.state, system);
        let shared = Arc::new(Shared {
            known: acks.clone(),
            wal: self.wal.to_owned(),
            data_dir: self.data_dir.to_owned(),
            system,
            size,
            stores: self.stores,
            queue: Mutex::new(Queue {
                next: Some(self.first),
                turn: Some(self.first.number(size)),
                left: self.limits.most,
                until: Instant::now() + self.limits.time / 2,
            }),
            moved: Condvar::new(),
        });
        let (sender, results) = channel();
        for _ in 0..self.limits.workers {
            hire(&shared, &sender)?;
        }
        drop(sender);
        let mut notes = Notes {
            state: self.state,
            wal: self.wal,
            acks,
        };
        while let Ok(one) = results.recv() {
            // Together with what came meanwhile.
            notes.add(std::iter::once(one).chain(results.try_iter()))?;
        }
        if self.others_away {
            or_nothing(shared.store_the_rest(&mut notes));
        }
        Ok(())
    }
}

/// What is stored, as it is noted.
struct Notes<'a> {
    state: &'a Path,
    wal: &'a Path,
    acks: Acks,
}

impl Notes<'_> {
    fn add(&mut self, news: impl Iterator<Item = (WalName, Ack)>) -> Result<()> {
        let files = &mut self.acks.files;
        files.extend(news.map(|(file, ack)| (file.to_string(), ack)));
        // Nobody asks again for what PostgreSQL knows to be archived.
        files.retain(|name, _| is_waiting(self.wal, name));
        self.acks.write(self.state)
    }
}

fn or_nothing(stored: Result<()>) {
    if let Err(error) = stored {
        info!("stored nothing ahead of its turn: {}", error.in_one_line());
    }
}

fn hire(shared: &Arc<Shared>, sender: &Sender<(WalName, Ack)>) -> Result<()> {
    let (shared, sender) = (Arc::clone(shared), sender.clone());
    let work = move || {
        while let Some(segment) = shared.take() {
            let file = WalName::Segment(segment);
            match shared.store(file, &|| shared.wait_for_turn(segment)) {
                Ok(ack) => {
                    shared.pass();
                    // Nobody listens any more where notes can't be written.
                    let _ = sender.send((file, ack));
                }
                Err(error) => {
                    shared.stop();
                    or_nothing(Err(error));
                }
            }
        }
    };
    thread::Builder::new()
        .name("ahead".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Error::failed("can't start a thread").because(error))
}

/// What the workers share.
struct Shared {
    /// What was noted before.
    known: Acks,
    wal: PathBuf,
    data_dir: PathBuf,
    system: SystemId,
    size: SegmentSize,
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
    until: Instant,
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
        queue.next = Some(behind(segment, self.size));
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
                Some(turn) if turn == segment.number(self.size) => return Ok(()),
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

    /// What is no segment, in PostgreSQL's order, up to the first segment that is not stored.
    fn store_the_rest(&self, notes: &mut Notes<'_>) -> Result<()> {
        for file in waiting(&self.wal)? {
            if notes.acks.cover(file, &self.wal, &self.stores) {
                continue;
            }
            if let WalName::Segment(_) = file {
                return Ok(());
            }
            let ack = self.store(file, &|| Ok(()))?;
            notes.add(std::iter::once((file, ack)))?;
        }
        Ok(())
    }

    /// Under its name only when it is its `turn`.
    fn store(&self, name: WalName, turn: &dyn Fn() -> Result<()>) -> Result<Ack> {
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
        let turn = || {
            turn()?;
            match Facts::of(&path)? == facts {
                true => Ok(()),
                false => Err(Error::damaged(format!(
                    "{} changed while it was read",
                    path.display()
                ))),
            }
        };
        let mut stored = BTreeMap::new();
        for store in &self.stores {
            // While another one was away, it got what waits.
            if let Some(size) = self.known.size_in(store, name, &facts) {
                stored.insert(store.repository.id().to_owned(), size);
                continue;
            }
            store.bring_history(&offered, &Meter::default())?;
            let size = match store.push(&offered, &Meter::default(), &turn)? {
                Pushed::Stored { bytes } => bytes,
                Pushed::AlreadyThere => stored_size(&store.repository, self.system, name)?,
            };
            stored.insert(store.repository.id().to_owned(), size);
        }
        turn()?;
        Ok(Ack::new(facts, stored))
    }
}

fn behind(segment: Segment, size: SegmentSize) -> Segment {
    Segment::nth(segment.timeline, segment.number(size) + 1, size)
}

/// The files that PostgreSQL waits for in the folder `wal` to be archived, in its order: histories first, then by name
/// (`ready_file_comparator` in `src/backend/postmaster/pgarch.c`).
fn waiting(wal: &Path) -> Result<Vec<WalName>> {
    let status = wal.join("archive_status");
    let mut found = Vec::new();
    for entry in fs::read_dir(&status).at("read", &status)? {
        let name = entry.at("read", &status)?.file_name();
        let file = name.to_str().and_then(|name| name.strip_suffix(".ready"));
        found.extend(file.and_then(|file| file.parse::<WalName>().ok()));
    }
    found.sort_by_cached_key(|file| {
        let is_history = matches!(file, WalName::History(_));
        (!is_history, file.to_string())
    });
    Ok(found)
}

/// Whether PostgreSQL waits for `segment` in the folder `wal` to be archived.
fn is_ready(wal: &Path, segment: Segment) -> bool {
    is_waiting(wal, &segment.to_string())
}

/// The same of any file.
pub(super) fn is_waiting(wal: &Path, name: &str) -> bool {
    let name = format!("archive_status/{name}.ready");
    wal.join(name).symlink_metadata().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::wal::{
        stores::Store,
        tests::sample::{Sample, segment_file},
    };

    const NAME: &str = "000000010000000000000003";

    /// PostgreSQL may be told by somebody else that a segment is archived, and use its file again.
    #[test]
    fn a_segment_that_is_recycled_while_it_waits_is_not_stored() {
        for recycled in [false, true] {
            let sample = Sample::new("zstd");
            fs::write(sample.path(NAME), segment_file(NAME)).unwrap();
            let segment: Segment = NAME.parse().unwrap();
            let size = sample.system.segment_size;
            let store = Store {
                name: "local".to_owned(),
                location: sample.repository.location().clone(),
                compression: "zstd".parse().unwrap(),
                keys: Arc::default(),
                state: sample.path("state"),
            };
            let open = store.open(&"main".parse().unwrap(), &Meter::default());
            let shared = Arc::new(Shared {
                known: Acks::of(&sample.path("state"), sample.system.system_id),
                wal: sample.path(""),
                data_dir: sample.path(""),
                system: sample.system.system_id,
                size,
                stores: vec![open.unwrap()],
                queue: Mutex::new(Queue {
                    next: None,
                    turn: Some(segment.number(size) - 1),
                    left: 1,
                    until: Instant::now(),
                }),
                moved: Condvar::new(),
            });
            let worker = Arc::clone(&shared);
            let worker = thread::spawn(move || {
                worker.store(WalName::Segment(segment), &|| worker.wait_for_turn(segment))
            });
            // It is read within this time, and waits for its turn. Else nothing is proven, and nothing fails.
            thread::sleep(Duration::from_millis(300));
            if recycled {
                let next = sample.path("000000010000000000000009");
                fs::rename(sample.path(NAME), &next).unwrap();
                fs::write(&next, vec![0; size.bytes() as usize]).unwrap();
            }
            shared.pass();
            let stored = worker.join().unwrap();
            assert_eq!(stored.is_ok(), !recycled, "{stored:?}");
            assert_eq!(sample.object(NAME).exists(), !recycled);
            assert_eq!(sample.strays(), Vec::<String>::new());
        }
    }
}
