//! The WAL of the source beside that of the target: two listings, read side by side in the order of their names, so
//! that memory does not grow with what is stored.

use super::pass::{Pair, Peer};
use crate::{
    error::Result,
    postgres::{
        lsn::TimelineId,
        wal_name::{Segment, WalName},
    },
    repo::{layout::ObjectName, lease::Cut, storage::ObjectInfo, wal_index::Missing},
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
        self.there.is_none() && is_wanted(self.what, pair, cut)
    }
}

fn is_wanted(what: What, pair: &Pair, cut: &Cut) -> bool {
    let size = pair.source.segment_size;
    let number = |segment: Segment| (segment.timeline, segment.number(size));
    let (timeline, number) = match what {
        What::File(WalName::History(_)) => return true,
        What::File(
            WalName::Segment(segment)
            | WalName::Partial(segment)
            | WalName::BackupHistory(segment, _),
        ) => number(segment),
        What::Note(timeline, number) => (timeline, number),
    };
    let wanted = Missing {
        timeline,
        first: number,
        last: number,
    };
    cut.lost(wanted).is_some()
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
