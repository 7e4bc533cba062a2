//! Which segments are missing between those that are there. Pure.
//!
//! Nothing is missing before a timeline's first segment, where retention has cut, or behind its
//! last, unless a history says that the next timeline left it further on.

use std::collections::BTreeMap;

use crate::{
    postgres::{lsn::TimelineId, timeline::TimelineHistory},
    repo::{missing::Missing, wal_index::WalIndex},
};

/// The holes of every timeline, by timeline and position.
pub fn holes(index: &WalIndex, histories: &[TimelineHistory]) -> Vec<Missing> {
    let mut wanted: BTreeMap<TimelineId, (u64, u64)> = BTreeMap::new();
    for timeline in index.timelines() {
        let ranges = index.ranges(timeline);
        if let (Some(first), Some(last)) = (ranges.first(), ranges.last()) {
            wanted.insert(timeline, (*first.start(), *last.end()));
        }
    }
    let stored = wanted.clone();
    for history in histories {
        let [.., parent, own] = &history.path()[..] else {
            continue;
        };
        let fork = own.from.0 / index.size().bytes();
        // What was stored before the fork goes on up to it: on the parent up to the segment
        // before the fork's own, which the new timeline has under its name.
        let Some((first, _)) = stored
            .get(&parent.timeline)
            .filter(|(first, _)| *first < fork)
        else {
            continue;
        };
        let reaches = wanted.entry(parent.timeline).or_insert((*first, *first));
        reaches.1 = reaches.1.max(fork - 1);
        if let Some((first, _)) = wanted.get_mut(&own.timeline) {
            *first = fork.min(*first);
        }
    }
    wanted
        .into_iter()
        .flat_map(|(timeline, (first, last))| index.missing(timeline, &(first..=last)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::postgres::wal_name::{Segment, SegmentSize};

    fn tli(id: u32) -> TimelineId {
        TimelineId::new(id).unwrap()
    }

    /// Holes of segments of 16 MiB, as (timeline, first, last).
    fn found(segments: &[(u32, &[u64])], histories: &[(u32, &str)]) -> Vec<(u32, u64, u64)> {
        let size = SegmentSize::new(16 << 20).unwrap();
        let mut index = WalIndex::new(size);
        for (timeline, numbers) in segments {
            for number in *numbers {
                index.add(Segment::nth(tli(*timeline), *number, size));
            }
        }
        let histories: Vec<_> = histories
            .iter()
            .map(|(own, text)| TimelineHistory::parse(tli(*own), text.as_bytes()).unwrap())
            .collect();
        holes(&index, &histories)
            .iter()
            .map(|hole| (hole.timeline.get(), hole.first, hole.last))
            .collect()
    }

    #[test]
    fn one_timeline() {
        assert_eq!(found(&[], &[]), []);
        assert_eq!(found(&[(1, &[3, 4, 5])], &[]), []);
        assert_eq!(found(&[(1, &[3, 6, 8])], &[]), [(1, 4, 5), (1, 7, 7)]);
    }

    #[test]
    fn across_a_fork() {
        // Inside segment 5, and at its end.
        let inside = [(2, "1\t0/5000148")];
        let border = [(2, "1\t0/6000000")];
        assert_eq!(found(&[(1, &[3, 4]), (2, &[5, 6])], &inside), []);
        assert_eq!(found(&[(1, &[3, 4, 5]), (2, &[6])], &border), []);
        assert_eq!(found(&[(1, &[3]), (2, &[5])], &inside), [(1, 4, 4)]);
        assert_eq!(found(&[(1, &[3, 4]), (2, &[6])], &border), [(1, 5, 5)]);
        assert_eq!(found(&[(1, &[3, 4]), (2, &[7])], &inside), [(2, 5, 6)]);
        // Nothing was archived after the promotion yet.
        assert_eq!(found(&[(1, &[3, 4])], &inside), []);
        assert_eq!(found(&[(1, &[3])], &inside), [(1, 4, 4)]);
        // The old primary lived on, with a hole.
        assert_eq!(
            found(&[(1, &[3, 4, 5, 7]), (2, &[5])], &inside),
            [(1, 6, 6)]
        );
        // All before the fork, or some behind it too, was removed by retention.
        assert_eq!(found(&[(2, &[5, 6])], &inside), []);
        assert_eq!(found(&[(1, &[9]), (2, &[7, 8])], &inside), []);
    }

    #[test]
    fn two_children_of_one_timeline() {
        let two = [(2, "1\t0/5000148"), (3, "1\t0/8000148")];
        assert_eq!(
            found(&[(1, &[3, 4]), (2, &[5]), (3, &[8])], &two),
            [(1, 5, 7)]
        );
    }
}
