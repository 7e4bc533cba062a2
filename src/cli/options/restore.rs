//! Options of `restore`: of a whole data directory, and of a part of a backup.

use super::drill::ground;
use crate::{
    cli::{
        args::RestoreArgs,
        settings::{Layers, keys, parse},
    },
    commands::options::{ReadFrom, RegainOptions, RepoSettings, RestoreOptions},
    domain::{
        regain::{
            name,
            request::{To, What},
        },
        restore::{
            request::{Delta, Request},
            target::{Action, Target, Wish},
        },
    },
    error::{Context, Error, Result},
    repo::backup_id::BackupId,
    util::{moment, zone::Zone},
};

pub fn restore(mut args: RestoreArgs, layers: &Layers) -> Result<RestoreOptions> {
    Ok(RestoreOptions {
        request: Request {
            wish: wish(&mut args)?,
            data_dir: args.data_dir,
            replace: args.replace,
            delta: args.delta.then_some(Delta {
                trust_times: args.trust_times,
                force: args.force,
            }),
            tablespaces: args.tablespace,
            archive: args.archive.map(|word| word == "on"),
            offline: args.offline,
            databases: None,
            prove: args.prove,
            workers: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
            bindir: layers.of_cluster(keys::BINDIR, parse::path)?,
        },
        plan: args.plan,
        from: read_from(layers)?,
    })
}

pub(super) fn read_from(layers: &Layers) -> Result<ReadFrom> {
    let with_flags = |repo: RepoSettings| {
        let flags = layers.server_flags_of(&repo.name);
        flags.map(|flags| (repo, flags))
    };
    Ok(ReadFrom {
        server_flags: layers.server_flags()?,
        others: (layers.other_repos().into_iter())
            .map(with_flags)
            .collect::<Result<_>>()?,
        keeps_to_chosen: layers.one_repo,
    })
}

/// Of a part of a backup.
pub fn regain(mut args: RestoreArgs, layers: &Layers) -> Result<RegainOptions> {
    let wish = wish(&mut args)?;
    let what = match args.database {
        Some(name) => What::Database(name),
        None => {
            let mut names = Vec::new();
            for text in &args.table {
                names.extend(name::parse(text).context(|| "--table".to_owned())?);
            }
            What::Tables(names)
        }
    };
    let to = match (args.to_database, args.to_file) {
        (Some(name), _) => To::Database(name),
        (None, Some(path)) => To::File(path),
        (None, None) => {
            return Err(Error::usage("it is not said where to bring it back")
                .hint("give --to-database NAME or --to-file FILE."));
        }
    };
    let settings = layers.drill_settings()?;
    Ok(RegainOptions {
        wish: Wish {
            // The scratch server is done with its WAL then, and goes soon.
            action: Action::Promote,
            ..wish
        },
        what,
        to,
        schema: args.to_schema,
        owners: !args.no_owner,
        plan: args.plan,
        from: read_from(layers)?,
        ground: ground(args.scratch, layers)?,
        scratch: settings.scratch,
        server: settings.server,
    })
}

fn wish(args: &mut RestoreArgs) -> Result<Wish> {
    // One word alone may be the time: an id can't be taken for one.
    let (backup, time) = match (args.backup.take(), args.time.take()) {
        (Some(word), None) if word.parse::<BackupId>().is_err() && looks_like_time(&word) => {
            (None, Some(word))
        }
        other => other,
    };
    let time = time.or(args.target_time.take());
    let time = time.map(|text| moment::parse(&text, Zone::of_host()));
    let wishes = [
        time.transpose()?.map(Target::Time),
        args.target_lsn.map(Target::Lsn),
        args.target_xid.map(Target::Xid),
        args.target_name.take().map(Target::Name),
        args.target_immediate.then_some(Target::Immediate),
    ];
    let mut wishes = wishes.into_iter().flatten();
    let target = wishes.next().unwrap_or(Target::Latest);
    if wishes.next().is_some() || (args.standby && target != Target::Latest) {
        // clap sees all of these but a time in the first place.
        return Err(
            Error::usage("more than one target, or a target for a standby")
                .hint("name one target; a standby follows its primary and has none."),
        );
    }
    if args.target_exclusive && target == Target::Latest {
        return Err(Error::usage("--target-exclusive without a target")
            .hint("give --target-time, --target-lsn or --target-xid too."));
    }
    Ok(Wish {
        backup: backup.map(|id| id.parse()).transpose()?,
        target,
        exclusive: args.target_exclusive,
        timeline: args.target_timeline,
        action: match args.target_action.as_str() {
            "pause" => Action::Pause,
            "shutdown" => Action::Shutdown,
            _ => Action::Promote,
        },
        standby: args.standby,
    })
}

/// `2026-11-21...`: four digits and a dash; an id has eight digits.
fn looks_like_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}
