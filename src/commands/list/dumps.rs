//! `pgstow list --dumps`: the dumps, and those that are being made.

use std::io::{self, Write};

use serde::Serialize;

use super::super::{
    context::Context,
    options::ListDumpsOptions,
    report::Report,
    table::{Align, Table},
};
use crate::{
    domain::logical::claim,
    error::Result,
    postgres::version,
    repo::{
        dump_name::{Class, DumpFormat, DumpName, Subject},
        dumps::{DumpEntry, DumpState},
        repository::Repository,
        verified::VerifiedDump,
    },
    util::{
        clock::{self, Time, readable, whole_seconds},
        hash::Sha256,
        units,
    },
};

#[derive(Debug, Serialize)]
pub struct DumpsReport {
    cluster: String,
    repository: String,
    /// Oldest first.
    dumps: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: DumpName,
    class: Class,
    state: LineState,
    /// What is wrong with it, or who makes it.
    note: Option<String>,
    /// Of all its objects.
    stored_bytes: u64,
    /// What came of restoring it, the last time; None: nobody did.
    verified: Option<Proven>,
    #[serde(flatten)]
    told: Option<Told>,
}

#[derive(Debug, Serialize)]
struct Proven {
    time: Time,
    good: bool,
    findings: u64,
    server: Option<String>,
}

impl Proven {
    /// Roles and tablespaces are read only.
    fn was_restored(&self) -> bool {
        self.server.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum LineState {
    Good,
    /// Whole, but when it was restored something was found.
    Bad,
    Damaged,
    Unreadable,
    Running,
    Remains,
}

/// Of a dump whose description is there.
#[derive(Debug, Serialize)]
struct Told {
    /// None: the globals.
    database: Option<String>,
    dump_format: DumpFormat,
    file: String,
    sha256: Sha256,
    /// For whom it is encrypted; none: it is not.
    recipients: Vec<String>,
    begun: Time,
    ended: Time,
    /// Of the state that it holds.
    snapshot_time: Option<Time>,
    /// What of pg_dump's options leaves out a part of the database; None: it holds all of it.
    part: Option<String>,
    /// What of them leaves out owners, rights, comments and the like.
    lacks: Option<String>,
    /// As pg_dump was called, but for the connection.
    options: Vec<String>,
    server_version: u32,
    database_bytes: Option<u64>,
    tables: Option<u64>,
    /// Of all tables that were counted.
    rows: Option<u64>,
    missing: Vec<String>,
}

pub fn run(context: &Context, options: &ListDumpsOptions) -> Result<DumpsReport> {
    let others = options.others.iter().map(|repo| (repo, ()));
    context.from_nearest(others, |repository, _| look(repository, options))
}

fn look(repository: &Repository, options: &ListDumpsOptions) -> Result<DumpsReport> {
    let now = clock::now();
    let entries = repository.dumps()?.into_iter();
    let mut words = repository.verdicts(|_| false)?.dumps;
    let lines = entries.map(|entry| {
        let word = words.remove(&entry.name);
        Line::of(entry, word, now)
    });
    let wanted = options.database.as_deref().map(Subject::of_word);
    let lines = lines.filter(|line| {
        // Of what can't be read nobody knows that it is of another one.
        let told = line.told.as_ref().zip(wanted.as_ref());
        options.class.is_none_or(|class| line.class == class)
            && told.is_none_or(|(told, wanted)| told.database.as_deref() == wanted.database())
    });
    Ok(DumpsReport {
        cluster: repository.layout().cluster().to_string(),
        repository: repository.location().to_string(),
        dumps: lines.collect(),
    })
}

impl Line {
    fn of(entry: DumpEntry, word: Option<(Time, VerifiedDump)>, now: Time) -> Self {
        let (state, note, dump) = match entry.state {
            DumpState::Complete(dump) => match &word {
                Some((_, word)) if !word.good => (LineState::Bad, None, Some(dump)),
                _ => (LineState::Good, None, Some(dump)),
            },
            DumpState::Damaged(dump, problem) => (LineState::Damaged, Some(problem), Some(dump)),
            DumpState::Unreadable { why, hint } => {
                let note = format!("{why}: {}", hint.trim_end_matches('.'));
                (LineState::Unreadable, Some(note), None)
            }
            DumpState::Unfinished(unfinished) if claim::is_remains(&unfinished, now) => {
                let note = "interrupted; `pgstow cleanup` removes it";
                (LineState::Remains, Some(note.to_owned()), None)
            }
            DumpState::Unfinished(unfinished) => {
                (LineState::Running, Some(claim::maker(&unfinished)), None)
            }
        };
        Self {
            class: entry.name.class(),
            name: entry.name,
            state,
            note,
            stored_bytes: entry.stored_bytes,
            verified: word.map(|(time, word)| Proven {
                time,
                good: word.good,
                findings: word.findings,
                server: word.server,
            }),
            told: dump.map(|dump| {
                let contents = dump.contents.as_ref();
                let counted =
                    contents.map(|contents| contents.tables.iter().filter_map(|one| one.rows));
                Told {
                    part: dump.part(),
                    lacks: dump.lacks(),
                    tables: contents.map(|contents| contents.counts.tables),
                    rows: counted.map(Iterator::sum),
                    snapshot_time: dump.snapshot.as_ref().map(|snapshot| snapshot.time),
                    database: dump.database,
                    dump_format: dump.dump_format,
                    file: dump.data.name,
                    sha256: dump.data.sha256,
                    recipients: dump.recipients,
                    begun: dump.begun,
                    ended: dump.ended,
                    server_version: dump.server_version,
                    database_bytes: dump.database_bytes,
                    options: dump.options,
                    missing: dump.missing,
                }
            }),
        }
    }
}

impl Line {
    /// Its state; of one that is good, whether it holds a part alone, and whether a restore has proven it.
    fn word(&self) -> &'static str {
        let is_proven = self.verified.as_ref().is_some_and(Proven::was_restored);
        let is_part = self.told.as_ref().is_some_and(|told| told.part.is_some());
        match self.state {
            LineState::Good if is_part => "part",
            LineState::Good if is_proven => "proven",
            state => state.word(),
        }
    }
}

impl LineState {
    fn word(self) -> &'static str {
        match self {
            LineState::Good => "good",
            LineState::Bad => "NOT GOOD",
            LineState::Damaged => "DAMAGED",
            LineState::Unreadable => "UNREADABLE",
            LineState::Running => "running",
            LineState::Remains => "remains",
        }
    }
}

impl Report for DumpsReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "cluster {} in {}\n", self.cluster, self.repository)?;
        if self.dumps.is_empty() {
            return writeln!(out, "no dumps; make some with `pgstow dump`");
        }
        let mut table = Table::new(&[
            ("dump", Align::Left),
            ("state", Align::Left),
            ("of", Align::Left),
            ("as of", Align::Left),
            ("PostgreSQL", Align::Left),
            ("format", Align::Left),
            ("took", Align::Right),
            ("size", Align::Right),
            ("stored", Align::Right),
            ("tables", Align::Right),
            ("rows", Align::Right),
        ]);
        for line in &self.dumps {
            let known = [line.name.stem().to_owned(), line.word().to_owned()];
            let told = line.told.as_ref().map(|told| {
                let took = (told.ended - told.begun).to_std().unwrap_or_default();
                let number =
                    |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
                [
                    Subject::of(told.database.as_deref()).to_string(),
                    readable(whole_seconds(told.snapshot_time.unwrap_or(told.begun))),
                    version::readable(told.server_version),
                    told.dump_format.to_string(),
                    units::duration(took),
                    told.database_bytes.map(units::bytes).unwrap_or_default(),
                    units::bytes(line.stored_bytes),
                    number(told.tables),
                    number(told.rows),
                ]
            });
            table.row(known.into_iter().chain(told.into_iter().flatten()));
        }
        table.write(out)?;
        for line in &self.dumps {
            let stem = line.name.stem();
            if let Some(note) = &line.note {
                writeln!(out, "\n{stem}: {note}")?;
            }
            if line
                .verified
                .as_ref()
                .is_some_and(|one| one.good && one.findings > 0)
            {
                writeln!(
                    out,
                    "\n{stem}: the data is good, but its .sha256 is not: `pgstow verify` tells"
                )?;
            }
            if let Some(part) = line.told.as_ref().and_then(|told| told.part.as_ref()) {
                writeln!(out, "\n{stem}: a part of the database alone: {part}")?;
            }
            if let Some(lacks) = line.told.as_ref().and_then(|told| told.lacks.as_ref()) {
                writeln!(
                    out,
                    "\n{stem}: made with {lacks}, so that this is not in it"
                )?;
            }
            for missing in line.told.iter().flat_map(|told| &told.missing) {
                writeln!(out, "\n{stem}: not included: {missing}")?;
            }
        }
        Ok(())
    }
}
