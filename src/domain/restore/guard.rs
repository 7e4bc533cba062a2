//! Where a restore must not write, however the wish came about: a slip in a path must cost
//! neither a repository nor a cluster that is alive.

use std::path::{Path, PathBuf};

use super::{folders::State, places::Folder};
use crate::{
    error::{Error, Result},
    postgres::{control, pgdata},
    util::fs::real,
};

/// Refuses folders that hold a repository, or lie in one or in another data directory; and to
/// rename aside what is no data directory.
pub fn check<'a>(folders: &[Folder], repositories: impl Iterator<Item = &'a Path>) -> Result<()> {
    let repositories: Vec<PathBuf> = repositories.map(real).collect();
    for folder in folders {
        let path = folder.facts.path.as_path();
        let place = real(path);
        for repository in &repositories {
            let relation = match (
                place.starts_with(repository),
                repository.starts_with(&place),
            ) {
                (true, _) => Some("lies in"),
                (_, true) => Some("holds"),
                _ => None,
            };
            if let Some(relation) = relation {
                return Err(Error::failed(format!(
                    "{} {relation} the repository {}",
                    path.display(),
                    repository.display()
                ))
                .hint("restore to a folder of its own."));
            }
        }
        if let Some(above) = place.ancestors().skip(1).find(|above| is_cluster(above)) {
            return Err(Error::failed(format!(
                "{} lies in the data directory {}",
                path.display(),
                above.display()
            ))
            .hint("restore to a folder of its own; a tablespace: --tablespace OID=DIR."));
        }
        if folder.tablespace.is_none() && folder.facts.state == State::Occupied {
            refuse_others(path)?;
        }
    }
    Ok(())
}

/// Refuses a folder in which something else than a cluster lies.
pub fn refuse_others(path: &Path) -> Result<()> {
    let marks = [pgdata::VERSION_FILE, control::PATH];
    if marks.iter().any(|mark| path.join(mark).is_file()) {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} is no data directory: it has no {}",
        path.display(),
        pgdata::VERSION_FILE
    ))
    .hint(
        "--replace renames a cluster and --delta writes over one, nothing else; move what is there, or give \
         another folder by --data-dir.",
    ))
}

fn is_cluster(folder: &Path) -> bool {
    folder.join(pgdata::VERSION_FILE).is_file() && folder.join(control::PATH).is_file()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::domain::restore::folders::Facts;

    fn folder(path: &Path, tablespace: Option<u32>) -> Folder {
        Folder {
            tablespace,
            facts: Facts::of(path).unwrap(),
            needed_bytes: 0,
            aside: None,
        }
    }

    #[test]
    fn only_places_of_their_own_will_do() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for made in ["repo/main", "live/global", "live/base", "else/where", "old"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for made in [
            "live/PG_VERSION",
            "live/global/pg_control",
            "old/PG_VERSION",
        ] {
            fs::write(at(made), "15\n").unwrap();
        }
        symlink(at("repo"), at("link")).unwrap();
        let repo = at("repo");
        let refused = |path: &str, tablespace| {
            let folders = [folder(&at("fresh"), None), folder(&at(path), tablespace)];
            check(&folders, [repo.as_path()].into_iter())
                .map_err(|error| error.message().to_owned())
        };
        for (path, tablespace, problem) in [
            ("repo", None, "lies in the repository"),
            ("repo/new", None, "lies in the repository"),
            ("link/main/new", Some(1), "lies in the repository"),
            ("", None, "holds the repository"),
            ("live/base/new", None, "lies in the data directory"),
            ("live/base/new", Some(1), "lies in the data directory"),
            ("else", None, "is no data directory"),
        ] {
            let error = refused(path, tablespace).unwrap_err();
            assert!(error.contains(problem), "{path}: {error}");
        }
        for (path, tablespace) in [
            ("live", None),
            ("old", None),
            ("new", None),
            ("repository", None),
            ("else/where", None),
            ("else", Some(1)),
        ] {
            refused(path, tablespace).unwrap();
        }
    }
}
