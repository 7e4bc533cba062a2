//! The process that stores segments ahead, and notes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
    time::Instant,
};

use tracing::info;

use super::{
    super::{
        acks::{Ack, Acks, Facts, stored_size},
        offered::Offered,
        push::Pushed,
        stores::OpenStore,
    },
    Left, Limits, behind, is_ready, is_waiting,
};
use crate::{
    error::{Error, Result},
    postgres::{
        control::Control,
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::meter::Meter,
};

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
        let left = Left::of(&self.wal, &notes.acks, &self.stores)?;
        for file in &left.rest {
            if left.is_behind(*file) {
                break;
            }
            let ack = self.store(*file, &|| Ok(()))?;
            notes.add(std::iter::once((*file, ack)))?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, time::Duration};

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
