//! Secrets that every user can read where they stand, in pgstow.toml or the env file. They are not used, and refused
//! where they are needed; all else of the file is. PostgreSQL's own calls use them and warn: WAL must not wait, and a
//! secret that is known to all is no less of one for that.

use super::{
    keys::{KEYS, Scope},
    layers::{Found, Layers},
    old_names::OLD_NAMES,
    source::Source,
};
use crate::{
    error::Error,
    util::secret::{Secret, SecretFrom},
};

/// A secret in a file that every user can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    pub scope: Scope,
    pub source: Source,
    /// Such as `cluster.main.password`, or the variable.
    pub name: String,
}

impl Exposed {
    fn place(&self) -> String {
        match &self.source {
            Source::File { path, .. } | Source::EnvFile { path, .. } => path.display().to_string(),
            other => other.to_string(),
        }
    }

    pub fn what(&self) -> String {
        let line = match &self.source {
            Source::File { line, .. } | Source::EnvFile { line, .. } => format!(":{line}"),
            _ => String::new(),
        };
        let (place, name) = (self.place(), &self.name);
        format!("{place}{line}: {name} can be read by every user")
    }

    pub fn cure(&self) -> String {
        let (place, name) = (self.place(), &self.name);
        let file = match self.source {
            Source::EnvFile { .. } => format!("{name}_FILE"),
            _ => format!("{name}_file"),
        };
        format!("run: chmod o-rwx {place}, or use {file}.")
    }

    pub fn error(&self) -> Error {
        Error::usage(self.what()).hint(self.cure())
    }
}

impl Layers {
    /// All of them, those of pgstow.toml first.
    pub(super) fn exposed(&self) -> Vec<Exposed> {
        let mut all = self.file.exposed.clone();
        if !self.environment.shows_file {
            return all;
        }
        let of_keys = KEYS.iter().filter(|key| key.secret).flat_map(|key| {
            let sections = match key.scope {
                Scope::Alert => self.possible_alerts(),
                _ => vec![""],
            };
            let names = sections.into_iter().map(|section| key.variable(section));
            names.map(|name| (key.scope, name))
        });
        let of_old = OLD_NAMES.iter().filter(|old| old.is_secret());
        let of_old = of_old.filter_map(|old| Some((old.key()?.scope, old.name.to_owned())));
        for (scope, name) in of_keys.chain(of_old) {
            let set = self.environment.get(&name).map(|set| set.source.clone());
            let in_file = set.filter(|source| matches!(source, Source::EnvFile { .. }));
            all.extend(in_file.map(|source| Exposed {
                scope,
                source,
                name,
            }));
        }
        all
    }

    /// One that every user can read is refused when it is needed.
    pub(super) fn secret(&self, found: Found) -> SecretFrom {
        if found.by_file {
            return SecretFrom::File(found.text.into());
        }
        let mut exposed = self.exposed().into_iter();
        let exposed = exposed.find(|one| one.source == found.source);
        match exposed.filter(|_| !self.uses_exposed) {
            None => SecretFrom::Setting(Secret::new(found.text)),
            Some(one) => SecretFrom::Exposed {
                what: one.what(),
                cure: one.cure(),
            },
        }
    }
}
