//! The whole of pgstow in a few seconds: a cluster of our own is made, archived, backed up under
//! load, broken, and brought back to the moment before. Every claim is checked on the rows.
//!
//! All is done in a scratch folder by the same code as on a real host; what happens is the same
//! as if somebody had typed the commands that the report shows.

mod farewell;
mod place;
mod shop;
mod steps;

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chrono::SubsecRound;
use serde::Serialize;

use self::{
    farewell::Farewell,
    place::{CLUSTER, Place},
    shop::{Contents, Writer},
    steps::{Steps, Tell},
};
use super::{
    backup,
    restore::{
        self,
        plan::{self, plan},
        request::Request,
        target::{Target, Wish},
    },
    setup::{
        arrival::{self, Destination, Way},
        finding::{Finding, State},
        init,
    },
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        file_checksum::Algorithm,
        programs::Programs,
        server::{self, Server},
        server_facts::{self, ServerFacts},
    },
    repo::{
        backup::Backup,
        codec::Compression,
        layout::ClusterName,
        location::Location,
        others::Others,
        repository::{Repository, System},
    },
    util::{
        cancel::Cancel,
        clock::{self, Time, readable},
        meter::Meter,
        units,
    },
};

pub use steps::{Event, Step};

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Enough to see several workers; the data is small.
const WORKERS: usize = 2;

/// The story as it went.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Such as 15.
    pub postgres_major: u32,
    pub bindir: PathBuf,
    /// The scratch folder.
    pub folder: PathBuf,
    /// Whether the folder is still there.
    pub kept: bool,
    pub steps: Vec<Step>,
    /// The moment that was restored to.
    pub target: Time,
    /// What the tables held then.
    pub expected: Contents,
    /// What they hold in the restored cluster: the same, or the demo has failed.
    pub restored: Contents,
    pub seconds: f64,
}

/// Tells the story; whatever goes wrong, servers and (unless `keep`) the folder are gone after it.
/// Killed, or interrupted twice, it leaves the folder; the servers end with this process.
pub fn run(
    programs: &Programs,
    keep: bool,
    tell: Tell<'_>,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Shown> {
    let begun = Instant::now();
    let place = Place::make(programs, keep)?;
    // Dropped before the folder goes.
    let _farewell = Farewell::watch(place.folder(), keep, cancel);
    let mut steps = Steps::new(programs, place.folder(), tell, meter);
    let story = Story {
        place: &place,
        cancel,
        // Of a few seconds' work, the step says more than its phases.
        meter: &Meter::default(),
    };
    let told = story.tell(&mut steps).map_err(|error| {
        let kind = error.kind();
        let error = match kind {
            Kind::Interrupted => return error,
            _ => error.context(format!("the demo failed at: {}", steps.current())),
        };
        error.hint(match keep {
            true => format!("look at the logs in {}.", place.folder().display()),
            false => "run it again with --keep, and look at the logs in the folder.".to_owned(),
        })
    });
    let (target, expected, restored) = told?;
    Ok(Shown {
        postgres_major: programs.major().number(),
        bindir: programs.bindir().to_owned(),
        folder: place.folder().to_owned(),
        kept: keep,
        steps: steps.finish(),
        target,
        expected,
        restored,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

struct Story<'a> {
    place: &'a Place,
    cancel: &'a Cancel,
    meter: &'a Meter,
}

impl Story<'_> {
    fn tell(&self, steps: &mut Steps) -> Result<(Time, Contents, Contents)> {
        let place = self.place;
        steps.begin("make a database cluster: a small shop");
        let live = self.make_cluster()?;
        let session = Session::connect(&place.live_info()?, self.cancel)?;
        shop::fill(&session)?;
        steps.command(place.initdb_command());
        steps.note(format!(
            "{} accounts and {} orders",
            shop::ACCOUNTS,
            shop::ORDERS
        ));

        steps.begin("make a repository and have PostgreSQL archive its WAL there");
        let (repository, system) = self.make_repository(&session)?;
        self.archive_into(&session)?;
        let arrived = self.prove_arrival(&session, &repository, &system)?;
        steps.command(format!(
            "{} && {}",
            place.shown("init --apply"),
            place.shown("check")
        ));
        steps.note(format!(
            "archive_command = '{}'",
            place.shown("archive-wal %p")
        ));
        steps.note(arrived);

        steps.begin("take a base backup while orders come in");
        let writer = Writer::start(&place.live_info()?, self.cancel)?;
        writer.wait_for(1)?;
        let before = writer.placed();
        let backup = self.take_backup(&repository)?;
        let meanwhile = writer.placed() - before;
        steps.command(place.shown("base"));
        steps.note(format!(
            "{}: {} in {} files, stored as {} and read again; {meanwhile} orders came in meanwhile",
            backup.id,
            units::bytes(backup.bytes),
            backup.files,
            units::bytes(backup.stored_bytes)
        ));

        steps.begin("the mistake: somebody drops the table of orders");
        writer.wait_for(writer.placed() + 20)?;
        writer.finish()?;
        let (target, expected) = self.note_state(&session)?;
        shop::make_mistake(&session)?;
        let arrived = self.prove_arrival(&session, &repository, &system)?;
        steps.command("psql -c 'DROP TABLE orders'".to_owned());
        steps.note(format!(
            "at {} there were still {} orders",
            readable(target),
            expected.orders.rows
        ));
        steps.note(format!("work goes on after it; {arrived}"));

        steps.begin("restore to just before the mistake");
        let restored = self.restore(&repository, target)?;
        steps.command(place.shown(&format!(
            "restore --target-time '{}' --data-dir {}",
            readable(target),
            place.restored().display()
        )));
        steps.note(format!(
            "planned from {} and {} of WAL, in another folder: the live cluster runs on",
            restored.plan.backup,
            units::count(restored.plan.segments, "segment")
        ));

        steps.begin("start the restored server and compare every row");
        let copy = place.start_restored(PATIENCE, self.cancel)?;
        let found = self.compare(&session, &expected)?;
        steps.command(restored.start_command);
        steps.note(format!(
            "{} orders and {} accounts are back, each row as it was",
            found.orders.rows, found.accounts.rows
        ));
        drop(session);
        copy.stop()?;
        live.stop()?;
        Ok((target, expected, found))
    }

    fn make_cluster(&self) -> Result<Server> {
        let place = self.place;
        server::initdb(place.programs(), &place.live(), None, &[], self.cancel)?;
        place.start_live(PATIENCE, self.cancel)
    }

    fn make_repository(&self, session: &Session) -> Result<(Repository, System)> {
        let location = Location::Folder(self.place.repository());
        let cluster: ClusterName = CLUSTER.parse()?;
        let facts = ServerFacts::gather(session)?;
        let wanted = init::Wanted {
            location: &location,
            wal_codec: Compression::default().codec,
            keys: &Arc::default(),
        };
        init::register(&wanted, &cluster, &facts, None)?;
        let repository = Repository::open(&location, cluster)?;
        let system = repository.system(facts.system_id)?;
        Ok((repository, system))
    }

    fn archive_into(&self, session: &Session) -> Result<()> {
        let command = self.place.archive_command().replace('\'', "''");
        session.execute(
            &format!("ALTER SYSTEM SET archive_command = '{command}'"),
            &[],
        )?;
        session.query_one("SELECT pg_catalog.pg_reload_conf()", &[])?;
        Ok(())
    }

    /// Ends the present segment and waits until it is in the repository.
    fn prove_arrival(
        &self,
        session: &Session,
        repository: &Repository,
        system: &System,
    ) -> Result<String> {
        let destination = Destination {
            name: "local",
            repository,
            system,
        };
        let to = [destination];
        let found = arrival::prove(
            session,
            &to,
            Way::Archiver(None),
            PATIENCE,
            self.cancel,
            self.meter,
        )?;
        match found.into_iter().next() {
            Some(Finding {
                state: State::Ok,
                what,
                ..
            }) => Ok(what),
            found => {
                let what = found.map_or(String::new(), |finding| finding.what);
                Err(Error::failed(what).because(self.place.last_words_of_live()))
            }
        }
    }

    fn take_backup(&self, repository: &Repository) -> Result<Box<Backup>> {
        let options = backup::Options {
            method: backup::Method::Auto,
            chain: backup::ChainPolicy {
                full_every: None,
                longest: 0,
            },
            data_dir: None,
            label: "pgstow demo".to_owned(),
            checkpoint_fast: true,
            max_rate_kb: None,
            manifest_checksums: Algorithm::Crc32c,
            slot: String::new(),
            standalone: false,
            verify: true,
            compression: Compression::default(),
            part_size: 1 << 30,
            workers: WORKERS,
            wal_limit: PATIENCE,
            state_folder: self.place.state_folder(),
            annotations: Default::default(),
            turn: Default::default(),
            primary: None,
        };
        let info = self.place.live_info()?;
        match backup::run(repository, &info, &options, self.meter, self.cancel)? {
            backup::Outcome::Sealed(backup) => Ok(backup),
            backup::Outcome::Pending { why, .. } => {
                Err(Error::failed("the WAL of the backup did not arrive").because(why))
            }
        }
    }

    /// The present moment, and what the tables hold at it; nobody writes now.
    fn note_state(&self, session: &Session) -> Result<(Time, Contents)> {
        // Whole milliseconds read better, and must not fall before the last commit.
        thread::sleep(Duration::from_millis(5));
        let now = server_facts::now(session)?.trunc_subsecs(3);
        let contents = Contents::read(session)?;
        thread::sleep(Duration::from_millis(5));
        Ok((now, contents))
    }

    fn restore(&self, repository: &Repository, target: Time) -> Result<restore::Restored> {
        let place = self.place;
        let options = plan::Options {
            request: Request {
                wish: Wish {
                    target: Target::Time(target),
                    ..Wish::latest()
                },
                data_dir: Some(place.restored()),
                delta: None,
                replace: false,
                tablespaces: Vec::new(),
                archive: None,
                offline: false,
                databases: None,
                prove: false,
                workers: WORKERS,
                bindir: Some(place.programs().bindir().to_owned()),
            },
            own_data_dir: Some(place.live()),
            notes: None,
            others: Others::default(),
            received: None,
            wal_command: place.call("restore-wal"),
            archive_command: place.call("archive-wal"),
            done_command: place.call("restore-done"),
        };
        let now = clock::now();
        let plan = plan(repository, &options, now, self.cancel, self.meter)?;
        restore::run(repository, &options, plan, now, self.cancel, self.meter)
    }

    /// A server accepts connections before it has reached its target.
    fn wait_for_promotion(&self, session: &Session) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let sql = "SELECT pg_catalog.pg_is_in_recovery()";
        while session.query_one(sql, &[])?.parse::<bool>(0)? {
            if Instant::now() >= until {
                return Err(Error::new(
                    Kind::TimedOut,
                    "the restored server did not end its recovery",
                ));
            }
            self.cancel.check()?;
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What the restored cluster holds: exactly what is expected, or an error.
    fn compare(&self, live: &Session, expected: &Contents) -> Result<Contents> {
        if shop::has_orders(live)? {
            return Err(Error::failed(
                "the mistake never happened: the orders were not gone",
            ));
        }
        let session = Session::connect(&self.place.restored_info()?, self.cancel)?;
        self.wait_for_promotion(&session)?;
        let found = Contents::read(&session)?;
        if found == *expected {
            return Ok(found);
        }
        Err(Error::failed(format!(
            "the restored rows are not those of the chosen moment: expected {expected}, found {found}"
        )))
    }
}
