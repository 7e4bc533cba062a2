//! The unit files of a cluster: those of `systemd/` with what is its own in the places of the defaults.

use std::path::{Path, PathBuf};

use super::{
    Wanted,
    file::{SystemdFile, UNIT_NOTE},
    jobs::{ALERT, ALERT_TEXT, Job, alert_of},
};

/// How the files of `systemd/` call the program; systemd puts the cluster in the place of `%i`.
pub const CALL: &str = "/usr/bin/pgstow";

/// All files that `install` writes.
pub fn files(wanted: &Wanted) -> Vec<SystemdFile> {
    let cluster = wanted.cluster.as_str();
    let with_log = |folders: &[PathBuf]| -> Vec<PathBuf> {
        let log = wanted.log.iter().filter(|log| !folders.contains(log));
        folders.iter().chain(log).cloned().collect()
    };
    let of_job = |job: &Job| {
        let service = service(job.service, &with_log(&wanted.writes), wanted);
        [
            SystemdFile::new(job.service_name(cluster), UNIT_NOTE, &service),
            SystemdFile::new(job.timer_name(cluster), UNIT_NOTE, &timer(job, wanted)),
        ]
    };
    let state_dir = wanted.state_folder.parent().map(Path::to_owned);
    let alert = service(ALERT_TEXT, &with_log(state_dir.as_slice()), wanted);
    let alert = SystemdFile::new(alert_of(cluster) + ".service", UNIT_NOTE, &alert);
    wanted.jobs().flat_map(of_job).chain([alert]).collect()
}

fn service(text: &str, writes: &[PathBuf], wanted: &Wanted) -> String {
    let words: Vec<String> = wanted.call.iter().map(|word| exec_word(word)).collect();
    let call = words.join(" ");
    let writes: Vec<String> = writes
        .iter()
        // A folder that isn't there is for pgstow to complain of.
        .map(|path| word(&format!("-{}", path.display())))
        .collect();
    let alert = alert_of(wanted.cluster.as_str());
    with_lines(text, |key, value| match key {
        "ExecStart" => Some(value.replacen(CALL, &call, 1)),
        "OnFailure" | "OnSuccess" => Some(value.replacen(ALERT, &alert, 1)),
        "User" => Some(wanted.user.clone()),
        "ReadWritePaths" => Some(writes.join(" ")),
        _ => None,
    })
}

fn timer(job: &Job, wanted: &Wanted) -> String {
    with_lines(job.timer, |key, _| match key {
        "OnCalendar" => wanted.calendars.get(job.name).cloned(),
        _ => None,
    })
}

/// The text with those values of `KEY=VALUE` that `change` gives in the place of its own.
fn with_lines(text: &str, change: impl Fn(&str, &str) -> Option<String>) -> String {
    let mut changed = String::with_capacity(text.len());
    for line in text.lines() {
        let value = line.split_once('=').filter(|_| !line.starts_with('#'));
        match value.and_then(|(key, value)| Some((key, change(key, value)?))) {
            Some((key, value)) => changed += &format!("{key}={value}\n"),
            None => changed += &format!("{line}\n"),
        }
    }
    changed
}

/// A word of ExecStart=, in which `$` stands for variables (systemd.service(5)).
fn exec_word(text: &str) -> String {
    word(&text.replace('$', "$$"))
}

/// A word of a setting that is a list: quoted where it must be, with no specifiers (systemd.syntax(7)).
fn word(text: &str) -> String {
    let text = text.replace('%', "%%");
    let plain = |c: char| c.is_alphanumeric() || "/_-.,:+@=%$".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::jobs::JOBS, *};

    #[test]
    fn words_reach_the_program_as_they_are() {
        for (text, written) in [
            ("/opt/pgstow-1.2/pgstow", "/opt/pgstow-1.2/pgstow"),
            ("/a b", "\"/a b\""),
            (r#"/a"b\c"#, r#""/a\"b\\c""#),
            ("/100%/$x", "/100%%/$$x"),
            ("", "\"\""),
            ("/;", "\"/;\""),
        ] {
            assert_eq!(exec_word(text), written);
        }
        assert_eq!(word("-/a$b c"), "\"-/a$b c\"");
    }

    #[test]
    fn every_file_has_the_places_that_are_filled_in() {
        for job in &JOBS {
            for (text, line) in [
                (job.service, format!("{CALL} ")),
                (job.service, "\nUser=postgres\n".to_owned()),
                (job.service, "\nReadWritePaths=-/var/backups/".to_owned()),
                (job.service, format!("\nOnFailure={ALERT}")),
                (job.timer, "\nOnCalendar=".to_owned()),
            ] {
                assert_eq!(text.matches(&line).count(), 1, "{}: {line:?}", job.name);
            }
        }
    }

    /// Written out in each, since systemd has no file for several units; said once all the same.
    #[test]
    fn all_jobs_run_in_the_same_sandbox() {
        let behind = |text: &'static str, line: &str| text.split_once(line).map(|parts| parts.1);
        let sandbox = |job: &'static Job| behind(job.service, "\n# Where pgstow writes");
        assert!(sandbox(&JOBS[0]).is_some());
        for job in &JOBS {
            assert_eq!(sandbox(job), sandbox(&JOBS[0]), "{}", job.name);
        }
        let rest = |text| behind(text, "\nProtectSystem=");
        assert_eq!(rest(ALERT_TEXT), rest(JOBS[0].service));
    }
}
