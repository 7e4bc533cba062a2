//! Whether a dump can be trusted: it is restored into a temporary database, and what came of it is compared
//! with what its description says, and looked at for itself.
//!
//! The database and the server that were made for it are gone afterwards, also after errors and signals;
//! what a killed process left is removed by the next run.

mod application;
mod compare;
mod ground;
pub mod integrity;
mod keys;
pub mod place;
mod scratch_server;
pub mod sequences;
pub mod statements;

use std::time::Instant;

use serde::Serialize;

use self::{ground::Ground, place::Server, statements::Asked};
use super::{
    census,
    restore::{
        fit::check_stays,
        load::{How, Loader, is_about_rights, is_about_the_dump},
        material::{About, Checked, Material},
        reading::Reading,
        ready::Ready,
    },
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, programs::Search},
    repo::{
        drill::Phase,
        dump::{DumpContents, RowCounts},
        stopwatch::Stopwatch,
        verified::{CheckState, INTACT, VerifiedCheck},
    },
    util::{cancel::Cancel, meter::Meter},
};

pub use application::Application;
pub use scratch_server::ScratchServers;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Validated {
    /// The dump's name, or the file's.
    pub dump: String,
    /// What was dumped; None: roles and tablespaces, or nobody knows.
    pub database: Option<String>,
    /// Where it was restored; None: it was not.
    pub server: Option<String>,
    /// As PostgreSQL's server_version_num.
    pub server_version: Option<u32>,
    /// Whether every check that could be made was passed, but for that of `.sha256`.
    pub good: bool,
    pub checks: Vec<VerifiedCheck>,
    pub bytes: u64,
    pub seconds: f64,
    pub phases: Vec<Phase>,
}

impl Validated {
    /// Of a dump, and what was dumped, of which nothing is known yet.
    fn of(dump: String, database: Option<String>) -> Self {
        Self {
            dump,
            database,
            server: None,
            server_version: None,
            good: false,
            checks: Vec::new(),
            bytes: 0,
            seconds: 0.0,
            phases: Vec::new(),
        }
    }

    /// Of a dump whose description can't be read: nobody knows what its data is.
    pub fn undescribed(dump: String, why: &Error) -> Self {
        Self {
            checks: vec![VerifiedCheck::failed(INTACT, why.in_one_line())],
            ..Self::of(dump, None)
        }
    }

    pub fn findings(&self) -> u64 {
        self.failed().count() as u64
    }

    fn failed(&self) -> impl Iterator<Item = &VerifiedCheck> {
        let checks = self.checks.iter();
        checks.filter(|check| check.result == CheckState::Failed)
    }
}

/// How dumps are validated.
pub struct Validator<'a> {
    pub search: &'a Search,
    /// None: on one that is started for it, and is there for the next dump, too.
    pub server: Option<Server>,
    pub scratch: &'a ScratchServers,
    /// Statements that must return true.
    pub sql: &'a [String],
    pub application: &'a Application,
    /// Workers of pg_restore.
    pub jobs: usize,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

/// The check of `.sha256`: a convenience, whose loss costs nobody a row.
const SUM_FILE: &str = "sha256_file";

fn intact(checked: &Checked) -> [VerifiedCheck; 2] {
    let data = match checked.compared {
        true => "its SHA-256 is right",
        false => "it can be read to its end; no SHA-256 is known",
    };
    let beside = match (&checked.flaw, checked.has_sum_file) {
        (Some(flaw), _) => VerifiedCheck::failed(SUM_FILE, flaw),
        (None, true) => VerifiedCheck::passed(SUM_FILE, "it tells the same"),
        (None, false) => VerifiedCheck::skipped(SUM_FILE, "there is none beside it"),
    };
    [VerifiedCheck::passed(INTACT, data), beside]
}

/// Whether the data is damaged or gone; an error where the whole repository is.
fn is_lost(error: &Error, material: &Material) -> Result<bool> {
    match (error.kind(), material.in_repository()) {
        (Kind::NotFound, Some((repository, _))) => repository.confirm().map(|()| true),
        (kind, _) => Ok(kind == Kind::Damaged),
    }
}

impl Validator<'_> {
    /// # Errors
    /// It could not be found out: no server, no room, no rights, a stop that was asked for. What is wrong
    /// with the dump is no error, but in what comes back.
    pub fn validate(&self, material: &Material) -> Result<Validated> {
        let begun = Instant::now();
        let _reading = Reading::mark(material);
        let description = material.description.as_ref();
        let database = description.and_then(|dump| dump.database.clone());
        let mut validated = Validated::of(material.name(), database);
        let is_globals = description.is_some_and(|dump| dump.database.is_none());
        let watch = Stopwatch::start();
        match material.check(self.meter, self.cancel) {
            Ok(checked) => {
                validated.bytes = checked.bytes;
                validated
                    .phases
                    .push(watch.stop("read", Some(checked.bytes)));
                validated.checks.extend(intact(&checked));
                match is_globals {
                    true => validated.checks.push(VerifiedCheck::skipped(
                        "restored",
                        "roles and tablespaces are not tried out",
                    )),
                    false => self.restore(material, &checked, &mut validated)?,
                }
            }
            Err(error) if is_lost(&error, material)? => {
                validated
                    .checks
                    .push(VerifiedCheck::failed(INTACT, error.in_one_line()));
            }
            Err(error) => return Err(error),
        }
        // Data that is right comes back whatever lies beside it.
        let is_lost = !validated.failed().all(|check| check.name == SUM_FILE);
        validated.good = !is_lost;
        validated.seconds = begun.elapsed().as_secs_f64();
        Ok(validated)
    }

    fn restore(
        &self,
        material: &Material,
        checked: &Checked,
        validated: &mut Validated,
    ) -> Result<()> {
        check_stays(&checked.about, &material.name())?;
        let watch = Stopwatch::start();
        let ready = Ready::make(material, checked, self.jobs > 1, self.cancel)?;
        self.meter.begin("preparing a server", 0);
        let ground = match &self.server {
            Some(server) => Ground::on(self.search, server, checked, self.cancel)?,
            None => Ground::of_own(self.search, self.scratch, material, checked, self.cancel)?,
        };
        validated.server = Some(ground.name());
        validated.server_version = Some(ground.server_version);
        validated.phases.push(watch.stop("server", None));
        self.fill(material, checked, &ready, &ground, validated)?;
        let watch = Stopwatch::start();
        self.meter.begin("removing what was restored", 0);
        drop(ground);
        drop(ready);
        validated.phases.push(watch.stop("removal", None));
        Ok(())
    }

    fn fill(
        &self,
        material: &Material,
        checked: &Checked,
        ready: &Ready,
        ground: &Ground,
        validated: &mut Validated,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        self.meter.begin("restoring", 0);
        let loader = Loader {
            programs: &ground.programs,
            info: &ground.info,
            cancel: self.cancel,
        };
        let how = How {
            jobs: self.jobs,
            // Elsewhere the roles may be missing, and who verifies may give nothing away.
            owners: ground.is_scratch(),
            tablespaces: false,
            subscriptions: false,
            ..How::all(false)
        };
        let loaded = match &checked.about {
            About::Archive(_) => loader.archive(ready, &how),
            About::Script(_) => loader.script(ready.stream()?, &how),
        };
        match loaded {
            Ok(_) => validated.checks.push(VerifiedCheck::passed(
                "restored",
                format!("on {}", ground.name()),
            )),
            Err(error) if !ground.is_scratch() && is_about_rights(&error) => {
                // Its own hint is for who restores.
                let what = format!("it can't be tried out on {}", ground.name());
                return Err(Error::failed(what).because(error).hint(
                    "make its roles there and verify it as a superuser, or on a server of its own (verify.place = \
                     \"scratch\").",
                ));
            }
            Err(error) if is_about_the_dump(&error) && ground.answers(self.cancel) => {
                let part = material.description.as_ref().and_then(|dump| dump.part());
                if let Some(part) = part {
                    // What it lacks is where it belongs: that says nothing against it.
                    return Err(error.context(format!(
                        "a part of a database can't be tried out alone ({part})"
                    ))
                    .hint("restore it into a database that has what it needs, or verify a dump of all."));
                }
                validated
                    .checks
                    .push(VerifiedCheck::failed("restored", error.in_one_line()));
                return Ok(());
            }
            Err(error) => return Err(ground.explain(error)),
        }
        validated.phases.push(watch.stop("load", None));
        self.meter.begin("checking what was restored", 0);
        let watch = Stopwatch::start();
        let checks = self.look(&ground.info, material)?;
        validated.checks.extend(checks);
        validated.phases.push(watch.stop("objects", None));
        let watch = Stopwatch::start();
        self.ask(&ground.info, &mut validated.checks)?;
        validated.phases.push(watch.stop("sql", None));
        Ok(())
    }

    fn look(&self, info: &ConnInfo, material: &Material) -> Result<Vec<VerifiedCheck>> {
        let session = Session::connect(info, self.cancel)?;
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", &[])?;
        session.execute("SET LOCAL row_security = off", &[])?;
        let described = material.description.as_ref().map(|dump| &dump.contents);
        let expected = match described {
            Some(Some(contents)) => Ok(contents),
            Some(None) => Err("the description of the dump has no contents"),
            None => Err("there is no description of the dump"),
        };
        let wanted = expected.map_or(RowCounts::None, |contents| contents.row_counts);
        let found = self.census(&session, wanted)?;
        let mut checks = compare::migrations(expected, &found);
        checks.extend(compare::tables(expected, &found));
        checks.push(compare::enums(expected, &found));
        checks.push(integrity::indexes(&session, expected, &found)?);
        checks.push(integrity::foreign_keys(&session, expected, &found)?);
        checks.push(compare::rows(expected, &found));
        checks.push(keys::orphans(&session)?);
        checks.push(compare::extensions(expected, &found));
        checks.push(sequences::behind(&session)?);
        session.execute("ROLLBACK", &[])?;
        Ok(checks)
    }

    /// What the configuration asks of it.
    fn ask(&self, info: &ConnInfo, checks: &mut Vec<VerifiedCheck>) -> Result<()> {
        let asked = statements::check(info, self.sql, self.cancel);
        let of_statements = asked.and_then(|asked| asked.map(Asked::of_dump).transpose());
        let of_application = self.application.check(info, self.cancel);
        for (name, check) in [("sql", of_statements), ("health", of_application.map(Some))] {
            let is_bad = || checks.iter().any(|one| one.result == CheckState::Failed);
            match check {
                Ok(check) => checks.extend(check),
                // What is wrong with the dump is known all the same.
                Err(error) if error.kind() != Kind::Interrupted && is_bad() => {
                    checks.push(VerifiedCheck::skipped(name, error.in_one_line()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn census(&self, session: &Session, wanted: RowCounts) -> Result<DumpContents> {
        let counted = match wanted {
            RowCounts::Exact => RowCounts::Exact,
            RowCounts::Estimated | RowCounts::None => RowCounts::None,
        };
        let (found, uncounted) = census::look(session, None, counted)?;
        match uncounted.into_iter().next() {
            None => Ok(found),
            Some(why) => Err(Error::failed(why).context("what was restored could not be counted")),
        }
    }
}
