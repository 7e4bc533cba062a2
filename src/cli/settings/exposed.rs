//! Secrets that every user can read where they stand, in pgstow.toml or the env file. They are not used, and refused
//! where they are needed; all else of the file is. PostgreSQL's own calls use them and warn: WAL must not wait, and a
//! secret that is known to all is no less of one for that.

use super::{
    keys::{KEYS, Scope},
    layers::{Found, Layers},
    old_names::OLD_NAMES,
    source::{Exposed, Source},
};
use crate::util::secret::{Secret, SecretFrom};

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
