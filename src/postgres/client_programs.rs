//! PostgreSQL's client programs (pg_dump, pg_dumpall, pg_restore, psql): which installation fits a
//! server, and how they are told where it is.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    conninfo::{ConnInfo, Host, RootCerts},
    programs::{self, Search},
    version::Major,
};
use crate::{
    error::{Error, Kind, Result},
    util::process,
};

/// The client programs of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPrograms {
    bindir: PathBuf,
    major: Major,
    version: String,
}

impl ClientPrograms {
    /// Those in `bindir`; asks pg_dump for its version.
    pub fn at(bindir: &Path) -> Result<Self> {
        let (major, version) = programs::version(bindir, "pg_dump")?;
        Ok(Self {
            bindir: bindir.to_owned(),
            major,
            version,
        })
    }

    /// Those that fit a server of `server`: of its own major, else of the next newer one. An older
    /// pg_dump refuses the server, and an older psql may not understand it.
    pub fn find(search: &Search, server: Major) -> Result<Self> {
        Self::newer(search, server).map_err(|older| missing(search, server, older.as_ref()))
    }

    /// Those whose pg_restore reads what pg_dump `maker` wrote: of its major, else of the next newer one.
    pub fn reading(search: &Search, maker: Major) -> Result<Self> {
        Self::newer(search, maker).map_err(|older| {
            let here = match &older {
                Some(older) => format!("the newest here is {older}, which can't read it"),
                None => absent(search, "pg_restore"),
            };
            let what = format!("the dump was made by pg_dump {maker}: {here}");
            Error::new(Kind::NotFound, what).hint(install(search, maker))
        })
    }

    /// Of `least`, else of the next newer major; else the newest that there is.
    fn newer(search: &Search, least: Major) -> Result<Self, Option<Self>> {
        let folders = match &search.bindir {
            Some(bindir) => std::slice::from_ref(bindir),
            None => &search.folders,
        };
        let mut found = Vec::new();
        // Places that hold no such programs are no error here.
        for programs in folders.iter().flat_map(|folder| Self::at(folder)) {
            // Of one major the first place counts. The others are not even asked: in PATH there may be
            // scripts that take their time (Debian's pg_wrapper).
            if programs.major == least {
                return Ok(programs);
            }
            found.push(programs);
        }
        found.sort_by_key(|programs| programs.major);
        match found.iter().position(|programs| programs.major > least) {
            Some(fits) => Ok(found.swap_remove(fits)),
            None => Err(found.pop()),
        }
    }

    pub fn major(&self) -> Major {
        self.major
    }

    /// Such as `15.19 (Debian 15.19-0+deb12u1)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A call of `program` that reaches the database of `info`. The password is in its environment,
    /// never in its arguments.
    pub fn command(&self, program: &str, info: &ConnInfo) -> Result<Command> {
        let mut command = self.alone(program)?;
        command.envs(variables(info));
        // Else a program takes a name that is given to it for that of the database.
        command.arg(format!("--dbname={}", dbname(&info.database)));
        // Nobody is there to type one.
        command.arg("--no-password");
        Ok(command)
    }

    /// A call of `program` that needs no server. None goes on behind a `kill -9` of ours: pg_restore would load for hours;
    /// at this signal it ends its workers, too.
    pub fn alone(&self, program: &str) -> Result<Command> {
        let path = process::find(program, [self.bindir.clone()]).ok_or_else(|| {
            let what = format!("no program {program} in {}", self.bindir.display());
            Error::new(Kind::NotFound, what).hint(install(&Search::default(), self.major))
        })?;
        let mut command = process::dying_with_us(&path, "TERM");
        // What the environment says of servers has been heard already; half of it would mislead libpq.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG")) {
                command.env_remove(name);
            }
        }
        // Its words are looked at, and quoted in our own, which are English.
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        Ok(command)
    }
}

fn missing(search: &Search, server: Major, older: Option<&ClientPrograms>) -> Error {
    let what = match older {
        Some(older) => format!(
            "the newest pg_dump here is {older}, but the server is PostgreSQL {server}, and pg_dump must not be older \
             than its server"
        ),
        None => absent(search, "pg_dump"),
    };
    Error::new(Kind::NotFound, what).hint(install(search, server))
}

fn absent(search: &Search, program: &str) -> String {
    match &search.bindir {
        Some(bindir) => format!("no {program} in {}", bindir.display()),
        None => format!("{program} is not installed on this host"),
    }
}

/// Where bindir is set, nothing else is looked at, whatever is installed.
fn install(search: &Search, major: Major) -> String {
    let package = format!(
        "install the package postgresql-client-{major} (Debian, Ubuntu: its programs are in \
         /usr/lib/postgresql/{major}/bin) or postgresql{major} (Red Hat: /usr/pgsql-{major}/bin)"
    );
    match search.bindir {
        Some(_) => format!(
            "{package}, and name that folder by bindir in [cluster.NAME] or --bindir, or leave bindir out, so that it is \
             found."
        ),
        None => {
            format!("{package}, or name the folder of its programs by bindir in [cluster.NAME].")
        }
    }
}

impl fmt::Display for ClientPrograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (in {})", self.version, self.bindir.display())
    }
}

/// A database's name as a connection string, in which no sign of it means anything else.
fn dbname(name: &str) -> String {
    format!(
        "dbname='{}'",
        name.replace('\\', "\\\\").replace('\'', "\\'")
    )
}

/// libpq's variables for what `info` holds (`PQconninfoOptions` in `src/interfaces/libpq/fe-connect.c`).
pub fn variables(info: &ConnInfo) -> Vec<(&'static str, String)> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut set = vec![
        ("PGPORT", info.port.to_string()),
        ("PGUSER", info.user.clone()),
        ("PGAPPNAME", info.application_name.clone()),
        ("PGOPTIONS", info.session_options()),
        (
            "PGCONNECT_TIMEOUT",
            info.connect_timeout.as_secs().max(1).to_string(),
        ),
        ("PGSSLMODE", info.sslmode.word().to_owned()),
        ("PGCHANNELBINDING", info.channel_binding.word().to_owned()),
        // pgstow has no other.
        ("PGGSSENCMODE", "disable".to_owned()),
    ];
    match &info.host {
        Host::Socket(folder) => set.push(("PGHOST", path(folder))),
        Host::Tcp { name, address } => {
            set.push(("PGHOST", name.clone()));
            set.extend(address.clone().map(|address| ("PGHOSTADDR", address)));
        }
    }
    match &info.sslrootcert {
        Some(RootCerts::System) => set.push(("PGSSLROOTCERT", "system".to_owned())),
        Some(RootCerts::File(file)) => set.push(("PGSSLROOTCERT", path(file))),
        None => {}
    }
    let files = [("PGSSLCERT", &info.sslcert), ("PGSSLKEY", &info.sslkey)];
    set.extend(
        files
            .into_iter()
            .filter_map(|(name, file)| Some((name, path(file.as_ref()?)))),
    );
    match (&info.password, &info.passfile) {
        (Some(password), _) => set.push(("PGPASSWORD", password.expose().to_owned())),
        (None, Some(file)) => set.push(("PGPASSFILE", path(file))),
        (None, None) => {}
    }
    set
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn installation(parent: &Path, version: &str) -> PathBuf {
        let bindir = parent.join(version);
        fs::create_dir(&bindir).unwrap();
        let path = bindir.join("pg_dump");
        let script = format!("#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (x)'\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        bindir
    }

    #[test]
    fn never_older_than_the_server_and_as_near_to_it_as_can_be() {
        let scratch = tempfile::tempdir().unwrap();
        let versions = ["17.1", "15.2", "16.3", "14.9"];
        let folders = versions.map(|version| installation(scratch.path(), version));
        let mut search = Search {
            bindir: None,
            folders: folders.into(),
        };
        let found = |search: &Search, server| {
            ClientPrograms::find(search, server).map(|programs| programs.version)
        };
        assert_eq!(found(&search, Major::V15).unwrap(), "15.2 (x)");
        assert_eq!(found(&search, Major::V17).unwrap(), "17.1 (x)");
        search.folders.remove(1);
        assert_eq!(found(&search, Major::V15).unwrap(), "16.3 (x)");
        let error = found(&search, Major::V18).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.message().contains("17.1"), "{error}");
        let hint = error.hint_text().unwrap();
        assert!(hint.contains("postgresql-client-18"), "{hint}");
        search.bindir = Some(scratch.path().join("16.3"));
        assert!(found(&search, Major::V17).is_err());
        // Where it is set, what is installed elsewhere is not looked for.
        let error = ClientPrograms::reading(&search, Major::V18).unwrap_err();
        let told = format!(
            "made by pg_dump 18: the newest here is 16.3 (x) (in {}/16.3)",
            scratch.path().display()
        );
        assert!(error.message().contains(&told), "{error}");
        let hint = error.hint_text().unwrap();
        assert!(
            hint.contains("/usr/lib/postgresql/18/bin") && hint.contains("leave bindir out"),
            "{hint}"
        );
        search.folders.clear();
        search.bindir = None;
        let error = found(&search, Major::V15).unwrap_err();
        assert!(error.message().contains("not installed"), "{error}");
    }
}
