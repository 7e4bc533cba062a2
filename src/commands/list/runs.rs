//! `pgstow list --runs`: what ran on this host, and how it ended.

use std::io::{self, Write};

use serde::Serialize;

use super::super::{
    context::Context,
    report::Report,
    table::{Align, Table},
};
use crate::{
    domain::monitor::runs::{self, Run},
    error::Result,
    util::{clock::readable, units},
};

#[derive(Debug, Serialize)]
pub struct RunsReport {
    cluster: String,
    runs: Vec<Run>,
}

pub fn run(context: &Context) -> Result<RunsReport> {
    Ok(RunsReport {
        cluster: context.settings.cluster.name.to_string(),
        runs: runs::read(&context.settings.state_folder())?,
    })
}

impl Report for RunsReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.runs.is_empty() {
            return writeln!(out, "no run of cluster {} is noted here", self.cluster);
        }
        let mut table = Table::new(&[
            ("job", Align::Left),
            ("repository", Align::Left),
            ("begun", Align::Left),
            ("took", Align::Right),
            ("state", Align::Left),
            ("exit", Align::Right),
            ("bytes", Align::Right),
            ("", Align::Left),
        ]);
        for run in &self.runs {
            let backup = run.told.backup.map(|id| id.to_string());
            let shown = |count: u64| units::bytes(count);
            table.row([
                run.job.clone(),
                run.repository.clone(),
                readable(run.begun),
                run.duration().map(units::duration).unwrap_or_default(),
                run.state.word().to_owned(),
                run.exit_code
                    .map(|code| code.to_string())
                    .unwrap_or_default(),
                run.told.bytes.map(shown).unwrap_or_default(),
                run.error.clone().or(backup).unwrap_or_default(),
            ]);
        }
        table.write(out)
    }
}
