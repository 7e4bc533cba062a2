//! Options of `restore-dump`, and of `verify` where it is of dumps.

use std::path::Path;

use crate::{
    cli::{
        args::{RestoreDumpArgs, VerifyArgs},
        settings::{Layers, keys, parse},
    },
    commands::options::{
        DumpFrom, RestoreDumpOptions, VerifyDumpSettings, VerifyDumpsOptions, WhichDumps,
    },
    domain::logical::restore::{
        pick::Picked,
        run::{Request, To},
    },
    error::Result,
    repo::{backup_id::BackupId, dumps::DumpChoice},
};

/// What of `verify` is of dumps; None: it is of backups.
pub fn verify_dumps(args: &VerifyArgs, layers: &Layers) -> Result<Option<VerifyDumpsOptions>> {
    let is_bare = args.what.is_none() && !args.all && !args.wal;
    let which = match (&args.what, &args.from) {
        (_, Some(file)) => WhichDumps::File(file.clone()),
        _ if args.dumps => WhichDumps::NewestOfEach,
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
            None => DumpFrom::Repository(DumpChoice {
                wanted: args.dump,
                database: None,
                class: args.class,
            }),
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
