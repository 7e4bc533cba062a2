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
            archive::Archive, choice::choose, load, plan::Plan, sources::Sources,
            stopwatch::Stopwatch, target::Target,
        },
    },
    error::{Error, Result},
    postgres::{connection::Session, conninfo::ConnInfo, programs::Programs, version::Major},
    repo::{
        drill::Phase,
        repository::{Repository, System},
        verified::CheckState,
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
        let (system, archive) = load::load(repository, &request.wish, others)?;
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

    pub fn needed_bytes(&self) -> u64 {
        self.picked.needed_bytes(&self.archive)
    }

    /// Goes there, with no more than what is wanted as long as that is known.
    pub fn go(&mut self) -> Result<Moment> {
        let moment = self.restore()?;
        let Some(part) = &self.picked.part else {
            return Ok(moment);
        };
        let name = self.request.what.database();
        match oid_of(&moment.info, name, self.around.cancel)? {
            // One that isn't there is told later.
            Some(oid) if oid != part.database => {
                info!(
                    "{name:?} is another database than when the backup was taken: all of the backup is restored"
                );
                moment.server.stop()?;
                drop(moment.place);
                self.picked.part = None;
                self.restore()
            }
            _ => Ok(moment),
        }
    }

    fn restore(&self) -> Result<Moment> {
        let Surroundings { cancel, meter, .. } = *self.around;
        let repository = &self.repository;
        let (ground, picked) = (&self.request.ground, &self.picked);
        let place = Place::make(&ground.place, "this restore", self.needed_bytes())?;
        let watch = Stopwatch::start();
        let (restored, mark) =
            ground.restore(repository, picked, &self.programs, &place, cancel, meter)?;
        let mut phases = vec![watch.stop("restore", Some(picked.bytes()))];
        let watch = Stopwatch::start();
        let server = self.start(&place, &restored.plan.target)?;
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
        let judged = recovery::judge(repository, &self.system, picked, &ended)?;
        if judged.result == CheckState::Failed {
            return Err(Error::failed(judged.what).hint(
                "nothing was brought back; `pgstow verify --wal` tells what is wrong with the WAL, and an earlier target may do.",
            ));
        }
        Ok(Moment {
            server,
            place,
            plan: restored.plan,
            info,
            ended,
            phases,
        })
    }

    fn start(&self, place: &Place, target: &Target) -> Result<ScratchServer> {
        self.around.meter.begin("replaying WAL", 0);
        let started = ScratchServer::start(
            &self.programs,
            place,
            &Memory::of(&self.picked.choice.backup),
            &target.to_string(),
            &self.request.ground.settings,
            self.around.cancel,
        )?;
        started.map_err(|words| {
            let mut words = words.into_iter();
            let first = words.next().unwrap_or_default();
            let what = format!("the restored server did not come to {target}: {first}");
            Error::failed(what)
                .because(words.collect::<Vec<_>>().join("\n"))
                .hint(
                    "`pgstow restore --plan` tells what is possible, `pgstow find-target` which moments there are.",
                )
        })
    }
}

fn oid_of(info: &ConnInfo, database: &str, cancel: &Cancel) -> Result<Option<u32>> {
    const OID: &str = "SELECT oid FROM pg_catalog.pg_database WHERE datname = $1";
    let session = Session::connect(info, cancel)?;
    let rows = session.query_rows(OID, &[database])?;
    rows.first().map(|row| row.parse(0)).transpose()
}
