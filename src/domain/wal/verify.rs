//! Re-reads all stored WAL of a system, and looks for holes between its segments.
//!
//! One listing feeds the workers; memory grows with what is found, up to a limit, not with what
//! is stored.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use serde::Serialize;

use super::{content::TEXT_LIMIT, continuity::holes, stored::Stored};
use crate::{
    error::{Kind, Result},
    postgres::{timeline::TimelineHistory, wal_name::WalName},
    repo::{
        codec::Codec,
        repository::{Repository, System},
        storage::ObjectInfo,
        wal_index::{Missing, WalIndex},
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
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalChecked {
    pub objects: u64,
    /// As stored.
    pub bytes: u64,
    pub findings: Vec<WalFinding>,
    /// Findings that are not among these.
    pub more: u64,
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
    let check = Check {
        repository,
        system,
        meter,
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
    let histories = check.histories(&index);
    let mut checked = check
        .checked
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    for hole in holes(&index, &histories) {
        checked.note(WalFinding {
            object: hole.describe(system.segment_size),
            what: "missing, though WAL before and behind it is there".to_owned(),
            lost: Some(hole),
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
    checked: Mutex<WalChecked>,
}

impl Check<'_> {
    fn list(&self, cancel: &Cancel, mut each: impl FnMut(ObjectInfo)) -> Result<()> {
        let wal = self.repository.layout().wal(self.system.system_id);
        for info in self.repository.storage().list(&wal, None)? {
            cancel.check()?;
            each(info?);
        }
        Ok(())
    }

    fn work(&self, objects: &Mutex<Receiver<ObjectInfo>>) {
        loop {
            // Bound by itself, so that the lock is free while the object is read.
            let next = lock(objects).recv();
            let Ok(info) = next else {
                return;
            };
            let finding = self.judge(&info);
            let mut checked = lock(&self.checked);
            checked.objects += 1;
            checked.bytes += info.size;
            if let Some(finding) = finding {
                checked.note(finding);
            }
            self.meter.add(info.size);
        }
    }

    fn judge(&self, info: &ObjectInfo) -> Option<WalFinding> {
        let (system, store) = (self.system, self.repository.storage());
        // What is no WAL file is not ours to judge.
        let layout = self.repository.layout();
        let (file, codec) = layout.read_wal_file(system.system_id, &info.name)?;
        let what = if codec == system.codec_of(file) {
            let stored = Stored {
                repository: self.repository,
                system,
                object: &info.name,
                file,
            };
            match store
                .get(&info.name, None)
                .and_then(|reader| stored.read(reader, |_| Ok(())))
            {
                Ok(()) => return None,
                Err(error) if error.kind() == Kind::NotFound => return None,
                Err(error) => error.in_one_line(),
            }
        } else {
            format!(
                "compressed by {codec}, but all WAL of system {} is stored by {}: restore-wal doesn't find it",
                system.system_id, system.wal_codec
            )
        };
        let lost = match file {
            WalName::Segment(segment) if codec == system.wal_codec => {
                let number = segment.number(system.segment_size);
                Some(Missing {
                    timeline: segment.timeline,
                    first: number,
                    last: number,
                })
            }
            _ => None,
        };
        Some(WalFinding {
            object: store.place(&info.name),
            what,
            lost,
        })
    }

    /// Those that can be read: the others are findings already.
    fn histories(&self, index: &WalIndex) -> Vec<TimelineHistory> {
        let read = |timeline| {
            let name = WalName::History(timeline);
            let object =
                self.repository
                    .layout()
                    .wal_file(self.system.system_id, name, Codec::None);
            let text = self.repository.storage().read(&object, TEXT_LIMIT)?;
            TimelineHistory::parse(timeline, &text)
        };
        let all = index.histories().iter().copied();
        all.filter_map(|timeline| read(timeline).ok()).collect()
    }
}

/// A worker that panicked has left nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
