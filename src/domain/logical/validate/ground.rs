//! Where a dump is tried out: an empty database, on a server of our own or one that runs already.

use std::{collections::BTreeSet, rc::Rc};

use tracing::{debug, warn};

use super::{
    place,
    scratch_server::{ScratchServer, ScratchServers},
};
use crate::{
    domain::logical::restore::{
        creation::Creation,
        fresh::Fresh,
        material::{About, Checked, Material},
        programs,
        ready::check_room,
        script::roles,
    },
    error::{Error, Kind, Result},
    postgres::{
        client_programs::ClientPrograms, connection::Session, conninfo::ConnInfo, programs::Search,
        sql::identifier, version::Major,
    },
    util::cancel::Cancel,
};

/// What a database may be larger than a dump of it, of which nothing more is known.
const UNPACKED: u64 = 8;

/// It goes with what was restored on it.
pub struct Ground {
    pub info: ConnInfo,
    pub programs: ClientPrograms,
    /// As PostgreSQL's server_version_num.
    pub server_version: u32,
    database: Fresh,
    scratch: Option<Rc<ScratchServer>>,
}

impl Ground {
    /// A temporary database on `server`, which runs already.
    pub fn on(
        search: &Search,
        server: &place::Server,
        checked: &Checked,
        cancel: &Cancel,
    ) -> Result<Self> {
        let about = &checked.about;
        let (info, server_version) = reach(&server.info, cancel)?;
        let programs = fitting(search, server_version, about)?;
        let make = |how: &Creation| match &server.database {
            Some(name) => Fresh::called(&info, name, how, cancel),
            None => Fresh::temporary(&info, "verify", how, cancel),
        };
        let database = with_locale_or_without(about, make)?;
        Ok(Self {
            info: database.info(),
            programs,
            server_version,
            database,
            scratch: None,
        })
    }

    /// One on a server of our own.
    pub fn of_own(
        search: &Search,
        servers: &ScratchServers,
        material: &Material,
        checked: &Checked,
        cancel: &Cancel,
    ) -> Result<Self> {
        let about = &checked.about;
        let description = material.description.as_ref();
        let dumped = description.map(|dump| dump.major()).or(about.majors().0);
        let server = servers.one_for(search, dumped, cancel)?;
        let of_database = description.and_then(|dump| dump.database_bytes);
        let of_database = of_database.unwrap_or(checked.bytes.saturating_mul(UNPACKED));
        check_room(server.folder(), of_database)?;
        let session = Session::connect(&server.beside, cancel)?;
        make_what_it_names(&session, about);
        let make = |how: &Creation| Fresh::make(&server.beside, "restored", how, cancel);
        let database = with_locale_or_without(about, make)?;
        Ok(Self {
            info: database.info(),
            programs: fitting(search, server.version, about)?,
            server_version: server.version,
            database,
            scratch: Some(server),
        })
    }

    pub fn is_scratch(&self) -> bool {
        self.scratch.is_some()
    }

    /// For people.
    pub fn name(&self) -> String {
        let major = self.server_version / 10_000;
        match self.is_scratch() {
            true => format!("a server of its own (PostgreSQL {major})"),
            false => format!("{} (PostgreSQL {major})", self.info.server()),
        }
    }

    /// Whether the server is still there, so that a failure is not its own.
    pub fn answers(&self, cancel: &Cancel) -> bool {
        let session = Session::connect(&self.info, cancel);
        session.is_ok_and(|session| session.query_one("SELECT 1", &[]).is_ok())
    }

    /// An error of the server's, with what would help.
    pub fn explain(&self, error: Error) -> Error {
        if error.kind() == Kind::Interrupted {
            return error;
        }
        let error = error.context(format!(
            "the dump could not be tried out on {}",
            self.name()
        ));
        match self.is_scratch() {
            true => error.hint("see that its disk has room: TMPDIR says where it lies."),
            false => error.hint("see the server's own log."),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let server = self.scratch.as_ref();
        if server.is_some_and(|server| !server.answers(&Cancel::default())) {
            // It goes with its server.
            self.database.keep();
        }
    }
}

/// The way to a server, and its version. The database that the cluster's settings name needn't be on another server.
fn reach(info: &ConnInfo, cancel: &Cancel) -> Result<(ConnInfo, u32)> {
    const ALWAYS: &str = "postgres";
    let version = |info: &ConnInfo| Session::connect(info, cancel)?.server_version_num();
    match version(info) {
        Err(error) if error.kind() == Kind::NotFound && info.database != ALWAYS => {
            let other = info.clone().with_database(ALWAYS);
            // The database that was named is what is missing.
            let version = version(&other).map_err(|_| error)?;
            Ok((other, version))
        }
        other => Ok((info.clone(), other?)),
    }
}

fn fitting(search: &Search, server_version: u32, about: &About) -> Result<ClientPrograms> {
    let major = Major::from_server_version_num(server_version)?;
    match about {
        About::Archive(_) => programs::for_server(search, major, about.maker()),
        About::Script(_) => ClientPrograms::find(search, major),
    }
}

/// Roles and tablespaces that the dump speaks of: a server of our own has none.
fn make_what_it_names(session: &Session, about: &About) {
    let mut tablespaces = BTreeSet::new();
    let names: BTreeSet<String> = match about {
        About::Script(script) => {
            tablespaces.clone_from(&script.tablespaces);
            script.roles.clone()
        }
        About::Archive(toc) => {
            let mut names = BTreeSet::new();
            for entry in &toc.entries {
                names.insert(entry.owner.clone());
                for line in entry.definition.iter().flat_map(|sql| sql.lines()) {
                    roles(line, &mut names);
                }
            }
            names
        }
    };
    let roles = names
        .iter()
        .map(|name| format!("CREATE ROLE {}", identifier(name)));
    let tablespaces = tablespaces
        .iter()
        .map(|name| format!("CREATE TABLESPACE {} LOCATION ''", identifier(name)));
    for sql in roles.chain(tablespaces) {
        // That it is there already, or no role's name, shows soon enough.
        if let Err(error) = session.execute(&sql, &[]) {
            debug!("{}", error.in_one_line());
        }
    }
}

/// What a locale of the source is called may be unknown here: then the order of texts is another one.
fn with_locale_or_without(
    about: &About,
    make: impl Fn(&Creation) -> Result<Fresh>,
) -> Result<Fresh> {
    let how = Creation::of(about);
    match make(&how) {
        Err(error) if is_about_locale(&error) => {
            warn!(
                "the server lacks the locale of the source, so texts are in another order: {}",
                error.in_one_line()
            );
            make(&how.without_locale())
        }
        other => other,
    }
}

fn is_about_locale(error: &Error) -> bool {
    let line = error.in_one_line();
    ["locale", "collation", "ICU", "encoding"]
        .iter()
        .any(|word| line.contains(word))
}
