//! What `verify` found, as people read it.

use std::io::{self, Write};

use super::{CheckedBackup, CheckedWal, Stray, Verified, VerifyReport, repair, stored_dumps};
use crate::{
    commands::report::{self, Outcome, Report},
    domain::{backup::verify::Finding, monitor::runs::Told},
    error::Error,
    util::units,
};

/// A damaged part may hold a million files; `--json` names them all.
const MOST_OF_AN_OBJECT: usize = 20;

impl Report for Verified {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Verified::Backups(report) => report.text(out),
            Verified::Dumps(report) => report.text(out),
        }
    }

    fn failure(&self) -> Option<Error> {
        match self {
            Verified::Backups(report) => report.failure(),
            Verified::Dumps(report) => report.failure(),
        }
    }

    fn told(&self) -> Told {
        match self {
            Verified::Backups(report) => report.told(),
            Verified::Dumps(report) => report.told(),
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        match self {
            Verified::Backups(report) => report.outcome(),
            Verified::Dumps(report) => report.outcome(),
        }
    }
}

impl Report for VerifyReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for backup in &self.backups {
            backup.text(self.mending.as_deref(), out)?;
        }
        for wal in &self.wal {
            wal.text(out)?;
        }
        for Stray { object, what } in &self.strays {
            writeln!(out, "{object}: {what}")?;
        }
        stored_dumps::write(&self.dumps, out)?;
        repair::write(&self.repairs, out)
    }

    /// As many as are counted.
    fn failure(&self) -> Option<Error> {
        report::found(self.lines())
    }

    fn told(&self) -> Told {
        let bytes = self.backups.iter().map(|one| one.stored_bytes);
        let wal = self.wal.iter().map(|one| one.checked.bytes);
        let dumps = self.dumps.iter().map(|one| one.stored_bytes);
        Told {
            bytes: Some(bytes.chain(wal).chain(dumps).sum()),
            found: self.lines().into_iter().take(report::NOTED).collect(),
            ..Told::default()
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done && self.repairs.is_empty()
    }

    fn outcome(&self) -> Outcome {
        if self.findings() == 0 {
            Outcome::Done
        } else {
            Outcome::Findings
        }
    }
}

impl VerifyReport {
    /// All findings, in a line each.
    fn lines(&self) -> Vec<String> {
        let of_backup = |one: &Finding| match &one.file {
            Some(file) => format!("{file}: {} (in {})", one.problem, one.object),
            None => format!("{}: {}", one.object, one.problem),
        };
        let backups = self.backups.iter().flat_map(|one| &one.findings);
        let wal = self.wal.iter().flat_map(|one| &one.checked.findings);
        let wal = wal.map(|one| format!("{}: {}", one.object, one.what));
        let strays = self.strays.iter();
        let strays = strays.map(|one| format!("{}: {}", one.object, one.what));
        let dumps = self.dumps.iter();
        let dumps =
            dumps.filter_map(|one| Some(format!("{}: {}", one.dump, one.problem.as_ref()?)));
        backups
            .map(of_backup)
            .chain(wal)
            .chain(strays)
            .chain(dumps)
            .collect()
    }
}

impl CheckedBackup {
    fn text(&self, mending: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let id = self.backup;
        if self.findings.is_empty() {
            let files = units::count(self.files, "file");
            let stored = units::bytes(self.stored_bytes);
            match &self.sealed {
                None => writeln!(out, "{id}: all right ({files}, {stored} stored)")?,
                Some(why) => {
                    writeln!(out, "{id}: what is stored is as it was written ({stored})")?;
                    writeln!(out, "  not checked: the {files} in it ({why})")?;
                }
            }
        } else {
            let findings = units::count(self.findings.len() as u64, "finding");
            writeln!(out, "{id}: DAMAGED, {findings}")?;
            for of_object in self.findings.chunk_by(|a, b| a.object == b.object) {
                write_findings(of_object, out)?;
            }
            let meaning = match (self.restorable, mending) {
                (true, None) => {
                    "A restore of this backup can do without what is damaged. Take a new full backup all the same."
                }
                (true, Some(_)) => "A restore of this backup can do without what is damaged.",
                (false, None) => {
                    "A restore of this backup would stop at the damage. Restore from another one, and take a new full backup now."
                }
                (false, Some(_)) => {
                    "A restore of this backup takes what is damaged from another repository, or stops there if none has it whole."
                }
            };
            writeln!(out, "  {meaning}")?;
            if let Some(call) = mending {
                writeln!(
                    out,
                    "  `{call}` heals what another repository has whole; what it can't heal needs a new full backup."
                )?;
            }
        }
        if self.page_failures > 0 {
            let pages = units::count(self.page_failures as u64, "page");
            writeln!(
                out,
                "  The server's own {pages} that were damaged when it was taken are in it as they were: `pgstow list {id}` names them."
            )?;
        }
        Ok(())
    }
}

fn write_findings(of_object: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for Finding {
        object,
        file,
        problem,
    } in of_object.iter().take(MOST_OF_AN_OBJECT)
    {
        match file {
            Some(file) => writeln!(out, "  {file}: {problem} (in {object})")?,
            None => writeln!(out, "  {object}: {problem}")?,
        }
    }
    match of_object {
        [first, ..] if of_object.len() > MOST_OF_AN_OBJECT => writeln!(
            out,
            "  and {} more in {}; --json names all",
            of_object.len() - MOST_OF_AN_OBJECT,
            first.object
        ),
        _ => Ok(()),
    }
}

impl CheckedWal {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let (system, checked) = (self.system_id, &self.checked);
        if checked.findings.is_empty() {
            let files = units::count(checked.objects, "file");
            let stored = units::bytes(checked.bytes);
            let (well, unread) = match self.past.is_empty() {
                true => ("all right", "nothing is missing"),
                false => ("nothing new is wrong", "nothing new is missing"),
            };
            match &checked.sealed_why {
                None => writeln!(
                    out,
                    "WAL of system {system}: {well} ({files}, {stored} stored)"
                ),
                Some(why) => {
                    writeln!(
                        out,
                        "WAL of system {system}: {unread} ({files}, {stored} stored)"
                    )?;
                    let sealed = units::count(checked.sealed, "file");
                    writeln!(out, "  not checked: what is in {sealed} ({why})")
                }
            }?;
            self.write_past(out)?;
            return self.write_affected(out);
        }
        let findings = units::count(checked.findings.len() as u64, "finding");
        writeln!(out, "WAL of system {system}: DAMAGED, {findings}")?;
        for finding in &checked.findings {
            writeln!(out, "  {}: {}", finding.object, finding.what)?;
        }
        if checked.more > 0 {
            writeln!(out, "  and {} more", checked.more)?;
        }
        self.write_past(out)?;
        self.write_affected(out)
    }

    fn write_affected(&self, out: &mut dyn Write) -> io::Result<()> {
        for affected in &self.affected {
            writeln!(out, "  {affected}")?;
        }
        Ok(())
    }

    fn write_past(&self, out: &mut dyn Write) -> io::Result<()> {
        for past in &self.past {
            writeln!(out, "  in the past: {}: {}", past.object, past.what)?;
        }
        Ok(())
    }
}
