//! Brings single tables, or one database, of an earlier moment back: beside what is there now, never in its place.
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
pub mod name;
mod put;
pub mod request;
mod taken;

use std::time::Duration;

use serde::Serialize;

use self::{
    archives::Archives, around::Surroundings, foreign_keys::ForeignKeys, live::Live, put::Put,
    request::Request, taken::Taken,
};
use super::{
    drill::{
        pick::Picked,
        place::{self, Place},
        recovery::{self, Ended},
        scratch_server::{Memory, ScratchServer},
        session,
        stopwatch::Stopwatch,
    },
    restore::{choice::choose, load, target::Target},
};
use crate::{
    error::{Error, Result},
    postgres::{
        client_programs::ClientPrograms,
        lsn::TimelineId,
        programs::{Programs, Search},
        version::Major,
    },
    repo::{
        backup_id::BackupId,
        drill::{Phase, Reached},
        others::Others,
        verified::CheckState,
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
    pub target: Target,
    pub exclusive: bool,
    pub timeline: TimelineId,
    /// Where recovery ended.
    pub reached: Reached,
    /// Of which database it was.
    pub database: String,
    /// `schema.table` of those that were wanted, and their partitions; none: the whole database.
    pub tables: Vec<String>,
    #[serde(flatten)]
    pub put: Put,
    /// Foreign keys between what was wanted and other tables: they are not there.
    pub foreign_keys: ForeignKeys,
    pub warnings: Vec<String>,
    pub finished: Time,
    pub seconds: f64,
    pub phases: Vec<Phase>,
}

pub fn run(around: &Surroundings<'_>, request: &Request) -> Result<Regained> {
    let Surroundings {
        repository,
        cancel,
        meter,
        ..
    } = *around;
    let begun = clock::now();
    meter.begin("planning", 0);
    request.check()?;
    // Hours of work must not end at what can be told now.
    let live = Live::look(around, request)?;
    place::sweep(&request.ground.place)?;
    request.wish.check()?;
    let (system, archive) = load::load(repository, &request.wish, &Others::default())?;
    let picked = Picked {
        choice: choose(&archive, &request.wish)?,
        wish: request.wish.clone(),
    };
    let backup = &picked.choice.backup;
    let major = Major::from_server_version_num(backup.postgres_version)?;
    let programs = request.ground.programs(major)?;
    let needed = picked.needed_bytes(&archive);
    let place = Place::make(&request.ground.place, "this restore", needed)?;

    let watch = Stopwatch::start();
    let ground = &request.ground;
    let (restored, mark) = ground.restore(repository, &picked, &programs, &place, cancel, meter)?;
    let mut phases = vec![watch.stop("restore", Some(restored.plan.backup_bytes))];
    let watch = Stopwatch::start();
    let server = start(
        request,
        &programs,
        &place,
        &restored.plan.target,
        around,
        &picked,
    )?;
    mark.take_back();
    let replayed = picked.choice.reach.segments() * system.segment_size.bytes();
    phases.push(watch.stop_with("replay", Some(replayed), server.cpu()));

    let info = session::superuser(&server.info()?, &ground.users, cancel)?;
    let ended = Ended::ask(&info, cancel)?;
    let judged = recovery::judge(repository, &system, &picked, &ended)?;
    if judged.result == CheckState::Failed {
        return Err(Error::failed(judged.what).hint(
            "nothing was brought back; `pgstow verify --wal` tells what is wrong with the WAL, and an earlier target may do.",
        ));
    }
    let info = taken::of_database(&info, request.what.database(), cancel)?;
    let taken = Taken::take(&info, request, cancel)?;
    taken.check_room(place.folder())?;
    let watch = Stopwatch::start();
    meter.begin("dumping what is wanted", 0);
    let archives = Archives {
        programs: &of_server(&programs, around.search, major)?,
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
    let finished = clock::now();
    let took = (finished - begun).to_std().unwrap_or_default();
    Ok(Regained {
        cluster: repository.layout().cluster().to_string(),
        backup: restored.plan.backup,
        target: restored.plan.target,
        exclusive: restored.plan.exclusive,
        timeline: restored.plan.timeline,
        reached: ended.reached(),
        database: request.what.database().to_owned(),
        tables: taken.names(),
        put,
        foreign_keys: taken.foreign_keys,
        warnings: restored.plan.warnings,
        finished,
        seconds: took.as_secs_f64(),
        phases,
    })
}

fn start(
    request: &Request,
    programs: &Programs,
    place: &Place,
    target: &Target,
    around: &Surroundings<'_>,
    picked: &Picked,
) -> Result<ScratchServer> {
    around.meter.begin("replaying WAL", 0);
    let started = ScratchServer::start(
        programs,
        place,
        &Memory::of(&picked.choice.backup),
        &target.to_string(),
        &request.ground.settings,
        around.cancel,
    )?;
    started.map_err(|words| {
        let mut words = words.into_iter();
        let first = words.next().unwrap_or_default();
        Error::failed(format!(
            "the restored server did not come to {target}: {first}"
        ))
        .because(words.collect::<Vec<_>>().join("\n"))
        .hint("`pgstow restore --plan` tells what is possible, `pgstow find-target` which moments there are.")
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
