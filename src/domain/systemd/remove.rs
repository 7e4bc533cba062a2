//! Takes away what `install` put there. Timers stop first, so that none starts a service whose file is
//! gone; what was interrupted, the next run finishes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Place, Scheduler, Wanted, crontab,
    file::{Action, refuse_others},
    jobs::{JOBS, alert_of},
    systemctl::systemctl,
};
use crate::{
    error::{IoContext, Result},
    util::{cancel::Cancel, fs::sync_folder},
};

#[derive(Debug, Default)]
pub struct Removed {
    pub files: Vec<(String, Action)>,
    /// Folders of drop-ins, which are an operator's.
    pub left: Vec<PathBuf>,
    /// Services that go on to their end.
    pub running: Vec<String>,
}

pub fn remove(place: &Place, cluster: &str, force: bool, cancel: &Cancel) -> Result<Removed> {
    let mut names = match place.scheduler {
        Scheduler::Systemd => units(&place.folder, |name| is_of(name, cluster))?,
        Scheduler::Cron => vec![crontab::name(cluster)],
    };
    names.retain(|name| place.folder.join(name).is_file());
    if names.is_empty() {
        return Ok(Removed::default());
    }
    place.refuse_stranger()?;
    if !force {
        let paths: Vec<PathBuf> = names.iter().map(|name| place.folder.join(name)).collect();
        refuse_others(paths.iter().map(|path| path.as_path()))?;
    }
    take_away(place, cluster, names, cancel)
}

/// The clusters of which there is anything, in order; for cron by the names of its files.
pub fn clusters(place: &Place) -> Result<Vec<String>> {
    let mut clusters = Vec::new();
    match place.scheduler {
        Scheduler::Systemd => {
            for name in units(&place.folder, |name| name.ends_with(".timer"))? {
                let instance = name.split_once('@').map(|(_, rest)| rest);
                let cluster = instance.and_then(|rest| rest.strip_suffix(".timer"));
                clusters.extend(cluster.filter(|one| !one.is_empty()).map(str::to_owned));
            }
        }
        Scheduler::Cron => clusters.extend(crontab::clusters(&place.folder)?),
    }
    clusters.sort();
    clusters.dedup();
    Ok(clusters)
}

/// The units that are there of jobs that a cluster no longer has.
pub fn unwanted(place: &Place, wanted: &Wanted) -> Vec<String> {
    if place.scheduler == Scheduler::Cron {
        return Vec::new();
    }
    let cluster = wanted.cluster.as_str();
    let is_wanted = |name: &str| wanted.jobs().any(|job| job.name == name);
    let others = JOBS.iter().filter(|job| !is_wanted(job.name));
    let names = others.flat_map(|job| [job.service_name(cluster), job.timer_name(cluster)]);
    names
        .filter(|name| place.folder.join(name).is_file())
        .collect()
}

/// Removes files of a cluster that are there.
pub fn take_away(
    place: &Place,
    cluster: &str,
    names: Vec<String>,
    cancel: &Cancel,
) -> Result<Removed> {
    let timers: Vec<&str> = with_ending(&names, ".timer").collect();
    let mut removed = Removed::default();
    if place.has_systemd() && !timers.is_empty() {
        systemctl(&[&["disable", "--now"], timers.as_slice()].concat(), cancel)?;
        // When they elapsed last, for Persistent=.
        systemctl(
            &[&["clean", "--what=state"], timers.as_slice()].concat(),
            cancel,
        )?;
    }
    for name in &names {
        let path = place.folder.join(name);
        fs::remove_file(&path).at("remove", &path)?;
    }
    sync_folder(&place.folder)?;
    if place.has_systemd() {
        systemctl(&["daemon-reload"], cancel)?;
        let services = with_ending(&names, ".service").filter(|name| !name.contains("@."));
        for service in services {
            match systemctl(
                &["show", "--value", "--property=ActiveState", service],
                cancel,
            )?
            .trim()
            {
                "activating" => removed.running.push(service.to_owned()),
                // So that `systemctl --failed` no longer knows of it.
                "failed" => drop(systemctl(&["reset-failed", service], cancel)?),
                _ => {}
            }
        }
    }
    // One for all services of the cluster, and one for each unit.
    let all = format!("pgstow-@{cluster}.service");
    removed.left = [&all]
        .into_iter()
        .chain(&names)
        .map(|name| place.folder.join(format!("{name}.d")))
        .filter(|folder| folder.is_dir())
        .collect();
    removed.files = names
        .into_iter()
        .map(|name| (name, Action::Removed))
        .collect();
    Ok(removed)
}

/// Such as `pgstow-base@main.timer`, of whatever version of pgstow.
fn is_of(name: &str, cluster: &str) -> bool {
    if name == alert_of(cluster) + ".service" {
        return true;
    }
    let instance = name.split_once('@').map(|(_, rest)| rest);
    instance.is_some_and(|rest| {
        rest.strip_suffix(".service")
            .or_else(|| rest.strip_suffix(".timer"))
            == Some(cluster)
    })
}

/// The names of pgstow's units in a folder, in order.
fn units(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let name = entry.at("read", folder)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let unit = name.ends_with(".service") || name.ends_with(".timer");
        if unit && name.starts_with("pgstow-") && name.contains('@') && wanted(name) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn with_ending<'a>(names: &'a [String], ending: &str) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .map(String::as_str)
        .filter(move |name| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_one_cluster() {
        for (name, ours) in [
            ("pgstow-base@main.timer", true),
            ("pgstow-base@main.service", true),
            ("pgstow-base@main2.timer", false),
            ("pgstow-base@a.main.timer", false),
            ("pgstow-base@.timer", false),
            ("pgstow-base@main.service.d", false),
            ("pgstow-alert-main@.service", true),
            ("pgstow-alert-a-main@.service", false),
            ("pgstow-alert@.service", false),
        ] {
            assert_eq!(is_of(name, "main"), ours, "{name}");
        }
    }
}
