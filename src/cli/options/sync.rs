//! Options of `sync`.

use crate::{
    cli::{
        args::SyncArgs,
        settings::{Layers, keys, parse},
    },
    commands::options::{RepoSettings, SyncAction, SyncOptions, WalMode},
    domain::sync::Only,
    error::{Context, Error, Result},
    util::units,
};

pub fn sync(args: &SyncArgs, layers: &Layers) -> Result<SyncOptions> {
    let all = layers.every_repo()?;
    let names: Vec<String> = all.iter().map(|(_, repo)| repo.name.clone()).collect();
    if let Some(from) = &args.from
        && !names.contains(from)
    {
        return Err(
            Error::usage(format!("--from: no repository named {from} is configured"))
                .hint(format!("configured are: {}.", names.join(", "))),
        );
    }
    let is_from = |repo: &RepoSettings| args.from.as_ref() == Some(&repo.name);
    let is_target = |mode: WalMode, repo: &RepoSettings| match layers.one_repo {
        true => repo.name == layers.repo,
        // What is copied from is not filled.
        false => mode == WalMode::Sync && !is_from(repo),
    };
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    for (mode, repo) in all {
        if is_target(mode, &repo) {
            targets.push(repo);
        } else if is_from(&repo) || (args.from.is_none() && mode == WalMode::Push) {
            sources.push(repo);
        }
    }
    if targets.is_empty() {
        return Err(Error::usage("there is no repository to copy into").hint(
            "set wal_mode = \"sync\" for a repository in pgstow.toml, behind the one that WAL is pushed to; or name one \
             by --repo.",
        ));
    }
    if sources.is_empty() {
        return Err(Error::usage("there is no repository to copy from").hint(
            "what is filled needs another one in pgstow.toml that has backups: name it by --from.",
        ));
    }
    let rate = args.rate_limit.as_deref().map(rate).transpose();
    Ok(SyncOptions {
        sources,
        targets,
        all_sources: args.from.is_none(),
        only: only(&args.only),
        action: match (args.status, args.dry_run) {
            (true, _) => SyncAction::Status,
            (_, true) => SyncAction::DryRun,
            _ => SyncAction::Copy,
        },
        rate: rate.context(|| "--rate-limit".to_owned())?,
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
    })
}

/// None: all.
fn only(words: &[String]) -> Option<Only> {
    let mut only = Only::default();
    for word in words {
        match word.parse() {
            Ok(id) => only.backups.insert(id),
            Err(_) => only.dumps.insert(word.clone()),
        };
    }
    (!words.is_empty()).then_some(only)
}

fn rate(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        0 => Err(Error::usage("nothing would ever be copied: 0")),
        rate => Ok(rate),
    }
}
