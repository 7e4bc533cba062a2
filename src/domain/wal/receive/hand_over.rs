//! What was received from the folder into one of the repositories, beside the receiving: one that is away, or hangs,
//! holds up nothing but its own share. Whole segments first, oldest first; then, where that is wanted, what there is of
//! the one in progress, which is of use only behind them.
//!
//! What was begun and is not gone on with stays, as it may be all that there is of a segment, until every repository has
//! that segment itself, by the archiver.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tracing::warn;

use super::{
    super::{
        offered::Offered,
        stores::{OpenStore, Store},
    },
    files::{self, Progress, Reached},
    live::Live,
};
use crate::{
    error::{IoContext, Kind, Result},
    postgres::wal_name::{Segment, WalName},
    repo::layout::ClusterName,
    util::{cancel::Cancel, meter::Meter},
};

/// Before another try where one failed.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The folder, and which of the repositories have what of it: a few bytes for each whole segment that waits there.
pub struct Shelf<'a> {
    folder: &'a Path,
    repositories: usize,
    reached: Reached,
    had: Mutex<BTreeMap<WalName, BTreeSet<usize>>>,
}

impl<'a> Shelf<'a> {
    pub fn new(folder: &'a Path, repositories: usize, reached: Reached) -> Self {
        Self {
            folder,
            repositories,
            reached,
            had: Mutex::default(),
        }
    }

    fn path(&self, name: WalName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// What that repository has not got, oldest first.
    fn lacking(&self, repository: usize) -> Result<Vec<Segment>> {
        let whole = files::whole(self.folder)?;
        let had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |segment: &Segment| {
            let by = had.get(&WalName::Segment(*segment));
            by.is_some_and(|by| by.contains(&repository))
        };
        Ok(whole.into_iter().filter(|segment| !has(segment)).collect())
    }

    /// What was begun and is not gone on with. None while that can't be told: before anything came, from where it goes
    /// on is read from these files; and between two segments the first still gets its name.
    fn left_behind(&self) -> Result<Vec<Segment>> {
        let Some(now) = self.reached.get().filter(|now| now.bytes > 0) else {
            return Ok(Vec::new());
        };
        let now = now.segment;
        let is_over = |segment: &Segment| segment.timeline != now.timeline || *segment < now;
        let begun = files::partial(self.folder)?;
        Ok(begun.into_iter().filter(is_over).collect())
    }

    /// That repository has it. Once all have, it leaves the folder.
    fn note(&self, file: WalName, repository: usize) -> Result<()> {
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        let by = had.entry(file).or_default();
        by.insert(repository);
        if by.len() < self.repositories {
            return Ok(());
        }
        // Received again, it is offered to all again.
        had.remove(&file);
        let path = self.path(file);
        fs::remove_file(&path).at("remove", &path)
    }
}

pub struct HandOver<'a> {
    pub store: &'a Store,
    /// Its number among the repositories.
    pub number: usize,
    pub shelf: &'a Shelf<'a>,
    pub cluster: &'a ClusterName,
    /// None: whole segments alone.
    pub live: Option<Live>,
    /// What was left behind and the repository was asked for.
    pub asked: BTreeSet<Segment>,
    pub stop: &'a Cancel,
}

impl HandOver<'_> {
    /// Until the sender of `wakes`, which has a word for each new segment, is gone.
    pub fn run(mut self, wakes: &Receiver<()>) {
        let mut pause = PAUSE;
        loop {
            let due = self.live.as_mut().and_then(Live::due);
            let done = self.round(due);
            let wait = match &done {
                Ok(()) => {
                    pause = PAUSE;
                    let next = self.live.as_ref().map(Live::next);
                    next.map_or(LONGEST_PAUSE, |next| next.min(LONGEST_PAUSE))
                }
                Err(error) => {
                    warn!(
                        "{}; it waits in {}",
                        error.in_one_line(),
                        self.shelf.folder.display()
                    );
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            };
            if let Err(RecvTimeoutError::Disconnected) = wakes.recv_timeout(wait) {
                if done.is_ok() {
                    self.leave();
                }
                return;
            }
        }
    }

    /// The last word of a receiver that is stopped in good order: its host may be on its way down.
    fn leave(&mut self) {
        let progress = self.live.as_ref().and_then(Live::progress);
        if progress.is_some()
            && let Err(error) = self.round(progress)
        {
            warn!("{}", error.in_one_line());
        }
    }

    /// Hands over what the repository lacks: whole segments, then the one in progress as far as `progress`.
    fn round(&mut self, progress: Option<Progress>) -> Result<()> {
        let lacking = self.shelf.lacking(self.number)?;
        if lacking.is_empty() && progress.is_none() && self.to_ask()?.is_empty() {
            return Ok(());
        }
        // A meter of its own: nobody draws what goes on in the background.
        let meter = Meter::default();
        let store = self.store.open(self.cluster, &meter)?;
        for segment in lacking {
            if self.stop.is_set() {
                return Ok(());
            }
            self.one(segment, &store, &meter)?;
        }
        for segment in self.to_ask()? {
            self.ask(segment, &store)?;
        }
        match (progress, &mut self.live) {
            (Some(progress), Some(live)) => live.bring(progress, self.shelf.folder, &store, &meter),
            _ => Ok(()),
        }
    }

    fn one(&self, segment: Segment, store: &OpenStore, meter: &Meter) -> Result<()> {
        let name = WalName::Segment(segment);
        let offered = Offered::open(&self.shelf.path(name), name, self.shelf.folder)?;
        store.bring_history(&offered, meter)?;
        store.push(&offered, meter, &|| Ok(()))?;
        if self.live.is_some() {
            match store.delete_pieces(&offered, segment) {
                // Where a host may only add, cleanup does it from elsewhere.
                Err(error) if error.kind() != Kind::Denied => warn!(
                    "pieces of {segment} stay in repository {} until `pgstow cleanup` removes them: {}",
                    store.name,
                    error.in_one_line()
                ),
                _ => {}
            }
        }
        self.shelf.note(name, self.number)
    }

    fn to_ask(&self) -> Result<Vec<Segment>> {
        let left = self.shelf.left_behind()?.into_iter();
        Ok(left
            .filter(|segment| !self.asked.contains(segment))
            .collect())
    }

    /// Whether the repository has the segment of which there is a beginning here.
    fn ask(&mut self, segment: Segment, store: &OpenStore) -> Result<()> {
        let (name, begun) = (WalName::Segment(segment), WalName::Partial(segment));
        // As the segment that it was going to be, with its whole length.
        if let Ok(offered) = Offered::open(&self.shelf.path(begun), name, self.shelf.folder)
            && let Ok(system) = store.repository.system(offered.system())
        {
            let object = store.repository.wal_object(&system, name);
            match store.repository.storage().head(&object) {
                Ok(_) => self.shelf.note(begun, self.number)?,
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.asked.insert(segment);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_leaves_once_all_have_it_and_is_offered_again_when_it_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let name = |number| format!("00000001000000000000000{number}");
        let [one, two]: [Segment; 2] = [1, 2].map(|number| name(number).parse().unwrap());
        let make = |number| fs::write(folder.path().join(name(number)), b"").unwrap();
        (1..3).for_each(make);
        let shelf = Shelf::new(folder.path(), 2, Reached::default());
        let lacking = |repository| shelf.lacking(repository).unwrap();
        let note = |segment, repository| shelf.note(WalName::Segment(segment), repository).unwrap();
        note(one, 0);
        note(two, 0);
        assert_eq!((lacking(0), lacking(1)), (vec![], vec![one, two]));
        note(one, 1);
        assert!(!folder.path().join(name(1)).exists());
        assert_eq!((lacking(0), lacking(1)), (vec![], vec![two]));
        make(1);
        assert_eq!((lacking(0), lacking(1)), (vec![one], vec![one, two]));
    }
}
