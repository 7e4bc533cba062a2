//! The WAL that is there along a timeline's history, as one row of segments. Pure.

use crate::{
    domain::restore::path::Leg,
    postgres::{
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::wal_index::WalIndex,
};

/// Segments by their place in the row, oldest first; where some are missing the row goes on behind them.
#[derive(Debug)]
pub struct Way {
    legs: Vec<Leg>,
    /// What comes behind the last whole segment.
    open: Option<Segment>,
    /// Of that there are pieces alone.
    in_pieces: bool,
    size: SegmentSize,
}

impl Way {
    /// The segment in which a timeline forks is taken under the new timeline's name, as recovery does.
    pub fn along(history: &TimelineHistory, wal: &WalIndex) -> Self {
        let size = wal.size();
        let mut legs = Vec::new();
        for span in history.path() {
            let first = span.from.0 / size.bytes();
            let end = span.to.map_or(u64::MAX, |to| to.0 / size.bytes());
            for range in wal.ranges(span.timeline) {
                let (first, last) = (first.max(*range.start()), end.min(*range.end() + 1));
                if first < last {
                    legs.push(Leg {
                        timeline: span.timeline,
                        first,
                        last: last - 1,
                    });
                }
            }
        }
        let next = legs.last().map(|leg| {
            let timeline = history.own;
            Segment::nth(timeline, leg.last + 1, size)
        });
        let has_partial = |next: &Segment| wal.partial().contains(next);
        let has_pieces = |next: &Segment| wal.live_upto(*next).is_some();
        Self {
            open: next.filter(|next| has_partial(next) || has_pieces(next)),
            in_pieces: next.is_some_and(|next| !has_partial(&next)),
            legs,
            size,
        }
    }

    pub fn len(&self) -> usize {
        let whole = self.legs.iter().map(length).sum::<usize>();
        whole + usize::from(self.open.is_some())
    }

    /// The segment at a place.
    pub fn segment(&self, place: usize) -> Option<Segment> {
        let mut left = place;
        for leg in &self.legs {
            let length = length(leg);
            if left < length {
                let number = leg.first + left as u64;
                return Some(Segment::nth(leg.timeline, number, self.size));
            }
            left -= length;
        }
        self.open.filter(|_| left == 0)
    }

    /// The name under which a segment of the row is stored.
    pub fn stored_as(&self, segment: Segment) -> WalName {
        match self.is_open(segment) && !self.in_pieces {
            true => WalName::Partial(segment),
            false => WalName::Segment(segment),
        }
    }

    /// Whether nothing is known of its end: it was being written.
    pub fn is_open(&self, segment: Segment) -> bool {
        self.open == Some(segment)
    }

    /// The segment that ends the row and is there in pieces alone.
    pub fn in_pieces(&self) -> Option<Segment> {
        self.open.filter(|_| self.in_pieces)
    }

    /// Whether no segment is missing behind the one at this place.
    pub fn goes_on(&self, place: usize) -> bool {
        let number = |place| Some(self.segment(place)?.number(self.size));
        number(place).is_some_and(|at| number(place + 1) == Some(at + 1))
    }
}

fn length(leg: &Leg) -> usize {
    (leg.last - leg.first + 1) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{postgres::lsn::TimelineId, repo::layout::Piece};

    const MB: u32 = 1 << 20;

    fn way(history: &str, own: u32, segments: &[&str], partial: &[&str]) -> Vec<String> {
        with_pieces(history, own, segments, partial, &[])
    }

    fn with_pieces(
        history: &str,
        own: u32,
        segments: &[&str],
        partial: &[&str],
        pieces: &[&str],
    ) -> Vec<String> {
        let own = TimelineId::new(own).unwrap();
        let history = match history {
            "" => TimelineHistory::without_ancestors(own),
            text => TimelineHistory::parse(own, text.as_bytes()).unwrap(),
        };
        let mut wal = WalIndex::new(SegmentSize::new(MB).unwrap());
        let segment = |name: &&str| match name.parse::<WalName>().unwrap() {
            WalName::Segment(segment) => segment,
            other => panic!("{other}"),
        };
        segments.iter().for_each(|name| wal.add(segment(name)));
        let mut partials = partial.iter().map(segment);
        partials.by_ref().for_each(|one| wal.add_partial(one));
        for segment in pieces.iter().map(segment) {
            let (from, to) = (0, 8192);
            wal.add_piece(Piece { segment, from, to });
        }
        let way = Way::along(&history, &wal);
        let name = |place| {
            let segment = way.segment(place).unwrap();
            let gap = if way.goes_on(place) { "" } else { " |" };
            let pieces = match way.in_pieces() == Some(segment) {
                true => " in pieces",
                false => "",
            };
            format!("{}{pieces}{gap}", way.stored_as(segment))
        };
        assert_eq!(way.segment(way.len()), None);
        (0..way.len()).map(name).collect()
    }

    #[test]
    fn segments_lie_in_a_row() {
        let (two, three, five) = (
            "000000010000000000000002",
            "000000010000000000000003",
            "000000010000000000000005",
        );
        assert_eq!(
            way("", 1, &[two, three, five], &["000000010000000000000006"]),
            [
                two,
                "000000010000000000000003 |",
                five,
                "000000010000000000000006.partial |"
            ]
        );
        assert_eq!(way("", 1, &[], &[]), [""; 0]);
        // Pieces of the next one, of one behind a hole, and of one that is there as it is.
        let six = "000000010000000000000006";
        for (pieces, partial, last) in [
            (six, &[][..], "000000010000000000000006 in pieces |"),
            (
                "000000010000000000000007",
                &[],
                "000000010000000000000005 |",
            ),
            (five, &[], "000000010000000000000005 |"),
            (six, &[six], "000000010000000000000006.partial |"),
        ] {
            let way = with_pieces("", 1, &[five], partial, &[pieces]);
            assert_eq!(way.last().map(String::as_str), Some(last));
        }
        // Timeline 2 forks within segment 3.
        assert_eq!(
            way(
                "1\t0/380000\tx\n",
                2,
                &[
                    two,
                    three,
                    five,
                    "000000020000000000000003",
                    "000000020000000000000004"
                ],
                &["000000010000000000000004"]
            ),
            [
                two,
                "000000020000000000000003",
                "000000020000000000000004 |"
            ]
        );
    }
}
