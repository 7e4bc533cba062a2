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
mod objects;
pub mod pick;
mod place;
mod recovery;
pub mod request;
mod scratch_server;
mod session;
mod stopwatch;

use std::time::Duration;

use self::{
    pick::{Picked, To},
    place::Place,
    recovery::Ended,
    request::Request,
    scratch_server::{Memory, ScratchServer},
    stopwatch::Stopwatch,
};
use super::{
    logical::validate::statements,
    restore::{
        self,
        archive::Archive,
        load,
        plan::{self, Options},
        request::Request as RestoreRequest,
        tablespaces::{Move, Was},
    },
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        conninfo::ConnInfo,
        programs::{Programs, Search},
        version::Major,
    },
    repo::{
        document::FORMAT,
        drill::{Drill, Drilled},
        read_meter::ReadMeter,
        repository::{Repository, System},
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
const CHECKS: [&str; 13] = [
    PLAN,
    RESTORE,
    "backup_manifest",
    RECOVERY,
    "recovery_point",
    "contents",
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
) -> Result<Outcome> {
    place::sweep(&request.place)?;
    let begun = clock::now();
    meter.begin("planning", 0);
    let (system, archive) = load::load(repository, &pick::latest())?;
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
            checks: Vec::new(),
        },
    };
    let went = run.all();
    cancel.check()?;
    went?;
    Ok(run.finish())
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
        let way = units::count(self.drill.segments, "segment");
        let mut planned = VerifiedCheck::passed(PLAN, format!("{} and {way} of WAL", backup.id));
        planned.details.clone_from(&picked.choice.warnings);
        self.drill.checks.push(planned);
        let major = Major::from_server_version_num(backup.postgres_version)?;
        let programs = Search::of_this_host(self.request.bindir.clone()).find(Some(major))?;
        let place = Place::make(&self.request.place, picked.needed_bytes(self.archive))?;
        self.in_place(&picked, &programs, &place)
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
        let read = ReadMeter::default();
        let repository = self.repository.counted_by(&read);
        let watch = Stopwatch::start();
        let options = self.restore_options(picked, programs, place);
        let now = clock::now();
        // All that happens from here on is about the plan that was made above: it is the same.
        let restored =
            plan::plan(&repository, &options, now, &self.cancel, self.meter).and_then(|plan| {
                restore::run_marked(&repository, &options, plan, now, &self.cancel, self.meter)
            });
        let waited = read.waited() / u32::try_from(self.request.workers.max(1)).unwrap_or(1);
        let (restored, mark) = match restored {
            Ok(restored) => restored,
            Err(error) if self.is_about_the_backup(&error)? => {
                return self.found(RESTORE, &error);
            }
            Err(error) => return Err(error),
        };
        // Both are done at the same time: of each the part that it took.
        let unpacked = restored.plan.backup_bytes;
        self.drill
            .phases
            .extend(watch.split(("fetch", waited, read.bytes()), ("unpack", unpacked)));
        self.pass(
            RESTORE,
            format!(
                "{} in {}",
                units::bytes(unpacked),
                units::duration(Duration::from_secs_f64(restored.seconds.max(0.0)))
            ),
        );
        let result = self.look(picked, programs, place);
        mark.take_back();
        result
    }

    /// All that comes behind the restore.
    fn look(&mut self, picked: &Picked, programs: &Programs, place: &Place) -> Result<()> {
        let (check, phase) = files::manifest(programs, place, &self.cancel, self.meter)?;
        self.drill.checks.push(check);
        self.drill.phases.push(phase);
        let memory = Memory::of(&picked.choice.backup);
        let watch = Stopwatch::start();
        self.meter.begin("replaying WAL", 0);
        let started = ScratchServer::start(
            programs,
            place,
            &memory,
            &self.target_for_sql(picked),
            self.request,
            &self.cancel,
        )?;
        let replayed = self.drill.segments * self.system.segment_size.bytes();
        let server = match started {
            Ok(server) => server,
            Err(words) => {
                self.drill.phases.push(watch.stop("replay", Some(replayed)));
                self.drill
                    .checks
                    .push(VerifiedCheck::of(RECOVERY, words, String::new()));
                return Ok(());
            }
        };
        let phase = watch.stop_with("replay", Some(replayed), server.cpu());
        self.drill.phases.push(phase);
        self.ask(picked, programs, &server)?;
        self.meter.begin("stopping the server", 0);
        server.stop()?;
        let checked = files::checksums(
            programs,
            place,
            picked.choice.backup.data_checksums,
            &self.cancel,
            self.meter,
        )?;
        self.drill.checks.push(checked.0);
        self.drill.phases.extend(checked.1);
        Ok(())
    }

    /// What statements and programs can find out of the server that runs.
    fn ask(&mut self, picked: &Picked, programs: &Programs, server: &ScratchServer) -> Result<()> {
        let info = session::superuser(&server.info()?, &self.request.users, &self.cancel)?;
        let ended = Ended::ask(&info, &self.cancel)?;
        self.drill.reached = Some(ended.reached());
        let recovery = recovery::judge(self.repository, self.system, picked, &ended)?;
        self.drill.checks.push(recovery);
        let target = picked.target_time().unwrap_or(self.begun);
        let point = ended.point(target, self.request.recovery_point);
        self.drill.checks.push(point);
        let watch = Stopwatch::start();
        self.meter.begin("looking at objects", 0);
        let (mut objects, drilled) = objects::look(&info, &self.cancel)?;
        let earlier = compare::earlier(self.repository, &self.drill)?;
        objects.insert(0, compare::judge(earlier.as_ref(), &drilled));
        if let Some(unreadable) = drilled.unreadable() {
            objects[0] = unreadable;
        }
        self.drilled = Some(drilled.held);
        self.drill.checks.extend(objects);
        self.drill.phases.push(watch.stop("objects", None));
        let checked = amcheck::look(
            &info,
            programs,
            self.request.amcheck_limit,
            self.request.workers,
            &self.cancel,
            self.meter,
        )?;
        self.drill.checks.push(checked.0);
        self.drill.phases.extend(checked.1);
        self.statements(&info)
    }

    fn statements(&mut self, info: &ConnInfo) -> Result<()> {
        if self.request.sql.is_empty() {
            let skipped = VerifiedCheck::skipped("sql", "drill.sql has no statement");
            self.drill.checks.push(skipped);
            return Ok(());
        }
        let watch = Stopwatch::start();
        self.meter.begin("asking the statements of drill.sql", 0);
        let info = info.clone().with_database(&self.request.database);
        let check = match statements::check(&info, &self.request.sql, &self.cancel) {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => Some(VerifiedCheck::failed("sql", error.in_one_line())),
            Ok(check) => check,
        };
        self.drill.checks.extend(check);
        self.drill.phases.push(watch.stop("sql", None));
        Ok(())
    }

    /// What `pgstow.target` says to statements.
    fn target_for_sql(&self, picked: &Picked) -> String {
        clock::readable(picked.target_time().unwrap_or(self.begun))
    }

    fn restore_options(&self, picked: &Picked, programs: &Programs, place: &Place) -> Options {
        let request = self.request;
        let spaces = picked.choice.backup.tablespaces.iter();
        let outside = spaces.filter(|space| !space.in_place);
        let tablespaces = outside.map(|space| Move {
            was: Was::Oid(space.oid),
            to: place.tablespace(space.oid),
        });
        Options {
            request: RestoreRequest {
                wish: picked.wish.clone(),
                data_dir: Some(place.data_dir()),
                replace: false,
                delta: None,
                tablespaces: tablespaces.collect(),
                // For good: it never writes among the original's files.
                archive: Some(false),
                offline: false,
                prove: false,
                workers: request.workers,
                bindir: Some(programs.bindir().to_owned()),
            },
            own_data_dir: None,
            notes: None,
            received: None,
            wal_command: place.with_own_state(&request.wal_command),
            archive_command: Vec::new(),
            done_command: place.with_own_state(&request.done_command),
        }
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
