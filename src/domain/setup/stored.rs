//! Whether what is stored can be restored: the newest backup, the way on from it, the timeline
//! that the server is on. Judges what `list` shows.

use std::{collections::BTreeMap, path::Path};

use super::{arrival::Destination, finding::Finding, given_up};
use crate::{
    domain::{
        backup::seal::Lacks,
        restore::{
            archive::Archive,
            forecast, load,
            lost::Way,
            measured::{self, Measured},
            windows::Window,
        },
    },
    error::Result,
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_name::{Segment, WalName},
    },
    repo::{
        backup::Backup,
        backup_id::BackupId,
        catalog::{Entry, State, Unreadable},
        drill::{Drills, Forecast},
        missing::Missing,
        repository::{Repository, System},
        wal_index::WalIndex,
    },
    util::{
        clock::{Time, readable},
        units,
    },
};

const BACKUP: &str = "backup";
pub const TAKE_FULL: &str = "see that wal_level is replica (a change needs a restart), and take a full backup with `pgstow base --full`.";
const TAKE: &str = "take a new backup with `pgstow base`, from which WAL leads on again.";

/// What a repository has of one system.
#[derive(Debug)]
pub struct Stored {
    /// The repository's name in the settings.
    pub name: String,
    /// For the names and places of objects, and what this host can decrypt.
    repository: Repository,
    pub system: System,
    /// Complete backups, WAL and histories.
    pub archive: Archive,
    pub pending: Vec<Backup>,
    /// What these lack.
    pub lacks: BTreeMap<BackupId, Lacks>,
    pub drills: Drills,
    /// What restores took on this host, where that was asked for.
    pub restores: Vec<Measured>,
    /// Backups of any system that can't be used.
    pub damaged: Vec<Unusable>,
}

/// A backup that can't be used.
#[derive(Debug)]
pub struct Unusable {
    pub id: BackupId,
    /// Such as "is damaged: ...".
    pub why: String,
    pub hint: String,
}

impl Unusable {
    pub fn damaged(id: BackupId, problems: &[String]) -> Self {
        Self {
            id,
            why: format!("is damaged: {}", problems.join(", ")),
            hint: format!("`pgstow verify {id}` says what is lost; restores use other backups."),
        }
    }
}

impl Destination<'_> {
    /// All that a restore needs, for a server that is on `timeline`, if that is known.
    pub fn judge(&self, timeline: Option<TimelineId>) -> Result<Vec<Finding>> {
        let stored = Stored::gather(self.name, self.repository, self.system)?;
        let mut findings = stored.damaged_ones();
        findings.extend(stored.pending.iter().map(|one| stored.pending(one)));
        match stored.way(timeline) {
            Some(way) => {
                findings.insert(0, way);
                findings.extend(given_up::stored(&stored.archive, self.name));
                let minimal = stored.minimal(timeline, None);
                findings
                    .extend(minimal.map(|(_, what)| Finding::critical(BACKUP, what, TAKE_FULL)));
                findings.extend(stored.damaged_wal(timeline));
            }
            // Before the first backup there is nothing to be lost.
            None if findings.is_empty() => {}
            None => findings.insert(0, stored.none()),
        }
        findings.extend(timeline.and_then(|timeline| stored.history(timeline)));
        Ok(findings)
    }
}

impl Stored {
    /// One listing of the backups, one of the WAL.
    pub fn gather(name: &str, repository: &Repository, system: &System) -> Result<Self> {
        let (mut complete, mut pending, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        let mut lacks = BTreeMap::new();
        for Entry { id, state } in repository.backups()? {
            let is_ours = |backup: &Backup| backup.system_id == system.system_id;
            match state {
                State::Complete(backup) if is_ours(&backup) => complete.push(*backup),
                State::Pending(backup) if is_ours(&backup) => {
                    lacks.insert(id, Lacks::of(repository, system, &backup)?);
                    pending.push(*backup);
                }
                State::Complete(_) | State::Pending(_) | State::Unfinished(_) => {}
                State::Damaged(_, problems) => damaged.push(Unusable::damaged(id, &problems)),
                State::Unreadable(Unreadable { why, hint, .. }) => damaged.push(Unusable {
                    id,
                    why: format!("is unreadable: {why}"),
                    hint,
                }),
            }
        }
        Ok(Self {
            name: name.to_owned(),
            repository: repository.clone(),
            system: system.clone(),
            archive: load::archive(repository, system, complete)?,
            drills: repository.drills()?,
            restores: Vec::new(),
            pending,
            lacks,
            damaged,
        })
    }

    /// Whether this host lacks the identity that what is stored is decrypted by.
    pub fn is_closed(&self) -> bool {
        self.system.encrypted && !self.repository.keys().can_decrypt()
    }

    /// How long a restore to the end of the archive will take; None where no drill tells, or none is possible.
    pub fn forecast(&self) -> Option<Forecast> {
        forecast::to_the_end(&self.archive, &self.drills, &self.restores)
    }

    /// Has forecasts know what restores took on this host, whose state folder this is.
    pub fn remember_restores(&mut self, state: &Path) {
        self.restores = measured::read(state);
    }

    /// The newest complete backup.
    pub fn newest(&self) -> Option<&Backup> {
        self.archive.by_age().pop()
    }

    /// How far a restore can go along the server's timeline; None before the first backup.
    pub fn way(&self, timeline: Option<TimelineId>) -> Option<Finding> {
        let newest_first = self.archive.by_age().into_iter().rev();
        let mut leading = newest_first.filter(|backup| self.leads_to(backup, timeline));
        match (leading.next(), timeline) {
            (Some(newest), _) => Some(self.leads_on(newest, timeline)),
            (None, Some(timeline)) if self.newest().is_some() => Some(self.none_leads_to(timeline)),
            (None, _) => None,
        }
    }

    /// Whether a restore from `backup` can go along `timeline`; true where nobody knows that, or how it came to be.
    pub fn leads_to(&self, backup: &Backup, timeline: Option<TimelineId>) -> bool {
        let history = timeline.and_then(|timeline| self.archive.history(timeline));
        history.is_none_or(|history| history.contains(backup.timeline, backup.stop_lsn))
    }

    /// All backups are of what a restore to the past has left behind.
    fn none_leads_to(&self, timeline: TimelineId) -> Finding {
        let what = format!(
            "no backup in repository {} leads to timeline {timeline}, on which the server is: they are of what a restore to the past left behind",
            self.name
        );
        Finding::critical(BACKUP, what, TAKE)
    }

    fn describe(&self, missing: &[Missing]) -> String {
        let names = missing.iter();
        let names: Vec<String> = names
            .map(|range| range.describe(self.system.segment_size))
            .collect();
        names.join(", ")
    }

    /// What is missing may grow, and is the same then.
    fn begin(&self, missing: &Missing) -> String {
        let first = Segment::nth(missing.timeline, missing.first, self.system.segment_size);
        format!("WAL missing from {first}")
    }

    /// A complete backup, the newest, and how far the WAL of the server's line leads on from it.
    fn leads_on(&self, backup: &Backup, timeline: Option<TimelineId>) -> Finding {
        let (id, name, archive) = (backup.id, &self.name, &self.archive);
        let Some(Window {
            timeline,
            from_time,
            to_lsn,
            missing,
            ..
        }) = Window::along(archive.windows(backup), timeline)
        else {
            let what = format!(
                "{id}, the newest in repository {name}, can't be restored: the history of its timeline {} is damaged",
                backup.timeline
            );
            return Finding::critical(BACKUP, what, TAKE);
        };
        let from = readable(from_time);
        match (to_lsn, missing) {
            (None, _) => {
                let needed = backup.needed_segments();
                let missing = archive.wal.missing(backup.timeline, &needed);
                let lost = self.describe(&missing);
                let what = format!(
                    "{id}, the newest in repository {name}, can't be restored: WAL {lost} is missing"
                );
                let first = missing.first().map(|range| self.begin(range));
                Finding::critical(BACKUP, what, TAKE).about(first.unwrap_or_default())
            }
            (Some(to), Some(missing)) => {
                let (lost, begin) = (self.describe(&[missing]), self.begin(&missing));
                let what = format!(
                    "{id}, the newest in repository {name}, can be restored from {from} up to LSN {to} on timeline {timeline}, and to nothing behind it: WAL {lost} is missing"
                );
                Finding::critical(BACKUP, what, TAKE).about(begin)
            }
            (Some(to), None) => {
                let what = format!(
                    "{id} in repository {name} can be restored from {from} up to LSN {to} on timeline {timeline}"
                );
                Finding::ok(BACKUP, what)
            }
        }
    }

    /// Where WAL of `wal_level = minimal` begins on the server's way, if no good backup is behind that, and what it
    /// means; `seen`: such a place that the repository may not know of.
    pub fn minimal(
        &self,
        timeline: Option<TimelineId>,
        seen: Option<(TimelineId, Lsn)>,
    ) -> Option<((TimelineId, Lsn), String)> {
        let archive = &self.archive;
        let way = timeline.and_then(|timeline| archive.history(timeline));
        let is_ahead = |(on, at): &(TimelineId, Lsn)| {
            let mut behind = archive.behind_minimal(*on, *at);
            way.as_ref().is_none_or(|way| way.contains(*on, *at))
                && !behind.any(|backup| self.leads_to(backup, timeline))
        };
        let mut known = seen
            .into_iter()
            .chain(archive.wal.minimal().iter().copied());
        let (on, at) = known.find(is_ahead)?;
        let what = format!(
            "wal_level was minimal at LSN {at} of timeline {on}: nothing behind that can be restored from repository {} before its next backup",
            self.name
        );
        Some(((on, at), what))
    }

    /// WAL on the server's way that `verify` found damaged, if no good backup is behind it: first where recovery ends,
    /// then what it would meet once that is mended.
    pub fn damaged_wal(&self, timeline: Option<TimelineId>) -> Vec<Finding> {
        /// Whoever hears of so many takes a backup.
        const MOST: usize = 20;
        let archive = &self.archive;
        let damaged = archive.damaged_wal(self.system.system_id);
        let Some(first) = self.first_damaged(timeline, &damaged) else {
            return Vec::new();
        };
        let size = self.system.segment_size;
        let is_past = |segment: &Segment| {
            let end = Lsn((segment.number(size) + 1) * size.bytes() - 1);
            let mut behind = archive.behind_minimal(segment.timeline, end);
            behind.any(|backup| self.leads_to(backup, timeline))
        };
        let all = damaged.iter().flat_map(|range| {
            let segment = |number| Segment::nth(range.timeline, number, size);
            range.numbers().map(segment)
        });
        let others = all
            .take(50 * MOST)
            .filter(|segment| *segment != first && !is_past(segment));
        let tell = |segment: Segment| {
            let what = format!(
                "`pgstow verify --wal` found WAL {segment} in repository {} damaged: nothing behind it can be restored before the next backup",
                self.name
            );
            let hint = format!(
                "{TAKE} If pg_wal of the server still has the segment, delete its damaged object, store it by `pgstow archive-wal pg_wal/{segment}`, and have `pgstow verify --wal` look again."
            );
            let damaged = Finding::critical(BACKUP, what, hint);
            damaged.about(format!("WAL damaged at {segment}"))
        };
        [first]
            .into_iter()
            .chain(others)
            .take(MOST)
            .map(tell)
            .collect()
    }

    /// Where the way of every backup that leads to the server ends by such damage.
    fn first_damaged(&self, timeline: Option<TimelineId>, damaged: &[Missing]) -> Option<Segment> {
        if damaged.is_empty() {
            return None;
        }
        let archive = &self.archive;
        let flawed = archive.flawed();
        let newest_first = archive.by_age().into_iter().rev();
        let leading = newest_first.filter(|backup| self.leads_to(backup, timeline));
        let (bad, good): (Vec<&Backup>, Vec<&Backup>) =
            leading.partition(|backup| flawed.contains_key(&backup.id));
        let of_these = if good.is_empty() { bad } else { good };
        let ways = of_these
            .iter()
            .map(|backup| archive.way(backup, timeline, damaged));
        let ways: Vec<Way> = ways.collect();
        if ways.contains(&Way::Whole) {
            return None;
        }
        ways.iter().find_map(|way| match way {
            Way::Damaged(segment) => Some(*segment),
            Way::Whole | Way::Broken => None,
        })
    }

    pub fn none(&self) -> Finding {
        Finding::critical(
            BACKUP,
            format!(
                "no backup of this system in repository {} can be restored",
                self.name
            ),
            "take a new backup with `pgstow base`.",
        )
    }

    pub fn damaged_ones(&self) -> Vec<Finding> {
        let name = &self.name;
        let tell = |Unusable { id, why, hint }: &Unusable| {
            Finding::warning(BACKUP, format!("{id} in repository {name} {why}"), hint).about(id)
        };
        let unread = |why: &String| {
            Finding::warning(
                BACKUP,
                format!("what `pgstow verify` found in repository {name} can't be read: {why}"),
                "mend what is wrong with it: until then full backups are made, and no cleanup.",
            )
            .about(why)
        };
        let unusable = self.damaged.iter().map(tell);
        let words = &self.archive.verdicts.unread;
        let empty = self.archive.wal.empty().map(|segment| {
            Finding::critical(
                BACKUP,
                format!("WAL {segment} in repository {name} is empty: recovery ends before it"),
                format!(
                    "delete that object; if pg_wal of the server still has the segment, store it by `pgstow archive-wal pg_wal/{segment}`, else {TAKE}"
                ),
            )
            .about(segment)
        });
        let unread = words.iter().map(unread);
        unusable.chain(unread).chain(empty).collect()
    }

    pub fn pending(&self, backup: &Backup) -> Finding {
        self.of_pending(backup).about(backup.id)
    }

    fn of_pending(&self, backup: &Backup) -> Finding {
        let (id, name) = (backup.id, &self.name);
        let missing = self.waits_for(backup);
        let lacks = self.lacks.get(&id).filter(|lacks| !lacks.is_nothing());
        if missing.is_empty()
            && let Some(lacks) = lacks
        {
            let why = lacks.describe(&self.system);
            return match lacks.is_lost() {
                true => Finding::warning(
                    BACKUP,
                    format!("{id} in repository {name} can only be deleted: {why}"),
                    format!("run: pgstow cleanup --drop-pending {id}"),
                ),
                false => Finding::warning(
                    BACKUP,
                    format!("{id} in repository {name} doesn't count yet: {why}"),
                    format!(
                        "mend archiving; then `pgstow base --finish {id}`, or the next base backup, makes it count."
                    ),
                ),
            };
        }
        if missing.is_empty() {
            return Finding::warning(
                BACKUP,
                format!("{id} in repository {name} doesn't count yet, though its WAL is there now"),
                format!("run: pgstow base --finish {id}"),
            );
        }
        let lost = self.describe(&missing);
        if self.waits_in_vain(backup) {
            return Finding::warning(
                BACKUP,
                format!(
                    "{id} in repository {name} waits for WAL {lost} in vain: later segments have arrived, so it can only be deleted"
                ),
                format!(
                    "run: pgstow cleanup --drop-pending {id}; only if pg_wal of the server still has these segments, `pgstow archive-wal` can store them."
                ),
            );
        }
        Finding::warning(
            BACKUP,
            format!("{id} in repository {name} can't be restored yet: it waits for WAL {lost}"),
            format!(
                "mend archiving; then `pgstow base --finish {id}`, or the next base backup, makes it count."
            ),
        )
    }

    fn waits_for(&self, backup: &Backup) -> Vec<Missing> {
        let needed = backup.needed_segments();
        self.archive.wal.missing(backup.timeline, &needed)
    }

    /// The archiver goes from one segment to the next: what it has passed won't come. Nor does other WAL in the place of what
    /// is another server's.
    pub fn waits_in_vain(&self, backup: &Backup) -> bool {
        let last = self.archive.wal.last(backup.timeline);
        let first = self.waits_for(backup).first().map(|missing| missing.last);
        first.is_some_and(|first| last > Some(first))
            || self.lacks.get(&backup.id).is_some_and(Lacks::is_lost)
    }

    /// Without its history no backup of an earlier timeline leads to this one.
    pub fn history(&self, timeline: TimelineId) -> Option<Finding> {
        const NAME: &str = "timeline";
        let archive = &self.archive;
        if timeline == TimelineId::FIRST || archive.histories.contains_key(&timeline) {
            return None;
        }
        let file = WalName::History(timeline);
        let place = self.repository.wal_object(&self.system, file);
        let place = self.repository.storage().place(&place);
        let again = format!(
            "in the data directory, as the server's user, run: pgstow archive-wal pg_wal/{file}; if that file is gone, look for it in pg_wal of the other servers of this cluster."
        );
        let rootless = archive.rootless.get(&timeline);
        let damage = rootless.and_then(|rootless| rootless.damage.as_ref());
        let (wrong, hint) = match damage {
            Some(damage) => (
                format!("is damaged ({damage})"),
                format!("delete the damaged file; then {again}"),
            ),
            None => ("is missing".to_owned(), again),
        };
        let what = format!("the server is on timeline {timeline}, and {place} {wrong}");
        let earlier = archive.backups.iter().any(|one| one.timeline < timeline);
        Some(match earlier || damage.is_some() {
            true => Finding::critical(
                NAME,
                format!("{what}: nothing can be restored along it"),
                hint,
            ),
            // Archiving may have begun on this timeline.
            false => Finding::warning(NAME, what, hint),
        })
    }
}

impl Destination<'_> {
    /// What is known of the archive where no segment can be sent: a standby that has `position`.
    pub fn last_arrival(&self, position: Option<Lsn>, now: Time) -> Result<Finding> {
        const NAME: &str = "wal";
        const HINT: &str = "run `pgstow check` on the primary, or name it (primary_host), to prove that WAL arrives.";
        let name = self.name;
        let index = WalIndex::load(self.repository, self.system)?;
        let Some((segment, time)) = index.newest() else {
            let what =
                format!("not proven, since a standby can't switch WAL: repository {name} has none");
            return Ok(Finding::warning(NAME, what, HINT));
        };
        let age = units::duration((now - time).to_std().unwrap_or_default());
        let what = format!(
            "not proven, since a standby can't switch WAL: the newest in repository {name} is {segment}, which arrived {age} ago"
        );
        let size = self.system.segment_size;
        let newest = segment.number(size);
        // The segment that is being written can't be there yet, the one before it may be on its way.
        Ok(match position.map(|lsn| lsn.0 / size.bytes()) {
            Some(written) if written <= newest + 2 => Finding::ok(NAME, what),
            Some(written) => Finding::warning(
                NAME,
                format!(
                    "{what}, {} segments behind this standby",
                    written - newest - 1
                ),
                HINT,
            ),
            None => Finding::warning(NAME, what, HINT),
        })
    }
}
