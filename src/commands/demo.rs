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
    domain::demo::{self, Event, Shown, Step},
    error::{IoContext, Result},
    postgres::{programs::Search, server},
    util::{cancel::Cancel, clock::readable, meter::Meter, units},
};

#[derive(Debug, Serialize)]
pub struct DemoReport {
    #[serde(flatten)]
    shown: Shown,
    /// The steps have been told already.
    #[serde(skip)]
    told: bool,
}

/// Prints a part of the report.
pub type Tell<'a> = &'a dyn Fn(&[u8]);

/// With `tell`, each step is told when it ends, and the report has only the rest.
pub fn run(
    options: DemoOptions,
    tell: Option<Tell<'_>>,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<DemoReport> {
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
    let tell_event = |event: Event<'_>| {
        let Some(tell) = tell else { return };
        let mut text = Vec::new();
        let written = match event {
            Event::Begun { programs, folder } => {
                let major = programs.major().number();
                write_head(&mut text, major, programs.bindir(), folder)
            }
            Event::Ended {
                number,
                step,
                folder,
            } => write_step(&mut text, number, step, folder),
        };
        if written.is_ok() {
            tell(&text);
        }
    };
    let shown = demo::run(&programs, options.keep, &tell_event, cancel, meter)?;
    Ok(DemoReport {
        shown,
        told: tell.is_some(),
    })
}

impl Report for DemoReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let shown = &self.shown;
        if !self.told {
            write_head(out, shown.postgres_major, &shown.bindir, &shown.folder)?;
            for (number, step) in shown.steps.iter().enumerate() {
                write_step(out, number + 1, step, &shown.folder)?;
            }
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

fn write_head(out: &mut dyn Write, major: u32, bindir: &Path, folder: &Path) -> io::Result<()> {
    let (bindir, folder) = (bindir.display(), folder.display());
    writeln!(
        out,
        "pgstow demo on PostgreSQL {major} ({bindir}), in {folder}, called DEMO below"
    )
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
