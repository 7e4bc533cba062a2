//! The layers of settings, asked for one key at a time.
//!
//! Flag, `PGSTOW_` variable, pgstow.toml, libpq's and the old scripts' variables, default:
//! the first that has the key wins. Nothing is opened here but the two files, so that
//! archive-wal and restore-wal lose no time.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    environment::Environment,
    file::{self, ConfigFile},
    keys::{self, Key, Scope},
    old_names::{DISCORD, OLD_NAMES, OLD_REPOSITORY},
    source::{Source, Sourced},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    util::nearest::nearest,
};

pub(super) const CONFIG: &str = "/etc/pgstow/pgstow.toml";
pub(super) const ENV_FILE: &str = "/etc/postgresql-backup.env";

/// The window of the first repository, where no rule is set.
const DEFAULT_DAYS: &str = "7";

/// The rules of retention beside `days`.
const OTHER_RULES: [Key; 5] = [
    keys::RETENTION_FULL,
    keys::RETENTION_DAILY,
    keys::RETENTION_WEEKLY,
    keys::RETENTION_MONTHLY,
    keys::RETENTION_YEARLY,
];

/// A key's value as an option of the command line gave it.
#[derive(Clone, Debug)]
pub struct Flag {
    pub key: Key,
    pub name: &'static str,
    pub text: String,
}

/// What the command line says about where settings are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub config: Option<PathBuf>,
    pub env_file: Option<PathBuf>,
    pub cluster: Option<String>,
    pub repo: Option<String>,
    pub flags: Vec<Flag>,
}

#[derive(Debug)]
pub struct Layers {
    pub(super) flags: Vec<Flag>,
    pub(super) environment: Environment,
    pub(super) path: Rc<Path>,
    pub(super) file: ConfigFile,
    /// The repository that `--repo` names, else the first.
    pub repo: String,
    /// Was one repository chosen, by name or by URL?
    pub one_repo: bool,
    pub cluster: Chosen,
    /// Secrets that every user can read are used all the same.
    pub uses_exposed: bool,
}

/// The cluster that a command works on, if that is clear.
#[derive(Debug)]
pub enum Chosen {
    One(String),
    /// Several are configured and none was named.
    Unclear,
}

/// A value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub text: String,
    pub source: Source,
    /// The text is the path of a file that holds the secret.
    pub by_file: bool,
    /// From a variable of libpq or of the old scripts.
    pub old: bool,
}

impl Layers {
    /// Opens the files. `environment` is the process's (`std::env::vars_os`).
    pub fn load(
        places: Places,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let mut environment = Environment::of_process(environment)?;
        let named = named_file(places.env_file, &environment, "PGSTOW_ENV_FILE");
        let path = named.as_deref().unwrap_or(Path::new(ENV_FILE));
        environment.add_file(path, named.is_some())?;

        let named = named_file(places.config, &environment, "PGSTOW_CONFIG");
        let path: Rc<Path> = Rc::from(named.as_deref().unwrap_or(Path::new(CONFIG)));
        let file = match file::read(&path)? {
            None if named.is_some() => {
                let what = format!("can't read {}: it isn't there", path.display());
                return Err(Error::new(Kind::Usage, what));
            }
            other => other.unwrap_or_default(),
        };

        let word = |typed: Option<String>, variable: &str| {
            typed.or_else(|| environment.get(variable).map(|v| v.value.clone()))
        };
        let repo = word(places.repo, "PGSTOW_REPO");
        let cluster = word(places.cluster, "PGSTOW_CLUSTER");
        let by_url = places.flags.iter().any(|flag| flag.name == "--repo-url")
            || environment.get("PGSTOW_REPO_URL").is_some();
        let one_repo = repo.is_some() || by_url;
        let repo = match known("repository", "--repo", repo, &file.repos)? {
            Some(name) => name,
            None => file
                .repos
                .first()
                .map_or(OLD_REPOSITORY, |name| name)
                .to_owned(),
        };
        let cluster = match known("cluster", "--cluster", cluster, &file.clusters)? {
            Some(name) => Chosen::One(name),
            None => match file.clusters.as_slice() {
                [] => Chosen::One("main".to_owned()),
                [name] => Chosen::One(name.clone()),
                _ => Chosen::Unclear,
            },
        };
        Ok(Self {
            flags: places.flags,
            environment,
            path,
            file,
            repo,
            one_repo,
            cluster,
            uses_exposed: false,
        })
    }

    /// Flags by which a program that the server calls, in another folder and environment, comes
    /// to the same settings.
    pub fn server_flags(&self) -> Result<Vec<String>> {
        self.server_flags_of(&self.repo)
    }

    /// The same to `repo` as the first or chosen one.
    pub fn server_flags_of(&self, repo: &str) -> Result<Vec<String>> {
        let mut flags = Vec::new();
        let mut add = |flag: &str, value: &str| flags.extend([flag.to_owned(), value.to_owned()]);
        if self.path.exists() {
            let path = std::path::absolute(&self.path).at("find", &self.path)?;
            add("--config", &path.to_string_lossy());
        }
        if self.file.repos.iter().any(|name| name == repo) {
            add("--repo", repo);
        }
        let url = self.find(keys::REPO_URL, repo)?;
        if let Some(url) = url.filter(|url| !matches!(url.source, Source::File { .. })) {
            add("--repo-url", &url.text);
        }
        add("--cluster", self.cluster()?);
        Ok(flags)
    }

    /// Whether the first or chosen repository stands in the file.
    pub fn file_has_repo(&self) -> bool {
        self.file.repos.contains(&self.repo)
    }

    /// The repositories that commands use, in the order of the file.
    pub fn repos(&self) -> Vec<&str> {
        if self.one_repo || self.file.repos.is_empty() {
            vec![&self.repo]
        } else {
            self.file.repos.iter().map(String::as_str).collect()
        }
    }

    /// All repositories of the file, in its order.
    pub fn named(&self) -> Vec<String> {
        self.file.repos.clone()
    }

    /// The cluster's name; an error if several are configured and none was named.
    pub fn cluster(&self) -> Result<&str> {
        match &self.cluster {
            Chosen::One(name) => Ok(name),
            Chosen::Unclear => Err(Error::usage(format!(
                "{} has several clusters: {}",
                self.path.display(),
                self.file.clusters.join(", ")
            ))
            .hint("name one with --cluster.")),
        }
    }

    /// The value of `key`, in the repository or cluster `section`.
    pub fn find(&self, key: Key, section: &str) -> Result<Option<Found>> {
        // Flags and PGSTOW_ variables have no name of a section: they mean the chosen one. Those of
        // alerts have one.
        let chosen = match key.scope {
            Scope::Top => true,
            Scope::Repo => section == self.repo,
            Scope::Cluster => self.cluster().is_ok_and(|name| name == section),
            Scope::Alert => true,
        };
        if chosen {
            if let Some(flag) = self.flags.iter().find(|flag| flag.key == key) {
                return Ok(Some(found(&flag.text, Source::Flag(flag.name))));
            }
            if let Some(found) = self.variable(&key.variable(section), key.secret)? {
                return Ok(Some(found));
            }
        }
        if let Some(found) = self.of_file(key, section)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.of_old_names(key, section)? {
            return Ok(found);
        }
        if key == keys::RETENTION_DAYS && self.has_default_window(section)? {
            return Ok(Some(found(DEFAULT_DAYS, Source::Default)));
        }
        Ok(key.default.map(|text| found(text, Source::Default)))
    }

    /// Whether `repo` has another place than the file says: the file's rules don't speak of that one.
    pub fn is_elsewhere(&self, repo: &str) -> Result<bool> {
        let in_file = self.file.repos.iter().any(|name| name == repo);
        let url = self.find(keys::REPO_URL, repo)?;
        Ok(in_file && url.is_some_and(|url| !matches!(url.source, Source::File { .. })))
    }

    /// The first repository keeps a window where no rule is set for it; in others nothing is ever
    /// deleted until they have one.
    fn has_default_window(&self, repo: &str) -> Result<bool> {
        let first = self.file.repos.first().map_or(OLD_REPOSITORY, |name| name);
        if repo != first || self.is_elsewhere(repo)? {
            return Ok(false);
        }
        for key in OTHER_RULES {
            if self.find(key, repo)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The variable `name`, or for secrets `name_FILE`.
    pub(super) fn variable(&self, name: &str, secret: bool) -> Result<Option<Found>> {
        let plain = self.environment.get(name);
        let by_file = secret
            .then(|| self.environment.get(&format!("{name}_FILE")))
            .flatten();
        match (plain, by_file) {
            (Some(a), Some(b)) => Err(contradiction(&a.source, &b.source)),
            (Some(Sourced { value, source }), None) => Ok(Some(found(value, source.clone()))),
            (None, Some(Sourced { value, source })) => Ok(Some(Found {
                by_file: true,
                ..found(value, source.clone())
            })),
            (None, None) => Ok(None),
        }
    }

    fn of_file(&self, key: Key, section: &str) -> Result<Option<Found>> {
        let mut entries = self
            .file
            .entries
            .iter()
            .filter(|entry| entry.key == key && entry.section == section);
        let source = |line| Source::File {
            path: Rc::clone(&self.path),
            line,
        };
        match (entries.next(), entries.next()) {
            (Some(a), Some(b)) => Err(contradiction(&source(a.line), &source(b.line))),
            (Some(entry), None) => Ok(Some(Found {
                by_file: entry.by_file,
                ..found(&entry.text, source(entry.line))
            })),
            (None, _) => Ok(None),
        }
    }

    /// Outer None: no old name is set. Inner None: one is set and switches the key off.
    fn of_old_names(&self, key: Key, section: &str) -> Result<Option<Option<Found>>> {
        let file_is_silent =
            self.file.repos.is_empty() || self.file.repos.iter().any(|r| r == section);
        if key.scope == Scope::Repo && !file_is_silent {
            return Ok(None);
        }
        if (key, section) == (super::keys::ALERT_ON, DISCORD) {
            return Ok(self.old_wishes()?.map(Some));
        }
        let mut winner: Option<(Found, Option<String>)> = None;
        for old in OLD_NAMES.iter().filter(|old| old.sets(key, section)) {
            let Some(found) = self.variable(old.name, key.secret)? else {
                continue;
            };
            let value = old.value(&found.text);
            match &winner {
                Some((first, other)) if *other != value || first.by_file != found.by_file => {
                    return Err(contradiction(&first.source, &found.source));
                }
                Some(_) => {}
                None => winner = Some((found, value)),
            }
        }
        Ok(winner.map(|(found, value)| {
            value.map(|text| Found {
                text,
                old: true,
                ..found
            })
        }))
    }
}

/// A file that the command line or else a variable names.
pub(super) fn named_file(
    typed: Option<PathBuf>,
    environment: &Environment,
    variable: &str,
) -> Option<PathBuf> {
    let set = || environment.get(variable).map(|v| PathBuf::from(&v.value));
    typed.or_else(set)
}

fn found(text: &str, source: Source) -> Found {
    Found {
        text: text.to_owned(),
        source,
        by_file: false,
        old: false,
    }
}

fn contradiction(a: &Source, b: &Source) -> Error {
    Error::usage(format!("{a} and {b} contradict each other")).hint("keep one of them.")
}

/// Checks a chosen name against those of the file; a file that has none allows any.
fn known(
    what: &str,
    flag: &str,
    chosen: Option<String>,
    names: &[String],
) -> Result<Option<String>> {
    let Some(name) = chosen else { return Ok(None) };
    file::check_name(&name)?;
    if names.is_empty() || names.contains(&name) {
        return Ok(Some(name));
    }
    let near = nearest(&name, names.iter().map(String::as_str));
    let error = Error::usage(format!("no {what} named {name} is configured"));
    Err(match near {
        Some(near) => error.hint(format!("did you mean {flag} {near}?")),
        None => error.hint(format!("configured are: {}.", names.join(", "))),
    })
}
