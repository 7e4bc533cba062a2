//! Which WAL is in the repository: ranges of segments, gaps, history files. Its memory grows
//! with the number of gaps, not of segments.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    layout::Piece,
    missing::{Missing, Numbers},
    repository::{Repository, System},
};
use crate::{
    error::Result,
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::clock::Time,
};

/// Where WAL ends: of two, that of the later timeline is further.
pub type End = (TimelineId, Lsn);

#[derive(Clone, Debug)]
pub struct WalIndex {
    size: SegmentSize,
    timelines: BTreeMap<TimelineId, Vec<Numbers>>,
    partial: BTreeSet<Segment>,
    /// Pieces of segments, each from one offset up to another.
    live: BTreeMap<Segment, BTreeSet<(u32, u32)>>,
    /// Of this timeline no more than the end was listed.
    cut: Option<TimelineId>,
    histories: BTreeSet<TimelineId>,
    /// First and last segment of ranges that were given up.
    gaps: Vec<(Segment, Segment)>,
    minimal: BTreeSet<(TimelineId, Lsn)>,
    newest: Option<(Segment, Time)>,
    /// The newest one that has no byte.
    empty: Option<Segment>,
    /// When the last of each timeline arrived, its history included.
    arrived: BTreeMap<TimelineId, Time>,
    stored_bytes: u64,
}

impl WalIndex {
    pub fn new(size: SegmentSize) -> Self {
        Self {
            size,
            timelines: BTreeMap::new(),
            partial: BTreeSet::new(),
            live: BTreeMap::new(),
            cut: None,
            histories: BTreeSet::new(),
            gaps: Vec::new(),
            minimal: BTreeSet::new(),
            newest: None,
            empty: None,
            arrived: BTreeMap::new(),
            stored_bytes: 0,
        }
    }

    /// Lists all WAL of one system.
    pub fn load(repository: &Repository, system: &System) -> Result<Self> {
        Self::load_behind(repository, system, None)
    }

    /// Lists the WAL of one system from the segment on before that in which `end` lies, that of later timelines and all
    /// pieces.
    pub fn load_behind(repository: &Repository, system: &System, end: Option<End>) -> Result<Self> {
        let mut index = Self::new(system.segment_size);
        let layout = repository.layout();
        let before = end.and_then(|(timeline, lsn)| {
            let number = (lsn.0 / index.size.bytes()).checked_sub(2)?;
            let segment = Segment::nth(timeline, number, index.size);
            Some(layout.behind_segment(system.system_id, segment))
        });
        index.cut = end
            .filter(|_| before.is_some())
            .map(|(timeline, _)| timeline);
        for info in repository
            .storage()
            .list(&layout.wal(system.system_id), before.as_ref())?
        {
            let info = info?;
            let Some((file, coding)) = layout.read_wal_file(system.system_id, &info.name) else {
                index
                    .gaps
                    .extend(layout.read_gap(system.system_id, &info.name));
                let minimal = layout.read_minimal(system.system_id, &info.name);
                index.minimal.extend(minimal);
                match layout.read_piece(system.system_id, &info.name) {
                    Some((piece, coding)) if coding == system.wal_coding() => {
                        index.add_piece(piece)
                    }
                    _ => {}
                }
                continue;
            };
            index.stored_bytes += info.size;
            match file {
                // Under another coding restore-wal would not look for it.
                WalName::Segment(_) | WalName::Partial(_) if coding != system.wal_coding() => {}
                WalName::Segment(segment) => {
                    index.add(segment);
                    index.note_segment(segment, info.modified);
                    if info.size == 0 {
                        index.empty = index.empty.max(Some(segment));
                    }
                }
                WalName::Partial(segment) => index.add_partial(segment),
                WalName::History(timeline) => {
                    index.histories.insert(timeline);
                    index.note_arrival(timeline, info.modified);
                }
                WalName::BackupHistory(..) => {}
            }
        }
        Ok(index)
    }

    /// The segments from `first` to `last` that are not there, found by one listing of these.
    pub fn look(
        repository: &Repository,
        system: &System,
        timeline: TimelineId,
        wanted: &Numbers,
    ) -> Result<Vec<Missing>> {
        let mut index = Self::new(system.segment_size);
        let layout = repository.layout();
        let last = Segment::nth(timeline, *wanted.end(), index.size);
        let before = wanted.start().checked_sub(1).map(|number| {
            layout.behind_segment(system.system_id, Segment::nth(timeline, number, index.size))
        });
        for info in repository
            .storage()
            .list(&layout.wal(system.system_id), before.as_ref())?
        {
            match layout.read_wal_file(system.system_id, &info?.name) {
                Some((WalName::Segment(segment), _)) if segment > last => break,
                Some((WalName::Segment(segment), coding)) if coding == system.wal_coding() => {
                    index.add(segment)
                }
                _ => {}
            }
        }
        Ok(index.missing(timeline, wanted))
    }

    /// Notes a segment; listings give them in order, so a range mostly grows by one.
    pub fn add(&mut self, segment: Segment) {
        if !segment.fits(self.size) {
            return;
        }
        let number = segment.number(self.size);
        let ranges = self.timelines.entry(segment.timeline).or_default();
        let at = ranges.partition_point(|range| *range.start() <= number);
        let joins_before = at > 0 && *ranges[at - 1].end() + 1 >= number;
        let joins_behind = ranges
            .get(at)
            .is_some_and(|range| *range.start() == number + 1);
        match (joins_before, joins_behind) {
            (true, true) => {
                let behind = ranges.remove(at);
                ranges[at - 1] = *ranges[at - 1].start()..=*behind.end();
            }
            (true, false) => {
                ranges[at - 1] = *ranges[at - 1].start()..=(*ranges[at - 1].end()).max(number)
            }
            (false, true) => ranges[at] = number..=*ranges[at].end(),
            (false, false) => ranges.insert(at, number..=number),
        }
    }

    /// Notes the segments of a range.
    pub fn add_range(&mut self, range: Missing) {
        for number in range.numbers() {
            self.add(Segment::nth(range.timeline, number, self.size));
        }
    }

    /// Notes when something of `timeline` arrived.
    pub fn note_arrival(&mut self, timeline: TimelineId, time: Time) {
        let newest = self.arrived.entry(timeline).or_insert(time);
        *newest = time.max(*newest);
    }

    /// Notes when a segment arrived.
    pub fn note_segment(&mut self, segment: Segment, time: Time) {
        self.note_arrival(segment.timeline, time);
        if self.newest.is_none_or(|(_, newest)| newest <= time) {
            self.newest = Some((segment, time));
        }
    }

    /// When the last segment of `timeline`, or its history, arrived.
    pub fn arrived(&self, timeline: TimelineId) -> Option<Time> {
        self.arrived.get(&timeline).copied()
    }

    /// Notes a segment that PostgreSQL archived as `.partial`.
    pub fn add_partial(&mut self, segment: Segment) {
        self.partial.insert(segment);
    }

    /// Notes a piece of a segment in progress.
    pub fn add_piece(&mut self, piece: Piece) {
        let Piece { segment, from, to } = piece;
        if segment.fits(self.size) && u64::from(to) <= self.size.bytes() {
            self.live.entry(segment).or_default().insert((from, to));
        }
    }

    /// Adds the pieces that another repository has.
    pub fn add_pieces_of(&mut self, other: &Self) {
        for (segment, pieces) in &other.live {
            self.live.entry(*segment).or_default().extend(pieces);
        }
    }

    /// Segments of which there are pieces that nothing leads to.
    pub fn stray(&self) -> impl Iterator<Item = Segment> {
        let is_stray = |(_, pieces): &(&Segment, &BTreeSet<(u32, u32)>)| {
            let upto = reach_of(pieces);
            pieces.iter().any(|(from, _)| *from > upto)
        };
        let stray = self.live.iter().filter(is_stray);
        stray.map(|(segment, _)| *segment)
    }

    /// Up to where the pieces of `segment` lead from its beginning; None without any.
    pub fn live_upto(&self, segment: Segment) -> Option<Lsn> {
        let upto = reach_of(self.live.get(&segment)?);
        (upto > 0).then(|| Lsn(segment.start(self.size).0 + u64::from(upto)))
    }

    pub fn size(&self) -> SegmentSize {
        self.size
    }

    /// The timelines that have any segment.
    pub fn timelines(&self) -> impl Iterator<Item = TimelineId> {
        self.timelines.keys().copied()
    }

    /// The ranges of one timeline, ascending; holes lie between them.
    pub fn ranges(&self, timeline: TimelineId) -> &[Numbers] {
        self.timelines.get(&timeline).map_or(&[], Vec::as_slice)
    }

    /// The last segment of a timeline.
    pub fn last(&self, timeline: TimelineId) -> Option<u64> {
        self.ranges(timeline).last().map(|range| *range.end())
    }

    /// Where the WAL of the latest timeline ends, pieces of the segment behind the last one included.
    pub fn end(&self) -> Option<End> {
        let begun = self.live.keys().map(|segment| segment.timeline);
        let mut timelines: Vec<TimelineId> = self.timelines().chain(begun).collect();
        timelines.sort_unstable();
        let ends = timelines.into_iter().rev();
        ends.filter_map(|timeline| self.end_on(timeline)).next()
    }

    /// The same of one timeline.
    pub fn end_on(&self, timeline: TimelineId) -> Option<End> {
        let mut begun = self.live.keys().filter(|one| one.timeline == timeline);
        let next = match self.last(timeline) {
            Some(last) => Segment::nth(timeline, last + 1, self.size),
            // Whether anything leads to it is not known.
            None if self.cut == Some(timeline) => return None,
            // It has just begun.
            None => *begun.next()?,
        };
        let whole = self.last(timeline).map(|_| next.start(self.size));
        Some((timeline, self.live_upto(next).or(whole)?))
    }

    /// The last segment that can be reached from `first` without a hole; None without `first`.
    pub fn reach(&self, timeline: TimelineId, first: u64) -> Option<u64> {
        let range = self
            .ranges(timeline)
            .iter()
            .find(|range| range.contains(&first))?;
        Some(*range.end())
    }

    /// The parts of `wanted` that are not there.
    pub fn missing(&self, timeline: TimelineId, wanted: &Numbers) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut next = *wanted.start();
        for range in self.ranges(timeline) {
            if *range.end() < next {
                continue;
            }
            if *range.start() > *wanted.end() {
                break;
            }
            if *range.start() > next {
                missing.push(Missing {
                    timeline,
                    first: next,
                    last: range.start() - 1,
                });
            }
            next = range.end() + 1;
        }
        if next <= *wanted.end() {
            missing.push(Missing {
                timeline,
                first: next,
                last: *wanted.end(),
            });
        }
        missing
    }

    /// The same if `lost` were not there.
    #[must_use]
    pub fn without(&self, lost: &[Missing]) -> Self {
        let mut left = self.clone();
        for Missing {
            timeline,
            first,
            last,
        } in lost
        {
            let Some(ranges) = left.timelines.get_mut(timeline) else {
                continue;
            };
            let kept = ranges.iter().flat_map(|range| {
                let (start, end) = (*range.start(), *range.end());
                let before = first.checked_sub(1).map(|before| start..=end.min(before));
                before.into_iter().chain([start.max(last + 1)..=end])
            });
            *ranges = kept.filter(|range| !range.is_empty()).collect();
        }
        left.timelines.retain(|_, ranges| !ranges.is_empty());
        left
    }

    /// What was given up and is still missing: a segment that arrived outranks its gap.
    pub fn lost(&self) -> Vec<Missing> {
        let gaps = self.gaps.iter().flat_map(|(first, last)| {
            let range = first.number(self.size)..=last.number(self.size);
            self.missing(first.timeline, &range)
        });
        // One may have been noted again with more of it, after a crash.
        Missing::joined(gaps)
    }

    /// Where WAL of `wal_level = minimal` is known to begin.
    pub fn minimal(&self) -> &BTreeSet<(TimelineId, Lsn)> {
        &self.minimal
    }

    /// Notes such a place.
    pub fn add_minimal(&mut self, timeline: TimelineId, position: Lsn) {
        self.minimal.insert((timeline, position));
    }

    /// Timelines whose history file is there.
    pub fn histories(&self) -> &BTreeSet<TimelineId> {
        &self.histories
    }

    /// Segments that PostgreSQL archived as `.partial` when their timeline was left.
    pub fn partial(&self) -> &BTreeSet<Segment> {
        &self.partial
    }

    /// The segment that arrived last, and when.
    pub fn newest(&self) -> Option<(Segment, Time)> {
        self.newest
    }

    /// The newest segment whose object is empty, as a power failure may leave it where a file system forgets what it was
    /// told to keep. Listings tell no other damage.
    pub fn empty(&self) -> Option<Segment> {
        self.empty
    }

    pub fn segments(&self) -> u64 {
        self.timelines
            .values()
            .flatten()
            .map(|range| range.end() - range.start() + 1)
            .sum()
    }

    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }
}

/// Up to where pieces lead from 0 on.
fn reach_of(pieces: &BTreeSet<(u32, u32)>) -> u32 {
    let mut upto = 0;
    for (from, to) in pieces {
        if *from > upto {
            break;
        }
        upto = upto.max(*to);
    }
    upto
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn index(numbers: &[u64]) -> WalIndex {
        let size = SegmentSize::new(16 << 20).unwrap();
        let mut index = WalIndex::new(size);
        for number in numbers {
            index.add(Segment::nth(TimelineId::FIRST, *number, size));
        }
        index
    }

    #[test]
    fn ranges_grow_join_and_keep_their_holes() {
        for numbers in [[1, 2, 3, 5, 6, 9], [9, 6, 5, 3, 2, 1], [2, 5, 3, 1, 9, 6]] {
            let index = index(&numbers);
            assert_eq!(
                index.ranges(TimelineId::FIRST),
                [1..=3, 5..=6, 9..=9],
                "{numbers:?}"
            );
            assert_eq!(index.reach(TimelineId::FIRST, 2), Some(3));
            assert_eq!(index.reach(TimelineId::FIRST, 4), None);
            assert_eq!(index.last(TimelineId::FIRST), Some(9));
            assert_eq!(index.segments(), 6);
        }
        assert_eq!(index(&[4, 4, 4]).segments(), 1);
    }

    #[test]
    fn pieces_lead_as_far_as_they_join() {
        let mut index = index(&[]);
        let segment = |number| Segment::nth(TimelineId::FIRST, number, index.size);
        let (one, two, three) = (segment(1), segment(2), segment(3));
        for (segment, from, to) in [
            (one, 0, 100),
            // Of a receiver that began anew.
            (one, 0, 300),
            (one, 100, 200),
            (one, 200, 400),
            (one, 500, 600),
            (two, 8192, 9000),
            (three, 0, 17 << 20),
        ] {
            index.add_piece(Piece { segment, from, to });
        }
        assert_eq!(index.live_upto(one), Some(Lsn((16 << 20) + 400)));
        assert_eq!(index.live_upto(two), None);
        assert_eq!(index.live_upto(three), None);
        assert_eq!(index.stray().collect::<Vec<_>>(), [one, two]);
        // What leads to it may come from another repository.
        let mut other = WalIndex::new(index.size);
        other.add_piece(Piece {
            segment: one,
            from: 300,
            to: 550,
        });
        index.add_pieces_of(&other);
        assert_eq!(index.live_upto(one), Some(Lsn((16 << 20) + 600)));
    }

    #[test]
    fn the_end_is_what_pieces_behind_the_last_segment_lead_to() {
        let mut index = index(&[1, 2]);
        let size = index.size;
        let (first, second) = (TimelineId::FIRST, TimelineId::new(2).unwrap());
        let mut add = |timeline, number| {
            index.add_piece(Piece {
                segment: Segment::nth(timeline, number, size),
                from: 0,
                to: 100,
            });
            index.end()
        };
        let at = |number: u64, bytes| Lsn((number << 24) + bytes);
        // Nothing leads to these.
        assert_eq!(add(first, 4), Some((first, at(3, 0))));
        assert_eq!(add(first, 3), Some((first, at(3, 100))));
        assert_eq!(add(second, 3), Some((second, at(3, 100))));
        index.cut = Some(second);
        assert_eq!(index.end(), Some((first, at(3, 100))));
    }

    #[test]
    fn without_splits_ranges() {
        let index = index(&[0, 1, 2, 3, 4, 6, 9]);
        let lost = |ranges: &[(u64, u64)]| {
            let lost: Vec<Missing> = ranges
                .iter()
                .map(|(first, last)| Missing {
                    timeline: TimelineId::FIRST,
                    first: *first,
                    last: *last,
                })
                .collect();
            index.without(&lost).ranges(TimelineId::FIRST).to_vec()
        };
        assert_eq!(lost(&[]), [0..=4, 6..=6, 9..=9]);
        assert_eq!(lost(&[(2, 2), (6, 6)]), [0..=1, 3..=4, 9..=9]);
        assert_eq!(lost(&[(0, 0), (4, 8)]), [1..=3, 9..=9]);
        assert_eq!(lost(&[(5, 5), (9, 20)]), [0..=4, 6..=6]);
        assert_eq!(lost(&[(0, 9)]), []);
        assert_eq!(index.ranges(TimelineId::FIRST).len(), 3);
    }

    #[test]
    fn missing_is_what_is_wanted_and_not_there() {
        let index = index(&[3, 4, 7]);
        let missing = |wanted: Numbers| -> Vec<(u64, u64)> {
            index
                .missing(TimelineId::FIRST, &wanted)
                .iter()
                .map(|m| (m.first, m.last))
                .collect()
        };
        assert_eq!(missing(3..=4), []);
        assert_eq!(missing(1..=9), [(1, 2), (5, 6), (8, 9)]);
        assert_eq!(missing(5..=5), [(5, 5)]);
        assert_eq!(missing(7..=8), [(8, 8)]);
        assert_eq!(missing(9..=9), [(9, 9)]);
        let other = TimelineId::new(2).unwrap();
        assert_eq!(
            index.missing(other, &(1..=2)),
            [Missing {
                timeline: other,
                first: 1,
                last: 2
            }]
        );
    }
}
