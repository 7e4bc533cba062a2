//! Restore drills: a backup is restored for real into a scratch folder, its server started and brought to the
//! target, and looked at from all sides.
//!
//! The order, and what a crash leaves behind each step:
//! 1. what earlier drills left is removed, the way and the room are looked at (nothing);
//! 2. the backup is restored into a folder of this drill (the folder, and a mark in the repository that counts for a
//!    while: the next drill removes the folder, a cleanup the mark);
//! 3. a server of its own replays the WAL, never archives and is reached by its socket alone (the same: the server
//!    ends with this process);
//! 4. checks; the server is stopped, the folder and the mark go;
//! 5. the report is filed.
//!
//! What is wrong with what is stored is a finding, in the report; an error is what hinders a drill on this host.

mod amcheck;
mod compare;
mod files;
pub mod ground;
mod here;
mod living;
mod log;
mod looks;
mod objects;
pub mod pick;
pub mod place;
pub mod recovery;
pub mod request;
pub mod scratch_server;
pub mod session;

use std::time::Duration;

use self::{
    pick::{Picked, To},
    place::Place,
    request::Request,
};
use super::restore::{
    archive::Archive,
    forecast::{Load, forecast},
    load,
    target::Wish,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{programs::Programs, version::Major},
    repo::{
        document::FORMAT,
        drill::{Drill, Drilled},
        others::Others,
        repository::{Repository, System},
        stopwatch::Stopwatch,
        verified::VerifiedCheck,
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
        host,
        meter::Meter,
        units,
    },
};

/// All checks, in the order of a report.
const CHECKS: [&str; 14] = [
    PLAN,
    RESTORE,
    "backup_manifest",
    RECOVERY,
    "recovery_point",
    "contents",
    living::NAME,
    "indexes",
    "foreign_keys",
    "sequences",
    "extensions",
    "amcheck",
    "sql",
    "checksums",
];
const PLAN: &str = "plan";
const RESTORE: &str = "restore";
const RECOVERY: &str = "recovery";

#[derive(Debug)]
pub enum Went {
    Drilled(Box<Outcome>),
    /// On this host nothing can be proven: why.
    NotHere(String),
}

/// What a drill found.
#[derive(Debug)]
pub struct Outcome {
    pub drill: Drill,
    /// What the databases held, where that was seen.
    pub drilled: Option<Drilled>,
}

/// Does all but file the report.
pub fn run(
    repository: &Repository,
    request: &Request,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Went> {
    place::sweep(&request.ground.place)?;
    let begun = clock::now();
    meter.begin("planning", 0);
    let (system, archive) =
        match load::load(repository, &Wish::latest(), &Others::default(), cancel) {
            Ok(loaded) => loaded,
            Err(error) => return here::without_backups(repository, error).map(Went::NotHere),
        };
    if let Some(why) = here::without_identity(repository, &system, &archive) {
        return Ok(Went::NotHere(why));
    }
    let mut run = Run {
        repository,
        request,
        system: &system,
        archive: &archive,
        // A worker that fails stops its part alone.
        cancel: cancel.part(),
        meter,
        begun,
        drilled: None,
        drill: Drill {
            format: FORMAT,
            time: begun,
            finished: begun,
            host: host::name(),
            pgstow_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: repository.layout().cluster().to_string(),
            system_id: system.system_id,
            postgres_version: 0,
            backup: None,
            chain_length: 0,
            timeline: None,
            target: request.to.to_string(),
            good: false,
            reached: None,
            segments: 0,
            seconds: 0.0,
            phases: Vec::new(),
            forecast: None,
            checks: Vec::new(),
        },
    };
    let went = run.all();
    cancel.check()?;
    went?;
    Ok(Went::Drilled(Box::new(run.finish())))
}

struct Run<'a> {
    repository: &'a Repository,
    request: &'a Request,
    system: &'a System,
    archive: &'a Archive,
    cancel: Cancel,
    meter: &'a Meter,
    begun: Time,
    drill: Drill,
    drilled: Option<Drilled>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        let picked = match pick::pick(self.archive, &self.request.to) {
            Ok(picked) => picked,
            // Who names a time may have named a wrong one.
            Err(error) if matches!(self.request.to, To::Time(_)) => return Err(error),
            Err(error) => return self.found(PLAN, &error),
        };
        let backup = &picked.choice.backup;
        self.drill.backup = Some(backup.id);
        self.drill.postgres_version = backup.postgres_version;
        self.drill.timeline = Some(picked.choice.timeline);
        self.drill.target = picked.wish.target.to_string();
        self.drill.chain_length = self.chain_length(&picked);
        self.drill.segments = picked.choice.reach.segments();
        let load = Load::of(self.archive, &picked.choice);
        let drills = self.repository.drills()?;
        self.drill.forecast = forecast(&drills, &self.request.restores, &self.drill.host, load);
        let way = units::count(self.drill.segments, "segment");
        let mut planned = VerifiedCheck::passed(PLAN, format!("{} and {way} of WAL", backup.id));
        planned.details.clone_from(&picked.choice.warnings);
        self.drill.checks.push(planned);
        let major = Major::from_server_version_num(backup.postgres_version)?;
        let programs = self.request.ground.programs(major)?;
        let place = Place::make(
            &self.request.ground.place,
            "a drill",
            picked.needed_bytes(self.archive),
        )?;
        self.in_place(&picked, &programs, &place)?;
        let watch = Stopwatch::start();
        self.meter.begin("removing the scratch folder", 0);
        drop(place);
        self.drill.phases.push(watch.stop("removal", None));
        Ok(())
    }

    fn chain_length(&self, picked: &Picked) -> u64 {
        let mut length = 1;
        let mut parent = picked.choice.backup.parent;
        while let Some(id) = parent {
            length += 1;
            let below = self.archive.backups.iter().find(|one| one.id == id);
            parent = below.and_then(|below| below.parent);
        }
        length
    }

    fn in_place(&mut self, picked: &Picked, programs: &Programs, place: &Place) -> Result<()> {
        let ground = &self.request.ground;
        let restored = ground.restore(
            self.repository,
            picked,
            programs,
            place,
            &self.cancel,
            self.meter,
        );
        let (restored, mark) = match restored {
            Ok(restored) => restored,
            Err(error) if self.is_about_the_backup(&error)? => {
                return self.found(RESTORE, &error);
            }
            Err(error) => return Err(error),
        };
        let unpacked = restored.plan.backup_bytes;
        self.drill.phases.extend(restored.phases.iter().cloned());
        self.pass(
            RESTORE,
            format!(
                "{} in {}",
                units::bytes(unpacked),
                units::duration(Duration::from_secs_f64(restored.seconds.max(0.0)))
            ),
        );
        let result = self.look(picked, programs, place, &restored.plan.warnings);
        mark.take_back();
        result
    }

    /// Whether an error tells that something stored is damaged or gone; an error where the whole repository is.
    fn is_about_the_backup(&self, error: &Error) -> Result<bool> {
        match error.kind() {
            Kind::Damaged => Ok(true),
            Kind::NotFound => self.repository.confirm().map(|()| true),
            _ => Ok(false),
        }
    }

    fn pass(&mut self, check: &str, what: String) {
        self.drill.checks.push(VerifiedCheck::passed(check, what));
    }

    fn found(&mut self, check: &str, error: &Error) -> Result<()> {
        let failed = VerifiedCheck::failed(check, error.in_one_line());
        self.drill.checks.push(failed);
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        let drill = &mut self.drill;
        for name in CHECKS {
            if !drill.checks.iter().any(|check| check.name == name) {
                let skipped = VerifiedCheck::skipped(name, "it did not come to that");
                drill.checks.push(skipped);
            }
        }
        let place = |check: &VerifiedCheck| CHECKS.iter().position(|name| *name == check.name);
        drill.checks.sort_by_key(place);
        drill.good = drill.findings() == 0 && drill.reached.is_some();
        drill.finished = clock::now();
        drill.seconds = (drill.finished - drill.time)
            .to_std()
            .unwrap_or_default()
            .as_secs_f64();
        Outcome {
            drill: self.drill,
            drilled: self.drilled,
        }
    }
}
