//! How WAL leaves the server, and how much of it has not arrived. A quiet server may keep its
//! segment for days: only complete ones count.

use std::time::Duration;

use chrono::TimeDelta;

use super::super::{
    facts::server::Server,
    thresholds::Thresholds,
    verdict::{State, Unit, Verdict},
};
use crate::{
    domain::{
        setup::{checks as setup, finding::Finding, stored::Stored},
        wal::failed::Failed,
    },
    error::Result,
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::gap::Gap,
    util::{
        clock::{Time, readable},
        units,
    },
};

pub fn timeout(server: &Server, limits: &Thresholds) -> Verdict {
    const NAME: &str = "archive_timeout";
    let timeout = server.archive_timeout;
    if timeout.is_zero() {
        return Verdict::ok(NAME, "0: WAL is archived when a segment is full");
    }
    let what = format!("{} at most", units::duration(timeout));
    let longer = limits.wal_age.warning.is_some_and(|age| timeout > age);
    let state = if longer { State::Warning } else { State::Ok };
    Verdict::new(
        NAME,
        state,
        format!("commits wait for their archiving {what}"),
        "lower archive_timeout, or raise monitor.wal_age.warning, which is shorter.",
    )
}

/// Failing now, as PostgreSQL's statistics tell, and why, as archive-wal noted it.
pub fn archiver(server: &Server, failed: Option<&Failed>) -> Verdict {
    const NAME: &str = "archiver";
    let state = &server.facts.archiver;
    if let (true, Some((wal, time))) = (state.is_failing(), &state.last_failed) {
        let what = format!(
            "archiving fails: {} failures, the last at {} with {wal}{}: {}",
            state.failed,
            readable(*time),
            setup::waiting(server.facts.waiting),
            Failed::why(failed, wal)
        );
        return Verdict::new(NAME, State::Critical, what, Failed::cure(failed, wal));
    }
    match &state.last_archived {
        Some((wal, time)) => Verdict::ok(NAME, format!("{wal} at {}", readable(*time))),
        None => Verdict::ok(NAME, "has archived nothing yet"),
    }
}

/// What waits in `archive_status`, how much and how long.
pub fn waiting(server: &Server, limits: &Thresholds, now: Time) -> Verdict {
    const NAME: &str = "waiting";
    let Some(waiting) = server.facts.waiting else {
        let what = "the role may not see which files wait to be archived";
        let hint = "GRANT pg_monitor to it (docs/roles.md).";
        return Verdict::new(NAME, State::Unknown, what, hint);
    };
    let age = waiting.oldest.map(|time| age(now, time, server));
    let age = age.unwrap_or_default();
    let state = limits
        .waiting
        .judge(waiting.files)
        .max(limits.waiting_age.judge(age));
    let what = match waiting.files {
        0 => "nothing waits to be archived".to_owned(),
        files => format!(
            "{} waiting to be archived, the oldest since {}",
            units::count(files, "file"),
            units::duration(age)
        ),
    };
    Verdict::new(
        NAME,
        state,
        what,
        "the server's log and `pgstow check` tell what hinders archiving; pg_wal grows meanwhile.",
    )
    .with(limits.waiting.figure("files", waiting.files, Unit::Count))
    .with(limits.waiting_age.figure("age", age, Unit::Seconds))
}

/// Since a time of the server's clock.
fn age(now: Time, time: Time, server: &Server) -> Duration {
    let age: TimeDelta = now + server.facts.clock_ahead - time;
    age.to_std().unwrap_or_default()
}

/// Since when a segment of the server's was not written to any more; None where it is gone, or nobody may look.
pub fn written(server: &Server, size: SegmentSize, number: u64, now: Time) -> Option<Duration> {
    let mut known = server.segments.as_ref()?.iter();
    let is_it =
        |segment: &Segment| segment.timeline <= server.timeline && segment.number(size) == number;
    let (_, time) = known.find(|(segment, _)| is_it(segment))?;
    Some(age(now, *time, server))
}

/// What of the server's WAL a repository hasn't got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Up to the server's position, the segment that is being written included.
    pub bytes: u64,
    /// Complete segments alone.
    pub complete: u64,
    /// Since when the first of them is complete; None where the role may not look, or none is.
    pub age: Option<Duration>,
}

impl Lag {
    /// None where nothing of this server's line was archived yet.
    pub fn of(server: &Server, stored: &Stored, now: Time) -> Option<Self> {
        let size = stored.archive.wal.size();
        let (timeline, archived) = newest(server, stored)?;
        let current = server.position.0 / size.bytes();
        let next = archived.0 / size.bytes();
        let complete = current.saturating_sub(next) * size.bytes();
        let (_, reached) = reached(server, stored)?;
        let age = (complete > 0).then(|| {
            server.segments.as_ref()?;
            // Recycled already, and lost: it was written since the one before it came.
            let arrived = || (now - stored.archive.wal.arrived(timeline)?).to_std().ok();
            written(server, size, next, now).or_else(arrived)
        });
        Some(Self {
            bytes: server.position.0.saturating_sub(reached.0),
            complete,
            age: age.flatten(),
        })
    }

    fn words(self) -> String {
        if self.complete == 0 {
            return "has every complete segment".to_owned();
        }
        let since = self.age.map_or_else(String::new, |age| {
            format!(", the first since {}", units::duration(age))
        });
        let bytes = units::bytes(self.complete);
        format!("{bytes} of complete segments are missing{since}")
    }
}

/// The newest segment that is stored of the line that leads to the server's position: its timeline, its end.
pub fn newest(server: &Server, stored: &Stored) -> Option<(TimelineId, Lsn)> {
    let archive = &stored.archive;
    let size = archive.wal.size().bytes();
    let history = archive
        .histories
        .get(&server.timeline)
        .cloned()
        .unwrap_or_else(|| TimelineHistory::without_ancestors(server.timeline));
    let mut end = u64::MAX;
    for leg in history.path().iter().rev() {
        // What a timeline has behind the place where it was left leads elsewhere.
        let mut ranges = archive.wal.ranges(leg.timeline).iter().rev();
        if let Some(range) = ranges.find(|range| *range.start() < end) {
            let behind = (*range.end()).min(end - 1).saturating_add(1);
            return Some((leg.timeline, Lsn(behind * size)));
        }
        end = leg.from.0 / size;
    }
    None
}

/// As [`newest`], with what there is of the next segment in pieces of receive-wal.
pub fn reached(server: &Server, stored: &Stored) -> Option<(TimelineId, Lsn)> {
    let wal = &stored.archive.wal;
    let (timeline, archived) = newest(server, stored)?;
    let next = Segment::holding(timeline, archived, wal.size());
    Some((timeline, wal.live_upto(next).unwrap_or(archived)))
}

/// The segment that the server archived last, and when, where it should be here, and isn't. The server was
/// asked before the repository was listed.
fn astray<'a>(
    server: &'a Server,
    stored: &Stored,
    given_up: &Result<Vec<Gap>>,
) -> Option<(&'a str, Time)> {
    let state = &server.facts.archiver;
    let (file, time) = state.last_archived.as_ref()?;
    // Before that it was archived by another command, or there was no repository.
    let by_this_command = state.settings_read.is_none_or(|read| *time >= read)
        && *time - server.facts.clock_ahead >= stored.system.registered;
    // A history may come later, with a segment.
    let WalName::Segment(segment) = file.parse().ok()? else {
        return None;
    };
    let wal = &stored.archive.wal;
    if !by_this_command || !segment.fits(wal.size()) {
        return None;
    }
    let number = segment.number(wal.size());
    let missing = wal.missing(segment.timeline, &(number..=number)).pop()?;
    let is_given_up =
        |timeline, first, last| timeline == segment.timeline && (first..=last).contains(&number);
    let mut noted = given_up.iter().flatten();
    let known = noted.any(|gap| {
        let ends = [gap.first, gap.last].map(|end| end.number(wal.size()));
        gap.system_id == stored.system.system_id
            && is_given_up(gap.first.timeline, ends[0], ends[1])
    });
    let mut lost = wal.lost().into_iter();
    if known || lost.any(|gap| is_given_up(gap.timeline, gap.first, gap.last)) {
        return None;
    }
    stored.archive.cut.lost(missing)?;
    Some((file, *time))
}

/// Of a standby: how far what it has replayed is behind what is archived, if that is more than is on its way, and the
/// age of the last transaction that it has. Quiet or not, a standby that streams is ahead of the archive.
fn behind(server: &Server, stored: &Stored, now: Time) -> Option<(u64, Duration)> {
    const ON_ITS_WAY: u64 = 2;
    let replayed = server.replayed?;
    let (_, archived) = newest(server, stored)?;
    let behind = archived.0.saturating_sub(replayed.position.0);
    let is_far = behind >= ON_ITS_WAY * stored.archive.wal.size().bytes();
    is_far.then(|| (behind, age(now, replayed.since, server)))
}

pub fn lag(
    server: &Server,
    stored: &Stored,
    given_up: &Result<Vec<Gap>>,
    limits: &Thresholds,
    now: Time,
) -> Verdict {
    const NAME: &str = "wal_lag";
    let lag = Lag::of(server, stored, now);
    let missing = lag.map(|lag| lag.words());
    let known = lag.unwrap_or_default();
    let age = known.age.unwrap_or_default();
    let astray = astray(server, stored, given_up);
    let elsewhere = astray.is_some();
    let (state, what, hint) = match (astray, missing) {
        (Some((file, time)), missing) => {
            let missing = missing.filter(|_| known.complete > 0);
            let missing = missing.map_or_else(String::new, |missing| format!("; {missing}"));
            let what = format!(
                "the server archived {file} at {}, but it is not in this repository: its WAL goes elsewhere{missing}",
                readable(time)
            );
            let hint = "see the check `archive_command` and what it calls, set it as `pgstow init` prints it, then run `pgstow base --full`.";
            (State::Critical, what, hint)
        }
        (None, Some(missing)) => {
            let by_bytes = limits.wal_lag.judge(known.complete);
            let state = by_bytes.max(limits.wal_age.judge(age));
            let hint = "see the checks `archiver` and `waiting`; if both are well, archive_command stores elsewhere: run `pgstow check`.";
            (state, missing, hint)
        }
        (None, None) => {
            let what = "none of this server's WAL is here yet".to_owned();
            let hint = "run `pgstow check`, which sends a segment.";
            return Verdict::new(NAME, State::Warning, what, hint);
        }
    };
    if let (State::Ok, Some((bytes, since))) = (state, behind(server, stored, now)) {
        let by_age = limits.wal_age.judge(since);
        let state = limits.wal_lag.judge(bytes).max(by_age);
        let what = format!(
            "this standby has replayed {} less than is archived, and no transaction since {}: so are backups of it",
            units::bytes(bytes),
            units::duration(since)
        );
        let hint = "see in its log why it doesn't replay (primary_conninfo, restore_command, pg_wal_replay_resume()), and take backups of the primary until then.";
        if state != State::Ok {
            return Verdict::new(NAME, state, what, hint).with(limits.wal_lag.figure(
                "bytes",
                bytes,
                Unit::Bytes,
            ));
        }
    }
    let found = elsewhere.then(|| Finding::critical(NAME, &what, hint).about("elsewhere"));
    Verdict::new(NAME, state, what, hint)
        .having(found.into_iter().collect())
        .with(limits.wal_lag.figure("bytes", known.complete, Unit::Bytes))
        .with(limits.wal_age.figure("age", age, Unit::Seconds))
}
