//! What `systemd` is told.

use std::{collections::BTreeMap, path::Path};

use super::super::{
    args::{InstallArgs, PlaceArgs, RemoveArgs},
    settings::Layers,
};
use crate::{
    commands::options::{RemoveOptions, SystemdAction, SystemdOptions},
    domain::systemd::{Place, Scheduler, jobs},
    error::{Error, IoContext, Result},
};

pub fn remove(args: RemoveArgs) -> Result<RemoveOptions> {
    Ok(RemoveOptions {
        place: place_of(args.place)?,
        force: args.force,
    })
}

pub fn status() -> SystemdOptions {
    SystemdOptions {
        action: SystemdAction::Status,
        place: Place::new(Scheduler::Systemd, None),
    }
}

pub fn install(args: InstallArgs, layers: &Layers) -> Result<SystemdOptions> {
    let mut calendars = BTreeMap::new();
    for (job, expression) in args.on_calendar {
        if calendars.insert(job, expression).is_some() {
            return Err(Error::usage(format!("two times for job {job}")).hint("keep one."));
        }
    }
    let dumps = layers.speaks_of_dumps() || calendars.contains_key(jobs::DUMP);
    let only_repo = layers.only_repo();
    // Jobs that keep to one repository fill no other.
    let syncs = only_repo.is_none() && layers.fills_any()?;
    if !syncs && calendars.contains_key(jobs::SYNC) {
        return Err(
            Error::usage("a time for job sync, and no repository that it would fill").hint(
                "set wal_mode = \"sync\" for a repository in pgstow.toml, and leave out --repo.",
            ),
        );
    }
    let mut call = layers.own_call()?;
    call.extend(only_repo.into_iter().flatten());
    Ok(SystemdOptions {
        action: SystemdAction::Install {
            call,
            user: args.user,
            calendars,
            dumps,
            syncs,
            drills: layers.drill_settings()?.scratch,
            log: layers
                .log_file()?
                .and_then(|log| log.parent().map(Path::to_owned)),
            print: args.print,
            force: args.force,
        },
        place: place_of(args.place)?,
    })
}

fn place_of(place: PlaceArgs) -> Result<Place> {
    let scheduler = match place.cron {
        true => Scheduler::Cron,
        false => Scheduler::Systemd,
    };
    let into = place
        .into
        .map(|folder| std::path::absolute(&folder).at("find", &folder));
    Ok(Place::new(scheduler, into.transpose()?))
}
