//! What can be read of settings that are broken: enough to tell people of them. What can't be read is as if
//! it weren't there.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    environment::Environment,
    file::{self, ConfigFile},
    keys::{self, Key},
    layers::{CONFIG, Chosen, ENV_FILE, Layers, Places, named_file},
    old_names::OLD_REPOSITORY,
    parse,
};
use crate::{
    commands::options::AlertOptions,
    domain::monitor::thresholds::Limits,
    error::{Error, Result},
};

impl Layers {
    /// As [`Layers::load`], which refuses what is broken.
    pub fn salvage(
        places: Places,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let is_good = |one: &(OsString, OsString)| Environment::of_process([one.clone()]).is_ok();
        let environment = environment.into_iter().filter(is_good);
        let mut environment = Environment::of_process(environment).unwrap_or_default();
        let named = named_file(places.env_file, &environment, "PGSTOW_ENV_FILE");
        // It is there, or it says nothing.
        let _ = environment.add_file(named.as_deref().unwrap_or(Path::new(ENV_FILE)), false);
        let named = named_file(places.config, &environment, "PGSTOW_CONFIG");
        let path: Rc<Path> = Rc::from(named.as_deref().unwrap_or(Path::new(CONFIG)));
        let text = fs::read(&path).unwrap_or_default();
        Self {
            flags: places.flags,
            environment,
            file: readable(&path, &String::from_utf8_lossy(&text)),
            path,
            repo: OLD_REPOSITORY.to_owned(),
            one_repo: false,
            cluster: places.cluster.map_or(Chosen::Unclear, Chosen::One),
            // Somebody must be told, of just that among other things.
            uses_exposed: true,
        }
    }

    /// The state folder of all clusters, notifiers and limits, as far as they are well.
    pub fn salvaged(&self) -> Result<(PathBuf, AlertOptions, Limits<u64>)> {
        let names = self.possible_alerts().into_iter();
        let alerts = AlertOptions {
            notifiers: names.filter_map(|name| self.notifier(name).ok()).collect(),
            limit: self.or_default(keys::ALERT_TIME_LIMIT, parse::time_limit)?,
        };
        let state_dir = self.or_default(keys::STATE_DIR, parse::absolute_path)?;
        let limits = self.failed_runs().unwrap_or(Limits {
            warning: Some(1),
            critical: None,
        });
        Ok((state_dir, alerts, limits))
    }

    fn or_default<T>(&self, key: Key, parse: fn(&str) -> Result<T>) -> Result<T> {
        self.always(key, parse).or_else(|error: Error| {
            let default = key.default.ok_or(error)?;
            parse(default)
        })
    }
}

/// The text's keys; of a broken one, those of its sections that can be read alone.
fn readable(path: &Path, text: &str) -> ConfigFile {
    file::parse(path, text).unwrap_or_else(|_| {
        let mut all = ConfigFile::default();
        for section in sections(text) {
            if let Ok(one) = file::parse(path, section) {
                all.entries.extend(one.entries);
                all.repos.extend(one.repos);
                all.clusters.extend(one.clusters);
                all.alerts.extend(one.alerts);
            }
        }
        all
    })
}

/// The text's parts, each of which begins with a line such as `[alert.mail]`.
fn sections(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            sections.push(&text[begin..at]);
            begin = at;
        }
        at += line.len();
    }
    sections.push(&text[begin..]);
    sections
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALERTS: &str = "[alert.a]\nurl = 'https://a/'\n[alert.b]\nurl = 'https://b/'\n";

    fn salvaged(text: &str) -> (PathBuf, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgstow.toml");
        fs::write(&path, text).unwrap();
        let places = Places {
            config: Some(path),
            env_file: Some(folder.path().join("none")),
            ..Places::default()
        };
        let (state_dir, alerts, _) = Layers::salvage(places, []).salvaged().unwrap();
        let names = alerts.notifiers.into_iter().map(|one| one.name);
        (state_dir, names.collect())
    }

    #[test]
    fn what_can_be_read_of_broken_settings() {
        for (before, behind) in [
            ("state_dir = '/s'\n", ""),
            ("state_dir = '/s'\n[cluster.main]\nprot = 1\n", ""),
            ("state_dir = '/s'\n[cluster.main\n", ""),
            ("state_dir = '/s'\n[repo.x]\nurl = 'x\n", "[monitor]\n= 1\n"),
            ("state_dir = '/s'\nalert.time_limit = 'soon'\n", ""),
            (
                "state_dir = '/s'\n[repo.x]\nretention = { full = 'two' }\n",
                "",
            ),
        ] {
            let (state_dir, names) = salvaged(&format!("{before}{ALERTS}{behind}"));
            assert_eq!(state_dir, Path::new("/s"), "{before:?}");
            assert_eq!(names, ["a", "b"], "{before:?}");
        }
        // Of two notifiers one is broken.
        let (_, names) = salvaged(&ALERTS.replacen("url =", "form = 'telex'\nurl =", 1));
        assert_eq!(names, ["b"]);
        let (state_dir, names) = salvaged("state_dir = ");
        assert_eq!(
            (state_dir.as_path(), names.len()),
            (Path::new("/var/lib/pgstow"), 0)
        );
        assert!(salvaged("\0[alert.a]\n[[[").1.is_empty());
    }
}
