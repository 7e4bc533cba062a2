//! All that a restore will do, decided before a byte is written, each line with its reason.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    archive::Archive,
    choice::{Choice, choose},
    folders::{Facts, Owner, State},
    load::load,
    places::{Folder, Wanted},
    proof::Proof,
    prove::Prover,
    rescue,
    tablespaces::{self, Move, Tablespace},
    target::{Action, Target, Wish},
};
use crate::{
    error::{Error, Result},
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        programs::{Programs, Search},
        version::Major,
        wal_name::WalName,
    },
    repo::{
        backup_id::BackupId,
        repository::{Repository, System},
    },
    util::{cancel::Cancel, clock::Time, host, meter::Meter},
};

/// What was asked for, and what the surroundings are.
#[derive(Clone, Debug)]
pub struct Options {
    pub wish: Wish,
    /// Absolute; None is the cluster's own.
    pub data_dir: Option<PathBuf>,
    /// The cluster's own, where it is known; else the one that was backed up.
    pub own_data_dir: Option<PathBuf>,
    pub replace: bool,
    pub tablespaces: Vec<Move>,
    pub archive: Option<bool>,
    pub prove: bool,
    pub workers: usize,
    pub bindir: Option<PathBuf>,
    /// Where a note of what was done goes.
    pub notes: Option<PathBuf>,
    /// The program and its arguments, up to and with `restore-wal`; without `--system-id` and
    /// `--last`, which the plan knows.
    pub wal_command: Vec<String>,
    /// The program and its arguments, up to and with `archive-wal` and its flags.
    pub archive_command: Vec<String>,
    pub done_command: Vec<String>,
    /// The restored server can't reach the repository; only for standalone backups.
    pub offline: bool,
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
    /// Segments taken from the folder that is replaced.
    pub rescued: Vec<String>,
    pub proof: Proof,
    pub data_dir: PathBuf,
    pub folders: Vec<Folder>,
    /// To whom files will belong, where not to us.
    pub owner: Option<Owner>,
    /// The server will use the WAL in the backup alone.
    pub offline: bool,
    /// What is written for archive_mode; None leaves it as it was.
    pub archive: Option<bool>,
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub choice: Choice,
    #[serde(skip)]
    pub system: System,
    #[serde(skip)]
    pub tablespaces: Vec<Tablespace>,
    #[serde(skip)]
    pub programs: Option<Programs>,
    /// Where the old cluster lies before anything is done.
    #[serde(skip)]
    pub old_data_dir: Option<PathBuf>,
}

/// Plans a restore; reads the repository and the folders, changes nothing.
pub fn plan(
    repository: &Repository,
    options: &Options,
    now: Time,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Plan> {
    options.wish.check()?;
    meter.begin("planning", 0);
    let (system, mut archive) = load(repository, &options.wish)?;
    if options.offline {
        keep_standalone(&mut archive, &options.wish)?;
    }
    let newest = archive.backups.iter().max_by_key(|backup| backup.stop_time);
    let backed_up = newest.map(|backup| PathBuf::from(&backup.data_directory));
    let own_data_dir = options
        .own_data_dir
        .clone()
        .or(backed_up)
        .unwrap_or_default();
    let data_dir = options
        .data_dir
        .clone()
        .unwrap_or_else(|| own_data_dir.clone());
    if !data_dir.is_absolute() {
        return Err(Error::usage(format!(
            "the data directory must be absolute: {}",
            data_dir.display()
        ))
        .hint("say where to restore to by --data-dir."));
    }
    let facts = Facts::of(&data_dir)?;
    let old_data_dir = match &facts.state {
        State::Occupied if options.replace => Some(data_dir.clone()),
        State::Unfinished(replaced) => replaced.clone(),
        _ => None,
    };
    if let Some(old) = &old_data_dir {
        archive.rescued = rescue::find(&old.join("pg_wal"), &system, &archive.wal)?;
    }
    let mut choice = choose(&archive, &options.wish)?;
    let major = Major::from_server_version_num(choice.backup.postgres_version)?;
    let mut warnings = Vec::new();
    let programs = match Search::of_this_host(options.bindir.clone()).find(Some(major)) {
        Ok(programs) => Some(programs),
        Err(error) if options.prove || options.bindir.is_some() => return Err(error),
        Err(error) => {
            warnings.push(format!(
                "{}: install it before the server is started",
                error.in_one_line()
            ));
            None
        }
    };
    let old_wal = old_data_dir.as_ref().map(|old| old.join("pg_wal"));
    let prover = Prover {
        repository,
        system: &system,
        archive: &archive,
        wish: &options.wish,
        asked: options.prove,
        programs: programs.as_ref(),
        old_wal: old_wal.as_deref(),
        cancel,
    };
    let proof = prover.prove(&mut choice)?;
    warnings.append(&mut choice.warnings);
    let backup = &choice.backup;
    let own = is_own(&data_dir, &own_data_dir);
    let archive_mode = options.archive.or((!own).then_some(false));
    if own && archive_mode.is_none() && backup.host != host::name() {
        warnings.push(format!(
            "archiving stays as it was, and the backup is of host {}: if a server still runs there, restore with --archive off",
            backup.host
        ));
    }
    let tablespaces = tablespaces::place(backup, &data_dir, own, &options.tablespaces)?;
    let owner = Owner::choose(&facts)?;
    let wanted = Wanted {
        choice: &choice,
        data_dir: facts,
        tablespaces: &tablespaces,
        replace: options.replace,
        now,
    };
    let folders = wanted.folders()?;
    let size = system.segment_size;
    let name = |segment: Option<crate::postgres::wal_name::Segment>| {
        segment.map_or(String::new(), |segment| segment.to_string())
    };
    // An archive that is empty now can't prove where it ends, so the plan says it.
    let last_needed = match (&options.wish.target, &proof) {
        (Target::Latest, _) if archive.wal.segments() > 0 => None,
        (_, Proof::NotProven(_)) => None,
        _ => choice.reach.last(size).map(|last| last.to_string()),
    };
    Ok(Plan {
        cluster: repository.layout().cluster().to_string(),
        system_id: system.system_id,
        postgres_version: choice.backup.postgres_version,
        target: options.wish.target.clone(),
        exclusive: options.wish.exclusive,
        action: options.wish.action,
        standby: options.wish.standby,
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
        wal_end: choice.reach.end(size).unwrap_or_default(),
        last_needed,
        partial: choice
            .partial
            .map(|segment| WalName::Partial(segment).to_string()),
        rescued: choice.rescued.iter().map(ToString::to_string).collect(),
        proof,
        data_dir,
        folders,
        owner,
        offline: options.offline || archive.begins_behind(backup),
        archive: archive_mode,
        reasons: std::mem::take(&mut choice.reasons),
        warnings,
        choice,
        system,
        tablespaces,
        programs,
        old_data_dir,
    })
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
