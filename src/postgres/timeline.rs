//! Timeline history files: through which timelines, and from where to where, a timeline came.
//!
//! Rules: readTimeLineHistory, tliOfPointInHistory and tliSwitchPoint in
//! `src/backend/access/transam/timeline.c`.

use super::{
    lsn::{Lsn, TimelineId},
    wal_summary::Stretch,
};
use crate::error::{Error, Result};

/// One line of a history file: `timeline` was left at `switch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    pub timeline: TimelineId,
    /// The first byte that the next timeline has of its own.
    pub switch: Lsn,
    /// Why, in the server's words; for people.
    pub reason: String,
}

/// A timeline and its ancestors, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineHistory {
    pub own: TimelineId,
    pub ancestors: Vec<Ancestor>,
}

/// The stretch of WAL that a history takes from one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub timeline: TimelineId,
    pub from: Lsn,
    /// The byte behind the last one; None on the newest timeline, which has no end.
    pub to: Option<Lsn>,
}

impl TimelineHistory {
    /// Bytes: a line for each promotion, far more than any cluster has.
    pub const LIMIT: u64 = 1 << 20;

    /// The history of a timeline that has no file, such as the first.
    pub fn without_ancestors(own: TimelineId) -> Self {
        Self {
            own,
            ancestors: Vec::new(),
        }
    }

    /// Reads the history file of timeline `own`.
    ///
    /// Reasons hold names of restore points, which need not be UTF-8.
    pub fn parse(own: TimelineId, bytes: &[u8]) -> Result<Self> {
        let mut ancestors: Vec<Ancestor> = Vec::new();
        for line in String::from_utf8_lossy(bytes).lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| {
                Error::damaged(format!("{what} in the history of timeline {own}: {line:?}"))
            };
            let ancestor = parse_line(line).ok_or_else(|| wrong("not a line"))?;
            if ancestors
                .last()
                .is_some_and(|last| ancestor.timeline <= last.timeline)
            {
                return Err(wrong("timelines don't increase"));
            }
            if ancestor.timeline >= own {
                return Err(wrong("not an ancestor"));
            }
            ancestors.push(ancestor);
        }
        // A timeline without ancestors has no history file: this one lost its lines.
        if ancestors.is_empty() {
            return Err(Error::damaged(format!(
                "no line in the history of timeline {own}"
            )));
        }
        Ok(Self { own, ancestors })
    }

    /// What to replay, oldest first, to come to this timeline. Every LSN lies in one span.
    ///
    /// Switch points needn't increase: a server that was told to follow timeline 2 and stopped
    /// before 2 began notes both forks in the history of 3, and 3 takes nothing from 2. So the
    /// newest timeline that had begun at an LSN holds it, as in tliOfPointInHistory.
    pub fn path(&self) -> Vec<Span> {
        let mut spans = Vec::with_capacity(self.ancestors.len() + 1);
        let mut timeline = self.own;
        let mut to: Option<Lsn> = None;
        for ancestor in self.ancestors.iter().rev() {
            if to.is_none_or(|to| ancestor.switch < to) {
                spans.push(Span {
                    timeline,
                    from: ancestor.switch,
                    to,
                });
                to = Some(ancestor.switch);
            }
            timeline = ancestor.timeline;
        }
        if to.is_none_or(|to| to > Lsn::INVALID) {
            let from = Lsn::INVALID;
            spans.push(Span { timeline, from, to });
        }
        spans.reverse();
        spans
    }

    /// The WAL from `from` to `to`, of each timeline that it lies on, oldest first.
    pub fn between(&self, from: Lsn, to: Lsn) -> Vec<Stretch> {
        let cut = |span: Span| Stretch {
            timeline: span.timeline,
            from: span.from.max(from),
            to: span.to.map_or(to, |end| end.min(to)),
        };
        let stretches = self.path().into_iter().map(cut);
        stretches
            .filter(|stretch| stretch.from < stretch.to)
            .collect()
    }

    fn span(&self, timeline: TimelineId) -> Option<Span> {
        self.path()
            .into_iter()
            .find(|span| span.timeline == timeline)
    }

    /// The timeline on whose WAL the byte at `lsn` lies.
    pub fn timeline_at(&self, lsn: Lsn) -> TimelineId {
        let span = self
            .path()
            .into_iter()
            .find(|span| span.to.is_none_or(|to| lsn < to));
        span.map_or(self.own, |span| span.timeline)
    }

    /// Where this history leaves the ancestor `timeline` for good; None for the timeline itself,
    /// and for one that it takes nothing from.
    pub fn fork(&self, timeline: TimelineId) -> Option<Lsn> {
        self.span(timeline)?.to
    }

    /// Whether a state reached on `timeline` at `lsn`, such as the end of a backup, is part of
    /// this history; the fork itself still is.
    pub fn contains(&self, timeline: TimelineId, lsn: Lsn) -> bool {
        self.span(timeline)
            .is_some_and(|span| span.from <= lsn && span.to.is_none_or(|to| lsn <= to))
    }
}

/// `2<tab>0/3000148<tab>reason`; any white space separates, the reason may be missing.
fn parse_line(line: &str) -> Option<Ancestor> {
    let (timeline, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (switch, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let plain = timeline.bytes().all(|byte| byte.is_ascii_digit());
    Some(Ancestor {
        timeline: TimelineId::new(timeline.parse().ok().filter(|_| plain)?)?,
        switch: switch.parse().ok()?,
        reason: reason.trim().to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tli(id: u32) -> TimelineId {
        TimelineId::new(id).unwrap()
    }

    fn history(own: u32, text: &str) -> TimelineHistory {
        TimelineHistory::parse(tli(own), text.as_bytes()).unwrap()
    }

    fn spans(history: &TimelineHistory) -> Vec<(u32, u64, Option<u64>)> {
        let path = history.path();
        path.iter()
            .map(|span| (span.timeline.get(), span.from.0, span.to.map(|to| to.0)))
            .collect()
    }

    #[test]
    fn a_history_is_a_path() {
        let text = "1\t0/3000148\tno recovery target specified\n\n\
                    # a comment\n2\t0/50000A0\tat restore point \"a\tb\"\n";
        let of_four = history(4, text);
        assert_eq!(of_four.ancestors[1].reason, "at restore point \"a\tb\"");
        assert_eq!(
            spans(&of_four),
            [
                (1, 0, Some(0x300_0148)),
                (2, 0x300_0148, Some(0x500_00A0)),
                (4, 0x500_00A0, None),
            ]
        );
        for (lsn, on) in [
            (0, 1),
            (0x300_0147, 1),
            (0x300_0148, 2),
            (0x500_00A0, 4),
            (u64::MAX, 4),
        ] {
            assert_eq!(of_four.timeline_at(Lsn(lsn)), tli(on), "{lsn:X}");
        }
        assert_eq!(of_four.fork(tli(2)), Some(Lsn(0x500_00A0)));
        assert_eq!((of_four.fork(tli(3)), of_four.fork(tli(4))), (None, None));
        let between = |from, to| {
            let found = of_four.between(Lsn(from), Lsn(to));
            let flat = |one: &Stretch| (one.timeline.get(), one.from.0, one.to.0);
            found.iter().map(flat).collect::<Vec<_>>()
        };
        assert_eq!(
            between(0x200_0000, 0x600_0000),
            [
                (1, 0x200_0000, 0x300_0148),
                (2, 0x300_0148, 0x500_00A0),
                (4, 0x500_00A0, 0x600_0000),
            ]
        );
        assert_eq!(
            between(0x300_0148, 0x500_00A0),
            [(2, 0x300_0148, 0x500_00A0)]
        );
        assert_eq!(
            spans(&TimelineHistory::without_ancestors(tli(7))),
            [(7, 0, None)]
        );
    }

    #[test]
    fn a_backup_belongs_to_the_history_up_to_the_fork() {
        let of_three = history(3, "1\t0/100\n2\t0/200\tx");
        for (timeline, lsn, inside) in [
            (1, 0x100, true),
            (1, 0x101, false),
            (2, 0xFF, false),
            (2, 0x200, true),
            (2, 0x201, false),
            (3, 0x1FF, false),
            (3, 0x900, true),
            (4, 0x900, false),
        ] {
            assert_eq!(
                of_three.contains(tli(timeline), Lsn(lsn)),
                inside,
                "{timeline} {lsn:X}"
            );
        }
    }

    #[test]
    fn a_timeline_that_was_followed_but_never_reached_gives_nothing() {
        let of_three = history(3, "1\t0/500\n2\t0/400\tbefore 2 began");
        assert_eq!(spans(&of_three), [(1, 0, Some(0x400)), (3, 0x400, None)]);
        assert_eq!(of_three.timeline_at(Lsn(0x450)), tli(3));
        assert!(!of_three.contains(tli(2), Lsn(0x450)));
        assert_eq!(of_three.fork(tli(1)), Some(Lsn(0x400)));
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        for bad in [
            "x\t0/100\n",
            "1\n",
            "1 nowhere\n",
            "0\t0/100\n",
            "+1\t0/100\n",
            "2\t0/100\n1\t0/200\n",
            "1\t0/100\n1\t0/200\n",
            "3\t0/100\n",
            "4\t0/100\n",
            "",
            "# lost\n",
        ] {
            assert!(
                TimelineHistory::parse(tli(3), bad.as_bytes()).is_err(),
                "{bad:?}"
            );
        }
        let odd = TimelineHistory::parse(tli(3), b"1\t0/100\tat \"caf\xE9\"\r\n").unwrap();
        assert_eq!(odd.ancestors[0].reason, "at \"caf\u{FFFD}\"");
    }
}
