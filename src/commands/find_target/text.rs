//! What `find-target` prints for people: losses first, then how much happened when, then the rest.

use std::io::{self, Write};

use super::{
    FindTargetReport,
    told::{held_open, line},
};
use crate::{
    commands::{
        report::{Outcome, Report},
        table::printable,
    },
    domain::{
        history::{
            chart::{Counts, Step},
            event::{Event, What},
        },
        restore::recovery::shell_word,
    },
    util::{clock::readable, units},
};

/// More lines of one kind would hide the others.
const LINES: usize = 200;

/// How long the longest bar of the time line is.
const BAR: u64 = 30;

impl Report for FindTargetReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let (losses, rest): (Vec<&Event>, Vec<&Event>) =
            self.history.events.iter().partition(|event| is_loss(event));
        self.head(out)?;
        self.list(out, "LOST", &losses)?;
        self.time_line(out, &losses)?;
        let rest: Vec<&Event> = rest
            .into_iter()
            .filter(|event| self.is_shown(event))
            .collect();
        self.list(out, "also", &rest)?;
        self.tail(out, losses.len(), rest.len())
    }

    fn outcome(&self) -> Outcome {
        self.how_it_went()
    }
}

fn is_loss(event: &Event) -> bool {
    matches!(&event.what, What::Transaction(one) if one.loss)
}

impl FindTargetReport {
    /// There is a checkpoint every few minutes.
    fn is_shown(&self, event: &Event) -> bool {
        self.in_full || !matches!(event.what, What::Checkpoint)
    }

    fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        let history = &self.history;
        writeln!(
            out,
            "{} to {} on timeline {}",
            readable(history.since),
            readable(history.until),
            history.timeline
        )?;
        match (&history.first_segment, &history.last_segment) {
            (Some(first), Some(last)) => writeln!(
                out,
                "{} of WAL, {first} to {last}: {}",
                units::count(history.segments as u64, "segment"),
                counts(&history.chart.sum)
            )?,
            _ => writeln!(out, "the repository has no WAL of that time")?,
        }
        if history.received > 0 {
            writeln!(
                out,
                "{} of it are not in the repository yet: receive-wal has them on this host, and a restore here uses them.",
                history.received
            )?;
        }
        if let Some(live) = &history.live {
            writeln!(
                out,
                "{} is in the repository as far as pieces of it go, to {}: a restore uses them, too.",
                live.segment, live.upto
            )?;
        }
        if let Some(begins) = history.begins {
            writeln!(
                out,
                "The WAL in the repository begins with a transaction that ended at {}: what came before is not known.",
                readable(begins)
            )?;
        }
        const LATER: &str = "For what came later, have the server archive its WAL (SELECT pg_switch_wal()), and look again.";
        match history.ends {
            Some(ends) => writeln!(
                out,
                "The WAL in the repository ends with a transaction that ended at {}. {LATER}",
                readable(ends)
            )?,
            None if !history.reached => writeln!(
                out,
                "The WAL in the repository ends without a transaction that tells the time. {LATER}"
            )?,
            None => {}
        }
        match history.unread() {
            0 => {}
            unread => writeln!(
                out,
                "Some of this time is not known: {} below.",
                match unread {
                    1 => "WAL that could not be read stands".to_owned(),
                    _ => format!("{unread} stretches of WAL that could not be read stand"),
                }
            )?,
        }
        for warning in &history.warnings {
            writeln!(out, "{}", printable(warning.clone()))?;
        }
        Ok(())
    }

    fn list(&self, out: &mut dyn Write, title: &str, events: &[&Event]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title}:")?;
        for event in events.iter().take(LINES) {
            let time = event
                .time
                .map_or("at a time that is not known".to_owned(), readable);
            writeln!(out, "{time}  {}", printable(line(event)))?;
            match (&event.restore, &event.no_restore) {
                (Some(words), _) => {
                    let words: Vec<String> = self
                        .call
                        .iter()
                        .chain(words)
                        .map(|word| shell_word(word))
                        .collect();
                    writeln!(out, "    before it: {}", words.join(" "))?;
                    if !event.prepared.is_empty() {
                        writeln!(out, "    {}", printable(held_open(&event.prepared)))?;
                    }
                }
                (None, why) => writeln!(
                    out,
                    "    no restore to before it: {}",
                    printable(why.clone().unwrap_or_default())
                )?,
            }
        }
        match events.len().checked_sub(LINES) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(out, "... and {more} more: take a shorter time, or --json"),
        }
    }

    fn time_line(&self, out: &mut dyn Write, losses: &[&Event]) -> io::Result<()> {
        let chart = &self.history.chart;
        let total = |step: &Step| step.counts.commits + step.counts.aborts;
        let most = chart.steps.iter().map(total).max().unwrap_or_default();
        if most == 0 {
            return Ok(());
        }
        let length = chart.step.to_std().unwrap_or_default();
        writeln!(
            out,
            "\ntime line, a line for each {}:",
            units::duration(length)
        )?;
        for (number, step) in chart.steps.iter().enumerate() {
            let bar = "#".repeat((total(step) * BAR).div_ceil(most) as usize);
            let here =
                |event: &&&Event| event.time.and_then(|time| chart.step_at(time)) == Some(number);
            let lost = match losses.iter().filter(here).count() {
                0 => String::new(),
                lost => format!("  < {lost} LOST"),
            };
            let row = format!(
                "{}  {bar:<width$}  {}{lost}",
                step.from.format("%m-%d %H:%M:%S"),
                counts(&step.counts),
                width = BAR as usize
            );
            writeln!(out, "{}", row.trim_end())?;
        }
        Ok(())
    }

    fn tail(&self, out: &mut dyn Write, losses: usize, others: usize) -> io::Result<()> {
        let history = &self.history;
        if history.left_out > 0 {
            writeln!(
                out,
                "\n{} could not be kept: take a shorter time, or name a table",
                units::count(history.left_out, "more event")
            )?;
        }
        if losses == 0 && self.xid.is_none() {
            let is_whole = history.reached && history.begins.is_none() && !history.has_gaps();
            let known = match is_whole {
                true => "",
                false => "as far as is known, ",
            };
            match &self.table {
                Some(table) => writeln!(
                    out,
                    "\n{known}{} was not dropped or truncated, and nothing in it deleted or updated in large numbers",
                    printable(table.to_string())
                )?,
                None => writeln!(
                    out,
                    "\n{known}no table was dropped or truncated, and nothing deleted or updated in large numbers: --table NAME or --all tell more"
                )?,
            }
        }
        if losses + others == 0 {
            return Ok(());
        }
        if !history.named_by.is_empty() {
            writeln!(out, "\nnames of relations: {}", history.named_by.join(", "))?;
        }
        writeln!(
            out,
            "With --plan behind it, a restore only says what it would do; with --data-dir DIR it restores beside the live server, \
             with --table DATABASE.SCHEMA.TABLE --to-database NAME it brings that table alone back into it."
        )
    }
}

/// `12 commits, 1 abort, 3 rows deleted, 4 updated`.
fn counts(counts: &Counts) -> String {
    let mut text = units::count(counts.commits, "commit");
    if counts.aborts > 0 {
        text += &format!(", {}", units::count(counts.aborts, "abort"));
    }
    for (count, what) in [
        (counts.rows.deleted, "deleted"),
        (counts.rows.updated, "updated"),
    ] {
        if count > 0 {
            text += &format!(", {} {what}", units::count(count, "row"));
        }
    }
    text
}
