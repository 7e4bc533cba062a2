//! The moment of which something is brought back: the backup in a scratch folder, and a server of our own that has come
//! to the target there.

use tracing::info;

use super::{around::Surroundings, part, request::Request};
use crate::{
    domain::{
        drill::{
            pick::Picked,
            place::Place,
            recovery::{self, Ended},
            scratch_server::{Memory, ScratchServer},
            session,
        },
        restore::{
            archive::Archive, choice::choose, load, plan::Plan, sources::Sources, target::Target,
        },
    },
    error::{Error, Result},
    postgres::{
        connection::Session, conninfo::ConnInfo, control::Control, programs::Programs,
        version::Major,
    },
    repo::{
        drill::Phase,
        repository::{Repository, System},
        stopwatch::Stopwatch,
        verified::CheckState,
        wal_index::End,
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
    },
};

/// The database that one connects to where no other is named.
const ENTERED_BY: &str = "postgres";

/// How to come there.
pub struct Way<'a> {
    pub around: &'a Surroundings<'a>,
    pub repository: Repository,
    pub request: Request,
    /// When it was looked for.
    pub begun: Time,
    pub system: System,
    pub archive: Archive,
    pub picked: Picked,
    pub major: Major,
    pub programs: Programs,
}

/// The server ends before its folder goes.
pub struct Moment {
    pub server: ScratchServer,
    pub place: Place,
    pub plan: Plan,
    /// As a superuser.
    pub info: ConnInfo,
    pub ended: Ended,
    pub phases: Vec<Phase>,
}

impl<'a> Way<'a> {
    pub fn find(
        around: &'a Surroundings<'a>,
        repository: &Repository,
        request: Request,
    ) -> Result<Self> {
        let begun = clock::now();
        around.meter.begin("planning", 0);
        request.check()?;
        request.wish.check()?;
        let others = &request.ground.others;
        let (system, archive) = load::load(repository, &request.wish, others, around.cancel)?;
        let choice = choose(&archive, &request.wish)?;
        let major = Major::from_server_version_num(choice.backup.postgres_version)?;
        let ground = &request.ground;
        let names: Vec<&str> = [request.what.database()]
            .into_iter()
            .chain([ENTERED_BY])
            .collect();
        let what = format!("the index of backup {}", choice.backup.id);
        let part = Sources::new(repository, others).read(
            &choice.backup,
            &what,
            |repository, backup, _| part::of_databases(repository, backup, &names),
        )?;
        Ok(Self {
            programs: ground.programs(major)?,
            picked: Picked {
                part,
                choice,
                wish: request.wish.clone(),
            },
            around,
            repository: repository.clone(),
            begun,
            system,
            archive,
            major,
            request,
        })
    }

    /// Where the WAL ends.
    pub fn end(&self) -> End {
        let choice = &self.picked.choice;
        (choice.timeline, choice.end(self.archive.wal.size()))
    }

    pub fn needed_bytes(&self) -> u64 {
        self.picked.needed_bytes(&self.archive)
    }

    /// Goes there, with no more than what is wanted as long as that will do.
    pub fn go(&mut self) -> Result<Moment> {
        loop {
            match self.restore()? {
                Ok(moment) => return Ok(moment),
                // Said of a part alone, so there is no third time.
                Err(why) => {
                    info!("all of the backup is restored: {why}");
                    self.picked.part = None;
                }
            }
        }
    }

    /// Why a part of the backup does not do.
    fn restore(&self) -> Result<Result<Moment, String>> {
        let Surroundings { cancel, meter, .. } = *self.around;
        let repository = &self.repository;
        let (ground, picked) = (&self.request.ground, &self.picked);
        let place = Place::make(&ground.place, "this restore", self.needed_bytes())?;
        let watch = Stopwatch::start();
        let (restored, mark) =
            ground.restore(repository, picked, &self.programs, &place, cancel, meter)?;
        let mut phases = vec![watch.stop("restore", Some(picked.bytes()))];
        if picked.part.is_some() && !Control::read(&place.data_dir())?.full_page_writes {
            mark.take_back();
            return Ok(Err(
                "WAL does not have whole pages for the files that were left out (full_page_writes was off)".to_owned(),
            ));
        }
        let watch = Stopwatch::start();
        let server = match self.start(&place, &restored.plan.target)? {
            Ok(server) => server,
            Err(words) => {
                mark.take_back();
                // It may have been turned off later.
                return match words.iter().find(|word| word.starts_with("PANIC:")) {
                    Some(panic) if picked.part.is_some() => Ok(Err(format!(
                        "replay failed where files were left out ({panic})"
                    ))),
                    _ => Err(not_reached(&restored.plan.target, words)),
                };
            }
        };
        mark.take_back();
        let replayed = picked.choice.reach.segments() * self.system.segment_size.bytes();
        phases.push(watch.stop_with("replay", Some(replayed), server.cpu()));
        let info = session::superuser(&server.info()?, &ground.users, cancel)?;
        let ended = Ended::ask(&info, cancel)?;
        let database = self.request.what.database();
        for name in session::clear_way(&info, Some(database), cancel)? {
            info!(
                "the prepared transaction {name:?} was open at that moment: what it did is not brought back"
            );
        }
        let judged = recovery::judge(repository, &self.system, &self.archive, picked, &ended)?;
        if judged.result == CheckState::Failed {
            return Err(Error::failed(judged.what).hint(
                "nothing was brought back; `pgstow verify --wal` tells what is wrong with the WAL, and an earlier target may do.",
            ));
        }
        // One that isn't there is told later.
        if let Some(part) = &picked.part
            && let Some(oid) = oid_of(&info, database, cancel)?
            && oid != part.database
        {
            server.stop()?;
            return Ok(Err(format!(
                "{database:?} is another database than when the backup was taken"
            )));
        }
        Ok(Ok(Moment {
            server,
            place,
            plan: restored.plan,
            info,
            ended,
            phases,
        }))
    }

    fn start(&self, place: &Place, target: &Target) -> Result<Result<ScratchServer, Vec<String>>> {
        self.around.meter.begin("replaying WAL", 0);
        ScratchServer::start(
            &self.programs,
            place,
            &Memory::of(&self.picked.choice.backup),
            &target.to_string(),
            &self.request.ground.settings,
            self.around.cancel,
        )
    }
}

fn not_reached(target: &Target, words: Vec<String>) -> Error {
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    Error::failed(format!(
        "the restored server did not come to {target}: {first}"
    ))
    .because(words.collect::<Vec<_>>().join("\n"))
    .hint(
        "`pgstow restore --plan` tells what is possible, `pgstow find-target` which moments there are.",
    )
}

fn oid_of(info: &ConnInfo, database: &str, cancel: &Cancel) -> Result<Option<u32>> {
    const OID: &str = "SELECT oid FROM pg_catalog.pg_database WHERE datname = $1";
    let session = Session::connect(info, cancel)?;
    let rows = session.query_rows(OID, &[database])?;
    rows.first().map(|row| row.parse(0)).transpose()
}
