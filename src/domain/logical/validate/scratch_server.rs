//! Servers that pgstow starts to try dumps out on: one for each major version, for all dumps of a run.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{Permissions, set_permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    rc::Rc,
    time::Duration,
};

use crate::{
    domain::logical::{
        remains::{self, OF_VERIFY},
        restore::ready::check_room,
    },
    error::{Error, IoContext, Kind, Result},
    postgres::{
        connection::Session,
        conninfo::{ConnInfo, ConnParams},
        programs::{Programs, Search},
        server::{self, Options, SUPERUSER, Server},
        version::Major,
    },
    util::{cancel::Cancel, scratch::Scratch},
};

/// Until such a server accepts connections.
const PATIENCE: Duration = Duration::from_secs(120);

/// Part of the name of its socket.
const PORT: u16 = 5432;

/// What a server needs beside its databases.
const OF_SERVER: u64 = 200 << 20;

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

/// Those of a run. They go, with their folders, when this is dropped.
#[derive(Default)]
pub struct ScratchServers(RefCell<BTreeMap<Major, Rc<ScratchServer>>>);

impl ScratchServers {
    /// One that dumps of a server of major `dumped` can be restored on; started only if none of an earlier dump is left.
    pub fn one_for(
        &self,
        search: &Search,
        dumped: Option<u32>,
        cancel: &Cancel,
    ) -> Result<Rc<ScratchServer>> {
        let programs = programs(search, dumped)?;
        let major = programs.major();
        let mut running = self.0.borrow_mut();
        if let Some(server) = running.get(&major) {
            if server.answers(cancel) {
                return Ok(Rc::clone(server));
            }
            cancel.check()?;
            // What it did not live through is not the next dump's.
            running.remove(&major);
        }
        let server = Rc::new(ScratchServer::start(programs, cancel)?);
        running.insert(major, Rc::clone(&server));
        Ok(server)
    }
}

/// A server of our own. It goes before its folder.
pub struct ScratchServer {
    /// For its superuser, in no database of a dump.
    pub beside: ConnInfo,
    /// As PostgreSQL's server_version_num.
    pub version: u32,
    _server: Server,
    scratch: Scratch,
}

impl ScratchServer {
    fn start(programs: Programs, cancel: &Cancel) -> Result<Self> {
        remains::sweep();
        let scratch = Scratch::make(OF_VERIFY, false)?;
        check_room(scratch.path(), OF_SERVER)?;
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
                programs,
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
        let version = Session::connect(&beside, cancel)?.server_version_num()?;
        Ok(Self {
            beside,
            version,
            _server: server,
            scratch,
        })
    }

    /// Where all that it writes lies.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    pub fn answers(&self, cancel: &Cancel) -> bool {
        let session = Session::connect(&self.beside, cancel);
        session.is_ok_and(|session| session.query_one("SELECT 1", &[]).is_ok())
    }
}

/// Of the version that was dumped, else of the next newer one.
fn programs(search: &Search, dumped: Option<u32>) -> Result<Programs> {
    let Some(dumped) = dumped else {
        return search.find(None);
    };
    if let Some(bindir) = &search.bindir {
        let only = Programs::at(bindir)?;
        return match only.major().number() >= dumped {
            true => Ok(only),
            false => Err(Error::failed(format!(
                "the dump is of PostgreSQL {dumped}, and the server programs in {} are of {}, on which it can't be tried \
                 out",
                bindir.display(),
                only.major()
            ))
            .hint(format!(
                "install the package postgresql-{dumped} (Debian, Ubuntu: its programs are in \
                 /usr/lib/postgresql/{dumped}/bin) and name that folder by bindir in [cluster.NAME] or --bindir, or \
                 leave bindir out, so that they are found; or name a server that runs: verify.place = \"server\"."
            ))),
        };
    }
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
