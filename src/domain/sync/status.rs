//! Where each backup, dump and range of WAL is: in the target, on its way, or damaged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    merge,
    pass::{Pair, Peer},
    stock::{self, Lacking, Shown},
    systems,
    tally::Amount,
    there::{Doubts, There},
};
use crate::{
    error::{Kind, Result},
    postgres::{
        lsn::{SystemId, TimelineId},
        wal_name::{Segment, WalName},
    },
    repo::{
        backup_id::BackupId,
        brought::Brought,
        dump_name::{DumpName, DumpObject},
        dumps::{DumpEntry, DumpState},
        layout::{BackupObject, ObjectName},
        missing::Missing,
        verified_wal::WalRange,
    },
    util::clock::Time,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// In the target, whole.
    Complete,
    /// Only in the source.
    Pending,
    /// Being copied, or begun by a copy that was interrupted.
    Copying,
    /// In the target, or in the source and not in the target.
    Damaged,
    /// Was in the target, whose own retention deleted it.
    Expired,
}

/// A backup or a dump.
#[derive(Clone, Debug, Serialize)]
pub struct Group<N> {
    pub name: N,
    #[serde(rename = "where")]
    pub is: Where,
    pub bytes: u64,
    /// Since when the source has it, of what is not complete.
    pub since: Option<Time>,
    /// What is wrong with it.
    pub what: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct WalGroup {
    pub system_id: SystemId,
    pub timeline: TimelineId,
    pub complete: Amount,
    pub pending: Amount,
    /// The first and the last that are pending, and since when the source has the oldest.
    pub first_pending: Option<Segment>,
    pub last_pending: Option<Segment>,
    pub since: Option<Time>,
    /// Segments that `verify` found damaged in the target, or that have no byte there.
    pub damaged: Vec<WalRange>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub source: String,
    pub target: String,
    pub backups: Vec<Group<BackupId>>,
    pub wal: Vec<WalGroup>,
    pub dumps: Vec<Group<DumpName>>,
}

impl Status {
    pub fn has_damage(&self) -> bool {
        let backups = self.backups.iter().any(|one| one.is == Where::Damaged);
        let dumps = self.dumps.iter().any(|one| one.is == Where::Damaged);
        backups || dumps || self.wal.iter().any(|one| !one.damaged.is_empty())
    }
}

pub fn look(source: &Peer, target: &Peer) -> Result<Status> {
    let pairs = systems::pairs(source, target, true)?;
    let mut wal = Vec::new();
    for pair in &pairs {
        wal.extend(wal_groups(source, target, pair)?);
    }
    let doubts = Doubts::of(&target.repository)?;
    let there = There::look(&target.repository, &doubts)?;
    let mut brought = target.repository.brought()?;
    there.note_in(&mut brought, &doubts);
    let status = Status {
        source: source.name.clone(),
        target: target.name.clone(),
        backups: backups(source, target, &pairs, &there, &brought)?,
        wal,
        dumps: dumps(source, there.dumps, &brought)?,
    };
    source.repository.confirm()?;
    target.repository.confirm()?;
    Ok(status)
}

fn backups(
    source: &Peer,
    target: &Peer,
    pairs: &[Pair],
    there: &There,
    brought: &Brought,
) -> Result<Vec<Group<BackupId>>> {
    let own = stock::look(&source.repository)?;
    let there = &there.backups;
    let lacking = Lacking::look(&own, there, target, pairs, brought)?;
    let wrong: BTreeMap<BackupId, String> = (lacking.of_source.iter().chain(&lacking.of_target))
        .map(|(id, error)| (*id, error.in_one_line()))
        .collect();
    let ids: BTreeSet<BackupId> = own.keys().chain(there.keys()).copied().collect();
    let mut groups = Vec::with_capacity(ids.len());
    for id in ids {
        let known = [there.get(&id), own.get(&id)].into_iter().flatten();
        let bytes = known.clone().find_map(|shown| match shown {
            Shown::Complete(known) => Some(known.bytes),
            _ => None,
        });
        let is = match (there.get(&id), wrong.contains_key(&id)) {
            (_, true) => Where::Damaged,
            (Some(Shown::Complete(_)), _) => Where::Complete,
            (Some(Shown::Unfinished), _) => Where::Copying,
            _ if lacking.backups.contains(&id) => Where::Pending,
            // Running or pending in the source: there is nothing to copy yet.
            _ if !matches!(own.get(&id), Some(Shown::Complete(_) | Shown::Bad(_))) => continue,
            _ => Where::Expired,
        };
        let name = source
            .repository
            .layout()
            .backup_object(&id, BackupObject::Backup);
        groups.push(Group {
            name: id,
            is,
            bytes: bytes.unwrap_or_default(),
            since: since(source, is, &name)?,
            what: wrong.get(&id).cloned(),
        });
    }
    Ok(groups)
}

fn dumps(
    source: &Peer,
    mut there: BTreeMap<DumpName, DumpEntry>,
    brought: &Brought,
) -> Result<Vec<Group<DumpName>>> {
    let mut groups = Vec::new();
    for entry in source.repository.dumps()? {
        let found = there.remove(&entry.name);
        let state = found.as_ref().map(|found| &found.state);
        let (is, what) = match (&entry.state, state) {
            (_, Some(DumpState::Complete(_))) => (Where::Complete, None),
            (_, Some(DumpState::Damaged(_, why) | DumpState::Unreadable { why, .. })) => {
                (Where::Damaged, Some(why.clone()))
            }
            (_, Some(DumpState::Unfinished(_))) => (Where::Copying, None),
            (DumpState::Unfinished(_), None) => continue,
            (_, None) if brought.dumps.contains(&entry.name) => (Where::Expired, None),
            (DumpState::Damaged(_, why) | DumpState::Unreadable { why, .. }, None) => {
                (Where::Damaged, Some(why.clone()))
            }
            (DumpState::Complete(_), None) => (Where::Pending, None),
        };
        let description = source
            .repository
            .layout()
            .dump_object(&entry.name, DumpObject::Description);
        groups.push(Group {
            bytes: found.as_ref().unwrap_or(&entry).stored_bytes,
            since: since(source, is, &description)?,
            name: entry.name,
            is,
            what,
        });
    }
    // What the source has no more is there all the same.
    for entry in there.into_values() {
        if entry.whole().is_some() {
            groups.push(Group {
                bytes: entry.stored_bytes,
                name: entry.name,
                is: Where::Complete,
                since: None,
                what: None,
            });
        }
    }
    Ok(groups)
}

/// Of what is there nobody asks.
fn since(source: &Peer, is: Where, name: &ObjectName) -> Result<Option<Time>> {
    if matches!(is, Where::Complete | Where::Expired) {
        return Ok(None);
    }
    match source.repository.storage().head(name) {
        Ok(info) => Ok(Some(info.modified)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn wal_groups(source: &Peer, target: &Peer, pair: &Pair) -> Result<Vec<WalGroup>> {
    let system = &pair.target;
    let cut = target.repository.cut(system)?;
    let mut groups: BTreeMap<TimelineId, WalGroup> = BTreeMap::new();
    let mut damaged: Vec<Missing> = Vec::new();
    let range = |segment: Segment| {
        let number = segment.number(system.segment_size);
        Missing {
            timeline: segment.timeline,
            first: number,
            last: number,
        }
    };
    merge::each(source, target, pair, |seen| {
        let merge::What::File(WalName::Segment(segment)) = seen.what else {
            return Ok(());
        };
        let group = groups.entry(segment.timeline).or_insert(WalGroup {
            system_id: system.system_id,
            timeline: segment.timeline,
            complete: Amount::default(),
            pending: Amount::default(),
            first_pending: None,
            last_pending: None,
            since: None,
            damaged: Vec::new(),
        });
        if let Some(info) = &seen.there {
            group.complete.add(info.size);
            if info.size == 0 {
                damaged.push(range(segment));
                damaged = Missing::joined(damaged.drain(..));
            }
        } else if seen.is_lacking(pair, &cut) {
            group.pending.add(seen.info.size);
            group.first_pending.get_or_insert(segment);
            group.last_pending = Some(segment);
            let since = group.since.get_or_insert(seen.info.modified);
            *since = seen.info.modified.min(*since);
        }
        Ok(())
    })?;
    let verdicts = target.repository.verdicts(|_| false)?;
    if let Some(word) = verdicts.wal.get(&system.system_id) {
        let told = word.damaged.iter();
        damaged.extend(told.map(|range| range.numbers(system.segment_size)));
    }
    for range in WalRange::joined(damaged, system.segment_size) {
        if let Some(group) = groups.get_mut(&range.first.timeline) {
            group.damaged.push(range);
        }
    }
    Ok(groups.into_values().collect())
}
