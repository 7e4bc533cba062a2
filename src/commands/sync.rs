//! `pgstow sync`: fills repositories from others, or says how far they are.

mod text;

use serde::Serialize;

use super::{
    context::Context,
    options::{RepoSettings, SyncAction, SyncOptions},
};
use crate::{
    domain::sync::{
        self, Order, Peer,
        status::{self, Status},
        tally::Copied,
    },
    error::{Error, Kind, Result},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncReport {
    Status(Vec<StatusOf>),
    #[serde(rename = "repositories")]
    Copied(Vec<CopiedInto>),
}

/// One target beside one source, or why that could not be looked at while others could.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum StatusOf {
    Known(Box<Status>),
    Failed {
        target: String,
        error: String,
        hint: Option<String>,
    },
}

/// What came of one target.
#[derive(Debug, Serialize)]
pub struct CopiedInto {
    pub repository: String,
    pub sources: Vec<String>,
    pub dry_run: bool,
    /// Another sync of it is running.
    pub skipped: Option<String>,
    #[serde(flatten)]
    pub copied: Copied,
    /// Why it ended before its end, while others were filled.
    pub error: Option<String>,
    pub hint: Option<String>,
}

pub fn run(context: &Context, options: &SyncOptions) -> Result<SyncReport> {
    let sources = open_any(context, &options.sources)?;
    let all_sources = options.all_sources && sources.len() == options.sources.len();
    if options.action == SyncAction::Status {
        return status(context, &sources, &options.targets);
    }
    let fill = |settings: &RepoSettings| -> Result<Copied> {
        let target = open(context, settings)?;
        let order = Order {
            sources: &sources,
            target: &target,
            verify: settings.verify_after_write,
            workers: options.jobs,
            rate: options.rate,
            dry_run: options.action == SyncAction::DryRun,
            all_sources,
            only: options.only.as_ref(),
        };
        sync::run(&order, &context.cancel, &context.meter)
    };
    // With one target its error is that of the command.
    if let [target] = options.targets.as_slice() {
        return match fill(target) {
            Err(error) if error.kind() != Kind::Busy => Err(error),
            other => Ok(SyncReport::Copied(vec![into(
                target, &sources, options, other,
            )])),
        };
    }
    let mut all = Vec::new();
    for target in &options.targets {
        // One that is away keeps no other from being filled.
        let filled = fill(target);
        context.cancel.check()?;
        all.push(into(target, &sources, options, filled));
    }
    Ok(SyncReport::Copied(all))
}

/// Each target beside each source.
fn status(context: &Context, sources: &[Peer], targets: &[RepoSettings]) -> Result<SyncReport> {
    let mut all = Vec::new();
    for settings in targets {
        context.cancel.check()?;
        let looked = open(context, settings).and_then(|target| {
            let beside = |source| status::look(source, &target);
            sources.iter().map(beside).collect::<Result<Vec<Status>>>()
        });
        match looked {
            Ok(known) => all.extend(known.into_iter().map(Box::new).map(StatusOf::Known)),
            // Of one target it is that of the command.
            Err(error) if targets.len() == 1 => return Err(error),
            Err(error) => all.push(StatusOf::Failed {
                target: settings.name.clone(),
                error: error.in_one_line(),
                hint: error.hint_text().map(str::to_owned),
            }),
        }
    }
    Ok(SyncReport::Status(all))
}

fn into(
    target: &RepoSettings,
    sources: &[Peer],
    options: &SyncOptions,
    filled: Result<Copied>,
) -> CopiedInto {
    let (copied, error) = match filled {
        Ok(copied) => (copied, None),
        Err(error) => (Copied::default(), Some(error)),
    };
    let is_busy = error
        .as_ref()
        .is_some_and(|error| error.kind() == Kind::Busy);
    let line = error.as_ref().map(Error::in_one_line);
    let (skipped, line) = if is_busy { (line, None) } else { (None, line) };
    CopiedInto {
        repository: target.name.clone(),
        sources: sources.iter().map(|source| source.name.clone()).collect(),
        dry_run: options.action == SyncAction::DryRun,
        skipped,
        copied,
        hint: error.and_then(|error| error.hint_text().map(str::to_owned)),
        error: line,
    }
}

/// Those that can be opened.
pub fn open_any(context: &Context, all: &[RepoSettings]) -> Result<Vec<Peer>> {
    let names: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
    sync::open_any(&names, |number| open(context, &all[number]))
}

fn open(context: &Context, settings: &RepoSettings) -> Result<Peer> {
    Ok(Peer {
        name: settings.name.clone(),
        repository: context.open(settings)?,
    })
}
