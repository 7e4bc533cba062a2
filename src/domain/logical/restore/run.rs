//! A run of `restore-dump`. The dump is read whole and compared with its SHA-256 first; then comes the
//! database, and in it the dump. What fails leaves no database behind that was not there before, and what
//! was there as it was: a database is dropped only after the dump is restored beside it.

use std::{io::Write, path::PathBuf, time::Instant};

use serde::Serialize;

use super::{
    creation::Creation,
    extract,
    fit::{check_is_all, check_stays, name_of},
    fresh::{self, Fresh},
    globals,
    load::{Complaints, How, Loader},
    material::{About, Checked, Material, is_script},
    old, owner,
    pick::Picked,
    programs, properties,
    reader::Reader,
    reading::Reading,
    ready::Ready,
    schemas, subscriptions,
    target::{Target, check_name},
};
use crate::{
    domain::logical::remains,
    error::{Error, Kind, Result},
    postgres::{
        archive_toc::ArchiveToc, client_programs::ClientPrograms, connection::Session,
        conninfo::ConnInfo, programs::Search, sql::identifier, version::Major,
    },
    util::{cancel::Cancel, fs::NewFile, meter::Meter},
};

/// Where a dump goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// None: the one of the dump's own name.
    Database(Option<String>),
    File(PathBuf),
    /// Standard output.
    Output,
}

/// What `restore-dump` is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub to: To,
    pub picked: Picked,
    /// Drop the database that is there, once the dump is restored.
    pub clean: bool,
    /// Roles and tablespaces first.
    pub globals: bool,
    /// With owners and rights as they were.
    pub owners: bool,
    pub keep_going: bool,
    /// Workers of pg_restore.
    pub jobs: usize,
    /// Names and patterns of databases that are never dropped.
    pub production: Vec<String>,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The dump's name, or the file's.
    pub dump: String,
    /// None: into a file.
    pub database: Option<String>,
    pub file: Option<PathBuf>,
    /// Whether the database was made.
    pub created: bool,
    /// Whose the database is that was made, or took the place of another.
    pub owner: Option<String>,
    /// Whether one of that name was there, and this took its place.
    pub replaced: bool,
    /// What that one is called now, if it could not be dropped.
    pub left: Option<String>,
    /// What is called so was restored with errors, so that `database` is as it was.
    pub beside: Option<String>,
    /// Whether its SHA-256 was known, and is right.
    pub checked: bool,
    pub bytes: u64,
    /// What was stepped over.
    pub errors: Complaints,
    /// Whether who read standard output went away before its end.
    pub cut_short: bool,
    pub seconds: f64,
}

/// What a restore needs beside its request.
pub struct Restorer<'a> {
    pub info: &'a ConnInfo,
    pub search: &'a Search,
    /// Asks a person whether to go on.
    pub confirm: &'a dyn Fn(&str) -> Result<bool>,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

/// A dump that was read and is what was stored; no cleanup takes it away.
pub struct Whole {
    material: Material,
    checked: Checked,
    begun: Instant,
    _reading: Option<Reading>,
}

impl Restorer<'_> {
    /// Reads it whole: an error of kind `Damaged` unless it is what was stored.
    pub fn read(&self, material: Material, request: &Request) -> Result<Whole> {
        if !request.owners && request.picked.is_everything() && is_script(material.shape) {
            let what = format!(
                "--no-owner can't leave owners out of {}, a plain dump",
                material.name()
            );
            return Err(Error::usage(what).hint(
                "make the roles first, dump it without them (`pgstow dump DATABASE -- --no-owner`), or go on where one is \
                 missing (--continue-on-error).",
            ));
        }
        let begun = Instant::now();
        remains::sweep();
        let reading = Reading::mark(&material);
        Ok(Whole {
            checked: material.check(self.meter, self.cancel)?,
            material,
            begun,
            _reading: reading,
        })
    }

    /// `output`: standard output, for those who want it there.
    pub fn run(
        &self,
        whole: &Whole,
        request: &Request,
        output: &mut (dyn Write + Send),
    ) -> Result<Restored> {
        let Whole {
            material, checked, ..
        } = whole;
        checked.tell_flaw();
        material.tell_lacks();
        let mut restored = Restored {
            dump: material.name(),
            database: None,
            file: None,
            created: false,
            owner: None,
            replaced: false,
            left: None,
            beside: None,
            checked: checked.compared,
            bytes: checked.bytes,
            errors: Complaints::default(),
            cut_short: false,
            seconds: 0.0,
        };
        match &request.to {
            To::Database(name) => {
                let name = name_of(name.as_deref(), material, checked)?;
                self.put_into_database(material, checked, request, &name, &mut restored)?;
                restored.database = Some(name);
            }
            To::File(path) => {
                let mut file = NewFile::create(path, 0o600)?;
                self.write_as_sql(material, checked, request, file.file())?;
                file.publish_new()?;
                restored.file = Some(path.clone());
            }
            To::Output => {
                let mut output = Reader::of(output);
                match self.write_as_sql(material, checked, request, &mut output) {
                    Err(_) if output.has_left => restored.cut_short = true,
                    written => written?,
                }
            }
        }
        restored.seconds = whole.begun.elapsed().as_secs_f64();
        Ok(restored)
    }

    fn put_into_database(
        &self,
        material: &Material,
        checked: &Checked,
        request: &Request,
        name: &str,
        restored: &mut Restored,
    ) -> Result<()> {
        check_stays(&checked.about, &material.name())?;
        check_name(name)?;
        let beside = beside(self.info, name);
        let session = Session::connect(&beside, self.cancel)?;
        fresh::sweep(&session)?;
        let programs = self.programs(&session, &checked.about)?;
        let target = Target {
            session: &session,
            beside: &beside,
            production: &request.production,
            cancel: self.cancel,
        };
        let exists = target.exists(name)?;
        if exists && request.clean {
            check_is_all(material)?;
            target.check_may_go(name)?;
        }
        if exists {
            self.ask(name, request.clean)?;
        }
        let loader = |info| Loader {
            programs: &programs,
            info,
            cancel: self.cancel,
        };
        if request.globals {
            let complaints = self.globals(&loader(&beside), material)?;
            if complaints.count > 0 && !request.keep_going {
                let first = complaints.list.into_iter().next().unwrap_or_default();
                return Err(Error::failed(first)
                    .context("roles and tablespaces could not be restored")
                    .hint("mend it, such as by making the folder of a tablespace; or go on without (--continue-on-error)."));
            }
            restored.errors = complaints;
        }
        let how = How {
            jobs: request.jobs,
            in_one: exists && !request.clean && request.jobs == 1 && !request.keep_going,
            owners: request.owners,
            makes_schemas: !exists || request.clean,
            ..How::all(request.keep_going)
        };
        let tells_all = checked.about.toc().is_some() && request.owners;
        let old = match exists && request.clean && !tells_all {
            true => {
                let info = beside.clone().with_database(name);
                Some(old::properties(&programs, &info, self.cancel)?)
            }
            false => None,
        };
        let mut creation = match (&checked.about, &old) {
            (About::Script(_), Some(old)) => Creation::of_toc(old),
            (about, _) => Creation::of(about),
        };
        // One that is replaced leaves its own, and of single tables nobody says that they are the database.
        let is_own = !exists && request.owners && request.picked.is_everything();
        let owner = owner::in_source(material, &checked.about).filter(|_| is_own);
        let given_first = owner.map_or(Ok(false), |owner| owner::comes_first(&session, owner))?;
        let fresh = match (exists, request.clean) {
            (true, true) => Some(target.make_beside(name, creation)?),
            (true, false) => None,
            (false, _) => {
                creation.owner = owner.filter(|_| given_first).map(identifier);
                Some(self.make(&beside, name, &creation)?)
            }
        };
        let info = match &fresh {
            Some(fresh) => fresh.info(),
            None => beside.clone().with_database(name),
        };
        let errors_before = restored.errors.count;
        let loaded = self.load(material, checked, &request.picked, &loader(&info), how)?;
        restored.errors.add(loaded);
        if let Some(fresh) = &fresh
            && request.picked.is_everything()
            && let Some(toc) = old.as_ref().or(checked.about.toc())
        {
            // What the old one had speaks of roles of this server.
            let owners = request.owners || old.is_some();
            let inside = Session::connect(&info, self.cancel)?;
            let name = fresh.name();
            let complaints = properties::restore(&inside, toc, name, owners, request.keep_going)?;
            restored.errors.add(complaints);
        }
        match fresh {
            Some(fresh) if exists && restored.errors.count == errors_before => {
                restored.left = target.replace(name, fresh)?;
                restored.replaced = true;
            }
            Some(fresh) if exists => {
                // Nobody gives up a whole database for one with errors.
                restored.beside = Some(target.keep_beside(name, fresh).0);
            }
            Some(fresh) => {
                target.call(name, fresh)?;
                restored.created = true;
                if let Some(owner) = owner.filter(|_| !given_first) {
                    owner::give(&session, name, owner)?;
                }
            }
            None => return Ok(()),
        }
        restored.owner = Some(owner::of(&session, name)?);
        subscriptions::tell(&session, restored.beside.as_deref().unwrap_or(name))
    }

    /// It gets its name when all is in it: what is killed before leaves nothing that looks like a database
    /// of somebody's.
    fn make(&self, beside: &ConnInfo, name: &str, how: &Creation) -> Result<Fresh> {
        Fresh::temporary(beside, "restore", how, self.cancel).map_err(|error| {
            let hint = error.hint_text().map(str::to_owned);
            let error = error.context(format!("can't make database {name:?}"));
            error.hint(hint.unwrap_or_else(|| {
                "the role needs CREATEDB, and the server the locale of the source; else make the database by hand, \
                 and restore into it."
                    .to_owned()
            }))
        })
    }

    fn ask(&self, name: &str, clean: bool) -> Result<()> {
        let question = match clean {
            true => format!("database {name:?} exists: drop it once the dump is restored?"),
            false => format!("database {name:?} exists: restore into it?"),
        };
        match (self.confirm)(&question)? {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Interrupted,
                "not confirmed: nothing was done",
            )),
        }
    }

    pub(super) fn programs(&self, session: &Session, about: &About) -> Result<ClientPrograms> {
        let server = Major::from_server_version_num(session.server_version_num()?)?;
        match about {
            About::Archive(_) => programs::for_server(self.search, server, about.maker()),
            About::Script(_) => ClientPrograms::find(self.search, server),
        }
    }

    fn globals(&self, loader: &Loader<'_>, material: &Material) -> Result<Complaints> {
        let Some((repository, dump)) = material.in_repository() else {
            return Err(
                Error::usage("a file has no roles and tablespaces beside it")
                    .hint("leave out --globals, and make the roles by hand."),
            );
        };
        let globals = globals::beside(repository, dump)?;
        globals::restore(loader, repository, globals, self.meter, self.cancel)
    }

    fn load(
        &self,
        material: &Material,
        checked: &Checked,
        picked: &Picked,
        loader: &Loader<'_>,
        mut how: How,
    ) -> Result<Complaints> {
        self.meter.begin("restoring", 0);
        how.is_part = !picked.is_everything();
        if let Some(toc) = checked.about.toc() {
            how.entries = picked.entries(toc)?;
            let ready = Ready::make(material, checked, how.jobs > 1, self.cancel)?;
            if how.makes_schemas && how.is_part {
                self.make_schemas(loader, toc, how.entries.as_deref())?;
            }
            return loader.archive(&ready, &how);
        }
        if picked.is_everything() {
            return loader.script(material.plain()?, &how);
        }
        let ready = extract::extract(loader, material, checked, picked)?;
        if how.makes_schemas {
            self.make_schemas(loader, &ready.toc()?, None)?;
        }
        loader.archive(&ready, &how)
    }

    fn make_schemas(
        &self,
        loader: &Loader<'_>,
        toc: &ArchiveToc,
        ids: Option<&[u32]>,
    ) -> Result<()> {
        let session = Session::connect(loader.info, self.cancel)?;
        schemas::make(&session, toc, ids)
    }
}

/// Where to connect to while database `name` is made, renamed or dropped.
pub fn beside(info: &ConnInfo, name: &str) -> ConnInfo {
    match info.database == name {
        true => info.clone().with_database(match name {
            "postgres" => "template1",
            _ => "postgres",
        }),
        false => info.clone(),
    }
}
