//! All that a restore will do, decided before a byte is written, each line with its reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    again,
    archive::Archive,
    aside,
    choice::{Choice, choose},
    delta::{self, Update, outlook::Outlook},
    folders::{Facts, Owner, State},
    forecast::Load,
    guard,
    histories::History,
    hollow::is_hollow,
    keys,
    load::load,
    places::{Folder, Wanted},
    proof::Proof,
    prove::Prover,
    request::{Delta, Request},
    shown,
    sources::Sources,
    tablespaces::{self, Tablespace},
    target::{Action, Target, TimelineWish, Wish},
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        control::Control,
        lsn::{Lsn, SystemId, TimelineId},
        postmaster::Postmaster,
        programs::{Programs, Search},
        version::Major,
        wal_name::{Segment, WalName},
    },
    repo::{
        backup::Backup,
        backup_id::BackupId,
        drill::Forecast,
        others::Others,
        repository::{Repository, System},
    },
    util::{cancel::Cancel, clock::Time, host, meter::Meter},
};

/// What was asked for, and what the surroundings are.
#[derive(Clone, Debug)]
pub struct Options {
    /// With an absolute data directory.
    pub request: Request,
    /// The cluster's own, where it is known; else the one that was backed up.
    pub own_data_dir: Option<PathBuf>,
    /// Where a note of what was done goes.
    pub notes: Option<PathBuf>,
    /// Asked for what the repository should have and can't give.
    pub others: Others,
    /// Where receive-wal keeps what no repository has yet.
    pub received: Option<PathBuf>,
    /// The program and its arguments, up to and with `restore-wal`; without `--system-id` and
    /// `--last`, which the plan knows.
    pub wal_command: Vec<String>,
    /// The program and its arguments, up to and with `archive-wal` and its flags.
    pub archive_command: Vec<String>,
    pub done_command: Vec<String>,
}

impl Options {
    /// The folders in which WAL lies that the repository has not got, the best first: the cluster itself wrote
    /// more than it sent.
    pub fn rescued_from(&self, old_data_dir: Option<&Path>) -> Vec<PathBuf> {
        let of_old = old_data_dir.map(|old| old.join("pg_wal"));
        of_old.into_iter().chain(self.received.clone()).collect()
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub cluster: String,
    pub system_id: SystemId,
    pub postgres_version: u32,
    pub target: Target,
    pub exclusive: bool,
    pub action: Action,
    pub standby: bool,
    pub backup: BackupId,
    pub backup_stop_time: Time,
    pub backup_stop_lsn: Lsn,
    pub backup_bytes: u64,
    pub stored_bytes: u64,
    pub timeline: TimelineId,
    /// Names of the first and the last segment that may be replayed.
    pub first_segment: String,
    pub last_segment: String,
    pub segments: u64,
    /// Where the WAL that may be replayed ends.
    pub wal_end: Lsn,
    /// Behind this segment nothing is needed; None where that isn't known.
    pub last_needed: Option<String>,
    /// A `.partial` that is put in place under its plain name.
    pub partial: Option<String>,
    /// A segment that was being received, of which there are pieces alone, put in place as far as they go.
    pub live: Option<Live>,
    /// Segments taken from the folder that is replaced.
    pub rescued: Vec<String>,
    pub proof: Proof,
    pub data_dir: PathBuf,
    pub folders: Vec<Folder>,
    /// What `--delta` finds, once that is known; None where there is nothing to use again.
    pub delta: Option<Outlook>,
    /// Where WAL that the repository hasn't got is kept of a folder that is written over.
    #[serde(serialize_with = "shown::optional")]
    pub kept_wal: Option<PathBuf>,
    /// To whom files will belong, where not to us.
    pub owner: Option<Owner>,
    /// The server will use the WAL in the backup alone.
    pub offline: bool,
    /// What is written for archive_mode; None leaves it as it was.
    pub archive: Option<bool>,
    /// Not in the cluster's own place: the original may run beside it.
    pub copy: bool,
    /// How long it will take until the server is open; None where nobody asked, or no drill tells.
    pub forecast: Option<Forecast>,
    pub reasons: Vec<String>,
    /// Why the restore would be refused now, though all else is right, and what to do: a server runs there, or there is no key.
    pub refused: Option<String>,
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub timeline_wish: TimelineWish,
    /// What the restore moves.
    #[serde(skip)]
    pub load: Load,
    #[serde(skip)]
    pub choice: Choice,
    #[serde(skip)]
    pub system: System,
    #[serde(skip)]
    pub tablespaces: Vec<Tablespace>,
    #[serde(skip)]
    pub programs: Option<Programs>,
    /// Where the old cluster lies before anything is done, if it lies anywhere in the end.
    #[serde(skip)]
    pub old_data_dir: Option<PathBuf>,
    /// The folders are used again: what of `--delta` holds for them.
    #[serde(skip)]
    pub again: Option<Delta>,
    /// What [`Plan::kept_wal`] keeps.
    #[serde(skip)]
    pub unarchived: BTreeSet<Segment>,
    /// Of timelines that the repository does not know.
    #[serde(skip)]
    pub histories: Vec<History>,
}

/// What pieces give of a segment.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    pub segment: String,
    /// The byte behind the last.
    pub upto: Lsn,
}

impl Plan {
    /// A standby goes on to timelines that nobody knows yet, unless one was named for it.
    pub fn follows_latest(&self) -> bool {
        self.standby && self.timeline_wish == TimelineWish::Latest
    }

    /// Says to where pieces led when they were restored: one may have been damaged, and more may have come.
    pub fn correct(&mut self, led_to: Option<Lsn>) {
        let Some((live, upto)) = self.live.as_mut().zip(led_to) else {
            return;
        };
        if upto < live.upto {
            self.warnings.push(format!(
                "the pieces of {} lead to {upto}, and not to {} as planned: what happened behind that is lost",
                live.segment, live.upto
            ));
        }
        (live.upto, self.wal_end) = (upto, upto);
    }

    /// Where the cluster that was here before lies once its place is taken, or its WAL alone.
    pub fn replaced(&self) -> Option<PathBuf> {
        let folder = self.folders.first();
        let aside = folder.and_then(|folder| folder.aside.as_ref());
        let aside = aside.or(self.kept_wal.as_ref());
        aside.or(self.old_data_dir.as_ref()).cloned()
    }
}

/// Plans a restore; reads the repository and the folders, changes nothing.
pub fn plan(
    repository: &Repository,
    options: &Options,
    now: Time,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Plan> {
    let request = &options.request;
    request.wish.check()?;
    meter.begin("planning", 0);
    let (system, mut archive) = load(repository, &request.wish, &options.others, cancel)?;
    if request.offline {
        keep_standalone(&mut archive, &request.wish)?;
    }
    // A standby's folder is not the cluster's own.
    let of_primaries = archive.backups.iter().filter(|backup| !backup.standby);
    let newest = of_primaries.max_by_key(|backup| backup.stop_time);
    let backed_up = newest.map(|backup| PathBuf::from(&backup.data_directory));
    let own_data_dir = options
        .own_data_dir
        .clone()
        .or(backed_up)
        .unwrap_or_default();
    let data_dir = request
        .data_dir
        .clone()
        .unwrap_or_else(|| own_data_dir.clone());
    if data_dir.as_os_str().is_empty() {
        return Err(Error::usage(
            "all backups are of standbys, so it is not known where the cluster lies",
        )
        .hint("say where to restore to by --data-dir."));
    }
    if !data_dir.is_absolute() {
        return Err(Error::usage(format!(
            "the data directory must be absolute: {}",
            data_dir.display()
        ))
        .hint("say where to restore to by --data-dir."));
    }
    let data_dir = behind_link(data_dir)?;
    let facts = Facts::of(&data_dir)?;
    let own = is_own(&data_dir, &own_data_dir);
    let old_data_dir = match &facts.state {
        State::Occupied => (request.replace || request.delta.is_some()).then(|| data_dir.clone()),
        State::Unfinished(replaced) => replaced.clone().filter(|old| old.is_dir()),
        State::Missing | State::Empty => aside::replaced(&data_dir),
    };
    let mut warnings = Vec::new();
    let again = again::decide(&facts, request.delta, system.system_id, &mut warnings)?;
    if let Some(old) = &old_data_dir {
        warnings.extend(of_another_system(old, &system));
        warnings.extend(wal_elsewhere(old));
        archive.rescue(&old.join("pg_wal"), &system, own)?;
    }
    let in_place = again.is_some() && facts.state == State::Occupied;
    let unarchived = match in_place {
        true => archive.rescued.clone(),
        false => BTreeSet::new(),
    };
    if let Some(received) = &options.received {
        archive.receive(received, &system, repository)?;
    }
    let kept_wal = match &old_data_dir {
        _ if in_place => (!unarchived.is_empty())
            .then(|| delta::wal::place(&facts, options.notes.as_deref(), now)),
        // An interrupted restore has kept it.
        Some(old) if !old.join("global").exists() => Some(old.clone()),
        _ => None,
    };
    let mut choice = choose(&archive, &request.wish)?;
    let major = Major::from_server_version_num(choice.backup.postgres_version)?;
    let programs = match Search::of_this_host(request.bindir.clone()).find(Some(major)) {
        Ok(programs) => Some(programs),
        Err(error) if request.bindir.is_some() => return Err(error),
        Err(error) => {
            warnings.push(format!(
                "{}: install it before the server is started",
                error.in_one_line()
            ));
            None
        }
    };
    let sources = Sources::new(repository, &options.others);
    let prover = Prover {
        sources: &sources,
        system: &system,
        archive: &archive,
        wish: &request.wish,
        asked: request.prove,
        rescued_from: &options.rescued_from(old_data_dir.as_deref()),
        cancel,
    };
    let proof = prover.prove(&mut choice)?;
    warnings.append(&mut choice.warnings);
    let backup = &choice.backup;
    warnings.extend(damaged_pages(backup));
    let archive_mode = request.archive.or((!own).then_some(false));
    if own && archive_mode.is_none() && backup.host != host::name() {
        warnings.push(format!(
            "archiving stays as it was, and the backup is of host {}: if a server still runs there, restore with --archive off",
            backup.host
        ));
    }
    let tablespaces = tablespaces::place(backup, &data_dir, own, &request.tablespaces)?;
    let owner = Owner::choose(&facts)?;
    let needed_bytes = match (again, &request.databases) {
        (Some(_), _) => {
            let (contents, _) = sources.contents(backup)?;
            let update = Update {
                backup,
                contents: &contents,
                data_dir: &data_dir,
                tablespaces: &tablespaces,
                owner,
                trust_times: false,
                workers: request.workers,
                cancel,
                meter,
            };
            let kept = unarchived.len() as u64 * backup.segment_size.bytes();
            Some(update.needed(kept)?)
        }
        (None, Some(databases)) => {
            let (contents, _) = sources.contents(backup)?;
            Some(contents.by_place(&tablespaces, |member| !is_hollow(member, databases)))
        }
        (None, None) => None,
    };
    warnings.extend(again::left_tablespaces(
        again.and(Some(&data_dir)),
        &tablespaces,
    ));
    let wanted = Wanted {
        again,
        needed_bytes,
        choice: &choice,
        data_dir: facts,
        old_data_dir: old_data_dir.as_deref(),
        tablespaces: &tablespaces,
        replace: request.replace,
        now,
    };
    let folders = wanted.folders()?;
    let all = repository.location().folder().into_iter();
    guard::check(&folders, all.chain(options.others.folders()))?;
    let size = system.segment_size;
    let name =
        |segment: Option<Segment>| segment.map_or(String::new(), |segment| segment.to_string());
    // An archive that is empty now can't prove where it ends, nor can one whose timelines are not
    // all known, so the plan says it.
    let unprovable = archive.damaged().next().is_some() && !request.wish.standby;
    let last_needed = match (&request.wish.target, &proof) {
        _ if unprovable => choice.reach.last(size).map(|last| last.to_string()),
        (Target::Latest, _) if archive.wal.segments() > 0 => None,
        (_, Proof::NotProven(_)) => None,
        _ => choice.reach.last(size).map(|last| last.to_string()),
    };
    // Planned all the same: before an outage, people want to know what it would bring.
    warnings.extend(keys::warnings(repository, &system, &choice, owner));
    let refused = refuse_running(&data_dir, old_data_dir.as_deref())
        .and_then(|()| keys::check(repository, &system, &choice))
        .err()
        .map(|error| match error.hint_text() {
            Some(hint) => format!("{}; {hint}", error.in_one_line()),
            None => error.in_one_line(),
        });
    Ok(Plan {
        cluster: repository.layout().cluster().to_string(),
        system_id: system.system_id,
        postgres_version: choice.backup.postgres_version,
        target: request.wish.target.clone(),
        exclusive: request.wish.exclusive,
        action: request.wish.action,
        timeline_wish: request.wish.timeline,
        standby: request.wish.standby,
        backup: choice.backup.id,
        backup_stop_time: choice.backup.stop_time,
        backup_stop_lsn: choice.backup.stop_lsn,
        backup_bytes: choice.backup.bytes,
        stored_bytes: choice.backup.stored_bytes,
        timeline: choice.timeline,
        first_segment: name(
            choice
                .reach
                .legs
                .first()
                .and_then(|leg| choice.reach.segment(leg.first, size)),
        ),
        last_segment: name(choice.reach.last(size)),
        segments: choice.reach.segments(),
        wal_end: choice.end(size),
        last_needed,
        partial: choice
            .partial
            .map(|segment| WalName::Partial(segment).to_string()),
        live: choice
            .live
            .zip(choice.live_upto)
            .map(|(segment, upto)| Live {
                segment: segment.to_string(),
                upto,
            }),
        rescued: choice.rescued.iter().map(ToString::to_string).collect(),
        proof,
        data_dir,
        folders,
        delta: None,
        kept_wal,
        owner,
        offline: request.offline || archive.begins_behind(backup),
        archive: archive_mode,
        copy: !own,
        forecast: None,
        load: Load::of(&archive, &choice),
        histories: archive.received,
        reasons: std::mem::take(&mut choice.reasons),
        refused,
        warnings,
        choice,
        system,
        tablespaces,
        programs,
        old_data_dir: old_data_dir.filter(|_| !in_place),
        again,
        unarchived,
    })
}

/// Refuses to restore where a server runs, or where the old cluster lies that it runs on.
pub fn refuse_running(data_dir: &Path, old_data_dir: Option<&Path>) -> Result<()> {
    Postmaster::refuse_running(data_dir)?;
    old_data_dir.map_or(Ok(()), Postmaster::refuse_running)
}

/// A data directory that is reached by a link is replaced where it lies: on the disk that was
/// meant for it, and the link goes on leading there.
fn behind_link(data_dir: PathBuf) -> Result<PathBuf> {
    match fs::read_link(&data_dir) {
        Ok(_) => fs::canonicalize(&data_dir).at("follow", &data_dir),
        Err(_) => Ok(data_dir),
    }
}

fn wal_elsewhere(old: &Path) -> Option<String> {
    let link = fs::read_link(old.join("pg_wal")).ok()?;
    Some(format!(
        "pg_wal of the old cluster is a link to {}; in the restored one it is a folder of the data directory: \
         if it belongs on a disk of its own, move it before the start",
        link.display()
    ))
}

/// Whose folder it is that will be renamed aside, if not this cluster's.
fn of_another_system(old: &Path, system: &System) -> Option<String> {
    let found = Control::read(old).ok()?.system;
    (found != system.system_id).then(|| {
        format!(
            "{} holds another cluster: its system identifier is {found}, that of the backup {}",
            old.display(),
            system.system_id
        )
    })
}

/// What was broken before the backup is broken in the copy.
fn damaged_pages(backup: &Backup) -> Option<String> {
    let first = backup.page_failures.first()?;
    Some(format!(
        "{} pages were damaged when the backup was taken, the first in {}: `pgstow list {}` names all",
        backup.page_failures.len(),
        first.file,
        backup.id
    ))
}

/// Refuses what needs the repository's WAL.
fn keep_standalone(archive: &mut Archive, wish: &Wish) -> Result<()> {
    archive.offline();
    let named = |id| archive.backups.iter().any(|backup| backup.id == id);
    let what = match wish.backup {
        Some(id) if !named(id) => format!("backup {id} doesn't hold its own WAL"),
        None if archive.backups.is_empty() => "no backup holds its own WAL".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::failed(what).hint(
        "leave out --offline, or take a backup that can be restored without the repository with \
         `pgstow base --standalone`.",
    ))
}

fn is_own(data_dir: &Path, own: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(data_dir) == real(own)
}
