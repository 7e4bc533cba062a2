//! PostgreSQL's own programs: where they are installed, and of which major.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::version::Major;
use crate::{
    error::{Error, Kind, Result},
    util::{cancel::Cancel, process},
};

/// For questions that a program answers at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// The programs of one installed PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    bindir: PathBuf,
    major: Major,
}

/// Where to look for installations.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `--bindir`: the only place, where given.
    pub bindir: Option<PathBuf>,
    /// Folders of programs; of installations of one major the first is taken.
    pub folders: Vec<PathBuf>,
}

impl Search {
    /// `bindir` if given; else what `PG_CONFIG` tells, the places of Debian's packages and of
    /// PGDG's for Red Hat, and `PATH`.
    pub fn of_this_host(bindir: Option<PathBuf>) -> Self {
        let mut folders = Vec::new();
        folders.extend(env::var_os("PG_CONFIG").and_then(|path| bindir_of(Path::new(&path))));
        folders.extend(installed("/usr/lib/postgresql", ""));
        folders.extend(installed("/usr", "pgsql-"));
        folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        Self { bindir, folders }
    }

    /// The programs of `wanted`; without a wish those of the newest version, tested ones first.
    pub fn find(&self, wanted: Option<Major>) -> Result<Programs> {
        if let Some(bindir) = &self.bindir {
            let programs = Programs::at(bindir)?;
            return match wanted {
                Some(wanted) if wanted != programs.major => Err(Error::failed(format!(
                    "{} has the programs of PostgreSQL {}, those of {wanted} are needed",
                    bindir.display(),
                    programs.major
                ))),
                _ => Ok(programs),
            };
        }
        // Places that hold no server, or one of another version, are no error here.
        let mut best: Option<Programs> = None;
        for folder in &self.folders {
            let Ok(programs) = Programs::at(folder) else {
                continue;
            };
            if wanted == Some(programs.major) {
                return Ok(programs);
            }
            let rank = |programs: &Programs| (programs.major.is_tested(), programs.major);
            if best
                .as_ref()
                .is_none_or(|best| rank(best) < rank(&programs))
            {
                best = Some(programs);
            }
        }
        best.filter(|_| wanted.is_none()).ok_or_else(|| {
            let version = wanted.map_or("15 to 18".to_owned(), |wanted| wanted.to_string());
            Error::new(
                Kind::NotFound,
                format!("no server programs of PostgreSQL {version} on this host"),
            )
            .hint("install the server's package, or name its folder of programs with --bindir.")
        })
    }
}

impl Programs {
    /// The programs in `bindir`; asks `postgres` for its version.
    pub fn at(bindir: &Path) -> Result<Self> {
        let (major, _) = version(bindir, "postgres")?;
        Ok(Self {
            bindir: bindir.to_owned(),
            major,
        })
    }

    pub fn bindir(&self) -> &Path {
        &self.bindir
    }

    pub fn major(&self) -> Major {
        self.major
    }

    /// A program of this installation; an error with a hint where it is not installed.
    pub fn path(&self, program: &str) -> Result<PathBuf> {
        process::find(program, [self.bindir.clone()]).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("no program {program} in {}", self.bindir.display()),
            )
            .hint(format!(
                "install all of PostgreSQL {}'s server package.",
                self.major
            ))
        })
    }

    pub fn initdb(&self) -> Result<PathBuf> {
        self.path("initdb")
    }

    pub fn postgres(&self) -> Result<PathBuf> {
        self.path("postgres")
    }

    pub fn pg_controldata(&self) -> Result<PathBuf> {
        self.path("pg_controldata")
    }
}

/// Which version `program` in `bindir` says it is of: its major, and all of it.
pub(super) fn version(bindir: &Path, program: &str) -> Result<(Major, String)> {
    let path = process::find(program, [bindir.to_owned()]).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!("no program {program} in {}", bindir.display()),
        )
    })?;
    let mut command = Command::new(&path);
    let answer = process::run(command.arg("--version"), PATIENCE, &Cancel::default())?;
    let answer = String::from_utf8_lossy(&answer);
    let major = parse_version(&answer)
        .map_err(|error| error.context(format!("can't use {}", path.display())))?;
    Ok((major, version_of(&answer).trim_end().to_owned()))
}

/// `15.19 (Debian 15.19-0+deb12u1)` of `postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)`.
fn version_of(answer: &str) -> &str {
    answer
        .split_once("(PostgreSQL) ")
        .map_or("", |(_, version)| version)
}

/// Of what a program answers; also `19devel` and `19beta1`.
fn parse_version(answer: &str) -> Result<Major> {
    let version = version_of(answer);
    let end = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    let number = version[..end]
        .parse()
        .map_err(|_| Error::failed(format!("not a version of PostgreSQL: {:?}", answer.trim())))?;
    Major::new(number)
}

/// What a `pg_config` names as the folder of programs.
fn bindir_of(pg_config: &Path) -> Option<PathBuf> {
    let mut command = Command::new(pg_config);
    let answer = process::run(command.arg("--bindir"), PATIENCE, &Cancel::default()).ok()?;
    Some(PathBuf::from(String::from_utf8(answer).ok()?.trim_end()))
}

/// `parent/<prefix><major>/bin` of each major that is there, newest first.
fn installed(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let major = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found.into_iter().map(|(_, bindir)| bindir).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_as_servers_tell_them() {
        for (answer, major) in [
            (
                "postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 18.6\n", Some(18)),
            ("postgres (PostgreSQL) 19devel\n", Some(19)),
            ("postgres (PostgreSQL) 14.1\n", None),
            ("postgres (PostgreSQL) 9.6.24\n", None),
            ("postgres (Other) 15.1\n", None),
            ("", None),
        ] {
            assert_eq!(
                parse_version(answer).ok().map(Major::number),
                major,
                "{answer}"
            );
        }
    }

    /// A folder with a `postgres` that only knows its version.
    fn installation(parent: &Path, version: &str) -> PathBuf {
        let bindir = parent.join(version);
        fs::create_dir(&bindir).unwrap();
        let path = bindir.join("postgres");
        fs::write(
            &path,
            format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        bindir
    }

    #[test]
    fn the_right_installation_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = ["14.9", "15.2", "19devel", "17.1", "16.1"]
            .iter()
            .map(|version| installation(scratch.path(), version))
            .collect();
        let mut search = Search {
            bindir: None,
            folders,
        };
        let found = |search: &Search, wanted| search.find(wanted).map(|programs| programs.major());
        assert_eq!(found(&search, None).unwrap(), Major::V17);
        assert_eq!(found(&search, Some(Major::V15)).unwrap(), Major::V15);
        assert_eq!(found(&search, Some(Major::V19)).unwrap(), Major::V19);
        let missing = found(&search, Some(Major::V18)).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.message().contains("PostgreSQL 18"));
        search.bindir = Some(scratch.path().join("16.1"));
        assert_eq!(found(&search, None).unwrap(), Major::V16);
        assert!(found(&search, Some(Major::V17)).is_err());
        let programs = search.find(None).unwrap();
        assert!(programs.postgres().is_ok() && programs.initdb().is_err());
    }
}
