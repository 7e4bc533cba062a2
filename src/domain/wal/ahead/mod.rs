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

mod process;

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    acks::{Acks, acknowledged},
    running::Running,
    stores::OpenStore,
};
use crate::{
    error::{IoContext, Result},
    postgres::{
        control::Control,
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::fs::create_folders,
};
pub use process::Order;

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
        let left = Left::of(self.wal, &acks, stores)?;
        // WAL begins with segment 1: from 0 on, none is ready, and only what is none is stored.
        let none = |file: &WalName| Segment::nth(file.timeline(), 0, control.segment_size);
        match left.segment.or_else(|| left.rest.first().map(none)) {
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

fn behind(segment: Segment, size: SegmentSize) -> Segment {
    Segment::nth(segment.timeline, segment.number(size) + 1, size)
}

/// What PostgreSQL waits for to be archived, and is not stored.
struct Left {
    /// The first of the segments, of which there may be many.
    segment: Option<Segment>,
    /// What is no segment, in PostgreSQL's order: histories first, then by name (`ready_file_comparator` in
    /// `src/backend/postmaster/pgarch.c`).
    rest: Vec<WalName>,
}

impl Left {
    /// In the folder `wal`, as `acks` tell of `stores`.
    fn of(wal: &Path, acks: &Acks, stores: &[OpenStore]) -> Result<Self> {
        let (mut segment, mut rest) = (None, Vec::new());
        let status = wal.join("archive_status");
        for entry in fs::read_dir(&status).at("read", &status)? {
            let name = entry.at("read", &status)?.file_name();
            let file = name.to_str().and_then(|name| name.strip_suffix(".ready"));
            let Some(Ok(file)) = file.map(str::parse::<WalName>) else {
                continue;
            };
            match file {
                WalName::Segment(one) if segment.is_some_and(|first| first <= one) => {}
                _ if acks.cover(file, wal, stores) => {}
                WalName::Segment(one) => segment = Some(one),
                _ => rest.push(file),
            }
        }
        rest.sort_by_cached_key(|file| {
            let is_history = matches!(file, WalName::History(_));
            (!is_history, file.to_string())
        });
        Ok(Self { segment, rest })
    }

    /// Whether a file of the rest comes behind the segment.
    fn is_behind(&self, file: WalName) -> bool {
        let is_history = matches!(file, WalName::History(_));
        let is_behind = |segment: Segment| segment.to_string() < file.to_string();
        !is_history && self.segment.is_some_and(is_behind)
    }
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
