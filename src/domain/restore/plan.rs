//! All that a restore will do, decided before a byte is written, each line with its reason.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    archive::Archive,
    choice::{Choice, choose, choose_before},
    folders::{Facts, Owner, State, link_target},
    load::load,
    prove::{Proof, Prover, Scratch},
    rescue,
    tablespaces::{self, Move, Tablespace},
    target::{Action, Target, Wish},
};
use crate::{
    error::{Error, Kind, Result},
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
    util::{cancel::Cancel, clock::Time, host, meter::Meter, units},
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
    /// Where WAL is looked into; two segments must fit.
    pub scratch: PathBuf,
    /// Where a note of what was done goes.
    pub notes: Option<PathBuf>,
    /// The program and its arguments, up to and with `restore-wal`; without `--system-id` and
    /// `--last`, which the plan knows.
    pub wal_command: Vec<String>,
    /// The program and its arguments, up to and with `archive-wal` and its flags.
    pub archive_command: Vec<String>,
    pub done_command: Vec<String>,
    /// The restored server can't reach the repository; only for standalone backups.
    pub without_repository: bool,
}

/// A folder that will be filled.
#[derive(Clone, Debug, Serialize)]
pub struct Folder {
    /// None for the data directory.
    pub tablespace: Option<u32>,
    #[serde(flatten)]
    pub facts: Facts,
    pub needed_bytes: u64,
    /// Where what is there goes first.
    pub aside: Option<PathBuf>,
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
    let proof = prove(
        &mut choice,
        &archive,
        repository,
        &system,
        options,
        programs.as_ref(),
        old_data_dir.as_deref(),
        cancel,
    )?;
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
    let wal_files = 2
        + choice.rescued.len() as u64
        + u64::from(choice.partial.is_some())
        + if backup.standalone {
            backup.needed_segments().count() as u64
        } else {
            0
        };
    let aside = |path: &Path| -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".old-{}", now.format("%Y%m%dT%H%M%SZ")));
        name.into()
    };
    if !options.replace && facts.state == State::Occupied {
        return Err(occupied(&facts.path).hint(
            "give an empty folder by --data-dir, or rename what is there aside with --replace.",
        ));
    }
    let replaced = (facts.state == State::Occupied).then(|| aside(&facts.path));
    // An unfinished restore's own tablespace is no obstacle.
    let unfinished = matches!(facts.state, State::Unfinished(_));
    let mut folders = vec![Folder {
        tablespace: None,
        needed_bytes: backup.base_bytes + wal_files * backup.segment_size.bytes(),
        aside: replaced.clone(),
        facts,
    }];
    for space in &tablespaces {
        let mut facts = Facts::of(&space.path)?;
        let ours = link_target(&data_dir, space.oid).is_some_and(|target| target == space.path);
        if facts.state == State::Occupied && ours && unfinished {
            facts.state = State::Unfinished(None);
        }
        let aside = match facts.state == State::Occupied {
            true if ours && replaced.is_some() => Some(aside(&space.path)),
            true => {
                return Err(occupied(&space.path).hint(format!(
                    "give tablespace {} an empty folder: --tablespace {}=DIR.",
                    space.oid, space.oid
                )));
            }
            false => None,
        };
        folders.push(Folder {
            tablespace: Some(space.oid),
            needed_bytes: space.bytes,
            aside,
            facts,
        });
    }
    fits(&folders)?;
    let size = system.segment_size;
    let name = |segment: Option<crate::postgres::wal_name::Segment>| {
        segment.map_or(String::new(), |segment| segment.to_string())
    };
    let last_needed = match (&choice.backup, &options.wish.target, &proof) {
        (_, Target::Latest, _) | (_, _, Proof::NotProven(_)) => None,
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

/// Looks for the target in the WAL where its position alone doesn't tell, and leaves out what
/// isn't needed for it.
#[expect(clippy::too_many_arguments)]
fn prove(
    choice: &mut Choice,
    archive: &Archive,
    repository: &Repository,
    system: &System,
    options: &Options,
    programs: Option<&Programs>,
    old: Option<&Path>,
    cancel: &Cancel,
) -> Result<Proof> {
    let wish = &options.wish;
    let asked = match wish.target {
        Target::Latest | Target::Immediate => return Ok(Proof::NotNeeded),
        Target::Time(_) | Target::Lsn(_) => true,
        Target::Xid(_) | Target::Name(_) => options.prove,
    };
    if !asked {
        return Ok(Proof::NotProven(
            "--prove looks for it in the WAL".to_owned(),
        ));
    }
    let Some(programs) = programs else {
        return Ok(Proof::NotProven(
            "there is no pg_waldump to look for it".to_owned(),
        ));
    };
    let waldump = programs.pg_waldump()?;
    let scratch = Scratch::make(&options.scratch)?;
    let old_wal = old.map(|old| old.join("pg_wal"));
    loop {
        let prover = Prover {
            repository,
            system,
            choice,
            waldump: &waldump,
            scratch: &scratch.0,
            old_wal: old_wal.as_deref(),
            cancel,
        };
        let found = match &wish.target {
            Target::Time(time) => {
                let proof = prover.time(*time, wish.exclusive)?;
                cut(choice, archive, &proof);
                return Ok(proof);
            }
            Target::Lsn(lsn) => prover
                .lsn(*lsn)?
                .map(|at| prover.found(at, "the first record there".to_owned())),
            Target::Xid(xid) => prover
                .xid(*xid)?
                .map(|at| prover.found(at, format!("the end of transaction {xid}"))),
            Target::Name(name) => prover
                .name(name)?
                .map(|at| prover.found(at, format!("restore point {name:?}"))),
            Target::Latest | Target::Immediate => return Ok(Proof::NotNeeded),
        };
        if let Some(proof) = found {
            cut(choice, archive, &proof);
            return Ok(proof);
        }
        let hole = choice.reach.hole.map_or(String::new(), |hole| {
            let segment = hole.describe(archive.wal.size());
            format!(" up to WAL segment {segment}, which is missing")
        });
        let missing = Error::failed(format!(
            "{} is not in the WAL behind the end of backup {}{hole}",
            wish.target, choice.backup.id
        ));
        // It may lie before the newest backup: an older one leads there.
        if matches!(wish.target, Target::Lsn(_)) || wish.backup.is_some() {
            return Err(missing.hint(
                "the WAL that holds it may still be on its way, or it lies before this backup.",
            ));
        }
        *choice = choose_before(archive, wish, Some(&choice.backup)).map_err(|_| missing)?;
    }
}

fn cut(choice: &mut Choice, archive: &Archive, proof: &Proof) {
    if let Proof::Found { lsn, .. } = proof {
        let number = lsn.0 / archive.wal.size().bytes();
        let stop = *choice.backup.needed_segments().end();
        // The record may end in the next segment; where there is none, it doesn't.
        choice.cut_behind(number.max(stop) + 1, archive);
    }
}

fn is_own(data_dir: &Path, own: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(data_dir) == real(own)
}

fn occupied(path: &Path) -> Error {
    Error::new(
        Kind::AlreadyExists,
        format!("{} is not empty", path.display()),
    )
}

/// Whether we may write everywhere, rename what must be renamed, and have the room.
fn fits(folders: &[Folder]) -> Result<()> {
    for folder in folders {
        let path = folder.facts.path.display();
        if !folder.facts.writable {
            return Err(Error::failed(format!("{path} can't be written to by this user"))
                .hint("run restore as root or as the user that the server runs as, or make the folder for that user first."));
        }
        if folder.aside.is_some() && folder.facts.mount_point {
            return Err(Error::failed(format!(
                "{path} is a mount point, which can't be renamed aside"
            ))
            .hint("move what is in it elsewhere, and restore into the empty folder."));
        }
        let same = folders
            .iter()
            .filter(|other| other.facts.device == folder.facts.device);
        let needed: u64 = same.map(|other| other.needed_bytes).sum();
        if needed > folder.facts.free_bytes {
            return Err(Error::failed(format!(
                "not enough space on the file system of {path}: {} are needed, {} are free",
                units::bytes(needed),
                units::bytes(folder.facts.free_bytes)
            ))
            .hint("free space there, or restore to another place by --data-dir or --tablespace."));
        }
    }
    Ok(())
}
