//! `pgstow demo`: shows a backup and a point-in-time restore, and proves them on the rows.

use std::{
    env, io,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{options::DemoOptions, report::Report};
use crate::{
    domain::demo::{self, Shown, Step},
    error::{IoContext, Result},
    postgres::{programs::Search, server},
    util::{cancel::Cancel, clock::readable, meter::Meter, units},
};

#[derive(Debug, Serialize)]
pub struct DemoReport(Shown);

pub fn run(options: DemoOptions, cancel: &Cancel, meter: &Meter) -> Result<DemoReport> {
    if let Some(account) = server::unprivileged_account()? {
        // PostgreSQL refuses root, and nothing here needs it.
        return Err(account.take_over());
    }
    let bindir: Option<PathBuf> = options
        .bindir
        .map(std::path::absolute)
        .transpose()
        .at("find", "--bindir")?;
    // Whoever began as root may stand in a folder that is closed now, which some programs mind.
    env::set_current_dir("/").at("enter", "/")?;
    let programs = Search::of_this_host(bindir).find(None)?;
    demo::run(&programs, options.keep, cancel, meter).map(DemoReport)
}

impl Report for DemoReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let shown = &self.0;
        writeln!(
            out,
            "pgstow demo on PostgreSQL {} ({}), in {}, called DEMO below",
            shown.postgres_major,
            shown.bindir.display(),
            shown.folder.display()
        )?;
        for (number, step) in shown.steps.iter().enumerate() {
            write_step(out, number + 1, step, &shown.folder)?;
        }
        writeln!(out)?;
        if shown.kept {
            writeln!(
                out,
                "Kept, with its servers stopped: {}",
                shown.folder.display()
            )?;
        }
        writeln!(
            out,
            "It worked: all {} orders of {} are back, in {} from nothing.",
            shown.restored.orders.rows,
            readable(shown.target),
            took(shown.seconds)
        )
    }
}

fn write_step(out: &mut dyn Write, number: usize, step: &Step, folder: &Path) -> io::Result<()> {
    // The folder's name says nothing in a command that somebody would type elsewhere.
    let short = |text: &str| text.replace(&*folder.to_string_lossy(), "DEMO");
    writeln!(out, "\n{number}. {} ({})", step.title, took(step.seconds))?;
    writeln!(out, "   $ {}", short(&step.command))?;
    for note in &step.notes {
        writeln!(out, "   {}", short(note))?;
    }
    Ok(())
}

fn took(seconds: f64) -> String {
    units::duration(Duration::from_secs_f64(seconds))
}
