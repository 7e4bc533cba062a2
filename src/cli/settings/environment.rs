//! The variables that pgstow looks at, from the process and from the env file.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
    rc::Rc,
};

use super::{
    env_file,
    old_names::OLD_NAMES,
    source::{Source, Sourced},
};
use crate::{
    error::{Error, Kind, Result},
    util::private_file,
};

pub const PREFIX: &str = "PGSTOW_";

/// Where libpq's files are by default.
const HOME: &str = "HOME";

/// Variables that are set and not empty, each with the place that won: process, then env file.
#[derive(Debug, Default)]
pub struct Environment {
    found: BTreeMap<String, Sourced<String>>,
    /// The env file can be read by every user: its secrets are none.
    pub shows_file: bool,
}

impl Environment {
    /// Keeps what pgstow knows of the process environment (`std::env::vars_os`).
    pub fn of_process(all: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let mut found = BTreeMap::new();
        for (name, value) in all {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else {
                continue;
            };
            let value = text(name, &value)?;
            let source = Source::Env(name.to_owned());
            if !value.is_empty() {
                found.insert(name.to_owned(), Sourced { value, source });
            }
        }
        Ok(Self {
            found,
            shows_file: false,
        })
    }

    /// Adds the env file's variables below those of the process.
    ///
    /// One that nobody named may be absent; one that is there but can't be read would be
    /// missed in silence, so it is an error.
    pub fn add_file(&mut self, path: &Path, named: bool) -> Result<()> {
        let (text, is_open) = match private_file::read_if_safe(path) {
            Err(error) if !named && error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        self.shows_file = is_open;
        let shared: Rc<Path> = Rc::from(path);
        let mut of_file = BTreeMap::new();
        for assignment in env_file::parse(path, &text)? {
            if !is_ours(&assignment.name) {
                continue;
            }
            // An empty value takes an earlier one of the file away.
            of_file.remove(&assignment.name);
            if assignment.value.is_empty() {
                continue;
            }
            let source = Source::EnvFile {
                path: Rc::clone(&shared),
                line: assignment.line,
                name: assignment.name.clone(),
            };
            let value = assignment.value;
            of_file.insert(assignment.name, Sourced { value, source });
        }
        for (name, value) in of_file {
            self.found.entry(name).or_insert(value);
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Sourced<String>> {
        self.found.get(name)
    }

    /// Variables as libpq reads them, but for passwords.
    pub fn of_libpq(&self) -> BTreeMap<String, String> {
        self.found
            .iter()
            .filter(|(name, _)| *name == HOME || is_libpqs(name))
            .filter(|(name, _)| !name.contains("PASSWORD"))
            .map(|(name, value)| (name.clone(), value.value.clone()))
            .collect()
    }

    /// Every variable that begins with `PGSTOW_`.
    pub fn of_pgstow(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.found
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.as_str(), &value.source))
    }
}

fn text(name: &str, value: &OsStr) -> Result<String> {
    value
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::usage(format!("variable {name} isn't valid UTF-8")))
}

fn is_libpqs(name: &str) -> bool {
    name.starts_with("PG") && !name.starts_with(PREFIX)
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
        || is_libpqs(name)
        || name == HOME
        || OLD_NAMES.iter().any(|old| {
            name.strip_prefix(old.name)
                .is_some_and(|rest| rest.is_empty() || (rest == "_FILE" && old.is_secret()))
        })
}
