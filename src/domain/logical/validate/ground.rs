//! Where a dump is tried out: an empty database, on a server of our own or one that runs already.

use std::{
    collections::BTreeSet,
    fs::{Permissions, set_permissions},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use tracing::{debug, warn};

use super::place;
use crate::{
    domain::logical::{
        remains::{self, OF_VERIFY},
        restore::{
            creation::Creation,
            fresh::Fresh,
            material::{About, Checked, Material},
            programs,
            ready::check_room,
            script::roles,
        },
    },
    error::{Error, IoContext, Kind, Result},
    postgres::{
        client_programs::ClientPrograms,
        connection::Session,
        conninfo::{ConnInfo, ConnParams},
        programs::{Programs, Search},
        server::{self, Options, SUPERUSER, Server},
        sql::identifier,
        version::Major,
    },
    util::{cancel::Cancel, scratch::Scratch},
};

/// Until such a server accepts connections.
const PATIENCE: Duration = Duration::from_secs(120);

/// Part of the name of its socket.
const PORT: u16 = 5432;

/// What a server needs beside the database itself, and what a database may be larger than a dump of it, of
/// which nothing more is known.
const OF_SERVER: u64 = 200 << 20;
const UNPACKED: u64 = 8;

/// It is thrown away: nothing has to outlive a crash of the host, and nothing else happens in it.
const SETTINGS: [(&str, &str); 14] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("archive_mode", "off"),
    ("autovacuum", "off"),
    ("shared_buffers", "128MB"),
    ("maintenance_work_mem", "256MB"),
    ("max_wal_size", "2GB"),
    ("max_locks_per_transaction", "1024"),
    ("jit", "off"),
    ("allow_in_place_tablespaces", "on"),
    ("log_min_messages", "fatal"),
];

/// What goes goes in this order: the database, the server, its folder.
pub struct Ground {
    pub info: ConnInfo,
    pub programs: ClientPrograms,
    /// As PostgreSQL's server_version_num.
    pub server_version: u32,
    _database: Fresh,
    scratch: Option<(Server, Scratch)>,
}

impl Ground {
    /// On `server`; None: on one of our own.
    pub fn prepare(
        search: &Search,
        server: Option<&place::Server>,
        material: &Material<'_>,
        checked: &Checked,
        cancel: &Cancel,
    ) -> Result<Self> {
        let about = &checked.about;
        match server {
            Some(server) => {
                let session = Session::connect(&server.info, cancel)?;
                let server_version = session.server_version_num()?;
                drop(session);
                let programs = fitting(search, server_version, about)?;
                let make = |how: &Creation| match &server.database {
                    Some(name) => Fresh::called(&server.info, name, how, cancel),
                    None => Fresh::temporary(&server.info, "verify", how, cancel),
                };
                let database = with_locale_or_without(about, make)?;
                Ok(Self {
                    info: database.info(),
                    programs,
                    server_version,
                    _database: database,
                    scratch: None,
                })
            }
            None => Self::start(search, material, checked, cancel),
        }
    }

    fn start(
        search: &Search,
        material: &Material<'_>,
        checked: &Checked,
        cancel: &Cancel,
    ) -> Result<Self> {
        let about = &checked.about;
        let description = material.description.as_ref();
        let dumped = description.map(|dump| dump.major()).or(about.majors().0);
        let programs = server_programs(search, dumped)?;
        remains::sweep();
        let scratch = Scratch::make(OF_VERIFY, false)?;
        let of_database = description.and_then(|dump| dump.database_bytes);
        let of_database = of_database.unwrap_or(checked.bytes.saturating_mul(UNPACKED));
        check_room(scratch.path(), of_database.saturating_add(OF_SERVER))?;
        let account = server::unprivileged_account()?;
        if account.is_some() {
            // The server's user must come through; what is inside belongs to it alone.
            let passable = Permissions::from_mode(0o711);
            set_permissions(scratch.path(), passable).at("change the mode of", scratch.path())?;
        }
        let folder = scratch.path().join("s");
        server::create_folder(&folder, account.as_ref())?;
        let data_dir = folder.join("data");
        server::initdb(&programs, &data_dir, account.as_ref(), &[], cancel)?;
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let server = Server::start(
            Options {
                programs: programs.clone(),
                log: scratch.path().join("server.log"),
                data_dir,
                account,
                socket_dir: folder,
                port: PORT,
                settings: settings.into(),
                patience: PATIENCE,
            },
            cancel,
        )?;
        let beside = info_of(&server)?;
        let session = Session::connect(&beside, cancel)?;
        let server_version = session.server_version_num()?;
        make_what_it_names(&session, about);
        let make = |how: &Creation| Fresh::make(&beside, "restored", how, cancel);
        let mut database = with_locale_or_without(about, make)?;
        // It goes with its server.
        database.keep();
        Ok(Self {
            info: database.info(),
            programs: fitting(search, server_version, about)?,
            server_version,
            _database: database,
            scratch: Some((server, scratch)),
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

fn fitting(search: &Search, server_version: u32, about: &About) -> Result<ClientPrograms> {
    let major = Major::from_server_version_num(server_version)?;
    match about {
        About::Archive(_) => programs::for_server(search, major, about.maker()),
        About::Script(_) => ClientPrograms::find(search, major),
    }
}

/// Of the version that was dumped, else of the next newer one.
fn server_programs(search: &Search, dumped: Option<u32>) -> Result<Programs> {
    let Some(dumped) = dumped else {
        return search.find(None);
    };
    let newer = Major::ALL
        .into_iter()
        .filter(|major| major.number() >= dumped);
    let found = newer
        .map(|major| search.find(Some(major)))
        .find(|found| !matches!(found, Err(error) if error.kind() == Kind::NotFound));
    found.unwrap_or_else(|| {
        Err(Error::new(
            Kind::NotFound,
            format!("no server programs of PostgreSQL {dumped} or newer on this host, to try the dump out with"),
        )
        .hint(format!(
            "install the package postgresql-{dumped}, or name a server that runs: verify.place = \"server\"."
        )))
    })
}

fn info_of(server: &Server) -> Result<ConnInfo> {
    let folder = server.socket_dir().to_string_lossy().into_owned();
    let params = ConnParams {
        host: Some(folder.clone()),
        port: Some(server.port()),
        user: Some(SUPERUSER.to_owned()),
        ..ConnParams::default()
    };
    // Nothing of the environment and the user's own files counts here.
    ConnInfo::resolve(&params, &|name| (name == "HOME").then(|| folder.clone()))
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
