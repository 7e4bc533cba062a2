//! Reads what the repository has of the system that a restore is about.

use std::collections::BTreeMap;

use tracing::{debug, warn};

use super::{
    archive::{Archive, Rootless},
    target::{Target, Wish},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{lsn::TimelineId, timeline::TimelineHistory, wal_name::WalName},
    repo::{
        backup::Backup,
        backup_id::BackupId,
        catalog::{State, Unreadable},
        layout::ObjectName,
        missing::Missing,
        others::Others,
        repository::{Repository, System},
        verified::Verdicts,
        wal_index::WalIndex,
    },
    util::cancel::Cancel,
};

/// The system that the wish is about, and what the repository has of it.
/// Of `others` come the backups that can't be read whole in it, and WAL that is missing here.
pub fn load(
    repository: &Repository,
    wish: &Wish,
    others: &Others,
    cancel: &Cancel,
) -> Result<(System, Archive)> {
    let mut backups: Vec<Backup> = Vec::new();
    for entry in repository.backups()? {
        match entry.state {
            State::Complete(backup) => backups.push(*backup),
            State::Unreadable(Unreadable { why, hint, .. }) => {
                match elsewhere(others, entry.id, None, &why) {
                    Some(backup) => backups.push(backup),
                    None => unusable(entry.id, wish, why, Some(hint))?,
                }
            }
            State::Damaged(own, problems) => {
                let why = problems.join(", ");
                match elsewhere(others, entry.id, Some(&own), &why) {
                    Some(_) => backups.push(*own),
                    None => unusable(entry.id, wish, why, None)?,
                }
            }
            State::Pending(_) | State::Unfinished(_) => {}
        }
    }
    let suits = |backup: &&Backup| match (wish.backup, &wish.target) {
        (Some(id), _) => backup.id == id,
        (None, Target::Time(time)) => backup.stop_time < *time,
        _ => true,
    };
    let newest = |backups: &[Backup], suits: &dyn Fn(&&Backup) -> bool| {
        backups
            .iter()
            .filter(|backup| suits(backup))
            .max_by_key(|backup| backup.stop_time)
            .map(|backup| backup.system_id)
    };
    // If none suits, any system serves to say what is possible.
    let system = newest(&backups, &suits)
        .or_else(|| newest(&backups, &|_| true))
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!(
                    "cluster {} has no complete backup in repository {}",
                    repository.layout().cluster(),
                    repository.location()
                ),
            )
            .hint("make one with `pgstow base`; `pgstow list` shows what is there.")
        })?;
    backups.retain(|backup| backup.system_id == system);
    let system = repository.system(system)?;
    let mut archive = archive(repository, &system, backups)?;
    if others.fill_holes() {
        unite(&mut archive.wal, &system, others, cancel)?;
    }
    Ok((system, archive))
}

/// Adds what other repositories have of the segments that are missing before others (restore-wal asks them for it), and
/// pieces of segments in progress. Of whole segments, this one alone tells where they end.
fn unite(wal: &mut WalIndex, system: &System, others: &Others, cancel: &Cancel) -> Result<()> {
    let timelines: Vec<TimelineId> = wal.timelines().collect();
    let holes = timelines.into_iter().flat_map(|timeline| {
        let ranges = wal.ranges(timeline);
        let ends = ranges.first().zip(ranges.last());
        let all = ends.map(|(first, last)| *first.start()..=*last.end());
        all.map_or_else(Vec::new, |all| wal.missing(timeline, &all))
    });
    let holes: Vec<Missing> = holes.collect();
    let (id, end) = (system.system_id, wal.end());
    let wanted = holes.clone();
    let asked = others.ask_all("for WAL that is missing here", cancel, move |other| {
        let end = end.filter(|_| wanted.is_empty());
        WalIndex::load_behind(other, &other.system(id)?, end)
    });
    cancel.check()?;
    for (name, theirs) in asked {
        let theirs = match theirs {
            Ok(theirs) => theirs,
            Err(error) => {
                debug!("WAL of repository {name}: {}", error.in_one_line());
                continue;
            }
        };
        for hole in &holes {
            let lacking = theirs.missing(hole.timeline, &hole.numbers());
            for range in hole.without(&lacking) {
                wal.add_range(range);
            }
        }
        wal.add_pieces_of(&theirs);
    }
    Ok(())
}

/// The backup as another repository has it whole.
fn elsewhere(others: &Others, id: BackupId, own: Option<&Backup>, why: &str) -> Option<Backup> {
    let what = format!("backup {id}");
    let (name, backup) = others.find(&what, |other| {
        let entries = other.backups()?.into_iter();
        let found = entries.filter_map(|entry| match entry.state {
            State::Complete(backup) if entry.id == id => Some(*backup),
            _ => None,
        });
        let mut same = found.filter(|found| own.is_none_or(|own| own.is_same_as(found)));
        Ok(same.next())
    })?;
    warn!("backup {id} is damaged, and comes from repository {name} where it is: {why}");
    Some(backup)
}

/// Another backup may do instead, unless it was this one that was asked for.
fn unusable(id: BackupId, wish: &Wish, why: String, hint: Option<String>) -> Result<()> {
    if wish.backup == Some(id) {
        let lost = || {
            format!(
                "leave the backup out to take another one; `pgstow verify {id}` names the files that are lost, and docs/restore-by-hand.md tells how to get at the others."
            )
        };
        return Err(
            Error::damaged(format!("backup {id} can't be restored: {why}"))
                .hint(hint.unwrap_or_else(lost)),
        );
    }
    warn!("backup {id} can't be used: {why}");
    Ok(())
}

/// What the repository holds of one system; `backups` are its complete ones.
pub fn archive(repository: &Repository, system: &System, backups: Vec<Backup>) -> Result<Archive> {
    let wal = WalIndex::load(repository, system)?;
    let is_there = |id| backups.iter().any(|backup| backup.id == id);
    let verdicts = match repository.verdicts(is_there) {
        // No restore depends on it.
        Err(error) if repository.is_of_object(&error) => Verdicts {
            unread: vec![error.in_one_line()],
            ..Verdicts::default()
        },
        verdicts => verdicts?,
    };
    let mut archive = Archive {
        backups,
        verdicts,
        wal,
        histories: BTreeMap::new(),
        rootless: BTreeMap::new(),
        cut: repository.cut(system)?,
        rescued: Default::default(),
        received: Vec::new(),
    };
    let timelines = archive.timelines();
    let timelines = timelines.union(archive.wal.histories());
    for timeline in timelines.filter(|timeline| **timeline > TimelineId::FIRST) {
        let name = repository.wal_object(system, WalName::History(*timeline));
        let damage = match read_history(repository, &name, *timeline) {
            Ok(history) => {
                archive.histories.insert(*timeline, history);
                continue;
            }
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) if repository.is_of_object(&error) => Some(error.in_one_line()),
            Err(error) => return Err(error),
        };
        // A server that is told this timeline asks for the file, whichever backup it starts from.
        // Where there is no backup to start from, nothing is lost.
        let starts = |backup: &Backup| backup.timeline <= *timeline;
        if damage.is_some() || archive.backups.iter().any(starts) {
            let rootless = Rootless {
                timeline: *timeline,
                file: repository.storage().place(&name),
                damage,
            };
            archive.rootless.insert(*timeline, rootless);
        }
    }
    Ok(archive)
}

/// Reads the history of `timeline` from the object `name`.
pub fn read_history(
    repository: &Repository,
    name: &ObjectName,
    timeline: TimelineId,
) -> Result<TimelineHistory> {
    let text = repository.storage().read(name, TimelineHistory::LIMIT)?;
    TimelineHistory::parse(timeline, &text)
}
