//! Puts what was dumped where it is wanted.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    archives::Made,
    around::Surroundings,
    live::Live,
    request::{Request, To},
};
use crate::{
    domain::logical::restore::{
        creation::Creation,
        fresh::{self, Fresh},
        load::{self, How, Loader},
        material::Material,
        pick::Picked,
        programs,
        ready::Ready,
        run::{self, Restorer},
        target::Target,
    },
    error::{Error, Result},
    postgres::{
        client_programs::ClientPrograms, connection::Session, conninfo::ConnInfo, version::Major,
    },
    util::fs::NewFile,
};

/// Where it is now.
#[derive(Debug, Default, Serialize)]
pub struct Put {
    pub to_database: Option<String>,
    /// Whether the database was made.
    pub created: bool,
    pub to_schema: Option<String>,
    pub file: Option<PathBuf>,
    /// Tables that those that were wanted need: they came without rows.
    pub empty: Vec<String>,
}

/// `major`: of the server that was dumped.
pub fn put(
    around: &Surroundings<'_>,
    request: &Request,
    live: Option<&Live>,
    made: &Made,
    major: Major,
) -> Result<Put> {
    let mut put = Put {
        to_schema: request.schema.clone(),
        empty: match made {
            Made::Apart { needs, .. } => needs.empty.clone(),
            Made::Whole(_) => Vec::new(),
        },
        ..Put::default()
    };
    let putter = Putter {
        around,
        request,
        made,
    };
    match (&request.to, live) {
        (To::File(path), _) => {
            let programs = programs::for_script(around.search, Some(major))?;
            putter.to_file(&programs, path)?;
            put.file = Some(path.clone());
        }
        (To::Database(name), Some(live)) => {
            let programs = programs::for_server(around.search, live.major, Some(major))?;
            match made {
                Made::Whole(path) if live.exists => putter.to_living(&programs, live, path)?,
                Made::Whole(path) => putter.whole(live, path)?,
                Made::Apart { .. } => putter.to_new(&programs, live)?,
            }
            put.to_database = Some(name.clone());
            put.created = !live.exists;
        }
        (To::Database(_), None) => return Err(Error::failed("no server to bring it back to")),
    }
    Ok(put)
}

struct Putter<'a> {
    around: &'a Surroundings<'a>,
    request: &'a Request,
    made: &'a Made,
}

impl Putter<'_> {
    fn how(&self, jobs: usize) -> How {
        How {
            jobs,
            owners: self.request.owners,
            // A copy that receives what the original does would take it from there.
            subscriptions: false,
            ..How::all(false)
        }
    }

    /// All of it or nothing.
    fn to_living(&self, programs: &ClientPrograms, live: &Live, archive: &Path) -> Result<()> {
        let how = How {
            in_one: true,
            ..self.how(1)
        };
        let loaded = self.load(programs, &live.info(), archive, &how);
        loaded.map_err(|error| {
            let what = format!("database {:?} is as it was", live.database);
            // Such as its sequence's, or one that was made meanwhile.
            if error.in_one_line().contains("already exists") {
                return Error::new(error.kind(), what).because(error).hint(
                    "a name that it needs is taken there: put it beside that, into a new schema (--to-schema NAME) or a new \
                     database (--to-database NAME).",
                );
            }
            error
                .context(what)
                .hint(
                    "bring it back into a database of its own, by another name behind --to-database, which takes all along that it \
                     needs.",
                )
        })
    }

    /// As `restore-dump` does it.
    fn whole(&self, live: &Live, archive: &Path) -> Result<()> {
        let material = Material::file(archive, &Arc::default())?;
        let restorer = Restorer {
            info: &live.beside,
            search: self.around.search,
            // It asks where somebody has made it meanwhile.
            confirm: &|_| Err(live.is_there()),
            meter: self.around.meter,
            cancel: self.around.cancel,
        };
        let request = run::Request {
            to: run::To::Database(Some(live.database.clone())),
            picked: Picked::default(),
            clean: false,
            globals: false,
            owners: self.request.owners,
            keep_going: false,
            jobs: self.request.ground.workers,
            production: Vec::new(),
        };
        let whole = restorer.read(material, &request)?;
        restorer
            .run(&whole, &request, &mut std::io::sink())
            .map(drop)
    }

    fn to_new(&self, programs: &ClientPrograms, live: &Live) -> Result<()> {
        let Made::Apart { toc, .. } = self.made else {
            return Ok(());
        };
        let cancel = self.around.cancel;
        let session = Session::connect(&live.beside, cancel)?;
        fresh::sweep(&session)?;
        let how = Creation::of_toc(toc);
        let fresh = Fresh::temporary(&live.beside, "restore", &how, cancel)
            .map_err(|error| error.context(format!("can't make database {:?}", live.database)))?;
        let info = fresh.info();
        for (archive, entries) in self.steps() {
            let how = How {
                entries: entries.map(<[u32]>::to_vec),
                ..self.how(self.request.ground.workers)
            };
            self.load(programs, &info, archive, &how)?;
        }
        let target = Target {
            session: &session,
            beside: &live.beside,
            production: &[],
            cancel,
        };
        target.call(&live.database, fresh)
    }

    fn to_file(&self, programs: &ClientPrograms, path: &Path) -> Result<()> {
        let mut file = NewFile::create(path, 0o600)?;
        for (archive, entries) in self.steps() {
            let ready = Ready::lying_at(archive);
            load::to_script(programs, &ready, entries, file.file(), self.around.cancel)?;
        }
        file.publish_new()
    }

    /// Archives in the order in which they are loaded, and which of their entries.
    fn steps(&self) -> Vec<(&Path, Option<&[u32]>)> {
        match self.made {
            Made::Whole(path) => vec![(path, None)],
            Made::Apart {
                definitions,
                needs,
                rows,
                ..
            } => vec![
                (definitions, Some(&needs.before)),
                (rows, None),
                (definitions, Some(&needs.behind)),
            ],
        }
    }

    fn load(
        &self,
        programs: &ClientPrograms,
        info: &ConnInfo,
        archive: &Path,
        how: &How,
    ) -> Result<()> {
        let loader = Loader {
            programs,
            info,
            cancel: self.around.cancel,
        };
        loader.archive(&Ready::lying_at(archive), how).map(drop)
    }
}
