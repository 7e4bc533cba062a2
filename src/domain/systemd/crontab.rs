//! The crontab of a cluster, which does what its units do, as far as cron can: no catching up after the
//! host was off, no spread over time, no sandbox.

use std::{fs, path::Path};

use super::{
    Wanted,
    file::{CRON_NOTE, SystemdFile},
    jobs::{self, Job},
    units::CALL,
};
use crate::error::{IoContext, Result};

/// How services wait for each other; cron's jobs lock the same folder, written so that flock(1) makes no
/// file of that name where it is missing.
const LOCK: &str = "/usr/bin/flock --no-fork %S/pgstow/%i";

/// The file for /etc/cron.d.
pub fn file(wanted: &Wanted) -> SystemdFile {
    let lines: String = wanted.jobs().map(|job| line(job, wanted)).collect();
    let text = format!(
        "# What comes on standard output or error, cron mails to MAILTO: warnings, findings, failures and changes.\n\
         SHELL=/bin/sh\n\
         PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         {lines}"
    );
    SystemdFile::new(name(wanted.cluster.as_str()), CRON_NOTE, &text)
}

/// cron takes no file with a dot in its name.
pub fn name(cluster: &str) -> String {
    format!("pgstow-{}", cluster.replace('.', "_"))
}

/// What the files of ours in `folder` call their clusters.
pub fn clusters(folder: &Path) -> Result<Vec<String>> {
    let mut clusters = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let (path, name) = (entry.path(), entry.file_name());
        let cluster = name.to_str().and_then(|name| name.strip_prefix("pgstow-"));
        let Some(cluster) = cluster.filter(|_| path.is_file()) else {
            continue;
        };
        let text = fs::read(&path).at("read", &path)?;
        if text.starts_with(CRON_NOTE.as_bytes()) {
            clusters.push(cluster.to_owned());
        }
    }
    Ok(clusters)
}

fn line(job: &Job, wanted: &Wanted) -> String {
    let mut lines = job.service.lines();
    let command = lines.find_map(|line| line.strip_prefix("ExecStart="));
    let words: Vec<String> = wanted.call.iter().map(|word| shell_word(word)).collect();
    let lock = |file: &str| shell_word(&format!("{}/{file}", wanted.state_folder.display()));
    // Before paths come in, which may hold the same letters.
    let of_cluster = |text: &str| text.replace("%i", wanted.cluster.as_str());
    let command = of_cluster(command.unwrap_or_default())
        .replace("--quiet ", "")
        .replacen(&of_cluster(LOCK), &format!("flock {}", lock(".")), 1)
        .replacen(CALL, &format!("{} --quiet", words.join(" ")), 1);
    // A unit that runs is not started once more. `monitor` ends in time by itself, and must tell of a missing folder.
    let once = match job.name {
        _ if command.starts_with("flock ") => String::new(),
        jobs::MONITOR => String::new(),
        name => format!("flock -n {} ", lock(&format!("{name}.lock"))),
    };
    // Else cron would mail the same every five minutes.
    let changes = match job.name {
        jobs::MONITOR => " --changes",
        _ => "",
    };
    let calendar = wanted.calendars.get(job.name);
    let calendar = calendar.map_or(job.cron, String::as_str);
    format!(
        "{calendar} {} nice -n 10 ionice -c 2 -n 7 {once}{command}{changes}\n",
        wanted.user
    )
}

/// A word of a shell command in a crontab, where a bare `%` ends the command (crontab(5)).
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.,:+@=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => {
            // cron takes the backslash away within quotes, too; so `%` is the only one that needs it.
            let quoted = text.replace('\'', r"'\''").replace('%', r"\%");
            format!("'{quoted}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        for (text, written) in [
            ("/usr/bin/pgstow", "/usr/bin/pgstow"),
            ("/a b", "'/a b'"),
            ("/it's", r"'/it'\''s'"),
            ("/100%", r"'/100\%'"),
        ] {
            assert_eq!(shell_word(text), written);
        }
        assert_eq!(name("a.b-c"), "pgstow-a_b-c");
    }
}
