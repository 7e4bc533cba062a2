//! Chooses timeline and backup for a wish, and the WAL to replay; or says why there is none. Pure.

use super::{
    archive::Archive,
    path::Reach,
    possible::possible,
    target::{Target, TimelineWish, Wish},
    timelines,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::{backup::Backup, missing::Missing},
    util::clock::readable,
};

/// The way to the target, as far as names and positions can tell.
#[derive(Clone, Debug)]
pub struct Choice {
    pub backup: Backup,
    pub timeline: TimelineId,
    pub reach: Reach,
    /// The `.partial` that ends the way, taken under its plain name.
    pub partial: Option<Segment>,
    /// The segment that ends the way and is there in pieces alone.
    pub live: Option<Segment>,
    /// To where its pieces lead.
    pub live_upto: Option<Lsn>,
    /// Rescued segments on the way.
    pub rescued: Vec<Segment>,
    /// Why this backup and this timeline.
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
}

impl Archive {
    /// The archive's WAL with what else lies at hand for this backup and timeline: the WAL in a
    /// standalone backup, segments of the old folder, at the very end the `.partial` or the pieces of a segment that was
    /// being received.
    fn at_hand(&self, backup: &Backup, history: &TimelineHistory) -> AtHand {
        let mut wal = self.wal.clone();
        let size = wal.size();
        if backup.standalone {
            for number in backup.needed_segments() {
                wal.add(backup.segment(number));
            }
        }
        let (mut partial, mut live) = (None, None);
        let mut rescued = Vec::new();
        // All go behind the archive's end alone: restore-wal takes an absent segment for a
        // hole where others follow it.
        loop {
            let reach = Reach::of(backup, history, &wal);
            // Nothing follows what is there in part.
            let next = match reach.hole {
                _ if live.is_some() => None,
                None => reach.next(history, size),
                // The end of a timeline that was left when the archive had no more of it.
                Some(hole) => {
                    let lost = Segment::nth(hole.timeline, hole.first, size);
                    let ends = self.ends_before(lost, history) && self.rescued.contains(&lost);
                    ends.then_some(lost)
                }
            };
            match next {
                Some(next) if self.rescued.contains(&next) => {
                    wal.add(next);
                    rescued.push(next);
                }
                Some(next) if partial.is_none() && self.wal.partial().contains(&next) => {
                    wal.add(next);
                    partial = Some(next);
                }
                Some(next) if partial.is_none() && self.wal.live_upto(next).is_some() => {
                    wal.add(next);
                    live = Some(next);
                }
                _ => {
                    return AtHand {
                        reach,
                        partial,
                        live,
                        rescued,
                    };
                }
            }
        }
    }

    /// Whether the archive has nothing of that segment and what follows it along `history`.
    fn ends_before(&self, segment: Segment, history: &TimelineHistory) -> bool {
        let number = segment.number(self.wal.size());
        let spans = history.path().into_iter();
        let mut later = spans.filter(|span| span.timeline >= segment.timeline);
        later.all(|span| {
            self.wal
                .last(span.timeline)
                .is_none_or(|last| last < number)
        })
    }

    /// What is to be said of WAL that lies at hand behind the end of the way, where some between is nowhere.
    fn out_of_reach(&self, history: &TimelineHistory, choice: &Choice) -> Option<String> {
        let size = self.wal.size();
        let end = choice.reach.last(size)?.number(size);
        let is_behind =
            |segment: &&Segment| segment.timeline == history.own && segment.number(size) > end + 1;
        let first = self.rescued.iter().find(is_behind)?;
        let missing = Missing {
            timeline: first.timeline,
            first: end + 1,
            last: first.number(size) - 1,
        };
        Some(format!(
            "this host has {first}, which can't be used here, since the repository lacks {} before it: what happened then would be \
             lost; see whether another repository has that WAL (--repo), or is to be had again",
            missing.describe(size)
        ))
    }

    /// What is to be said of pieces behind the end of the way that can't be used.
    fn stray_pieces(&self, history: &TimelineHistory, choice: &Choice) -> Option<String> {
        let end = choice.end(self.wal.size());
        let is_behind = |segment: &Segment| {
            segment.timeline == history.own && segment.end(self.wal.size()) > end
        };
        let segment = self.wal.stray().find(is_behind)?;
        Some(format!(
            "there are pieces of {segment} that can't be used, since what lies before them is missing: what happened then would be lost; see \
             whether another repository has it (--repo)"
        ))
    }

    /// What is to be said of WAL at hand of a timeline that began when no repository could be told of it.
    fn of_a_later_timeline(&self, history: &TimelineHistory) -> Option<String> {
        let is_later = |segment: &&Segment| segment.timeline > history.own;
        let later = self.rescued.iter().find(is_later)?;
        Some(format!(
            "this host has {later}, which is of a later timeline than {}, along which this restore goes: what happened on {} would be \
             lost. Have it stored first, its history before its segments: by `pgstow receive-wal`, where it was received, or by \
             `pgstow archive-wal`, and plan again",
            history.own, later.timeline
        ))
    }
}

struct AtHand {
    reach: Reach,
    partial: Option<Segment>,
    live: Option<Segment>,
    rescued: Vec<Segment>,
}

/// The newest backup that ended before the target, on the wished timeline.
pub fn choose(archive: &Archive, wish: &Wish) -> Result<Choice> {
    choose_before(archive, wish, None)
}

/// As [`choose`], but with a backup that is older than those the search for the target ruled out.
pub fn choose_before(
    archive: &Archive,
    wish: &Wish,
    older_than: Option<&Backup>,
) -> Result<Choice> {
    let refuse = |error: Error| error.hint(possible(archive));
    let named = match wish.backup {
        None => None,
        Some(id) => {
            let backup = archive.backups.iter().find(|backup| backup.id == id);
            Some(backup.ok_or_else(|| {
                refuse(Error::new(
                    Kind::NotFound,
                    format!("there is no complete backup {id}"),
                ))
            })?)
        }
    };
    let mut reasons = Vec::new();
    let history = timelines::resolve(archive, wish, named, &mut reasons).map_err(refuse)?;
    let on_path = |backup: &&Backup| history.contains(backup.timeline, backup.stop_lsn);
    let candidates: Vec<&Backup> = match named {
        Some(backup) => vec![backup],
        None => archive.backups.iter().collect(),
    };
    let mut candidates: Vec<&Backup> = candidates.into_iter().filter(on_path).collect();
    if candidates.is_empty() {
        if let Some(rootless) = archive.rootless.get(&history.own) {
            let what = format!("no backup is known to lead to timeline {}", history.own);
            return Err(rootless.error(&what));
        }
        let what = match named {
            Some(backup) => format!(
                "backup {} lies on timeline {} up to {}, which is not part of timeline {}",
                backup.id, backup.timeline, backup.stop_lsn, history.own
            ),
            None => format!("no backup lies on the way to timeline {}", history.own),
        };
        return Err(refuse(Error::failed(what)));
    }
    candidates.sort_by_key(|backup| (backup.stop_lsn, backup.stop_time));
    let ended = |backup: &&Backup| {
        wish.target.is_behind(backup)
            && older_than.is_none_or(|newer| backup.stop_lsn < newer.stop_lsn)
    };
    let Some(backup) = candidates.iter().copied().rfind(ended) else {
        let first = candidates[0];
        return Err(refuse(Error::failed(format!(
            "{} lies before the end of {} {} ({}, LSN {}): it can only be restored to what came later",
            wish.target,
            if named.is_some() {
                "backup"
            } else {
                "the first backup on this timeline,"
            },
            first.id,
            readable(first.stop_time),
            first.stop_lsn,
        ))));
    };
    let way = Way {
        archive,
        wish,
        history: &history,
        reasons,
        first_end: candidates[0].stop_lsn,
    };
    let choice = way.from(backup, "newest")?;
    let flawed = archive.flawed();
    let Some(flaw) = flawed.get(&backup.id) else {
        return Ok(choice);
    };
    let size = archive.wal.size();
    let as_far = |other: &Backup| {
        let other = way.from(other, "newest good one").ok()?;
        let is_reached = matches!(wish.target, Target::Lsn(_))
            || other.reach.end(size) >= choice.reach.end(size);
        is_reached.then_some(other)
    };
    let others = candidates.iter().copied().rev().filter(ended);
    let mut good = others.filter(|other| named.is_none() && !flawed.contains_key(&other.id));
    let other = good.find_map(as_far);
    let id = backup.id;
    let warning = match (named, &other) {
        (_, Some(_)) => format!("backup {id} is newer, but not taken: {flaw}"),
        (Some(_), None) => format!(
            "backup {id}, as asked for, isn't good: {flaw}; `pgstow verify {id}` says what is lost"
        ),
        (None, None) => format!(
            "backup {id} isn't good: {flaw}; no good one is known to lead to this target, and this restore may fail: \
             `pgstow verify {id}` says what is lost"
        ),
    };
    let mut choice = other.unwrap_or(choice);
    choice.warnings.insert(0, warning);
    Ok(choice)
}

/// What is the same for all backups that the way to the target may begin with.
struct Way<'a> {
    archive: &'a Archive,
    wish: &'a Wish,
    history: &'a TimelineHistory,
    /// Why this timeline.
    reasons: Vec<String>,
    /// Where the first of these backups ends.
    first_end: Lsn,
}

impl Way<'_> {
    /// With `backup`, which is the `newest` of some kind; an error if the WAL doesn't lead to the target.
    fn from(&self, backup: &Backup, newest: &str) -> Result<Choice> {
        let Self {
            archive,
            wish,
            history,
            ..
        } = *self;
        let (mut reasons, mut warnings) = (self.reasons.clone(), Vec::new());
        if let Some(rootless) = archive.rootless.get(&history.own)
            && !backup.standalone
        {
            let what = format!("no server recovers along timeline {}", history.own);
            return Err(rootless.error(&format!("{what} without its history")));
        }
        reasons.push(match (wish.backup, &wish.target) {
            (Some(_), _) => format!("backup {}, as asked for", backup.id),
            (None, Target::Time(_) | Target::Lsn(_)) => format!(
                "backup {} is the {newest} that ended before the target",
                backup.id
            ),
            (None, _) => format!("backup {} is the {newest} on this timeline", backup.id),
        });
        if backup.timeline != history.own
            && let Some(fork) = history.fork(backup.timeline)
        {
            reasons.push(format!(
                "timeline {} leaves the backup's timeline {} at {fork}, behind the backup's end {}",
                history.own, backup.timeline, backup.stop_lsn
            ));
            if archive.goes_on_behind(backup.timeline, fork) {
                warnings.push(format!(
                    "timeline {} goes on behind {fork}, where timeline {} left it: `--target-timeline {0}` restores along it",
                    backup.timeline, history.own
                ));
            }
        }
        let newest = archive.wal.newest();
        let told = |segment: Segment| !warnings.is_empty() && segment.timeline == backup.timeline;
        if let Some((segment, _)) = newest.filter(|(segment, _)| !told(*segment))
            && wish.timeline == TimelineWish::Latest
            // Whose first segment begins before it does.
            && segment.timeline != history.own
            && !history.contains(segment.timeline, segment.start(archive.wal.size()))
        {
            warnings.push(format!(
                "{segment}, which was archived last, is on timeline {0}, and this restore goes along timeline {1}: \
                 if {0} is the living server's, `pgstow restore --target-timeline {0}` goes along it",
                segment.timeline, history.own
            ));
        }
        let older = self.first_end < backup.stop_lsn;
        if wish.backup.is_none() && older && matches!(wish.target, Target::Xid(_) | Target::Name(_))
        {
            warnings.push(format!(
                "where {} lies in the WAL is not known: if it is older than {}, the end of this backup, the server will not start; \
                 --prove looks for it, or name an older backup",
                wish.target,
                readable(backup.stop_time)
            ));
        }
        for rootless in archive.damaged() {
            warnings.push(format!("{rootless}; this restore doesn't need it"));
        }
        let at_hand = archive.at_hand(backup, history);
        let mut choice = Choice {
            backup: backup.clone(),
            timeline: history.own,
            reach: at_hand.reach,
            partial: at_hand.partial,
            live: at_hand.live,
            live_upto: at_hand.live.and_then(|live| archive.wal.live_upto(live)),
            rescued: at_hand.rescued,
            reasons,
            warnings,
        };
        choice
            .reaches(archive, &wish.target)
            .map_err(|error| error.hint(possible(archive)))?;
        if wish.target == Target::Latest {
            choice
                .warnings
                .extend(archive.out_of_reach(history, &choice));
            choice
                .warnings
                .extend(archive.stray_pieces(history, &choice));
            if wish.timeline == TimelineWish::Latest {
                choice.warnings.extend(archive.of_a_later_timeline(history));
            }
        }
        let passes = archive.passes_minimal(backup, history, &choice.reach);
        choice.warnings.extend(passes);
        let passes = archive.passes_damage(backup, &choice.reach);
        choice.warnings.extend(passes);
        Ok(choice)
    }
}

impl Choice {
    /// Whether the WAL goes as far as positions alone can tell; cuts off what isn't needed.
    fn reaches(&mut self, archive: &Archive, target: &Target) -> Result<()> {
        let size = archive.wal.size();
        let needed = self.backup.needed_segments();
        let hole = |reach: &Reach| {
            let missing = reach.hole.map(|hole| hole.describe(size));
            missing.map_or("what follows it".to_owned(), |missing| {
                format!("WAL segment {missing}")
            })
        };
        let end = self.reach.last(size).map(|last| last.number(size));
        if end.is_none_or(|end| end < *needed.end()) {
            return Err(Error::damaged(format!(
                "backup {} can't be restored: {} is missing, without which it is not consistent",
                self.backup.id,
                hole(&self.reach)
            )));
        }
        let end = self.reach.end(size).unwrap_or_default();
        if self.reach.unbegun {
            self.warnings.push(format!(
                "none of timeline {}'s own WAL is in the repository yet: the way ends at {end}",
                self.timeline
            ));
        }
        match target {
            Target::Immediate => self.cut_behind(*needed.end(), archive),
            // What is needed ends with the first record behind it, which may be segments later.
            Target::Lsn(lsn) if *lsn < end => {}
            Target::Lsn(lsn) => {
                return Err(match self.reach.hole {
                    Some(_) => Error::damaged(format!(
                        "{} is missing on the way to LSN {lsn}: a restore can go to any target before LSN {end}",
                        hole(&self.reach)
                    )),
                    None => Error::new(
                        Kind::Unreachable,
                        format!("LSN {lsn} isn't in the repository yet: its WAL ends at {end}"),
                    ),
                });
            }
            Target::Latest if self.reach.hole.is_some() => {
                return Err(Error::damaged(format!(
                    "{} is missing, and later WAL is there: the end of the archive can't be reached; a restore can go to any target before LSN {end}",
                    hole(&self.reach)
                )));
            }
            Target::Latest | Target::Time(_) | Target::Xid(_) | Target::Name(_) => {}
        }
        Ok(())
    }

    /// Where the way ends.
    pub fn end(&self, size: SegmentSize) -> Lsn {
        let end = self.live_upto.or(self.reach.end(size));
        end.unwrap_or_default()
    }

    /// Nothing behind the segment with that number is needed.
    pub fn cut_behind(&mut self, number: u64, archive: &Archive) {
        let size = archive.wal.size();
        self.reach.cut_behind(number);
        let is_needed = |segment: &Segment| segment.number(size) <= number;
        self.partial = self.partial.filter(is_needed);
        self.live = self.live.filter(is_needed);
        self.live_upto = self.live_upto.filter(|_| self.live.is_some());
        self.rescued.retain(is_needed);
    }

    /// The last segment that is whole, or archived as the end of its timeline, and where it ends: of pieces there may be
    /// none any more when they are read, and more when they are restored.
    pub fn last_file(&self, size: SegmentSize) -> Option<(Segment, Lsn)> {
        let last = self.reach.last(size)?;
        let last = match self.live == Some(last) {
            true => self
                .reach
                .segment(last.number(size).checked_sub(1)?, size)?,
            false => last,
        };
        Some((last, last.end(size)))
    }

    /// Where the segment lies: `.partial` in the archive for the last one, under its plain name elsewhere.
    pub fn stored_as(&self, segment: Segment) -> WalName {
        match self.partial == Some(segment) {
            true => WalName::Partial(segment),
            false => WalName::Segment(segment),
        }
    }
}
