//! When `monitor` last saw the server with `wal_level = minimal`: in the state folder as `minimal.json`, and in the
//! repositories, which may be away meanwhile.
//!
//! Recovery from an archive ends where such WAL begins (CheckRequiredParameterValues in
//! `src/backend/access/transam/xlogrecovery.c`), and once the setting is right again nothing but a record
//! in the WAL tells of it. A spell between two looks is left to `verify --wal`, which reads all records.

use std::{path::Path, time::Instant};

use serde::{Deserialize, Serialize};

use super::{super::state_file, server::Server};
use crate::{
    domain::setup::stored::Stored,
    error::{Error, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    repo::repository::Repository,
    util::{
        cancel::Cancel,
        clock::{self, Time, readable},
        fs::read_if_there,
    },
};

const FILE: &str = "minimal.json";

/// Where and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spell {
    pub system_id: SystemId,
    pub timeline: TimelineId,
    /// What is behind it may be replayed, from a backup that begins there.
    pub position: Lsn,
    pub time: Time,
}

impl Spell {
    /// What the server shows now, if it is that. A standby writes what its primary's setting says.
    pub fn seen(server: &Server) -> Option<Self> {
        let facts = &server.facts.server;
        (facts.wal_level == "minimal" && !facts.standby).then(|| Self {
            system_id: facts.system_id,
            timeline: server.timeline,
            position: server.position,
            time: clock::now(),
        })
    }

    pub fn read(state: &Path) -> Result<Option<Self>> {
        let json = read_if_there(&state.join(FILE))?;
        json.map(|json| Self::parse(&json)).transpose()
    }

    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|error| {
            Error::damaged(format!("{FILE} of the state folder is damaged"))
                .because(error)
                .hint("it said when wal_level was minimal: take a backup, then remove it.")
        })
    }

    /// Leaves a note of it. Without one the next run that sees it tries again.
    pub fn note(&self, state: &Path, until: Instant, cancel: &Cancel) -> Result<()> {
        state_file::note(state, FILE, "wal_level", self.clone(), until, cancel)
    }

    /// Leaves a note of it in the repository, too, once for each spell: the state folder may be lost, and other hosts
    /// have another. Who may only read there does without.
    pub fn tell(&self, repository: &Repository, stored: &Stored) {
        let archive = &stored.archive;
        let is_open = |timeline, at| archive.behind_minimal(timeline, at).next().is_none();
        let mut known = archive.wal.minimal().iter();
        if self.system_id != stored.system.system_id
            || !is_open(self.timeline, self.position)
            || known.any(|(timeline, at)| is_open(*timeline, *at))
        {
            return;
        }
        let noted = repository.add_minimal(self.system_id, self.timeline, self.position);
        if let Err(error) = noted {
            let error = error.in_one_line();
            tracing::debug!("no note of wal_level is left in {}: {error}", stored.name);
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        format!(
            "wal_level was minimal at {}, LSN {}: nothing behind that can be restored before the next backup",
            readable(self.time),
            self.position
        )
    }
}
