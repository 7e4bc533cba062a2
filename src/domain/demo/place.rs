//! Where the demo happens: one scratch folder with two clusters, a repository and the program
//! that PostgreSQL calls.

use std::{
    env,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    domain::restore::recovery::command,
    error::{IoContext, Result},
    postgres::{
        conninfo::{ConnInfo, ConnParams},
        programs::Programs,
        server::{Options, SUPERUSER, Server},
    },
    util::{
        cancel::Cancel,
        fs::{NewFile, write_over},
        process,
        scratch::Scratch,
    },
};

/// The cluster's name in the repository: the one that it has without a word of configuration.
pub const CLUSTER: &str = "main";

/// Parts of the names of two sockets in one folder.
const LIVE_PORT: u16 = 5432;
const RESTORED_PORT: u16 = 5433;

pub struct Place {
    scratch: Scratch,
    programs: Programs,
    /// What archive_command and restore_command call.
    pgstow: PathBuf,
}

impl Place {
    pub fn make(programs: &Programs, keep: bool) -> Result<Self> {
        let scratch = Scratch::make("pgstow-demo", keep)?;
        let pgstow = callable(scratch.path())?;
        let place = Self {
            scratch,
            programs: programs.clone(),
            pgstow,
        };
        place.write_config()?;
        Ok(place)
    }

    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The cluster that lives, and is broken.
    pub fn live(&self) -> PathBuf {
        self.folder().join("shop")
    }

    pub fn restored(&self) -> PathBuf {
        self.folder().join("restored")
    }

    pub fn repository(&self) -> PathBuf {
        self.folder().join("repository")
    }

    pub fn state_folder(&self) -> PathBuf {
        self.folder().join("state").join(CLUSTER)
    }

    pub fn start_live(&self, patience: Duration, cancel: &Cancel) -> Result<Server> {
        // archive_mode takes a restart, archive_command a reload: WAL waits until it is set.
        let settings = [("archive_mode", "on"), ("shared_buffers", "16MB")];
        self.start(self.live(), LIVE_PORT, &settings, patience, cancel)
    }

    /// Starts the restored cluster, which then still has to reach its target.
    pub fn start_restored(&self, patience: Duration, cancel: &Cancel) -> Result<Server> {
        let settings = [("shared_buffers", "16MB")];
        self.start(self.restored(), RESTORED_PORT, &settings, patience, cancel)
    }

    fn start(
        &self,
        data_dir: PathBuf,
        port: u16,
        settings: &[(&str, &str)],
        patience: Duration,
        cancel: &Cancel,
    ) -> Result<Server> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let options = Options {
            programs: self.programs.clone(),
            log: log_of(&data_dir),
            data_dir,
            account: None,
            socket_dir: self.folder().to_owned(),
            port,
            settings,
            patience,
        };
        Server::start(options, cancel)
    }

    /// What the server of the live cluster said last.
    pub fn last_words_of_live(&self) -> String {
        File::open(log_of(&self.live())).map_or_else(|_| String::new(), process::last_lines)
    }

    pub fn live_info(&self) -> Result<ConnInfo> {
        self.info(LIVE_PORT)
    }

    pub fn restored_info(&self) -> Result<ConnInfo> {
        self.info(RESTORED_PORT)
    }

    /// Nothing of the environment and the user's own files counts here.
    fn info(&self, port: u16) -> Result<ConnInfo> {
        let folder = self.folder().to_string_lossy().into_owned();
        let params = ConnParams {
            host: Some(folder.clone()),
            port: Some(port),
            user: Some(SUPERUSER.to_owned()),
            ..ConnParams::default()
        };
        ConnInfo::resolve(&params, &|name| (name == "HOME").then(|| folder.clone()))
    }

    /// The program and its arguments, up to and with `subcommand`, for commands of the server.
    pub fn call(&self, subcommand: &str) -> Vec<String> {
        // Variables of old scripts on this host must not count.
        let pgstow = self.pgstow.to_string_lossy();
        let config = self.config();
        let config = config.to_string_lossy();
        let words = [
            &pgstow,
            "--config",
            &config,
            "--env-file",
            "/dev/null",
            subcommand,
        ];
        words.map(str::to_owned).into()
    }

    /// The same as somebody would type it.
    pub fn shown(&self, subcommand: &str) -> String {
        format!("pgstow --config {} {subcommand}", self.config().display())
    }

    pub fn archive_command(&self) -> String {
        format!("{} %p", command(&self.call("archive-wal")))
    }

    fn config(&self) -> PathBuf {
        self.folder().join("pgstow.toml")
    }

    /// So that with --keep every command can be tried on the folder.
    fn write_config(&self) -> Result<()> {
        let folder = self.folder().to_string_lossy();
        let folder = folder.replace('\\', r"\\").replace('"', r#"\""#);
        let text = format!(
            "state_dir = \"{folder}/state\"\n\n\
             [repo.local]\nurl = \"{folder}/repository\"\n\n\
             [cluster.{CLUSTER}]\nhost = \"{folder}\"\nport = {LIVE_PORT}\nuser = \"{SUPERUSER}\"\n"
        );
        write_over(&self.config(), 0o600, text.as_bytes())
    }

    pub fn initdb_command(&self) -> String {
        let data_dir = self.live();
        let data_dir = data_dir.display();
        format!("initdb --data-checksums -D {data_dir} && pg_ctl -D {data_dir} start")
    }
}

fn log_of(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}

/// This program, at a path that the server can call. Whoever began as root may have left it in
/// a folder that nobody else may enter; then a copy is made.
fn callable(folder: &Path) -> Result<PathBuf> {
    let path = env::current_exe().at("find", "this program")?;
    if File::open(&path).is_ok() {
        return Ok(path);
    }
    let copy = folder.join("pgstow");
    let own = "/proc/self/exe";
    let mut from = File::open(own).at("read", own)?;
    let mut file = NewFile::create(&copy, 0o700)?;
    io::copy(&mut from, file.file()).at("write", &copy)?;
    file.publish_new()?;
    Ok(copy)
}
