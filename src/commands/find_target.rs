//! `pgstow find-target`: what happened around a time, and how to get back to before it.

mod text;
mod told;

use serde::Serialize;

use super::{context::Context, nearest::Reached, options::FindTargetOptions, report::Outcome};
use crate::{
    domain::{
        history::{
            self, History,
            event::{Event, What},
            names::TableName,
        },
        wal::receive,
    },
    error::Result,
};

#[derive(Debug, Serialize)]
pub struct FindTargetReport {
    repository: String,
    cluster: String,
    /// What is to be typed before each event's `restore`.
    call: Vec<String>,
    #[serde(flatten)]
    history: History,
    /// Transactions that did no harm are told one by one.
    #[serde(skip)]
    in_full: bool,
    /// What was asked for: of all else nothing is known.
    #[serde(skip)]
    table: Option<TableName>,
    #[serde(skip)]
    xid: Option<u32>,
}

pub fn run(context: &Context, options: FindTargetOptions) -> Result<FindTargetReport> {
    let FindTargetOptions {
        mut request,
        from,
        call,
    } = options;
    let state = context.settings.state_folder();
    request.received = Some(state.join(receive::FOLDER));
    let is_named = request.timeline.is_named();
    let reached = |(_, history): &(String, History)| {
        let end = history.wal_end.filter(|_| !history.reached)?;
        Some(Reached {
            system: history.system_id,
            end,
            is_named,
        })
    };
    let (repository, mut history) =
        context.read_furthest(&from, reached, |repository, _, others, _| {
            let (cancel, meter) = (&context.cancel, &context.meter);
            let info = context.settings.cluster.connection.resolve();
            let history = history::look(repository, &others, &request, info, cancel, meter)?;
            Ok((repository.location().to_string(), history))
        })?;
    let is_transaction = |event: &Event| matches!(event.what, What::Transaction(_));
    if let Some(xid) = request.xid
        && !history.events.iter().any(is_transaction)
    {
        history.warnings.push(format!(
            "transaction {xid} did not end in the WAL that was read of that time: it ended before or behind it, or not at all"
        ));
    }
    Ok(FindTargetReport {
        repository,
        cluster: context.settings.cluster.name.to_string(),
        call,
        history,
        in_full: request.all,
        table: request.table,
        xid: request.xid,
    })
}

impl FindTargetReport {
    /// What happened in a time that could not be read nobody knows.
    fn how_it_went(&self) -> Outcome {
        match self.history.has_gaps() {
            true => Outcome::Findings,
            false => Outcome::Done,
        }
    }
}
