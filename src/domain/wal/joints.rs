//! Records that begin in one segment and end in the next. Workers bring segments in any order;
//! what is kept of them goes as soon as their neighbour is there.

use std::collections::BTreeMap;

use crate::postgres::{
    lsn::{Lsn, TimelineId},
    wal_record::{Record, Rest},
    wal_records::Followed,
};

/// A segment: its timeline and its number.
type Place = (TimelineId, u64);

/// What recovery ends at.
#[derive(Debug)]
pub enum Trouble {
    Damage(String),
    /// WAL of `wal_level = minimal` begins there.
    Minimal(Lsn),
}

#[derive(Debug, Default)]
pub struct Joints {
    /// What each segment ends in, under the one that follows.
    ends: BTreeMap<Place, Option<Record>>,
    begins: BTreeMap<Place, Begin>,
}

#[derive(Debug)]
enum Begin {
    /// With a record of its own.
    Record,
    /// With one in place of a record that never ended.
    Overwrite,
    Rest(Rest),
}

impl Joints {
    /// Takes what a whole segment begins and ends with; the segments whose last record does not
    /// go on in the next one as it should, or says there what recovery ends at.
    pub fn add(&mut self, (timeline, number): Place, followed: Followed) -> Vec<(Place, Trouble)> {
        let Followed {
            rest,
            overwrites,
            open,
            ..
        } = followed;
        // A record that fills the whole segment: where it ends depends on those before.
        let passes = rest.as_ref().is_some_and(|rest| rest.left() > 0);
        let begin = match rest {
            Some(rest) => Begin::Rest(rest),
            None if overwrites => Begin::Overwrite,
            None => Begin::Record,
        };
        self.begins.insert((timeline, number), begin);
        if !passes {
            self.ends.insert((timeline, number + 1), open);
        }
        let before = self.join((timeline, number));
        before
            .into_iter()
            .chain(self.join((timeline, number + 1)))
            .collect()
    }

    /// Joins the segment at `place` to the one before it, if both are there.
    fn join(&mut self, (timeline, mut number): Place) -> Option<(Place, Trouble)> {
        loop {
            let place = (timeline, number);
            if !(self.ends.contains_key(&place) && self.begins.contains_key(&place)) {
                return None;
            }
            let (end, begin) = (self.ends.remove(&place)?, self.begins.remove(&place)?);
            let problem = match (end, begin) {
                (None, Begin::Record) | (_, Begin::Overwrite) => return None,
                (None, Begin::Rest(_)) => {
                    "it ends with a whole record, but the next segment begins with a part of one"
                        .to_owned()
                }
                (Some(record), Begin::Record) => format!(
                    "the record at {} doesn't go on in the next segment",
                    record.start
                ),
                (Some(mut record), Begin::Rest(rest)) => match record.go_on(&rest) {
                    Err(problem) => problem,
                    Ok(()) if record.left == 0 => {
                        let minimal = record.begins_minimal_wal();
                        let trouble = minimal.then_some(Trouble::Minimal(record.start))?;
                        return Some(((timeline, number.saturating_sub(1)), trouble));
                    }
                    Ok(()) => {
                        number += 1;
                        self.ends.insert((timeline, number), Some(record));
                        continue;
                    }
                },
            };
            let what = format!("{problem}: one of the segments that hold it is damaged");
            let place = (timeline, number.saturating_sub(1));
            return Some((place, Trouble::Damage(what)));
        }
    }
}
