//! Of which moments a restore is possible, as stretches of time: windows of single backups, joined. Pure.

use std::collections::BTreeMap;

use crate::{
    domain::list::{Line, ShownWindow},
    postgres::lsn::{SystemId, TimelineId},
    util::clock::Time,
};

/// Of which every moment can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Time,
    /// When its last WAL arrived.
    pub to: Time,
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
    shown.window.to_lsn?;
    // Two clocks: the server's and the store's.
    let to = shown.to_archived.unwrap_or(from).max(from);
    Some(Span { from, to })
}

fn join(spans: &mut Vec<Span>) {
    spans.sort_by_key(|span| (span.from, span.to));
    spans.dedup_by(|next, kept| {
        let joins = next.from <= kept.to;
        if joins {
            kept.to = kept.to.max(next.to);
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
    fn what_touches_is_one() {
        let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
        let joined = |spans: &[(i64, i64)]| {
            let spans = spans.iter().map(|(from, to)| Span {
                from: at(*from),
                to: at(*to),
            });
            let mut spans = Vec::from_iter(spans);
            join(&mut spans);
            let seconds = spans
                .iter()
                .map(|span| (span.from.timestamp(), span.to.timestamp()));
            Vec::from_iter(seconds)
        };
        assert_eq!(joined(&[]), []);
        assert_eq!(joined(&[(5, 9)]), [(5, 9)]);
        assert_eq!(joined(&[(5, 9), (1, 9), (3, 9)]), [(1, 9)]);
        assert_eq!(joined(&[(6, 9), (1, 4)]), [(1, 4), (6, 9)]);
        assert_eq!(joined(&[(1, 8), (2, 3), (8, 9)]), [(1, 9)]);
    }
}
