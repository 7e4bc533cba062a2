//! From a command line that clap accepted to the command and its report.

use std::path::PathBuf;

use super::{
    args::{Cli, Command, InitArgs, MonitorArgs, RestoreDumpArgs, SystemdAction},
    ask,
    exit::Row,
    log, options,
    output::{self, Form},
    progress::Progress,
    settings::{Layers, Note, Places, show::ShownSettings},
    signals::{self, Hangup},
    time_limit,
};
use crate::{
    commands::{
        alerts, archive_wal, base, check, cleanup,
        context::Context,
        demo, drill, dump, find_target, init, list, make_key, make_repository, monitor,
        options::{LogLevel, Settings},
        pin, receive_wal, regain,
        report::{Outcome, Report},
        restore, restore_done, restore_dump, restore_wal, sync, systemd, unpin,
        verify::{self, Verified},
    },
    domain::monitor::{recorder::Recorder, runs::Told},
    error::{Error, Result},
    util::{cancel::Cancel, meter::Meter},
};

/// Runs the command.
pub fn start(row: Row, form: Form, cli: Cli) -> Result<Outcome> {
    let cancel = Cancel::default();
    let hangup = signals::listen(row, &cancel)?;
    let run = Run {
        row,
        form,
        draws: row == Row::Other && form == Form::Text && options::shows_progress(&cli.global),
        quiet: cli.global.quiet,
        level: options::log_level(&cli.global),
        places: options::places(&cli),
        cancel,
        hangup,
    };
    let only_repo = cli.global.repo.is_some();
    match cli.command {
        Command::Demo(args) => {
            let tell = output::shows_at_once(form).then_some(&output::print_part as demo::Tell<'_>);
            run.without_settings(|cancel, meter| {
                demo::run(options::demo(args), tell, cancel, meter)
            })
        }
        Command::Init(InitArgs {
            make_key: Some(path),
            ..
        }) => run.without_settings(|_, _| make_key::run(&path)),
        Command::Init(InitArgs {
            without_server: true,
            ..
        }) => run.command(|context, _| make_repository::run(context)),
        Command::Init(args) => {
            run.command(|context, layers| init::run(context, &options::init(&args, layers)?))
        }
        Command::Check(args) if args.show_settings => run.show_settings(),
        Command::Check(args) => run.command(|context, layers| {
            check::run(context, &options::check(&args, only_repo, layers)?)
        }),
        Command::Restore(args) if args.is_of_a_part() => {
            run.command(|context, layers| regain::run(context, options::regain(*args, layers)?))
        }
        Command::Restore(args) => {
            run.command(|context, layers| restore::run(context, options::restore(*args, layers)?))
        }
        Command::RestoreDump(args) => restore_dump(run, *args),
        Command::RestoreDone(_) => {
            let state = run.state_folder();
            run.without_settings(|_, _| restore_done::run(state.as_deref()))
        }
        Command::Base(args) => run.job("base", |context, layers| {
            base::run(context, options::base(args, layers)?)
        }),
        Command::Dump(args) => run.job("dump", |context, layers| {
            dump::run(context, options::dump(*args, layers)?)
        }),
        Command::ArchiveWal(args) if args.ahead => run
            .command(|context, _| archive_wal::store_ahead(context, &options::archive_wal(args)?)),
        Command::ArchiveWal(args) => run.command(|context, layers| {
            let call = || layers.same_call();
            archive_wal::run(context, &options::archive_wal(args)?, &call)
        }),
        Command::RestoreWal(args) => run.command(|context, layers| {
            restore_wal::run(context, &options::restore_wal(args, layers)?)
        }),
        Command::ReceiveWal(args) => run.command(|context, layers| {
            receive_wal::run(context, &options::receive_wal(args, layers)?)
        }),
        Command::List(args) if args.runs => run.command(|context, _| list::runs::run(context)),
        Command::List(args) if args.dumps => run.command(|context, layers| {
            list::dumps::run(context, &options::list_dumps(args, layers))
        }),
        Command::List(args) => {
            run.command(|context, layers| list::run(context, &options::list(&args, layers)))
        }
        Command::FindTarget(args) => run.command(|context, layers| {
            find_target::run(context, options::find_target(args, layers)?)
        }),
        Command::Verify(args) => {
            run.job("verify", |context, layers| {
                match options::verify_dumps(&args, layers)? {
                    Some(options) => verify::dumps::run(context, &options).map(Verified::Dumps),
                    None => {
                        verify::run(context, options::verify(&args, layers)?).map(Verified::Backups)
                    }
                }
            })
        }
        // Of a name of its own: one that is well must not hide that the other is not.
        Command::Drill(args) if options::is_of_dump(&args) => run
            .job("drill-dump", |context, layers| {
                drill::dump::run(context, &options::drill_of_dump(&args, layers)?)
            }),
        Command::Drill(args) => run.job("drill", |context, layers| {
            drill::run(context, options::drill(args, layers)?)
        }),
        Command::Monitor(MonitorArgs {
            failed_unit: Some(unit),
            ..
        }) => run.failed_unit(&unit),
        Command::Monitor(args) if args.test_alert => {
            run.command(|context, layers| alerts::test(context, &layers.alerts()?))
        }
        Command::Monitor(args) if args.healthcheck => run.command(|context, layers| {
            monitor::healthcheck(context, &options::monitor(args, layers)?)
        }),
        Command::Monitor(args) => {
            run.command(|context, layers| monitor::run(context, &options::monitor(args, layers)?))
        }
        Command::Cleanup(args) if args.dry_run => {
            run.command(|context, layers| cleanup::run(context, &options::cleanup(&args, layers)?))
        }
        Command::Cleanup(args) => run.job("cleanup", |context, layers| {
            cleanup::run(context, &options::cleanup(&args, layers)?)
        }),
        Command::Pin(args) => run.command(|context, _| pin::run(context, options::pin(args)?)),
        Command::Unpin(args) => run.command(|context, _| unpin::run(context, args.backup)),
        Command::Sync(args) if args.status || args.dry_run => {
            run.command(|context, layers| sync::run(context, &options::sync(&args, layers)?))
        }
        Command::Sync(args) => run.job("sync", |context, layers| {
            sync::run(context, &options::sync(&args, layers)?)
        }),
        Command::Systemd(args) => match args.action {
            SystemdAction::Install(args) => run.command(|context, layers| {
                systemd::run(context, options::systemd::install(args, layers)?)
            }),
            SystemdAction::Status(_) => {
                run.command(|context, _| systemd::run(context, options::systemd::status()))
            }
            SystemdAction::Remove(args) => {
                let cluster = run.cluster();
                run.without_settings(|cancel, _| {
                    systemd::run_remove(cluster, &options::systemd::remove(args)?, cancel)
                })
            }
        },
    }
}

fn restore_dump(run: Run, args: RestoreDumpArgs) -> Result<Outcome> {
    let form = run.form;
    run.command(|context, layers| {
        let options = options::restore_dump(args, layers)?;
        if options.writes_to_output() && form == Form::Json {
            return Err(
                Error::usage("standard output can't hold both the dump and JSON")
                    .hint("leave out --json, or write the dump to a file."),
            );
        }
        let mut output = std::io::stdout();
        restore_dump::run(context, &options, &ask::confirm, &mut output)
    })
}

/// What is known before settings are read.
struct Run {
    row: Row,
    form: Form,
    draws: bool,
    quiet: bool,
    level: LogLevel,
    places: Places,
    cancel: Cancel,
    hangup: Hangup,
}

impl Run {
    /// Reads the settings, then runs a command with them.
    fn command<R: Report>(
        self,
        work: impl FnOnce(&Context, &Layers) -> Result<R>,
    ) -> Result<Outcome> {
        let mut layers = Layers::load(self.places, std::env::vars_os())?;
        layers.uses_exposed = self.row.is_called_by_postgresql();
        log::start(layers.log_level()?, self.row.is_called_by_postgresql());
        log_to_file(&layers, self.hangup)?;
        tell_notes(self.row, &layers)?;
        if !self.row.is_called_by_postgresql() {
            // Else tonight's backup would be the first to refuse a mistake of today.
            layers.backup_settings()?;
            layers.dump_settings()?;
        }
        let context = Context {
            settings: layers.settings()?,
            cancel: self.cancel,
            meter: Meter::default(),
        };
        let _watchdog = time_limit::watch(self.row, self.form, &context.settings, &context.meter)?;
        let progress = self.draws.then(|| Progress::start(&context.meter));
        let result = work(&context, &layers);
        drop(progress);
        finish(self.form, self.quiet, &result?)
    }

    /// As [`Run::command`], for work that the history of runs notes and alerts tell of.
    fn job<R: Report>(
        self,
        name: &'static str,
        work: impl FnOnce(&Context, &Layers) -> Result<R>,
    ) -> Result<Outcome> {
        let row = self.row;
        self.command(|context, layers| {
            let state = context.settings.state_folder();
            let repository = context.settings.repo().map(|repo| repo.name.as_str());
            let run = Recorder::begin(&state, name, repository.unwrap_or_default());
            let result = work(context, layers);
            let (code, told, failure) = match &result {
                Ok(report) => (
                    row.of_outcome(report.outcome()),
                    report.told(),
                    report.failure(),
                ),
                Err(error) => (row.of_error(error.kind()), Told::default(), None),
            };
            let error = result.as_ref().err().or(failure.as_ref());
            run.end(code, told, error);
            let settings = layers
                .alerts()
                .and_then(|all| Ok((all, layers.failed_runs()?)));
            alerts::run_ended(context, settings, name, error);
            result
        })
    }

    /// Tells of a unit that failed, perhaps by what is wrong with the settings.
    fn failed_unit(self, unit: &str) -> Result<Outcome> {
        let layers = Layers::salvage(self.places.clone(), std::env::vars_os());
        let options = options::failed_unit(unit, &layers)?;
        self.without_settings(|cancel, meter| alerts::unit_failed(&options, cancel, meter))
    }

    /// For a command that a wrong configuration must not stop.
    fn state_folder(&self) -> Option<PathBuf> {
        self.settings().map(|settings| settings.state_folder())
    }

    /// The one that is named, else that of the settings, if they can be read.
    fn cluster(&self) -> Option<String> {
        let of_settings = || self.settings().map(|own| own.cluster.name.to_string());
        self.places.cluster.clone().or_else(of_settings)
    }

    fn settings(&self) -> Option<Settings> {
        let layers = Layers::load(self.places.clone(), std::env::vars_os());
        layers.and_then(|layers| layers.settings()).ok()
    }

    /// Runs a command that a wrong configuration must not stop.
    fn without_settings<R: Report>(
        self,
        work: impl FnOnce(&Cancel, &Meter) -> Result<R>,
    ) -> Result<Outcome> {
        log::start(self.level, self.row.is_called_by_postgresql());
        let meter = Meter::default();
        let progress = self.draws.then(|| Progress::start(&meter));
        let result = work(&self.cancel, &meter);
        drop(progress);
        finish(self.form, self.quiet, &result?)
    }

    /// Shows settings even where some of them are bad.
    fn show_settings(self) -> Result<Outcome> {
        let layers = Layers::load(self.places, std::env::vars_os())?;
        log::start(self.level, false);
        tell_notes(self.row, &layers)?;
        let settings = layers.show().collect::<Result<_>>()?;
        finish(self.form, false, &ShownSettings { settings })
    }
}

/// A log that can't be written is no reason to leave the work undone.
fn log_to_file(layers: &Layers, hangup: Hangup) -> Result<()> {
    match layers.log_file()?.map(log::also_to) {
        None => Ok(()),
        Some(Ok(reopen)) => signals::reopen_at_hangup(hangup, reopen),
        Some(Err(error)) => {
            tracing::warn!("log.file: {}", error.in_one_line());
            Ok(())
        }
    }
}

fn finish(form: Form, quiet: bool, report: &impl Report) -> Result<Outcome> {
    if !(quiet && form == Form::Text && report.is_good_news()) {
        output::print(form, quiet, report)?;
    }
    Ok(report.outcome())
}

/// Who calls for PostgreSQL leaves most to others: the server's log would have each of them once for every segment.
fn tell_notes(row: Row, layers: &Layers) -> Result<()> {
    let mut notes = Vec::from_iter(layers.exposed_password());
    if !row.is_called_by_postgresql() {
        notes.extend(layers.notes()?);
    }
    for note in notes {
        match note {
            Note::Warning(text) => tracing::warn!("{text}"),
            Note::Info(text) => tracing::info!("{text}"),
        }
    }
    Ok(())
}
