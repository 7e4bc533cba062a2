//! Writes the files of a cluster and has systemd run its timers. Refusals come before the first file;
//! what was interrupted, the next run finishes.

use std::path::Path;

use super::{
    Place, Scheduler, Wanted, cron_time,
    file::{Action, SystemdFile, refuse_others},
    remove::{take_away, unwanted},
    systemctl::{check_calendar, systemctl},
};
use crate::{
    error::Result,
    util::{account::Account, cancel::Cancel, fs::create_folders},
};

/// Refuses times that nobody would understand.
pub fn check_calendars(place: &Place, wanted: &Wanted, cancel: &Cancel) -> Result<()> {
    for (job, expression) in &wanted.calendars {
        let checked = match place.scheduler {
            Scheduler::Systemd => check_calendar(expression, cancel),
            Scheduler::Cron => cron_time::check(expression),
        };
        checked.map_err(|error| error.context(format!("--on-calendar for {job}")))?;
    }
    Ok(())
}

/// Puts the files into their place. Idempotent.
pub fn install(
    place: &Place,
    wanted: &Wanted,
    force: bool,
    cancel: &Cancel,
) -> Result<Vec<(String, Action)>> {
    place.refuse_stranger()?;
    // A name that nobody has would fail each job, at night.
    let account = place
        .live
        .then(|| Account::named(&wanted.user))
        .transpose()?;
    let files = place.files(wanted);
    let unwanted = unwanted(place, wanted);
    if !force {
        let names = files.iter().map(|file| &file.name).chain(&unwanted);
        let paths: Vec<_> = names.map(|name| place.folder.join(name)).collect();
        refuse_others(paths.iter().map(|path| path.as_path()))?;
    }
    if let (Some(account), Scheduler::Cron) = (account, place.scheduler) {
        // Its jobs lock it; systemd makes its own.
        create_folders(
            &wanted.state_folder,
            0o750,
            Some((account.uid, account.gid)),
        )?;
    }
    let mut done = write_all(&place.folder, &files)?;
    if !unwanted.is_empty() {
        let removed = take_away(place, wanted.cluster.as_str(), unwanted, cancel)?;
        done.extend(removed.files);
    }
    if place.has_systemd() {
        let timers: Vec<String> = wanted
            .jobs()
            .map(|job| job.timer_name(wanted.cluster.as_str()))
            .collect();
        let with_timers = |words: &[&str]| {
            let all: Vec<&str> = words
                .iter()
                .copied()
                .chain(timers.iter().map(String::as_str))
                .collect();
            systemctl(&all, cancel)
        };
        systemctl(&["daemon-reload"], cancel)?;
        with_timers(&["enable"])?;
        // A timer that runs would keep its old time.
        with_timers(&["restart"])?;
    }
    Ok(done)
}

fn write_all(folder: &Path, files: &[SystemdFile]) -> Result<Vec<(String, Action)>> {
    let write = |file: &SystemdFile| Ok((file.name.clone(), file.write(folder)?));
    files.iter().map(write).collect()
}
