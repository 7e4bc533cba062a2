//! The WAL of the source beside that of the target: two listings, read side by side in the order of their names, so
//! that memory does not grow with what is stored.

use super::pass::{Pair, Peer};
use crate::{
    error::Result,
    postgres::{lsn::TimelineId, wal_name::WalName},
    repo::{layout::ObjectName, lease::Cut, missing::Missing, storage::ObjectInfo},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    File(WalName),
    /// A gap, or where WAL of `wal_level = minimal` begins: a small document about WAL up to this one.
    Note(TimelineId, u64),
}

/// An object of the source, and its counterpart.
#[derive(Clone, Debug)]
pub struct Seen {
    pub what: What,
    pub info: ObjectInfo,
    /// Its name in the target.
    pub to: ObjectName,
    pub there: Option<ObjectInfo>,
}

impl Seen {
    /// Whether the target lacks it: what its own retention deleted (`cut`) it does not lack.
    pub fn is_lacking(&self, pair: &Pair, cut: &Cut) -> bool {
        let wanted = self.place(pair).is_none_or(|(timeline, number)| {
            let one = Missing {
                timeline,
                first: number,
                last: number,
            };
            cut.lost(one).is_some()
        });
        self.there.is_none() && wanted
    }

    /// Whether it is one of these segments, or of what belongs to them, and not there.
    pub fn is_needed(&self, pair: &Pair, needed: &[Missing]) -> bool {
        let is_needed = match self.place(pair) {
            // One of a later timeline would make a hole of what is behind it.
            None => match self.what {
                What::File(WalName::History(timeline)) => {
                    needed.iter().any(|range| timeline <= range.timeline)
                }
                _ => !needed.is_empty(),
            },
            Some((timeline, number)) => needed
                .iter()
                .any(|range| range.timeline == timeline && range.numbers().contains(&number)),
        };
        self.there.is_none() && is_needed
    }

    /// Which it is, if it is one.
    pub fn segment(&self, pair: &Pair) -> Option<Missing> {
        let What::File(WalName::Segment(segment)) = self.what else {
            return None;
        };
        let number = segment.number(pair.source.segment_size);
        Some(Missing {
            timeline: segment.timeline,
            first: number,
            last: number,
        })
    }

    /// The segment that it is or belongs to; None of histories, which belong to all.
    fn place(&self, pair: &Pair) -> Option<(TimelineId, u64)> {
        let size = pair.source.segment_size;
        match self.what {
            What::File(WalName::History(_)) => None,
            What::File(
                WalName::Segment(segment)
                | WalName::Partial(segment)
                | WalName::BackupHistory(segment, _),
            ) => Some((segment.timeline, segment.number(size))),
            What::Note(timeline, number) => Some((timeline, number)),
        }
    }
}

/// Calls `each` for every object of the source that is to be copied, in the order of their names.
pub fn each(
    source: &Peer,
    target: &Peer,
    pair: &Pair,
    mut each: impl FnMut(Seen) -> Result<()>,
) -> Result<()> {
    let wal = target.repository.layout().wal(pair.source.system_id);
    let mut there = target.repository.storage().list(&wal, None)?;
    let mut next = there.next().transpose()?;
    for info in source.repository.storage().list(&wal, None)? {
        let info = info?;
        let Some((what, to)) = counterpart(target, pair, &info.name) else {
            continue;
        };
        // `.age` behind all names leaves their order as it is.
        while next.as_ref().is_some_and(|next| next.name < to) {
            next = there.next().transpose()?;
        }
        let found = next.clone().filter(|next| next.name == to);
        each(Seen {
            what,
            info,
            to,
            there: found,
        })?;
    }
    Ok(())
}

/// What an object of the source is, and its name in the target; None for what stays where it is.
fn counterpart(target: &Peer, pair: &Pair, name: &ObjectName) -> Option<(What, ObjectName)> {
    let (system, size) = (pair.source.system_id, pair.source.segment_size);
    let layout = target.repository.layout();
    if let Some((file, coding)) = layout.read_wal_file(system, name) {
        let to = target.repository.wal_object(&pair.target, file);
        // Under another coding restore-wal would not look for it.
        return (coding == pair.source.coding_of(file)).then_some((What::File(file), to));
    }
    let gap = layout.read_gap(system, name);
    let gap = gap.map(|(_, last)| What::Note(last.timeline, last.number(size)));
    let minimal = layout.read_minimal(system, name);
    let minimal = minimal.map(|(timeline, at)| What::Note(timeline, at.0 / size.bytes()));
    Some((gap.or(minimal)?, name.clone()))
}
