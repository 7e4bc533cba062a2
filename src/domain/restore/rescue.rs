//! WAL that the archive has not got, segments and histories: of the cluster that is replaced, and what receive-wal has on this host. It
//! is the end of what happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    time::Duration,
};

use super::{
    archive::Archive,
    choice::Choice,
    folders::{Owner, give},
    histories::History,
    segments::Segments,
};
use crate::{
    domain::wal::stored,
    error::{Error, IoContext, Result},
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_header::WalHeader,
        wal_name::{Segment, WalName},
    },
    repo::{
        repository::{Repository, System},
        wal_index::WalIndex,
    },
    util::{cancel::Cancel, fs::read_if_there, hash::Sha256, process},
};

impl Archive {
    /// Takes in the segments of `folder`, the pg_wal of the cluster that is replaced, that it has not got. Where that is in
    /// the cluster's own place (`is_own`) also timelines that no repository has heard of; a copy has begun one of its own,
    /// and is not what is to be restored.
    pub fn rescue(&mut self, folder: &Path, system: &System, is_own: bool) -> Result<()> {
        let found = find(folder, system, &self.wal)?;
        if is_own {
            self.adopt(folder, &found.lacking)?;
        }
        self.rescued.extend(found.lacking);
        Ok(())
    }

    /// Takes in what receive-wal has in `folder`.
    ///
    /// # Errors
    /// Where `repository`, whose archive this is, has other WAL under the same name: two servers gave their timelines one
    /// number, and which is meant is not for us to say.
    pub fn receive(
        &mut self,
        folder: &Path,
        system: &System,
        repository: &Repository,
    ) -> Result<()> {
        let found = find(folder, system, &self.wal)?;
        for segment in found.archived.values() {
            one_server(folder, *segment, system, repository)?;
        }
        for timeline in timelines(&found.lacking) {
            let known = self.histories.get(&timeline);
            let received = read_history(folder, timeline)?;
            if let (Some(known), Some((received, _))) = (known, received)
                && known.path() != received.path()
            {
                let name = WalName::History(timeline);
                return Err(two_servers(name, folder, timeline, repository));
            }
        }
        self.adopt(folder, &found.lacking)?;
        self.rescued.extend(found.lacking);
        Ok(())
    }

    /// Takes in the histories in `folder` of timelines that begin with one of these segments.
    fn adopt(&mut self, folder: &Path, found: &BTreeSet<Segment>) -> Result<()> {
        for timeline in timelines(found) {
            let is_known = self.histories.contains_key(&timeline);
            if is_known || self.wal.last(timeline).is_some() {
                continue;
            }
            let Some((history, text)) = read_history(folder, timeline)? else {
                continue;
            };
            let from = history.path().last().map(|span| span.from);
            let first = |from| Segment::holding(timeline, from, self.wal.size());
            if from.is_some_and(|from| found.contains(&first(from))) {
                self.rootless.remove(&timeline);
                self.histories.insert(timeline, history);
                self.received.push(History { timeline, text });
            }
        }
        Ok(())
    }
}

fn timelines(segments: &BTreeSet<Segment>) -> BTreeSet<TimelineId> {
    let timelines = segments.iter().map(|segment| segment.timeline);
    timelines
        .filter(|timeline| *timeline > TimelineId::FIRST)
        .collect()
}

/// None of one that is not there, or damaged: the segments are told all the same.
fn read_history(folder: &Path, timeline: TimelineId) -> Result<Option<(TimelineHistory, Vec<u8>)>> {
    let path = folder.join(WalName::History(timeline).to_string());
    let text = read_if_there(&path)?;
    Ok(text.and_then(|text| Some((TimelineHistory::parse(timeline, &text).ok()?, text))))
}

/// Refuses a folder whose segment has other bytes than the stored one of that name.
fn one_server(
    folder: &Path,
    segment: Segment,
    system: &System,
    repository: &Repository,
) -> Result<()> {
    let name = WalName::Segment(segment);
    let path = folder.join(name.to_string());
    let ours = File::open(&path).and_then(Sha256::of_reader);
    // What can't be read says nothing.
    let Ok(stored) = stored::hash(repository, system, name) else {
        return Ok(());
    };
    match ours.at("read", &path)? {
        (ours, _) if ours == stored => Ok(()),
        _ => Err(two_servers(name, folder, segment.timeline, repository)),
    }
}

fn two_servers(
    name: WalName,
    folder: &Path,
    timeline: TimelineId,
    repository: &Repository,
) -> Error {
    let folder = folder.display();
    let what = format!(
        "{name} has other bytes in {folder} than in {}: two servers used timeline {timeline}",
        repository.location()
    );
    Error::failed(what).hint(format!(
        "if the repository has what is meant, move {folder} away, keep it, and try again; if not, restore what was before \
         timeline {timeline} by --target-timeline into a folder of its own, after that move, too."
    ))
}

/// Segments of a folder, which are of this system and whole by their header.
struct Found {
    /// That the archive has not got.
    lacking: BTreeSet<Segment>,
    /// Of each timeline the last one that it has, too.
    archived: BTreeMap<TimelineId, Segment>,
}

/// One that is being received counts too, whose end is zeros. Recycled ones carry the address of what they held before,
/// and don't count.
fn find(folder: &Path, system: &System, wal: &WalIndex) -> Result<Found> {
    let mut found = Found {
        lacking: BTreeSet::new(),
        archived: BTreeMap::new(),
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.at("read", folder)?,
    };
    for entry in entries {
        let entry = entry.at("read", folder)?;
        let name = entry.file_name();
        let name: Option<WalName> = name.to_str().and_then(|name| name.parse().ok());
        let Some((name, segment)) = name.and_then(|name| Some((name, name.segment()?))) else {
            continue;
        };
        if !segment.fits(system.segment_size) {
            continue;
        }
        let number = segment.number(system.segment_size);
        let is_archived = wal.reach(segment.timeline, number).is_some();
        if is_archived {
            let last = found.archived.get(&segment.timeline);
            let is_whole = matches!(name, WalName::Segment(_));
            if !is_whole || last.is_some_and(|last| *last > segment) {
                continue;
            }
        }
        let path = entry.path();
        let mut file = File::open(&path).at("read", &path)?;
        let length = file.metadata().at("look at", &path)?.len();
        let ours = WalHeader::read(&mut file, &path).and_then(|header| {
            header
                .check(segment, length)
                .map(|()| header.system == system.system_id)
        });
        match ours.is_ok_and(|ours| ours) {
            true if is_archived => drop(found.archived.insert(segment.timeline, segment)),
            true => drop(found.lacking.insert(segment)),
            false => {}
        }
    }
    Ok(found)
}

/// Puts the choice's rescued segments, its `.partial` and what is there in pieces into the new pg_wal under their plain
/// names, where the server finds them once the archive has no more. Up to where the pieces led.
pub fn put(segments: &Segments<'_>, pg_wal: &Path, owner: Option<Owner>) -> Result<Option<Lsn>> {
    let choice = segments.choice;
    let mut upto = None;
    for segment in choice
        .rescued
        .iter()
        .chain(&choice.partial)
        .chain(&choice.live)
    {
        upto = Some(segments.put(*segment, pg_wal, 0o600)?);
        give(&pg_wal.join(segment.to_string()), owner)?;
    }
    Ok(upto.filter(|_| choice.live.is_some()))
}

/// Archives the rescued segments of the replaced cluster that are whole, all but the last; says what failed.
///
/// The restored server won't: at the end of recovery it recycles what came before its new
/// timeline, whatever archive_status says (XLogArchiveCheckDone in
/// `src/backend/access/transam/xlogarchive.c`), and a hole would stay in front of it.
pub fn archive(
    choice: &Choice,
    command: &[String],
    old_data_dir: &Path,
    owner: Option<Owner>,
    cancel: &Cancel,
) -> Result<Option<String>> {
    /// For one segment; archive-wal has a limit of its own.
    const PATIENCE: Duration = Duration::from_secs(600);
    let Some((program, arguments)) = command.split_first() else {
        return Ok(None);
    };
    let whole = choice
        .rescued
        .split_last()
        .map_or(&[][..], |(_, whole)| whole);
    let pg_wal = Path::new("pg_wal");
    for segment in whole {
        let path = pg_wal.join(segment.to_string());
        // Received ones are brought by who received them.
        if !old_data_dir.join(&path).is_file() {
            continue;
        }
        let mut archiver = Command::new(program);
        archiver.args(arguments).arg(path).current_dir(old_data_dir);
        if let Some(owner) = owner {
            // As the server's own archiver: what root stores, the server could not read.
            archiver.gid(owner.group).uid(owner.user);
        }
        if let Err(error) = process::run(&mut archiver, PATIENCE, cancel) {
            cancel.check()?;
            return Ok(Some(format!(
                "segment {segment} of the replaced cluster could not be archived ({}): take a new backup once the \
                 server runs, since older ones don't lead to its new timeline",
                error.in_one_line()
            )));
        }
    }
    Ok(None)
}
