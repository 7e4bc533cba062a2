//! How archive_command and systemd must call this program: they get an environment of their own, and none
//! of the options and variables that this call was given.

use std::{env, path::Path};

use super::{
    keys,
    layers::{CONFIG, Chosen, ENV_FILE, Layers},
    source::Source,
};
use crate::error::{Error, IoContext, Result};

impl Layers {
    /// The program's absolute path, and the options without which it would find other settings, but for
    /// the cluster's name.
    pub fn own_call(&self) -> Result<Vec<String>> {
        let program = env::current_exe().at("find", "this program")?;
        let mut words = vec![absolute(&program)?];
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        if *self.path != *Path::new(CONFIG) {
            add("--config", absolute(&self.path)?);
        }
        if let Some(url) = self.find(keys::REPO_URL, &self.repo)? {
            match url.source {
                Source::Flag(_) | Source::Env(_) => add("--repo-url", url.text),
                Source::EnvFile { path, .. } if *path != *Path::new(ENV_FILE) => {
                    add("--env-file", absolute(&path)?);
                }
                Source::EnvFile { .. } | Source::File { .. } | Source::Default => {}
            }
        }
        Ok(words)
    }

    /// The same with the cluster's name: the server's setting must hold when the file has another one some day.
    pub fn archive_call(&self) -> Result<Vec<String>> {
        let mut words = self.own_call()?;
        words.extend(self.cluster_option().into_iter().flatten());
        Ok(words)
    }

    /// The same, for people: the cluster is named where it must be, and the repository that this call keeps to.
    pub fn same_call(&self) -> Result<Vec<String>> {
        let mut words = self.own_call()?;
        let cluster = self.cluster_option().filter(|_| self.must_name_cluster());
        words.extend(cluster.into_iter().flatten());
        words.extend(self.only_repo().into_iter().flatten());
        Ok(words)
    }

    fn cluster_option(&self) -> Option<[String; 2]> {
        match &self.cluster {
            Chosen::One(name) => Some(["--cluster".to_owned(), name.clone()]),
            Chosen::Unclear => None,
        }
    }

    /// Whether a call that names no cluster doesn't mean the chosen one.
    pub fn must_name_cluster(&self) -> bool {
        match (&self.cluster, self.file.clusters.as_slice()) {
            (Chosen::One(name), []) => name != "main",
            (_, names) => names.len() != 1,
        }
    }

    /// The option by which such a call keeps to the one repository that this call keeps to, if any.
    pub fn only_repo(&self) -> Option<[String; 2]> {
        let one = self.one_repo && self.file_has_repo();
        one.then(|| ["--repo".to_owned(), self.repo.clone()])
    }
}

fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).at("find", path)?;
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::usage(format!("{} is not in UTF-8", path.display()))
            .hint("use another path: this one can't stand in archive_command or a unit.")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;
    use crate::cli::settings::{Flag, Places};

    /// The options that follow the program's path.
    fn call(places: Places, environment: &[(&str, &str)]) -> Vec<String> {
        let environment = environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let layers = Layers::load(places, environment).unwrap();
        let mut words = layers.archive_call().unwrap();
        assert!(words.remove(0).starts_with('/'));
        words
    }

    #[test]
    fn only_what_the_server_would_not_find_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("one.toml");
        let text = "[repo.local]\nurl = \"/a\"\n[cluster.x]\n";
        fs::write(&config, text).unwrap();
        let two = folder.path().join("two.toml");
        fs::write(&two, format!("{text}[cluster.y]\n")).unwrap();
        let url = |text: &str| Flag {
            key: keys::REPO_URL,
            name: "--repo-url",
            text: text.to_owned(),
        };
        let one = config.to_str().unwrap();

        let places = Places {
            config: Some(config.clone()),
            ..Places::default()
        };
        let by_name = ["--config", one, "--cluster", "x"];
        assert_eq!(call(places.clone(), &[]), by_name);
        let by_url = call(
            Places {
                flags: vec![url("/b")],
                ..places
            },
            &[],
        );
        let there = |url| ["--config", one, "--repo-url", url, "--cluster", "x"];
        assert_eq!(by_url, there("/b"));
        let by_variables = [("PGSTOW_CONFIG", one), ("PGSTOW_REPO_URL", "/c")];
        assert_eq!(call(Places::default(), &by_variables), there("/c"));
        let cluster = call(
            Places {
                config: Some(two.clone()),
                cluster: Some("y".to_owned()),
                ..Places::default()
            },
            &[],
        );
        assert_eq!(
            cluster,
            ["--config", two.to_str().unwrap(), "--cluster", "y"]
        );
    }
}
