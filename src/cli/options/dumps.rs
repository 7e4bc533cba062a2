//! Options of `restore-dump`, and of `verify` where it is of dumps.

use std::path::Path;

use super::restore::read_from;
use crate::{
    cli::{
        args::{DrillArgs, DumpArgs, RestoreDumpArgs, VerifyArgs},
        settings::{Layers, keys, parse},
    },
    commands::options::{
        DumpFrom, DumpSettings, RestoreDumpOptions, VerifyDumpSettings, VerifyDumpsOptions,
        WhichDumps,
    },
    domain::logical::restore::{
        pick::Picked,
        run::{Request, To},
    },
    error::{Error, Result},
    repo::{backup_id::BackupId, codec::Codec, dump_name::DumpFormat, dumps::DumpChoice},
};

/// What of `verify` is of dumps; None: it is of backups.
pub fn verify_dumps(args: &VerifyArgs, layers: &Layers) -> Result<Option<VerifyDumpsOptions>> {
    let is_bare = args.what.is_none() && !args.all && !args.wal && !args.repair;
    let which = match (&args.what, &args.from) {
        (_, Some(file)) => WhichDumps::File(file.clone()),
        _ if args.dumps => WhichDumps::NewestOfEach,
        (Some(what), _) if args.repair && what.parse::<BackupId>().is_err() => {
            let what = format!("--repair NAME heals a backup, and {what} is no backup");
            return Err(Error::usage(what).hint("`pgstow verify --all --repair` heals dumps, too."));
        }
        (Some(what), _) if what.parse::<BackupId>().is_err() => WhichDumps::One(DumpChoice {
            wanted: Some(what.clone()),
            ..DumpChoice::default()
        }),
        _ => match layers.verify_from()?.filter(|_| is_bare) {
            Some(file) => WhichDumps::File(file),
            None => return Ok(None),
        },
    };
    let settings = layers.verify_dump_settings()?;
    of_dumps(which, settings, layers).map(Some)
}

/// Whether a drill is of a dump, and not of a backup.
pub fn is_of_dump(args: &DrillArgs) -> bool {
    args.what.as_ref().is_some_and(|what| what != "latest")
}

pub fn drill_of_dump(args: &DrillArgs, layers: &Layers) -> Result<VerifyDumpsOptions> {
    let wanted = args.what.as_deref().unwrap_or_default();
    if wanted.parse::<BackupId>().is_ok() {
        let what = format!("{wanted} is a backup, and a drill chooses that by itself");
        return Err(
            Error::usage(what).hint("say to which time (--target-time), or nothing: the newest.")
        );
    }
    if args.scratch.is_some() {
        let what = "--scratch does nothing where a dump is drilled";
        return Err(Error::usage(what).hint("TMPDIR says where the server for it lies."));
    }
    let choice = DumpChoice {
        wanted: Some(wanted.to_owned()),
        ..DumpChoice::default()
    };
    let settings = layers.verify_dump_settings()?;
    of_dumps(WhichDumps::One(choice), settings, layers)
}

/// Refuses options that do nothing where they stand: who types them believes that they do. In a file they may be meant
/// for other runs.
pub fn check_typed(args: &DumpArgs, settings: &DumpSettings) -> Result<()> {
    let format = settings.format;
    let refuse = |option: &str, why: String, hint: &str| {
        let what = format!("{option} does nothing with --format {format}: {why}");
        Err(Error::usage(what).hint(hint))
    };
    let compresses_itself = match format {
        DumpFormat::Plain => None,
        DumpFormat::Tar => Some("pg_dump's tar format is not compressed"),
        DumpFormat::Custom | DumpFormat::Directory => Some("pg_dump compresses it itself"),
    };
    if let (Some(_), Some(why)) = (&args.compression, compresses_itself) {
        let hint = match format {
            DumpFormat::Tar => "take another format; of the globals dump.compression says it.",
            _ => "--level says how much, 0 is none; of the globals dump.compression says it.",
        };
        return refuse("--compression", why.to_owned(), hint);
    }
    let codec = settings.compression.codec;
    let is_compressed = match format {
        DumpFormat::Plain => codec != Codec::None,
        DumpFormat::Tar => false,
        DumpFormat::Custom | DumpFormat::Directory => true,
    };
    if args.level.is_some() && !is_compressed {
        let why = "it is not compressed".to_owned();
        return refuse(
            "--level",
            why,
            "leave it out, or take another format or --compression.",
        );
    }
    let jobs = args.jobs.as_deref().filter(|jobs| *jobs != "1");
    if let Some(jobs) = jobs
        && format != DumpFormat::Directory
    {
        let why = format!("only a folder can be written by {jobs} workers at once");
        return refuse("--jobs", why, "add --format directory, or leave it out.");
    }
    Ok(())
}

/// Of dumps that were just made.
pub fn verify_made(layers: &Layers) -> Result<VerifyDumpsOptions> {
    of_dumps(
        WhichDumps::NewestOfEach,
        layers.verify_dump_settings()?,
        layers,
    )
}

fn of_dumps(
    which: WhichDumps,
    settings: VerifyDumpSettings,
    layers: &Layers,
) -> Result<VerifyDumpsOptions> {
    Ok(VerifyDumpsOptions {
        which,
        settings,
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
    })
}

pub fn restore_dump(args: RestoreDumpArgs, layers: &Layers) -> Result<RestoreDumpOptions> {
    let to = match args.to_file {
        None => To::Database(args.to_database),
        Some(path) if path == Path::new("-") => To::Output,
        Some(path) => To::File(path),
    };
    Ok(RestoreDumpOptions {
        dump: match args.from {
            Some(path) => DumpFrom::File(path),
            None => {
                let choice = DumpChoice {
                    wanted: args.dump,
                    class: args.class,
                };
                DumpFrom::Repository(choice, read_from(layers)?)
            }
        },
        request: Request {
            to,
            picked: Picked {
                tables: args.table,
                schemas: args.schema,
            },
            clean: args.clean,
            globals: args.globals,
            owners: !args.no_owner,
            keep_going: args.continue_on_error,
            jobs: args.jobs.map_or(1, |jobs| usize::from(jobs.get())),
            production: layers.production()?,
        },
        yes: args.yes,
    })
}
