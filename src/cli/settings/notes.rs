//! What a user should hear about settings: names that are set and do nothing.

use std::path::Path;

use super::{
    environment::PREFIX,
    keys::{self, KEYS, Scope},
    layers::Layers,
    old_names::{Becomes, OLD_NAMES, OLD_REPOSITORY, WAL_ARCHIVE_DIR},
};
use crate::{
    error::{Error, Result},
    util::nearest::nearest,
};

/// Variables of pgstow that are no keys.
const CHOICES: [&str; 4] = [
    "PGSTOW_CONFIG",
    "PGSTOW_ENV_FILE",
    "PGSTOW_CLUSTER",
    "PGSTOW_REPO",
];

/// Something to say about the settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    Warning(String),
    Info(String),
}

impl Layers {
    /// Warnings and notes about variables; an error where WAL would be looked for elsewhere.
    pub fn notes(&self) -> Result<Vec<Note>> {
        let mut notes = self.unknown_variables();
        for old in OLD_NAMES {
            let Some(set) = self.variable(old.name, old.is_secret())? else {
                continue;
            };
            match old.becomes {
                Becomes::WalFolder => notes.push(self.wal_folder(&set.text)?),
                Becomes::Wish(key) => notes.extend(self.unused_wish(key, &set)?),
                Becomes::Key(key) | Becomes::Changed(key, _) => {
                    let section = match (old.section, key.scope) {
                        (Some(section), _) => section,
                        (None, Scope::Cluster) => self.cluster()?,
                        (None, _) => "",
                    };
                    let used = self.find(key, section)?;
                    let overruled = match &used {
                        Some(used) => {
                            !used.old && Some(&used.text) != old.value(&set.text).as_ref()
                        }
                        None => false,
                    };
                    let absent = key.scope == Scope::Repo && !self.repos().contains(&section);
                    if absent || (overruled && !old.is_libpqs()) {
                        let instead = used.filter(|_| !absent).map_or_else(
                            || format!("no repository is named {OLD_REPOSITORY}"),
                            |used| format!("{} is used", used.source),
                        );
                        notes.push(Note::Warning(format!(
                            "{} is set, but not used: {instead}",
                            set.source
                        )));
                    }
                }
            }
        }
        Ok(notes)
    }

    /// A password or key that every user can read: also for commands that need none.
    pub fn exposed_password(&self) -> Option<Note> {
        let mut exposed = self.exposed().into_iter();
        let one = exposed.find(|one| one.scope != Scope::Alert)?;
        let (what, cure) = (one.what(), one.cure());
        Some(Note::Warning(match self.uses_exposed {
            true => format!("{what}; WAL does not wait for that; {cure}"),
            false => format!("{what}, so it is not used; {cure}"),
        }))
    }

    fn unknown_variables(&self) -> Vec<Note> {
        let known: Vec<String> = KEYS
            .iter()
            .flat_map(|key| {
                let sections = match key.scope {
                    Scope::Alert => self.possible_alerts(),
                    _ => vec![""],
                };
                sections.into_iter().flat_map(|section| {
                    let name = key.variable(section);
                    let by_file = key.secret.then(|| format!("{name}_FILE"));
                    [Some(name), by_file].into_iter().flatten()
                })
            })
            .chain(CHOICES.map(str::to_owned))
            .collect();
        self.environment
            .of_pgstow()
            .filter(|(name, _)| !known.iter().any(|known| known == name))
            .map(|(name, source)| {
                let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or_default().to_owned();
                let words: Vec<String> = known.iter().map(|known| bare(known)).collect();
                let near = nearest(&bare(name), words.iter().map(String::as_str));
                let near = near.map(|near| format!("; did you mean {PREFIX}{near}?"));
                Note::Warning(format!(
                    "{source} is set, but no setting of pgstow{}",
                    near.unwrap_or_default()
                ))
            })
            .collect()
    }

    /// Old scripts kept WAL in a folder of its own; pgstow keeps it in the repository.
    fn wal_folder(&self, folder: &str) -> Result<Note> {
        for repo in self.repos() {
            if let Some(url) = self.find(keys::REPO_URL, repo)?
                && Path::new(folder).starts_with(Path::new(&url.text))
            {
                return Ok(Note::Info(format!(
                    "{WAL_ARCHIVE_DIR} is ignored: WAL lies in the repository {repo}"
                )));
            }
        }
        Err(Error::usage(format!(
            "{WAL_ARCHIVE_DIR} is {folder}, but pgstow keeps WAL in its repository"
        ))
        .hint(format!(
            "remove {WAL_ARCHIVE_DIR} once nothing writes there any more."
        )))
    }
}
