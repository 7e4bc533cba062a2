//! WAL that the archive has not got, segments and histories: of the cluster that is replaced, and what receive-wal has on this host. It
//! is the end of what happened.

use std::{
    collections::BTreeSet,
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
    error::{IoContext, Result},
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_header::WalHeader,
        wal_name::{Segment, WalName},
    },
    repo::{repository::System, wal_index::WalIndex},
    util::{cancel::Cancel, process},
};

impl Archive {
    /// Takes in the segments of `folder`, a pg_wal, that it has not got. No histories: a copy that was restored here has
    /// begun a timeline of its own, and is not what is to be restored.
    pub fn rescue(&mut self, folder: &Path, system: &System) -> Result<()> {
        self.rescued.extend(find(folder, system, &self.wal)?);
        Ok(())
    }

    /// Takes in what receive-wal has in `folder`: segments, and histories of timelines that begin with one of them.
    pub fn receive(&mut self, folder: &Path, system: &System) -> Result<()> {
        let found = find(folder, system, &self.wal)?;
        let timelines: BTreeSet<TimelineId> =
            found.iter().map(|segment| segment.timeline).collect();
        for timeline in timelines {
            if timeline == TimelineId::FIRST || self.histories.contains_key(&timeline) {
                continue;
            }
            let path = folder.join(WalName::History(timeline).to_string());
            let text = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.at("read", &path)?,
            };
            // Of what is damaged, as of a beginning that is nowhere, the segments are told all the same.
            let Ok(history) = TimelineHistory::parse(timeline, &text) else {
                continue;
            };
            let from = history.path().last().map(|span| span.from);
            let begins = |from| found.contains(&Segment::holding(timeline, from, self.wal.size()));
            if from.is_some_and(begins) {
                self.rootless.remove(&timeline);
                self.histories.insert(timeline, history);
                self.received.push(History { timeline, text });
            }
        }
        self.rescued.extend(found);
        Ok(())
    }
}

/// The segments in `folder` that are of this system, whole by their header, and not archived; one that is
/// being received too, whose end is zeros. Recycled ones carry the address of what they held before, and
/// don't count.
fn find(folder: &Path, system: &System, wal: &WalIndex) -> Result<BTreeSet<Segment>> {
    let mut found = BTreeSet::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.at("read", folder)?,
    };
    for entry in entries {
        let entry = entry.at("read", folder)?;
        let name = entry.file_name();
        let name: Option<WalName> = name.to_str().and_then(|name| name.parse().ok());
        let Some(segment) = name.and_then(WalName::segment) else {
            continue;
        };
        let number = segment.number(system.segment_size);
        if !segment.fits(system.segment_size) || wal.reach(segment.timeline, number).is_some() {
            continue;
        }
        let path = entry.path();
        let mut file = File::open(&path).at("read", &path)?;
        let length = file.metadata().at("look at", &path)?.len();
        let ours = WalHeader::read(&mut file, &path).and_then(|header| {
            header
                .check(segment, length)
                .map(|()| header.system == system.system_id)
        });
        if ours.is_ok_and(|ours| ours) {
            found.insert(segment);
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
