//! From what was typed to what commands are told.
//!
//! Options that are keys of pgstow.toml too become flags, the highest layer; the rest is
//! taken as it is.

mod drill;
mod dumps;
mod find_target;
mod restore;
mod sync;
pub mod systemd;

use std::{collections::BTreeMap, path::Path, time::Duration};

pub use drill::drill;
pub use dumps::{drill_of_dump, is_of_dump, restore_dump, verify_dumps};
pub use find_target::find_target;
pub use restore::{regain, restore};
pub use sync::sync;

use super::{
    args::{
        ArchiveWalArgs, BaseArgs, CheckArgs, CleanupArgs, Cli, Command, DemoArgs, DumpArgs,
        GlobalArgs, InitArgs, ListArgs, MonitorArgs, PinArgs, ReceiveWalArgs, RestoreWalArgs,
        VerifyArgs,
    },
    settings::{
        Flag, Layers, Places,
        keys::{self, Key},
        parse,
    },
};
use crate::{
    commands::options::{
        ArchiveWalOptions, BaseOptions, CheckOptions, CleanupOptions, DemoOptions, DumpOptions,
        FailedUnitOptions, InitOptions, ListDumpsOptions, ListOptions, LogLevel, MonitorOptions,
        PinOptions, ReceiveWalOptions, RepoSettings, RestoreWalOptions, VerifyOptions,
    },
    domain::{
        backup::{ChainPolicy, Method},
        logical::request::{Choice, Content, Selection},
        monitor::alert::Wishes,
        systemd::ended::EndedUnit,
    },
    error::{Context, Error, Result},
    postgres::wal_name::WalName,
    util::{moment, zone::Zone},
};

fn says_changes(cli: &Cli) -> bool {
    matches!(&cli.command, Command::Monitor(args) if args.changes)
}

/// Where settings are looked for, and the flags above them.
pub fn places(cli: &Cli) -> Places {
    let global = &cli.global;
    let mut flags = Vec::new();
    let mut add = |key: Key, name, text: Option<&str>| {
        flags.extend(text.map(|text| Flag {
            key,
            name,
            text: text.to_owned(),
        }));
    };
    add(keys::REPO_URL, "--repo-url", global.repo_url.as_deref());
    match log_level(global) {
        // What is warned of is among the checks.
        _ if says_changes(cli) => add(keys::LOG_LEVEL, "--changes", Some("error")),
        LogLevel::Warn => add(keys::LOG_LEVEL, "--quiet", Some("warn")),
        LogLevel::Debug => add(keys::LOG_LEVEL, "--verbose", Some("debug")),
        LogLevel::Trace => add(keys::LOG_LEVEL, "--verbose", Some("trace")),
        LogLevel::Info | LogLevel::Error => {}
    }
    match &cli.command {
        Command::Base(args) => {
            add(keys::CHECKPOINT, "--checkpoint", args.checkpoint.as_deref());
            add(keys::MAX_RATE, "--max-rate", args.max_rate.as_deref());
            add(keys::JOBS, "--jobs", args.jobs.as_deref());
            let checksums = args.manifest_checksums.as_deref();
            add(keys::MANIFEST_CHECKSUMS, "--manifest-checksums", checksums);
            add(
                keys::WAL_TIMEOUT,
                "--wal-timeout",
                args.wal_timeout.as_deref(),
            );
            let verify = args.no_verify.then_some("false");
            add(keys::VERIFY_AFTER_WRITE, "--no-verify", verify);
        }
        Command::Dump(args) => {
            for (key, name, text) in [
                (keys::DUMP_FORMAT, "--format", &args.format),
                (keys::DUMP_COMPRESSION, "--compression", &args.compression),
                (keys::DUMP_LEVEL, "--level", &args.level),
                (keys::DUMP_ROW_COUNTS, "--row-counts", &args.row_counts),
                (keys::JOBS, "--jobs", &args.jobs),
            ] {
                add(key, name, text.as_deref());
            }
            let reread = args.no_verify.then_some("false");
            add(keys::VERIFY_AFTER_WRITE, "--no-verify", reread);
        }
        Command::Restore(args) => {
            add(keys::JOBS, "--jobs", args.jobs.as_deref());
            add(keys::BINDIR, "--bindir", args.bindir.as_deref());
        }
        Command::FindTarget(args) => {
            add(keys::JOBS, "--jobs", args.jobs.as_deref());
        }
        Command::Drill(args) => {
            add(keys::JOBS, "--jobs", args.jobs.as_deref());
            add(keys::BINDIR, "--bindir", args.bindir.as_deref());
        }
        Command::Sync(args) => add(keys::JOBS, "--jobs", args.jobs.as_deref()),
        Command::RestoreDump(args) => add(keys::BINDIR, "--bindir", args.bindir.as_deref()),
        Command::Verify(args) => {
            add(keys::JOBS, "--jobs", args.jobs.as_deref());
            add(keys::BINDIR, "--bindir", args.bindir.as_deref());
        }
        _ => {}
    }
    Places {
        config: global.config.clone(),
        env_file: global.env_file.clone(),
        cluster: global.cluster.clone(),
        repo: global.repo.clone(),
        flags,
    }
}

/// As `-v` and `-q` alone say it.
pub fn log_level(global: &GlobalArgs) -> LogLevel {
    match (global.quiet, global.verbose) {
        (true, _) => LogLevel::Warn,
        (_, 0) => LogLevel::Info,
        (_, 1) => LogLevel::Debug,
        _ => LogLevel::Trace,
    }
}

pub fn shows_progress(global: &GlobalArgs) -> bool {
    !global.no_progress && !global.quiet
}

pub fn check(args: &CheckArgs, only_repo: bool, layers: &Layers) -> Result<CheckOptions> {
    // Else nobody would hear of the first failure.
    layers.alerts()?;
    layers.thresholds()?;
    layers.verify_dump_settings()?;
    Ok(CheckOptions {
        only_repo,
        archive_call: layers.archive_call()?,
        dumps: layers.speaks_of_dumps(),
        verifies_dumps: layers.dump_settings()?.verify,
        wal_timeout: parse::time_limit(&args.wal_timeout).context(|| "--wal-timeout".to_owned())?,
        slot: layers.receive_slot()?,
    })
}

pub fn demo(args: DemoArgs) -> DemoOptions {
    DemoOptions {
        bindir: args.bindir,
        keep: args.keep,
    }
}

pub fn init(args: &InitArgs, layers: &Layers) -> Result<InitOptions> {
    Ok(InitOptions {
        new_system: args.new_system,
        apply: args.apply,
        archive_call: layers.archive_call()?,
        of_file: layers.file_has_repo() && !layers.is_elsewhere(&layers.repo)?,
    })
}

pub fn list(args: &ListArgs, layers: &Layers) -> ListOptions {
    ListOptions {
        backup: args.backup,
        others: layers.repos_instead(),
    }
}

pub fn list_dumps(args: ListArgs, layers: &Layers) -> ListDumpsOptions {
    ListDumpsOptions {
        others: layers.repos_instead(),
        class: args.class,
        database: args.database,
    }
}

pub fn verify(args: &VerifyArgs, layers: &Layers) -> Result<VerifyOptions> {
    Ok(VerifyOptions {
        backup: args.what.as_deref().map(str::parse).transpose()?,
        all: args.all,
        wal: args.wal,
        repair_from: match args.repair {
            true => Some(repair_from(layers)?),
            false => None,
        },
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
    })
}

fn repair_from(layers: &Layers) -> Result<Vec<RepoSettings>> {
    let others = layers.other_repos();
    if others.is_empty() {
        let what = "--repair: there is no other repository to heal this one from";
        return Err(Error::usage(what).hint(
            "a copy that `pgstow sync` makes heals what is damaged (docs/sync.md); without one take a new full backup.",
        ));
    }
    Ok(others)
}

pub fn cleanup(args: &CleanupArgs, layers: &Layers) -> Result<CleanupOptions> {
    Ok(CleanupOptions {
        dry_run: args.dry_run,
        drop_pending: args.drop_pending,
        force_unsynced: args.force_unsynced,
        dumps: layers.dump_settings()?.retention,
    })
}

/// Of a cleanup behind a backup or a dump, if it is wanted.
fn cleanup_behind(wanted: bool, layers: &Layers) -> Result<Option<CleanupOptions>> {
    let options = || {
        layers
            .dump_settings()
            .map(|dump| CleanupOptions::behind(dump.retention))
    };
    wanted.then(options).transpose()
}

pub fn pin(args: PinArgs) -> Result<PinOptions> {
    let until = args
        .until
        .map(|text| moment::parse_end(&text, Zone::of_host()));
    Ok(PinOptions {
        backup: args.backup,
        reason: args.reason,
        until: until.transpose().context(|| "--until".to_owned())?,
    })
}

pub fn monitor(args: MonitorArgs, layers: &Layers) -> Result<MonitorOptions> {
    Ok(MonitorOptions {
        only: args.only,
        nagios: args.nagios,
        textfile: args.textfile,
        pushgateway: args.pushgateway,
        page: args.page,
        plain_names: args.plain_names,
        healthcheck: args.healthcheck,
        wanted: layers.wanted_dumps()?,
        slot: layers.receive_slot()?,
        archive_call: layers.archive_call()?,
        thresholds: layers.thresholds()?,
        limit: layers.always(keys::MONITOR_TIME_LIMIT, parse::time_limit)?,
        alerts: layers.alerts()?,
        changes: match args.changes {
            true => Some(Wishes {
                failure: true,
                recovery: true,
                success: false,
                remind: layers.remind()?,
            }),
            false => None,
        },
    })
}

/// `unit` as systemd names it; `layers`: what can be read of them.
pub fn failed_unit(unit: &str, layers: &Layers) -> Result<FailedUnitOptions> {
    let (state_dir, alerts, failed_runs) = layers.salvaged()?;
    Ok(FailedUnitOptions {
        unit: EndedUnit::new(unit, |name| std::env::var(name).ok())?,
        state_dir,
        alerts,
        failed_runs,
        repositories: layers.named(),
    })
}

pub fn base(args: BaseArgs, layers: &Layers) -> Result<BaseOptions> {
    let mut annotations = BTreeMap::new();
    for (key, value) in args.annotate {
        if let Some(other) = annotations.insert(key.clone(), value) {
            return Err(Error::usage(format!("two annotations named {key}"))
                .hint(format!("the other one says {other:?}; keep one.")));
        }
    }
    let settings = layers.backup_settings()?;
    let full_every = match (args.full, args.incremental) {
        (true, _) => None,
        (_, true) => Some(Duration::MAX),
        _ => settings.full_every,
    };
    Ok(BaseOptions {
        chain: ChainPolicy {
            full_every,
            longest: settings.chain_max,
        },
        method: match args.method.as_str() {
            "local" => Method::Local,
            "stream" => Method::Stream,
            _ => Method::Auto,
        },
        standalone: args.standalone,
        finish: args.finish,
        cleanup: cleanup_behind(args.cleanup, layers)?,
        annotations,
        verify: layers.of_repo_always(keys::VERIFY_AFTER_WRITE, parse::yes_or_no)?,
        checkpoint: settings.checkpoint,
        max_rate: settings.max_rate,
        label: args.label,
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
        manifest_checksums: settings.manifest_checksums,
        wal_timeout: settings.wal_timeout,
        slot: layers.receive_slot()?,
    })
}

pub fn dump(args: DumpArgs, layers: &Layers) -> Result<DumpOptions> {
    let settings = layers.dump_settings()?;
    dumps::check_typed(&args, &settings)?;
    let names = match (args.all, args.databases.is_empty()) {
        (true, _) => Vec::new(),
        (_, true) => settings.databases.clone(),
        _ => args.databases,
    };
    let exclude = match args.exclude.is_empty() {
        true => settings.exclude.clone(),
        false => args.exclude,
    };
    Ok(DumpOptions {
        choice: Choice { names, exclude },
        selection: Selection {
            content: match (args.schema_only, args.data_only) {
                (true, _) => Content::Schema,
                (_, true) => Content::Data,
                _ => Content::All,
            },
            tables: args.table,
            exclude_tables: args.exclude_table,
            schemas: args.schema,
            exclude_schemas: args.exclude_schema,
            further: args.further,
        },
        globals: settings.globals && !args.no_globals,
        class: args.class,
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
        cleanup: cleanup_behind(args.cleanup, layers)?,
        reread: layers.of_repo_always(keys::VERIFY_AFTER_WRITE, parse::yes_or_no)?,
        verify: match args.verify || settings.verify {
            true => Some(dumps::verify_made(layers)?),
            false => None,
        },
        settings,
    })
}

pub fn archive_wal(args: ArchiveWalArgs) -> Result<ArchiveWalOptions> {
    let name = match args.name {
        Some(name) => name,
        None => name_of(&args.path)?,
    };
    Ok(ArchiveWalOptions {
        path: args.path,
        name,
        into: args.into,
    })
}

fn name_of(path: &Path) -> Result<WalName> {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().parse()
}

pub fn receive_wal(args: ReceiveWalArgs, layers: &Layers) -> Result<ReceiveWalOptions> {
    Ok(ReceiveWalOptions {
        slot: match args.slot {
            Some(slot) => slot,
            None => layers.receive_slot()?,
        },
        create_slot: args.create_slot,
        live: layers.receive_live()?,
    })
}

pub fn restore_wal(args: RestoreWalArgs, layers: &Layers) -> Result<RestoreWalOptions> {
    Ok(RestoreWalOptions {
        name: args.name,
        destination: args.destination,
        system_id: args.system_id,
        last: args.last,
        strict: args.strict,
        prefetch: args.prefetch,
        server_flags: layers.server_flags()?,
        others: match args.no_fallback || args.prefetch {
            true => Vec::new(),
            false => layers.other_repos(),
        },
    })
}
