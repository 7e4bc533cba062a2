//! What a cleanup says.

use std::io::{self, Write};

use super::{
    super::{
        report::{self, Outcome, Report},
        table::{Align, Table},
    },
    Action, CleanupReport, DeletedSums, Ran, UndeletedLine,
};
use crate::{
    domain::monitor::runs::Told,
    error::Error,
    repo::catalog::Removed,
    util::{clock::readable, units},
};

impl Report for Ran {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Ran::Cleaned(report) => report.text(out),
            Ran::Skipped { skipped } => writeln!(out, "not run: {skipped}"),
        }
    }

    fn told(&self) -> Told {
        match self {
            Ran::Cleaned(report) => report.told(),
            Ran::Skipped { .. } => Told::default(),
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Ran::Cleaned(report) => report.outcome(),
            Ran::Skipped { .. } => Outcome::Done,
        }
    }

    fn failure(&self) -> Option<Error> {
        match self {
            Ran::Cleaned(report) => report.failure(),
            Ran::Skipped { .. } => None,
        }
    }

    fn is_good_news(&self) -> bool {
        match self {
            Ran::Cleaned(report) => report.is_good_news(),
            Ran::Skipped { .. } => false,
        }
    }
}

impl Action {
    fn word(self, dry_run: bool) -> String {
        match (self, dry_run) {
            (Action::Keep, _) => "keep",
            (Action::Delete, true) => "would delete",
            (Action::Delete, false) => "deleted",
            (Action::Failed, _) => "NOT DELETED",
        }
        .to_owned()
    }
}

impl CleanupReport {
    fn backups(&self) -> Table {
        let lines = self.backups.iter();
        let lines = lines.map(|one| {
            (
                one.action,
                one.id.to_string(),
                one.stored_bytes,
                &one.reasons,
            )
        });
        self.decided("backup", lines)
    }

    fn dumps(&self) -> Table {
        let lines = self.dumps.iter();
        let lines = lines.map(|one| {
            let name = one.name.stem().to_owned();
            (one.action, name, one.stored_bytes, &one.reasons)
        });
        self.decided("dump", lines)
    }

    /// What becomes of each, its name, stored bytes and the reasons.
    fn decided<'a>(
        &self,
        what: &'static str,
        lines: impl Iterator<Item = (Action, String, u64, &'a Vec<String>)>,
    ) -> Table {
        let columns = [
            ("", Align::Left),
            (what, Align::Left),
            ("stored", Align::Right),
            ("because", Align::Left),
        ];
        let mut table = Table::new(&columns);
        for (action, name, stored_bytes, reasons) in lines {
            table.row([
                action.word(self.dry_run),
                name,
                units::bytes(stored_bytes),
                reasons.join("; "),
            ]);
        }
        table
    }

    fn wal(&self) -> Table {
        let columns = [
            ("", Align::Left),
            ("WAL from", Align::Left),
            ("to", Align::Left),
            ("segments", Align::Right),
            ("because", Align::Left),
        ];
        let mut table = Table::new(&columns);
        let first = self.wal.first().map(|line| line.system_id);
        let one = self.wal.iter().all(|line| Some(line.system_id) == first);
        for line in &self.wal {
            let of_system = match one {
                true => String::new(),
                false => format!(" (system {})", line.system_id),
            };
            table.row([
                line.action.word(self.dry_run),
                line.first_segment.clone(),
                line.last_segment.clone(),
                line.segments.to_string(),
                format!("{}{of_system}", line.reason),
            ]);
        }
        table
    }
}

impl Report for CleanupReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "cluster {} in {}", self.cluster, self.repository)?;
        let from = self
            .window
            .from
            .map(|from| format!(", from {}", readable(from)));
        let from = from.unwrap_or_default();
        writeln!(
            out,
            "all that can be restored stays of: {}{from}",
            self.window.what
        )?;
        for table in [self.backups(), self.wal(), self.dumps()]
            .into_iter()
            .filter(|table| !table.is_empty())
        {
            writeln!(out)?;
            table.write(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "\nwarning: {warning}")?;
        }
        for UndeletedLine { id, error, hint } in &self.undeleted {
            writeln!(out, "\nERROR: {id} can't be deleted: {error}")?;
            if let Some(hint) = hint {
                writeln!(out, "hint: {hint}")?;
            }
        }
        let DeletedSums {
            backups,
            wal,
            dumps,
        } = &self.deleted;
        let verb = if self.dry_run {
            "would be deleted"
        } else {
            "deleted"
        };
        let of = |what, removed: &Removed| {
            let objects = units::count(removed.objects, "object");
            format!("{objects} of {what} ({})", units::bytes(removed.bytes))
        };
        write!(
            out,
            "\n{verb}: {}, {}",
            of("backups", backups),
            of("WAL", wal)
        )?;
        // Many make none.
        if !self.dumps.is_empty() {
            write!(out, ", {}", of("dumps", dumps))?;
        }
        writeln!(out)
    }

    fn told(&self) -> Told {
        let DeletedSums {
            backups,
            wal,
            dumps,
        } = &self.deleted;
        Told {
            bytes: Some(backups.bytes + wal.bytes + dumps.bytes),
            ..Told::default()
        }
    }

    fn outcome(&self) -> Outcome {
        match (self.undeleted.is_empty(), self.warnings.is_empty()) {
            (false, _) => Outcome::Failed,
            (true, false) => Outcome::Findings,
            (true, true) => Outcome::Done,
        }
    }

    fn failure(&self) -> Option<Error> {
        let told = self.undeleted.iter();
        let told: Vec<String> = told
            .map(|one| format!("{}: {}", one.id, one.error))
            .collect();
        if told.is_empty() {
            return report::found(self.warnings.iter().cloned());
        }
        let count = units::count(told.len() as u64, "backup");
        let hint = self.undeleted.iter().find_map(|one| one.hint.as_deref());
        let mend = hint.unwrap_or("mend what is wrong there.");
        let error = Error::failed(format!("{count} can't be deleted: {}", told.join("; ")));
        Some(error.hint(format!(
            "{mend} All else that should go is gone; run `pgstow cleanup` again."
        )))
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }
}
