//! `pgstow receive-wal`: streams WAL through a replication slot, until it is stopped.

use std::io::{self, Write};

use serde::Serialize;

use super::{archive_wal, context::Context, options::ReceiveWalOptions, report::Report};
use crate::{
    domain::wal::receive::{FOLDER, Received, Receiver},
    error::Result,
    postgres::lsn::{Lsn, TimelineId},
};

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReceiveWalReport {
    Slot {
        slot: String,
        /// It was not there before.
        made: bool,
    },
    Stopped {
        /// None: nothing came.
        timeline: Option<TimelineId>,
        /// The byte behind the last that is safe on this host.
        lsn: Option<Lsn>,
        /// Whole ones that were received.
        segments: u64,
        /// Of them, and of those of before, those that not all repositories have.
        waiting: usize,
    },
}

impl Report for ReceiveWalReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Slot { slot, made: true } => writeln!(
                out,
                "replication slot {slot} is made: from now on the server keeps its WAL until `pgstow receive-wal` has it"
            ),
            Self::Slot { slot, made: false } => {
                writeln!(out, "replication slot {slot} was there already")
            }
            Self::Stopped {
                timeline: Some(timeline),
                lsn: Some(lsn),
                segments,
                waiting,
            } => writeln!(
                out,
                "received to {lsn} on timeline {timeline}: {segments} whole segments, of all that is here {waiting} wait for a repository"
            ),
            Self::Stopped { .. } => writeln!(out, "nothing was received"),
        }
    }
}

pub fn run(context: &Context, options: &ReceiveWalOptions) -> Result<ReceiveWalReport> {
    let settings = &context.settings;
    // Refuses where none is set.
    settings.repo()?;
    let mut server = settings.cluster.connection.resolve()?;
    // What synchronous_standby_names calls it.
    server.application_name.clone_from(&options.slot);
    let receiver = Receiver {
        server,
        slot: &options.slot,
        folder: settings.state_folder().join(FOLDER),
        cluster: &settings.cluster.name,
        stores: archive_wal::stores(settings),
        live: options.live,
        cancel: &context.cancel,
        meter: &context.meter,
    };
    if options.create_slot {
        return Ok(ReceiveWalReport::Slot {
            slot: options.slot.clone(),
            made: receiver.make_slot()?,
        });
    }
    let Received {
        upto,
        segments,
        waiting,
    } = receiver.run()?;
    Ok(ReceiveWalReport::Stopped {
        timeline: upto.map(|(timeline, _)| timeline),
        lsn: upto.map(|(_, lsn)| lsn),
        segments,
        waiting,
    })
}
