//! Re-reads all stored WAL of a system, and looks for holes between its segments.
//!
//! One listing feeds the workers; memory grows with what is found, up to a limit, not with what
//! is stored.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use serde::Serialize;

use super::{
    content::TEXT_LIMIT,
    continuity::holes,
    joints::{Joints, Trouble},
    stored::Stored,
    tail::may_end,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, WalName},
        wal_records::{Followed, WalRecords},
    },
    repo::{
        missing::Missing,
        repository::{Repository, System},
        storage::ObjectInfo,
        wal_index::WalIndex,
    },
    util::{cancel::Cancel, meter::Meter},
};

/// Findings beyond these are only counted.
const MOST_FINDINGS: usize = 10_000;

/// Something that a person must look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalFinding {
    /// Where the object is, or the names of the missing segments.
    pub object: String,
    pub what: String,
    /// What can't be replayed because of it; None for a file that no restore replays.
    pub lost: Option<Missing>,
    /// The file that is damaged or missing, where it is none that is lost.
    #[serde(skip)]
    pub file: Option<WalName>,
}

impl WalFinding {
    /// The files that are damaged or missing.
    pub fn files(&self, system: &System) -> Vec<WalName> {
        let size = system.segment_size;
        let segments = self.lost.into_iter().flat_map(|lost| {
            let numbers = lost.numbers();
            numbers.map(move |number| Segment::nth(lost.timeline, number, size))
        });
        segments.map(WalName::Segment).chain(self.file).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalChecked {
    pub objects: u64,
    /// As stored.
    pub bytes: u64,
    pub findings: Vec<WalFinding>,
    /// Where WAL of `wal_level = minimal` begins, and in which segment that was read. What it means depends on the
    /// backups.
    #[serde(skip)]
    pub minimal: BTreeMap<(TimelineId, Lsn), Segment>,
    /// Findings that are not among these.
    pub more: u64,
    /// Objects whose bytes could not be looked at for want of the right key, and why the first could not.
    pub sealed: u64,
    pub sealed_why: Option<String>,
}

impl WalChecked {
    fn note(&mut self, finding: WalFinding) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

pub fn verify(
    repository: &Repository,
    system: &System,
    jobs: usize,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<WalChecked> {
    let index = WalIndex::load(repository, system)?;
    meter.begin("checking WAL", index.stored_bytes());
    let histories = histories(repository, system, &index);
    let check = Check {
        repository,
        system,
        meter,
        forks: forks(&histories, system),
        histories: &histories,
        joints: Mutex::default(),
        checked: Mutex::default(),
    };
    let (send, receive) = sync_channel(2 * jobs);
    let receive = Mutex::new(receive);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| check.work(&receive));
        }
        // Moved in, so that the channel ends with the listing and the workers with the channel.
        check.list(cancel, move |info| {
            // It can't fail: the workers live until it ends.
            let _ = send.send(info);
        })
    })?;
    // Objects that vanish meanwhile were deleted by somebody, unless all of them have.
    repository.confirm()?;
    let mut checked = check
        .checked
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let cut = repository.cut(system)?;
    let holes = holes(&index, &histories).into_iter();
    for hole in holes.filter_map(|hole| cut.lost(hole)) {
        checked.note(WalFinding {
            object: hole.describe(system.segment_size),
            what: "missing, though WAL before and behind it is there".to_owned(),
            lost: Some(hole),
            file: None,
        });
    }
    // Workers end in any order.
    checked.findings.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(checked)
}

/// What the workers share.
struct Check<'a> {
    repository: &'a Repository,
    system: &'a System,
    meter: &'a Meter,
    /// Segments in which a timeline was left, and where: what they have behind that may be
    /// anything.
    forks: BTreeMap<(TimelineId, u64), Lsn>,
    /// Those that can be read.
    histories: &'a [TimelineHistory],
    joints: Mutex<Joints>,
    checked: Mutex<WalChecked>,
}

impl Check<'_> {
    fn list(&self, cancel: &Cancel, mut each: impl FnMut(ObjectInfo)) -> Result<()> {
        let wal = self.repository.layout().wal(self.system.system_id);
        for info in self.repository.storage().list(&wal, None)? {
            cancel.check()?;
            let info = info?;
            match self.is_stray(&info) {
                true => lock(&self.checked).note(WalFinding {
                    object: self.repository.storage().place(&info.name),
                    what: "is no WAL file; restores don't use it".to_owned(),
                    lost: None,
                    file: None,
                }),
                false => each(info),
            }
        }
        Ok(())
    }

    fn is_stray(&self, info: &ObjectInfo) -> bool {
        let (layout, system) = (self.repository.layout(), self.system.system_id);
        let known = layout.read_wal_file(system, &info.name).is_some()
            || layout.read_gap(system, &info.name).is_some()
            || layout.read_minimal(system, &info.name).is_some()
            || layout.read_piece(system, &info.name).is_some();
        !known
    }

    fn work(&self, objects: &Mutex<Receiver<ObjectInfo>>) {
        loop {
            // Bound by itself, so that the lock is free while the object is read.
            let next = lock(objects).recv();
            let Ok(info) = next else {
                return;
            };
            let findings = self.judge(&info);
            let mut checked = lock(&self.checked);
            checked.objects += 1;
            checked.bytes += info.size;
            for finding in findings {
                checked.note(finding);
            }
            self.meter.add(info.size);
        }
    }

    fn judge(&self, info: &ObjectInfo) -> Vec<WalFinding> {
        let (system, store) = (self.system, self.repository.storage());
        let layout = self.repository.layout();
        let Some((file, coding)) = layout.read_wal_file(system.system_id, &info.name) else {
            return self.piece(info).into_iter().collect();
        };
        let what = if coding == system.coding_of(file) {
            let mut records = file
                .segment()
                .map(|segment| WalRecords::new(segment.timeline));
            let stored = Stored {
                repository: self.repository,
                system,
                object: &info.name,
                file,
            };
            let read = store.get(&info.name, None).and_then(|reader| {
                stored.read(reader, |bytes| {
                    records.iter_mut().for_each(|records| records.feed(bytes));
                    Ok(())
                })
            });
            let problem = match read {
                Ok(()) => records.map(|records| self.records(file, records.finish())),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) if error.kind() == Kind::Key => self.sealed(info, &error),
                Err(error) => Some(Err(error.in_one_line())),
            };
            match problem {
                None => return Vec::new(),
                Some(Ok(joints)) => return joints,
                Some(Err(problem)) => problem,
            }
        } else {
            format!(
                "stored as {coding}, but all WAL of system {} is as {}: restore-wal doesn't find it",
                system.system_id,
                system.wal_coding()
            )
        };
        let lost = match file {
            WalName::Segment(segment) if coding == system.wal_coding() => {
                Some(lost(segment.timeline, segment.number(system.segment_size)))
            }
            _ => None,
        };
        vec![WalFinding {
            object: store.place(&info.name),
            what,
            lost,
            file: Some(file),
        }]
    }

    /// What is wrong with a piece of a segment in progress. Any other object that is no WAL file is not ours to judge.
    fn piece(&self, info: &ObjectInfo) -> Option<WalFinding> {
        let (layout, system) = (self.repository.layout(), self.system);
        let (piece, coding) = layout.read_piece(system.system_id, &info.name)?;
        if coding != system.wal_coding() {
            return None;
        }
        let error = self.repository.read_piece(system, piece).err()?;
        let known = matches!(error.kind(), Kind::NotFound | Kind::Key);
        (!known).then(|| WalFinding {
            object: self.repository.storage().place(&info.name),
            what: error.in_one_line(),
            lost: None,
            file: None,
        })
    }

    /// Of what can't be decrypted the header can be checked.
    fn sealed(&self, info: &ObjectInfo, why: &Error) -> Option<Result<Vec<WalFinding>, String>> {
        match self.repository.clear_hash(&info.name) {
            Ok(Some(_)) => {
                let mut checked = lock(&self.checked);
                checked.sealed += 1;
                checked.sealed_why.get_or_insert_with(|| why.in_one_line());
                None
            }
            Ok(None) => Some(Err(
                "tells no hash of what is in it: pgstow did not write it".into(),
            )),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => Some(Err(error.in_one_line())),
        }
    }

    /// What is wrong with the records of a file, or of its neighbours.
    fn records(&self, file: WalName, followed: Followed) -> Result<Vec<WalFinding>, String> {
        let Some(segment) = file.segment() else {
            return Ok(Vec::new());
        };
        let size = self.system.segment_size;
        let place = (segment.timeline, segment.number(size));
        if let Some(broken) = followed.broken {
            let left = self.forks.get(&place).copied();
            return match may_end(file, broken.at, left) && !broken.goes_on {
                true => Ok(Vec::new()),
                false => Err(broken.problem),
            };
        }
        if matches!(file, WalName::Partial(_)) {
            return Ok(Vec::new());
        }
        let minimal = followed.minimal.map(|at| (place, Trouble::Minimal(at)));
        let problems = lock(&self.joints).add(place, followed).into_iter();
        let findings = problems
            .chain(minimal)
            .filter_map(|((timeline, number), trouble)| {
                let what = match trouble {
                    Trouble::Damage(what) => what,
                    Trouble::Minimal(at) => {
                        self.note_minimal(Segment::nth(timeline, number, size), at);
                        return None;
                    }
                };
                let name = WalName::Segment(Segment::nth(timeline, number, size));
                let object = self.repository.wal_object(self.system, name);
                Some(WalFinding {
                    object: self.repository.storage().place(&object),
                    what,
                    lost: Some(lost(timeline, number)),
                    file: None,
                })
            });
        Ok(findings.collect())
    }

    /// The first segment of a timeline begins with what the one before it wrote, which has it too.
    fn note_minimal(&self, read: Segment, position: Lsn) {
        let mut histories = self.histories.iter();
        let history = histories.find(|history| history.own == read.timeline);
        let written_on = history.map_or(read.timeline, |history| history.timeline_at(position));
        let mut checked = lock(&self.checked);
        let first = checked
            .minimal
            .entry((written_on, position))
            .or_insert(read);
        *first = read.min(*first);
    }
}

fn lost(timeline: TimelineId, number: u64) -> Missing {
    Missing {
        timeline,
        first: number,
        last: number,
    }
}

/// Those that can be read: the others are findings.
fn histories(repository: &Repository, system: &System, index: &WalIndex) -> Vec<TimelineHistory> {
    let read = |timeline| {
        let name = WalName::History(timeline);
        let object = repository.wal_object(system, name);
        let text = repository.storage().read(&object, TEXT_LIMIT)?;
        TimelineHistory::parse(timeline, &text)
    };
    let all = index.histories().iter().copied();
    all.filter_map(|timeline| read(timeline).ok()).collect()
}

/// Where in which segment a timeline was left first.
fn forks(histories: &[TimelineHistory], system: &System) -> BTreeMap<(TimelineId, u64), Lsn> {
    let mut forks = BTreeMap::new();
    for history in histories {
        if let [.., parent, own] = &history.path()[..] {
            let number = own.from.0 / system.segment_size.bytes();
            let left = forks.entry((parent.timeline, number)).or_insert(own.from);
            *left = own.from.min(*left);
        }
    }
    forks
}

/// A worker that panicked has left nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
