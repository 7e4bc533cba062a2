//! Of which moments a restore is possible, as stretches of time: windows of single backups, joined. Pure.

use std::collections::BTreeMap;

use crate::{
    domain::list::{Line, ShownWindow},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    util::clock::Time,
};

/// Of which every moment can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Time,
    /// When its last WAL arrived, as far as that can be: objects that were copied are all of one time.
    pub to: Time,
    /// The same in the WAL, which no clock confuses.
    from_lsn: Lsn,
    to_lsn: Lsn,
}

/// Of each timeline of a system that can be restored along, oldest first.
pub fn of_system(backups: &[Line], system: SystemId) -> BTreeMap<TimelineId, Vec<Span>> {
    let mut spans: BTreeMap<TimelineId, Vec<Span>> = BTreeMap::new();
    let described = backups.iter().filter_map(|line| {
        let backup = line.backup.as_ref()?;
        (backup.system_id == system).then_some(line)
    });
    for shown in described.flat_map(|line| &line.windows) {
        let of_timeline = spans.entry(shown.window.timeline).or_default();
        of_timeline.extend(span(shown));
    }
    for of_timeline in spans.values_mut() {
        join(of_timeline);
    }
    spans.retain(|_, of_timeline| !of_timeline.is_empty());
    spans
}

fn span(shown: &ShownWindow) -> Option<Span> {
    let from = shown.window.from_time;
    let to_lsn = shown.window.to_lsn?;
    // Two clocks: the server's and the store's.
    let to = shown.to_archived.unwrap_or(from).max(from);
    let from_lsn = shown.window.from_lsn;
    Some(Span {
        from,
        to,
        from_lsn,
        to_lsn,
    })
}

/// What follows in the WAL is one, what doesn't is not, whatever the times are.
fn join(spans: &mut Vec<Span>) {
    spans.sort_by_key(|span| (span.from_lsn, span.to_lsn));
    spans.dedup_by(|next, kept| {
        let joins = next.from_lsn <= kept.to_lsn;
        if joins {
            kept.to = kept.to.max(next.to);
            kept.to_lsn = kept.to_lsn.max(next.to_lsn);
        } else {
            // Before a hole lies nothing that is younger than what lies behind it.
            kept.to = kept.to.min(next.from).max(kept.from);
        }
        joins
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn what_follows_in_the_wal_is_one() {
        let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
        // Each with its ends in time and in the WAL.
        let joined = |spans: &[(i64, i64, u64, u64)]| {
            let spans = spans.iter().map(|(from, to, from_lsn, to_lsn)| Span {
                from: at(*from),
                to: at(*to),
                from_lsn: Lsn(*from_lsn),
                to_lsn: Lsn(*to_lsn),
            });
            let mut spans = Vec::from_iter(spans);
            join(&mut spans);
            let seconds = spans
                .iter()
                .map(|span| (span.from.timestamp(), span.to.timestamp()));
            Vec::from_iter(seconds)
        };
        assert_eq!(joined(&[]), []);
        assert_eq!(joined(&[(5, 9, 5, 9)]), [(5, 9)]);
        let three = [(5, 9, 5, 9), (1, 9, 1, 9), (3, 9, 3, 9)];
        assert_eq!(joined(&three), [(1, 9)]);
        assert_eq!(joined(&[(6, 9, 6, 9), (1, 4, 1, 4)]), [(1, 4), (6, 9)]);
        // A backup's last WAL arrives before its end is known, the next one much later.
        assert_eq!(joined(&[(1, 4, 1, 6), (5, 5, 6, 6)]), [(1, 5)]);
        // Copied at 50: the hole is one all the same.
        let copied = [(1, 50, 1, 4), (6, 50, 6, 9), (12, 50, 12, 20)];
        assert_eq!(joined(&copied), [(1, 6), (6, 12), (12, 50)]);
    }
}
