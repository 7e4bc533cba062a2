//! Writes the files of a cluster and has systemd run its timers. Refusals come before the first file;
//! what was interrupted, the next run finishes.

use std::path::Path;

use super::{
    Place, Scheduler, Wanted,
    file::{Action, SystemdFile, refuse_others},
    systemctl::{check_calendar, systemctl},
};
use crate::{
    error::{Error, Result},
    util::{account::Account, cancel::Cancel, fs::create_folders},
};

/// Refuses times that nobody would understand.
pub fn check_calendars(place: &Place, wanted: &Wanted, cancel: &Cancel) -> Result<()> {
    for (job, expression) in &wanted.calendars {
        let checked = match place.scheduler {
            Scheduler::Systemd => check_calendar(expression, cancel),
            Scheduler::Cron => check_fields(expression),
        };
        checked.map_err(|error| error.context(format!("--on-calendar for {job}")))?;
    }
    Ok(())
}

fn check_fields(expression: &str) -> Result<()> {
    let known = |c: char| c.is_ascii_alphanumeric() || "*/,- @".contains(c);
    let fields = expression
        .split(' ')
        .filter(|field| !field.is_empty())
        .count();
    let count = if expression.starts_with('@') { 1 } else { 5 };
    match fields == count && expression.chars().all(known) {
        true => Ok(()),
        false => Err(
            Error::usage(format!("cron knows no time like {expression:?}"))
                .hint("with --cron, write the five fields of a crontab: '0 3 * * *', or @daily."),
        ),
    }
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
    if !force {
        let paths: Vec<_> = files
            .iter()
            .map(|file| place.folder.join(&file.name))
            .collect();
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
    let done = write_all(&place.folder, &files)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_crontabs() {
        for (expression, good) in [
            ("0 3 * * 1-5", true),
            ("*/15 * * * Mon,Tue", true),
            ("@daily", true),
            ("daily", false),
            ("0 3 * *", false),
            ("0 3 * * *\n* * * * *", false),
            ("0 3 * * * root", false),
        ] {
            assert_eq!(check_fields(expression).is_ok(), good, "{expression:?}");
        }
    }
}
