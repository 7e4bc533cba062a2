//! Brings single tables, views and sequences, or one database, of an earlier moment back: beside what is there now, never in its place.
//!
//! The order, and what a crash leaves behind each step:
//! 1. where it is to go is looked at, and the room (nothing);
//! 2. the backup is restored into a scratch folder, and a server of our own goes to the target (the folder: the next
//!    drill or run of this kind removes it);
//! 3. what is wanted is dumped from there, and that server is stopped (the same);
//! 4. it goes into a new database, which gets its name when all is in it (a database under a passing name, which the
//!    next restore drops), or into one that is there, in one transaction (nothing), or into a file, which gets its name
//!    at the end (a file under a passing name).

mod archives;
pub mod around;
mod foreign_keys;
mod live;
pub mod moment;
pub mod name;
mod parents;
mod part;
pub mod plan;
mod put;
pub mod request;
mod taken;

use std::time::Duration;

use serde::Serialize;

use self::{
    archives::Archives,
    around::Surroundings,
    foreign_keys::ForeignKeys,
    live::Live,
    moment::{Moment, Way},
    put::Put,
    taken::Taken,
};
use super::{drill::place, restore::target::Target};
use crate::{
    error::Result,
    postgres::{
        client_programs::ClientPrograms,
        lsn::TimelineId,
        programs::{Programs, Search},
        version::Major,
    },
    repo::{
        backup_id::BackupId,
        drill::{Phase, Reached},
        stopwatch::Stopwatch,
    },
    util::{
        clock::{self, Time},
        units,
    },
};

/// What was brought back.
#[derive(Debug, Serialize)]
pub struct Regained {
    pub cluster: String,
    pub backup: BackupId,
    pub backup_bytes: u64,
    /// What of it was written into the scratch folder: other databases are left out where that is possible.
    pub restored_bytes: u64,
    pub target: Target,
    pub exclusive: bool,
    pub timeline: TimelineId,
    /// Where recovery ended.
    pub reached: Reached,
    /// Of which database it was.
    pub database: String,
    /// `schema.table` of those that were wanted, views and sequences among them, and their partitions; none: the whole database.
    pub tables: Vec<String>,
    #[serde(flatten)]
    pub put: Put,
    /// Foreign keys between what was wanted and other tables: they are not there.
    pub foreign_keys: ForeignKeys,
    /// Statements that put it again where it belongs to other tables, as a partition or by inheritance: it is not there.
    pub parents: Vec<String>,
    pub warnings: Vec<String>,
    pub finished: Time,
    pub seconds: f64,
    pub phases: Vec<Phase>,
}

pub fn run(mut way: Way<'_>) -> Result<Regained> {
    let around = way.around;
    let Surroundings { cancel, meter, .. } = *around;
    // Hours of work must not end at what can be told now.
    let live = Live::look(around, &way.request)?;
    place::sweep(&way.request.ground.place)?;
    let Moment {
        server,
        place,
        plan,
        info,
        ended,
        mut phases,
    } = way.go()?;
    let (request, programs, major) = (&way.request, &way.programs, way.major);
    let info = taken::of_database(&info, request.what.database(), cancel)?;
    let taken = Taken::take(&info, request, cancel)?;
    taken.check_room(place.folder())?;
    let watch = Stopwatch::start();
    meter.begin("dumping what is wanted", 0);
    let archives = Archives {
        programs: &of_server(programs, around.search, major)?,
        info: &info,
        folder: place.folder(),
        cancel,
    };
    let made = archives.make(request, &taken, live.as_ref())?;
    phases.push(watch.stop("dump", Some(taken.bytes)));
    meter.begin("stopping the server", 0);
    // Its files aren't needed any more.
    server.stop()?;

    let watch = Stopwatch::start();
    meter.begin("bringing it back", 0);
    let put = put::put(around, request, live.as_ref(), &made, major)?;
    phases.push(watch.stop("load", None));
    let mut warnings = plan.warnings;
    warnings.extend(taken.warnings());
    let finished = clock::now();
    let took = (finished - way.begun).to_std().unwrap_or_default();
    Ok(Regained {
        cluster: way.repository.layout().cluster().to_string(),
        backup: plan.backup,
        backup_bytes: plan.backup_bytes,
        restored_bytes: way.picked.bytes(),
        target: plan.target,
        exclusive: plan.exclusive,
        timeline: plan.timeline,
        reached: ended.reached(),
        database: request.what.database().to_owned(),
        tables: taken.names(),
        put,
        foreign_keys: taken.foreign_keys,
        parents: taken.parents,
        warnings,
        finished,
        seconds: took.as_secs_f64(),
        phases,
    })
}

/// pg_dump of the server's own installation, where that has one.
fn of_server(programs: &Programs, search: &Search, major: Major) -> Result<ClientPrograms> {
    ClientPrograms::at(programs.bindir()).or_else(|_| ClientPrograms::find(search, major))
}

impl Regained {
    /// For people.
    pub fn took(&self) -> String {
        units::duration(Duration::from_secs_f64(self.seconds.max(0.0)))
    }
}
