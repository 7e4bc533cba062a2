//! PostgreSQL's own judges of files: `pg_verifybackup` before the start, `pg_checksums` after the end.

use std::{path::Path, process::Command};

use super::place::Place;
use crate::{
    error::{Kind, Result},
    postgres::{programs::Programs, server::as_account},
    repo::{drill::Phase, stopwatch::Stopwatch, verified::VerifiedCheck},
    util::{
        cancel::Cancel,
        meter::Meter,
        process::{self, NO_LIMIT},
    },
};

/// A program on the restored files, as their owner, that ends with us; its words, or what it complains of.
fn judge(
    program: &Path,
    arguments: &[&str],
    place: &Place,
    cancel: &Cancel,
) -> Result<Result<(), Vec<String>>> {
    let command = process::dying_with_us(program, "KILL");
    let mut command = as_account(command, place.account.as_ref());
    command.env("LC_ALL", "C").args(arguments);
    told(&mut command, cancel)
}

fn told(command: &mut Command, cancel: &Cancel) -> Result<Result<(), Vec<String>>> {
    let mut complaints = Vec::new();
    let mut count = 0_usize;
    let end = process::run_heard(
        command,
        None::<std::io::Empty>,
        &mut std::io::sink(),
        &mut |line: &str| {
            count += 1;
            if count <= 100 && !line.is_empty() {
                complaints.push(line.to_owned());
            }
        },
        NO_LIMIT,
        cancel,
    )?;
    // It was killed, and that says nothing of what it looked at.
    if end.status.code().is_none() {
        return Err(end.failure());
    }
    Ok(match end.status.success() {
        true => Ok(()),
        false if complaints.is_empty() => Err(vec![end.failure().in_one_line()]),
        false => Err(complaints),
    })
}

/// Without a look at WAL, which comes from the archive. The restore's `warnings` say why there is no manifest.
pub fn manifest(
    programs: &Programs,
    place: &Place,
    warnings: &[String],
    cancel: &Cancel,
    meter: &Meter,
) -> Result<(VerifiedCheck, Phase)> {
    const NAME: &str = "backup_manifest";
    meter.begin("holding files against the manifest", 0);
    let watch = Stopwatch::start();
    let data_dir = place.data_dir();
    let check = match programs.path("pg_verifybackup") {
        Err(error) if error.kind() == Kind::NotFound => {
            VerifiedCheck::skipped(NAME, error.in_one_line())
        }
        Err(error) => return Err(error),
        Ok(_) if !data_dir.join(NAME).exists() => {
            let why = warnings.iter().find(|why| why.contains("manifest"));
            let none = || "the backup has no manifest".to_owned();
            VerifiedCheck::failed(NAME, why.cloned().unwrap_or_else(none))
        }
        Ok(program) => {
            let folder = data_dir.to_string_lossy();
            let arguments = ["--no-parse-wal", "--quiet", &folder];
            let wrong = judge(&program, &arguments, place, cancel)?.err();
            let fine = "pg_verifybackup finds all files as they were backed up".to_owned();
            VerifiedCheck::of(NAME, wrong.unwrap_or_default(), fine)
        }
    };
    Ok((check, watch.stop("manifest", None)))
}

/// Of a server that was stopped.
pub fn checksums(
    programs: &Programs,
    place: &Place,
    are_on: bool,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<(VerifiedCheck, Option<Phase>)> {
    const NAME: &str = "checksums";
    if !are_on {
        let skipped = VerifiedCheck::skipped(NAME, "the cluster has no page checksums");
        return Ok((skipped, None));
    }
    let program = match programs.path("pg_checksums") {
        Err(error) if error.kind() == Kind::NotFound => {
            return Ok((VerifiedCheck::skipped(NAME, error.in_one_line()), None));
        }
        program => program?,
    };
    meter.begin("checking pages", 0);
    let watch = Stopwatch::start();
    let data_dir = place.data_dir();
    let folder = data_dir.to_string_lossy();
    let wrong = judge(&program, &["--check", "-D", &folder], place, cancel)?.err();
    let fine = "pg_checksums finds every page right".to_owned();
    let check = VerifiedCheck::of(NAME, wrong.unwrap_or_default(), fine);
    Ok((check, Some(watch.stop("checksums", None))))
}
