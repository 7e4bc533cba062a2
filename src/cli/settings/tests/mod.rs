//! The layers together: who wins, who is blamed, what the example file says.

#![allow(clippy::unwrap_used)]

mod alerts;
mod example;
mod secrets;

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    keys::{self, KEYS, Key, Scope},
    layers::{Flag, Layers, Places},
    notes::Note,
};

use crate::{
    commands::options::{Jobs, LogLevel, Settings},
    domain::retention::policy::{Keep, OlderWal},
    error::{Error, Result},
    postgres::conninfo::SslMode,
    util::{
        secret::{Secret, SecretFrom},
        zone::Zone,
    },
};

/// A folder with a configuration file and an env file, and an environment.
struct Host {
    folder: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
    places: Places,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            config: Some(folder.path().join("pgstow.toml")),
            env_file: Some(folder.path().join("env")),
            ..Places::default()
        };
        let host = Self {
            folder,
            environment: Vec::new(),
            places,
        };
        host.file("", 0o644).env_file("")
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn file(self, text: &str, mode: u32) -> Self {
        self.write("pgstow.toml", text, mode);
        self
    }

    fn env_file(self, text: &str) -> Self {
        self.write("env", text, 0o600);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: Key, name: &'static str, text: &str) -> Self {
        let text = text.to_owned();
        self.places.flags.push(Flag { key, name, text });
        self
    }

    fn layers(&self) -> Result<Layers> {
        Layers::load(self.places.clone(), self.environment.clone())
    }

    fn settings(&self) -> Result<Settings> {
        self.layers()?.settings()
    }

    fn value(&self, key: Key, section: &str) -> (String, String) {
        let found = self.layers().unwrap().find(key, section).unwrap().unwrap();
        let source = found.source.to_string();
        let folder = format!("{}/", self.folder.path().display());
        (found.text, source.replace(&folder, ""))
    }

    /// Message with causes, and the folder left out.
    fn error(&self) -> String {
        let settings = self.layers().and_then(|layers| {
            layers.log_level()?;
            layers.notes()?;
            layers.settings()
        });
        let folder = format!("{}/", self.folder.path().display());
        settings.unwrap_err().in_one_line().replace(&folder, "")
    }
}

#[test]
fn every_layer_hides_those_below_it() {
    let value = |text: &str, source: &str| (text.to_owned(), source.to_owned());
    let mut host = Host::new();
    let level = |host: &Host| host.value(keys::LOG_LEVEL, "");
    assert_eq!(level(&host), value("info", "default"));
    host = host.env_file("\nLOG_LEVEL=error");
    assert_eq!(level(&host), value("error", "env:2: LOG_LEVEL"));
    host = host.env("LOG_LEVEL", "warn");
    assert_eq!(level(&host), value("warn", "variable LOG_LEVEL"));
    host = host.file("\n[log]\nlevel = 'debug'", 0o644);
    assert_eq!(level(&host), value("debug", "pgstow.toml:3"));
    host = host.env_file("PGSTOW_LOG_LEVEL=info");
    assert_eq!(level(&host), value("info", "env:1: PGSTOW_LOG_LEVEL"));
    host = host.env("PGSTOW_LOG_LEVEL", "trace");
    assert_eq!(level(&host), value("trace", "variable PGSTOW_LOG_LEVEL"));
    host = host.flag(keys::LOG_LEVEL, "--quiet", "warn");
    assert_eq!(level(&host), value("warn", "--quiet"));
}

#[test]
fn a_url_alone_is_enough() {
    let host = Host::new().flag(keys::REPO_URL, "--repo-url", "/backups");
    let settings = host.settings().unwrap();
    let repo = settings.repo().unwrap();
    assert_eq!(repo.name, "local");
    assert_eq!(repo.location.folder(), Some(Path::new("/backups")));
    assert_eq!(repo.compression.to_string(), "zstd:3");
    assert_eq!(settings.cluster.name.as_str(), "main");
    assert_eq!(settings.cluster.jobs, Jobs::Auto);
    let nothing = Host::new().settings().unwrap();
    assert!(nothing.repo().is_err());
}

#[test]
fn old_names_become_settings() {
    let host = Host::new()
        .env_file(
            "export BACKUP_DIR=/old\nWAL_ARCHIVE_DIR=/old/wal\nRETENTION_DAYS=30\n\
             POSTGRES_HOST=db\nPOSTGRES_PORT=5433\nPOSTGRES_USER=u\nPOSTGRES_PASSWORD='p w'\n\
             POSTGRES_DB='app, other'\nLOG_LEVEL=WARNING\n",
        )
        .env("PGSSLMODE", "require");
    let layers = host.layers().unwrap();
    assert_eq!(layers.log_level().unwrap(), LogLevel::Warn);
    let settings = layers.settings().unwrap();
    let repo = settings.repo().unwrap();
    assert_eq!(repo.location.to_string(), "/old");
    assert_eq!(repo.retention.days, Some(Keep::Count(30)));
    let connection = &settings.cluster.connection;
    assert_eq!(connection.set.host, None);
    let password = SecretFrom::Setting(Secret::new("p w"));
    assert_eq!(connection.environment_password, Some(password));
    let info = connection.resolve().unwrap();
    assert_eq!(info.server(), "db:5433");
    assert_eq!((info.user.as_str(), info.database.as_str()), ("u", "app"));
    assert_eq!(info.sslmode, SslMode::Require);
    assert_eq!(info.password.as_ref().map(Secret::expose), Some("p w"));
    let ignored = "WAL_ARCHIVE_DIR is ignored: WAL lies in the repository local";
    let notes = layers.notes().unwrap();
    assert_eq!(notes, [Note::Info(ignored.to_owned())]);

    let off = Host::new()
        .env("RETENTION_DAYS", "0")
        .env("BACKUP_DIR", "/old");
    let repo = off.settings().unwrap();
    assert!(!repo.repo().unwrap().retention.has_rule());
}

#[test]
fn a_repository_that_is_filled_later_is_used_where_it_is_named() {
    let modes = |first: &str, second: &str| {
        let text = format!(
            "[repo.a]\nurl = '/a'\nwal_mode = '{first}'\n[repo.b]\nurl = '/b'\nwal_mode = '{second}'\n"
        );
        Host::new().file(&text, 0o644)
    };
    let names = |host: &Host| {
        let settings = host.settings().unwrap();
        let repos = settings.repos.iter().map(|repo| repo.name.clone());
        let synced = settings.synced.iter().map(|(name, _)| name.clone());
        (repos.collect::<Vec<_>>(), synced.collect::<Vec<_>>())
    };
    let list = |names: &[&str]| -> Vec<String> { names.iter().map(|&one| one.into()).collect() };
    assert_eq!(
        names(&modes("push", "push")),
        (list(&["a", "b"]), list(&[]))
    );
    assert_eq!(names(&modes("push", "sync")), (list(&["a"]), list(&["b"])));
    let named = modes("push", "sync").env("PGSTOW_REPO", "b");
    assert_eq!(names(&named), (list(&["b"]), list(&["b"])));
    let error = modes("sync", "push").settings().unwrap_err();
    assert!(error.message().contains("[repo.a] is the first"), "{error}");
    assert!(modes("push", "pull").settings().is_err());
}

#[test]
fn only_the_first_repository_has_a_window_by_default() {
    let days = |host: &Host| -> Vec<Option<Keep>> {
        let repos = host.settings().unwrap().repos.into_iter();
        repos.map(|repo| repo.retention.days).collect()
    };
    let seven = Some(Keep::Count(7));
    assert_eq!(
        days(&Host::new().flag(keys::REPO_URL, "--repo-url", "/x")),
        [seven]
    );
    let two = |rules: &str| {
        let text = format!("[repo.a]\nurl = '/a'\n{rules}\n[repo.b]\nurl = '/b'\n");
        Host::new().file(&text, 0o644)
    };
    assert_eq!(days(&two("")), [seven, None]);
    assert_eq!(days(&two("retention.min = 3")), [seven, None]);
    // One rule of its own, even one that is off, ends the default.
    assert_eq!(days(&two("retention.full = 3")), [None, None]);
    assert_eq!(days(&two("retention.days = 0")), [None, None]);
    let repos = two("").settings().unwrap().repos;
    assert_eq!(repos[0].retention.min, 2);
    assert!(!repos[1].retention.has_rule());
    let rules =
        "retention = { full = 3, yearly = 'forever', wal = 'all', time_zone = 'Asia/Tokyo' }";
    let policy = &two(rules).settings().unwrap().repos[0].retention;
    assert_eq!(
        (policy.full, policy.yearly),
        (Some(Keep::Count(3)), Some(Keep::Forever))
    );
    assert_eq!(
        (policy.older_wal, &policy.zone),
        (OlderWal::All, &Zone::named("Asia/Tokyo").unwrap())
    );
    // What the file says of its repository says nothing of another place.
    let elsewhere = two("retention.full = 3").flag(keys::REPO_URL, "--repo-url", "/usb");
    assert!(!elsewhere.settings().unwrap().repos[0].retention.has_rule());
}

#[test]
fn bad_values_are_blamed_on_their_source() {
    let new = Host::new;
    let config = |text: &str| Host::new().file(text, 0o644);
    for (host, expected) in [
        (
            config("\n[cluster.main]\nport = 'x'"),
            "pgstow.toml:3: bad value for cluster.main.port: not a port",
        ),
        (
            new().env("PGPORT", "0"),
            "variable PGPORT: bad value for cluster.main.port",
        ),
        (
            new().env_file("#\nPOSTGRES_PORT=x"),
            "env:2: POSTGRES_PORT: bad value",
        ),
        (
            new().env("PGSTOW_CLUSTER_JOBS", "0"),
            "variable PGSTOW_CLUSTER_JOBS: bad value",
        ),
        (
            new().flag(keys::JOBS, "--jobs", "many"),
            "--jobs: bad value for cluster.main.jobs",
        ),
        (
            new().env("BACKUP_DIR", "relative"),
            "variable BACKUP_DIR: bad value for repo.local.url",
        ),
        (
            config("[repo.a]\ncompression = 'none'"),
            "pgstow.toml: [repo.a] has no url",
        ),
        (
            config("[cluster.a]\nport = 1\n[cluster.b]\nport = 2"),
            "pgstow.toml has several clusters: a, b",
        ),
        (
            config("[cluster.main]\npassword = 'x'\npassword_file = '/y'").file_mode(0o600),
            "pgstow.toml:2 and pgstow.toml:3 contradict",
        ),
        (
            config("[verify]\nsql = ['SELECT 1', \"SELECT\\n2\"]"),
            "pgstow.toml:2: a line break in verify.sql",
        ),
        (
            new().env("PGHOST", "a").env("POSTGRES_HOST", "b"),
            "variable PGHOST and variable POSTGRES_HOST contradict",
        ),
        (
            new().env("PGHOST", "a").env_file("POSTGRES_HOST=b"),
            "variable PGHOST and env:1: POSTGRES_HOST contradict",
        ),
        (
            new().env("PGPASSWORD", "a").env("PGPASSWORD_FILE", "/b"),
            "variable PGPASSWORD and variable PGPASSWORD_FILE contradict",
        ),
        (
            new()
                .env("BACKUP_DIR", "/old")
                .env("WAL_ARCHIVE_DIR", "/older/wal"),
            "WAL_ARCHIVE_DIR is /older/wal, but",
        ),
        (
            new().repo("x").file("[repo.a]\nurl='/a'", 0o644),
            "no repository named x is configured",
        ),
        (
            new().env_file_mode(0o646),
            "env can be changed by every user",
        ),
    ] {
        let error = host.error();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
    }
}

impl Host {
    fn file_mode(self, mode: u32) -> Self {
        let path = self.folder.path().join("pgstow.toml");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn env_file_mode(self, mode: u32) -> Self {
        let path = self.folder.path().join("env");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn repo(mut self, name: &str) -> Self {
        self.places.repo = Some(name.to_owned());
        self
    }
}

#[test]
fn two_old_names_may_agree_and_a_hidden_contradiction_does_no_harm() {
    let host = Host::new().env("PGHOST", "a").env("POSTGRES_HOST", "a");
    assert!(host.settings().is_ok());
    let host = host
        .env("PGUSER", "a")
        .env("POSTGRES_USER", "b")
        .file("[cluster.main]\nuser = 'c'", 0o644);
    let user = host.settings().unwrap().cluster.connection.set.user;
    assert_eq!(user.as_deref(), Some("c"));
}

#[test]
fn names_that_do_nothing_are_named() {
    let host = Host::new()
        .env("PGSTOW_REPO_ULR", "/x")
        .env("PGUSER", "someone")
        .env("BACKUP_DIR", "/old")
        .env("LOG_LEVEL", "debug")
        .env("RETENTION_DAYS", "7")
        .file(
            "log.level = 'info'\n[repo.nas]\nurl = '/nas'\n[cluster.main]\nuser = 'backup'",
            0o644,
        );
    let notes = host.layers().unwrap().notes().unwrap();
    let texts: Vec<String> = notes
        .iter()
        .map(|note| match note {
            Note::Warning(text) | Note::Info(text) => {
                text.replace(&format!("{}/", host.folder.path().display()), "")
            }
        })
        .collect();
    assert_eq!(
        texts,
        [
            "variable PGSTOW_REPO_ULR is set, but no setting of pgstow; did you mean PGSTOW_REPO_URL?",
            "variable BACKUP_DIR is set, but not used: no repository is named local",
            "variable RETENTION_DAYS is set, but not used: no repository is named local",
            "variable LOG_LEVEL is set, but not used: pgstow.toml:1 is used",
        ]
    );
}

#[test]
fn several_repositories_keep_their_order_and_one_can_be_chosen() {
    let file = "[repo.z]\nurl = '/z'\n[repo.a]\nurl = '/a'\npart_size = '2MB'";
    let host = Host::new().file(file, 0o644);
    let names = |host: &Host| -> Vec<String> {
        let repos = host.settings().unwrap().repos;
        repos
            .iter()
            .map(|repo| format!("{}={}", repo.name, repo.location))
            .collect()
    };
    assert_eq!(names(&host), ["z=/z", "a=/a"]);
    let host = host.repo("a");
    assert_eq!(names(&host), ["a=/a"]);
    let host = host.flag(keys::REPO_URL, "--repo-url", "/else");
    assert_eq!(names(&host), ["a=/else"]);
    assert_eq!(host.settings().unwrap().repos[0].part_size, 2 << 20);
}

#[test]
fn a_service_file_ranks_between_settings_and_libpqs_variables() {
    let host = Host::new();
    let file = host.write("services", "[db]\nhost=service\nport=1\n", 0o644);
    let text = format!("[cluster.main]\nport = 2\nservicefile = {file:?}");
    let host = host
        .file(&text, 0o644)
        .env("PGSERVICE", "db")
        .env("POSTGRES_HOST", "variable")
        .env("PGUSER", "someone");
    let info = host
        .settings()
        .unwrap()
        .cluster
        .connection
        .resolve()
        .unwrap();
    assert_eq!(
        (info.server().as_str(), info.user.as_str()),
        ("service:2", "someone")
    );
}

#[test]
fn a_named_file_must_be_there() {
    for (name, expected) in [("config", "can't read "), ("env_file", "can't open ")] {
        let mut host = Host::new();
        let absent = Some(PathBuf::from("/nonexistent/file"));
        match name {
            "config" => host.places.config = absent,
            _ => host.places.env_file = absent,
        }
        assert!(host.error().starts_with(expected), "{name}");
    }
}

#[test]
fn errors_are_usage_errors() {
    let host = Host::new().env("PGPORT", "x");
    let kind = |error: Error| error.kind();
    assert_eq!(
        host.settings().map_err(kind).unwrap_err(),
        crate::error::Kind::Usage
    );
}
