//! Has pg_restore or psql put a dump into a database, and hears what they complain of.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    process::Command,
};

use serde::Serialize;
use tracing::warn;

use super::ready::Ready;
use crate::{
    domain::logical::remains::OF_RESTORE,
    error::{Error, Kind, Result},
    postgres::{client_programs::ClientPrograms, conninfo::ConnInfo},
    util::{
        cancel::Cancel,
        fs::create_file,
        process::{self, NO_LIMIT},
        scratch::Scratch,
    },
};

/// Complaints beyond these are counted alone.
const MOST: usize = 10_000;

/// How a dump is loaded.
#[derive(Clone, Debug)]
pub struct How {
    /// Workers of pg_restore.
    pub jobs: usize,
    /// All or nothing: of one worker alone.
    pub in_one: bool,
    /// Goes on behind an error.
    pub keep_going: bool,
    /// Owners and rights, too.
    pub owners: bool,
    /// Tablespaces, too: else all goes to the database's own.
    pub tablespaces: bool,
    pub subscriptions: bool,
    /// These entries of the archive alone.
    pub entries: Option<Vec<u32>>,
    /// Single tables or schemas.
    pub is_part: bool,
    /// The schemas first that these tables lie in.
    pub makes_schemas: bool,
}

impl How {
    /// All of it, as it was, by one worker.
    pub fn all(keep_going: bool) -> Self {
        Self {
            jobs: 1,
            in_one: false,
            keep_going,
            owners: true,
            tablespaces: true,
            subscriptions: true,
            entries: None,
            is_part: false,
            makes_schemas: false,
        }
    }
}

/// What went wrong, in the words of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Complaints {
    pub list: Vec<String>,
    /// How many there were: the list may be shorter.
    pub count: u64,
}

impl Complaints {
    pub fn add(&mut self, other: Complaints) {
        self.count += other.count;
        self.list.extend(other.list);
    }

    fn hear(&mut self, line: &str, about: &mut Option<String>) {
        if let Some(entry) = line.strip_prefix("pg_restore: from TOC entry ") {
            *about = Some(entry.to_owned());
            return;
        }
        match error_in(line) {
            Some((error, line)) => {
                self.count += 1;
                if self.list.len() < MOST {
                    let mut text = error.to_owned();
                    if let Some(about) = about.take().or(line) {
                        let _ = write!(text, " ({about})");
                    }
                    self.list.push(text);
                }
            }
            None if line.contains("warning:") && !line.contains("errors ignored on restore") => {
                warn!("{line}");
            }
            None => {}
        }
    }
}

/// `ERROR:  relation "x" already exists` of what psql and pg_restore make of it, and in which line of a script: others may
/// have the same words.
fn error_in(line: &str) -> Option<(&str, Option<String>)> {
    if let Some(rest) = line.strip_prefix("pg_restore: error: ") {
        return Some((rest, None));
    }
    // Without the place in the script where nothing of it was run yet.
    let (place, rest) = match line.strip_prefix("psql: ") {
        Some(rest) => (None, rest),
        None => {
            let (place, rest) = line.strip_prefix("psql:")?.split_once(": ")?;
            let number = place.rsplit_once(':').map(|(_, number)| number);
            (number.map(|number| format!("line {number}")), rest)
        }
    };
    let severe = ["ERROR: ", "FATAL: ", "PANIC: ", "error: "];
    let is_error = severe.iter().any(|word| rest.starts_with(word));
    is_error.then_some((rest, place))
}

pub struct Loader<'a> {
    pub programs: &'a ClientPrograms,
    pub info: &'a ConnInfo,
    pub cancel: &'a Cancel,
}

impl Loader<'_> {
    /// Restores an archive.
    ///
    /// # Errors
    /// The program failed; with `keep_going` only what it could not go on behind.
    pub fn archive(&self, ready: &Ready<'_>, how: &How) -> Result<Complaints> {
        let mut command = self.programs.command("pg_restore", self.info)?;
        let flags = [
            (!how.keep_going, "--exit-on-error"),
            (how.in_one, "--single-transaction"),
            (!how.owners, "--no-owner"),
            (!how.owners, "--no-privileges"),
            (!how.tablespaces, "--no-tablespaces"),
            (!how.subscriptions, "--no-subscriptions"),
        ];
        command.args(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag));
        if how.jobs > 1 && ready.takes_workers()? {
            command.arg(format!("--jobs={}", how.jobs));
        }
        let list = how.entries.as_deref().map(List::make).transpose()?;
        if let Some(list) = &list {
            command.arg("--use-list").arg(list.path());
        }
        match ready.path() {
            Some(path) => {
                command.arg("--").arg(path);
                self.run(&mut command, None::<io::Empty>, how)
            }
            None => self.run(&mut command, Some(ready.stream()?), how),
        }
    }

    /// Runs a script, which psql reads as it comes.
    pub fn script(&self, script: impl Read + Send, how: &How) -> Result<Complaints> {
        let mut command = self.programs.command("psql", self.info)?;
        command.args(["--no-psqlrc", "--quiet", "--set=VERBOSITY=verbose"]);
        if !how.keep_going {
            command.arg("--set=ON_ERROR_STOP=1");
        }
        if how.in_one {
            command.arg("--single-transaction");
        }
        command.arg("--file=-");
        self.run(&mut command, Some(script), how)
    }

    fn run(
        &self,
        command: &mut Command,
        input: Option<impl Read + Send>,
        how: &How,
    ) -> Result<Complaints> {
        let mut complaints = Complaints::default();
        let mut about = None;
        let mut heard = |line: &str| complaints.hear(line, &mut about);
        let mut sink = io::sink();
        let end = process::run_heard(command, input, &mut sink, &mut heard, NO_LIMIT, self.cancel)?;
        // Behind errors pg_restore ends with 1, psql with 0; it ends with 2 where the server is gone.
        let went_on = how.keep_going && (end.status.success() || end.status.code() == Some(1));
        match end.status.success() || (went_on && complaints.count > 0) {
            true => Ok(complaints),
            false => Err(failure(end, &complaints, how.is_part)),
        }
    }
}

fn failure(end: process::End, complaints: &Complaints, is_part: bool) -> Error {
    let Some(first) = complaints.list.first() else {
        return end.failure();
    };
    let error = Error::failed(first.clone()).context("the dump could not be restored");
    match cure(first, is_part) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What to do about what servers say often.
fn cure(complaint: &str, is_part: bool) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|words| complaint.contains(words));
    if says(&["No space left on device", "could not extend file"]) {
        Some("make room on the disk of the server, or of the tablespace.")
    } else if says(&["role \""]) && says(&["does not exist"]) {
        Some(
            "make the roles first: by hand (CREATE ROLE), by `pgstow restore-dump` with --globals or, where the repository has them, by \
             `pgstow restore-dump @globals --to-file - | psql -d postgres`; or leave out owners and rights (--no-owner).",
        )
    } else if says(&["permission denied", "must be "]) {
        Some("restore as a superuser, or without owners and rights (--no-owner).")
    } else if says(&["parameter \"transaction_timeout\""]) {
        Some(
            "pg_dump of 17 or newer made the dump for servers of 17 or newer: restore it into such a one.",
        )
    } else if is_part && says(&["does not exist"]) {
        Some(
            "single tables come without what else they need: restore the whole schema (--schema) or all of the dump, or make \
             what is missing first.",
        )
    } else if says(&["already exists"]) {
        Some(
            "restore into a database that does not exist yet (--to-database), or by `pgstow restore-dump --clean` in the place of the whole one.",
        )
    } else {
        None
    }
}

/// Writes an archive, or these entries of it, as SQL.
pub fn to_script(
    programs: &ClientPrograms,
    ready: &Ready<'_>,
    entries: Option<&[u32]>,
    sink: &mut (impl Write + Send),
    cancel: &Cancel,
) -> Result<()> {
    let mut command = programs.alone("pg_restore")?;
    command.arg("--file=-");
    let list = entries.map(List::make).transpose()?;
    if let Some(list) = &list {
        command.arg("--use-list").arg(list.path());
    }
    let end = match ready.path() {
        Some(path) => {
            command.arg("--").arg(path);
            process::run_to_any_end(&mut command, sink, NO_LIMIT, cancel)?
        }
        None => process::run_with_input(&mut command, ready.stream()?, sink, NO_LIMIT, cancel)?,
    };
    end.success().map(drop)
}

/// A file that names entries, for pg_restore.
struct List(Scratch);

impl List {
    fn make(entries: &[u32]) -> Result<Self> {
        let list = Self(Scratch::make(OF_RESTORE, false)?);
        let path = list.path();
        let mut file = create_file(&path)?;
        let text: String = entries.iter().map(|id| format!("{id};\n")).collect();
        file.write_all(text.as_bytes())
            .map_err(|error| Error::io("write", &path, error))?;
        Ok(list)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("list")
    }
}

/// What a server says where it lacks a role, or who restores a right.
const OF_RIGHTS: [&str; 6] = [
    "role \"",
    "permission denied",
    "must be superuser",
    "must be owner",
    "must be member",
    "must be able to SET ROLE",
];

/// Whether a failure on a server of somebody's may be about its roles and rights, and so says nothing of the dump.
pub fn is_about_rights(error: &Error) -> bool {
    let line = error.in_one_line();
    OF_RIGHTS.iter().any(|words| line.contains(words))
}

/// Whether a failure says something of the dump: not of the server, the disk or a stop.
pub fn is_about_the_dump(error: &Error) -> bool {
    const OF_THE_SERVER: [&str; 8] = [
        "No space left on device",
        "could not extend file",
        "out of memory",
        "out of shared memory",
        "server closed the connection",
        "terminating connection",
        "connection to server",
        "the database system is",
    ];
    let line = error.in_one_line();
    error.kind() == Kind::Failed && !OF_THE_SERVER.iter().any(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_from_what_is_said_beside() {
        let mut complaints = Complaints::default();
        let mut about = None;
        for line in [
            "pg_restore: while PROCESSING TOC:",
            "pg_restore: from TOC entry 215; 1259 16386 TABLE accounts postgres",
            "pg_restore: error: could not execute query: ERROR:  relation \"accounts\" already exists",
            "Command was: CREATE TABLE public.accounts (",
            "pg_restore: warning: errors ignored on restore: 1",
            "psql:<stdin>:17: ERROR:  42710: role \"x: y\" already exists",
            "LOCATION:  CreateRole, user.c:337",
            "psql:<stdin>:18: NOTICE:  x",
            "psql: error: connection to server on socket failed: FATAL:  no",
        ] {
            complaints.hear(line, &mut about);
        }
        let expected = [
            "could not execute query: ERROR:  relation \"accounts\" already exists \
             (215; 1259 16386 TABLE accounts postgres)",
            "ERROR:  42710: role \"x: y\" already exists (line 17)",
            "error: connection to server on socket failed: FATAL:  no",
        ];
        assert_eq!(complaints.list, expected);
        assert_eq!(complaints.count, 3);
    }
}
