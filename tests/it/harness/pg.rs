//! The installed PostgreSQL majors and their programs.

use std::{env, fmt, path::PathBuf, process::Command};

use super::user;

/// The programs of one PostgreSQL installation.
#[derive(Clone, Debug)]
pub struct PgBin {
    pub major: u32,
    pub bindir: PathBuf,
}

/// The major that Debian 12 has, and where.
const DEBIAN: (u32, &str) = (15, "/usr/lib/postgresql/15/bin");
const UNPACKED: [u32; 4] = [15, 16, 17, 18];

/// The programs of `major`: Debian's where Debian has it, because that is what people run.
pub fn pg(major: u32) -> PgBin {
    if major == DEBIAN.0 {
        PgBin::at(major, DEBIAN.1.into())
    } else {
        unpacked(major)
    }
}

/// A PostgreSQL 18 whose summaries of WAL lack changes: 18.4.
pub fn old_pg() -> PgBin {
    PgBin::at(18, folder().join("old/bin"))
}

/// A PostgreSQL 14, which pgstow has never known.
pub fn unsupported_pg() -> PgBin {
    PgBin::at(14, folder().join("unsupported/bin"))
}

/// Every installation there is; two are of major 15.
pub fn every_pg() -> Vec<PgBin> {
    let unpacked = UNPACKED.into_iter().map(unpacked);
    unpacked.chain([pg(DEBIAN.0)]).collect()
}

/// What `tests/setup.sh` unpacked from PyPI.
fn unpacked(major: u32) -> PgBin {
    PgBin::at(major, folder().join(major.to_string()).join("bin"))
}

/// Where tests/setup.sh puts them.
pub fn folder() -> PathBuf {
    let named = env::var_os("PGSTOW_TEST_PG");
    named.map_or_else(|| "/var/cache/pgstow-tests/pg".into(), PathBuf::from)
}

impl PgBin {
    fn at(major: u32, bindir: PathBuf) -> Self {
        assert!(
            bindir.join("postgres").is_file(),
            "PostgreSQL {major} is not in {}: run tests/setup.sh",
            bindir.display()
        );
        Self { major, bindir }
    }

    /// One of its programs, such as `initdb`, as the server's user.
    pub fn command(&self, program: &str) -> Command {
        self.command_dying_by(program, "KILL")
    }

    /// As [`Self::command`], with another signal for when the test dies.
    pub fn command_dying_by(&self, program: &str, signal: &str) -> Command {
        let mut command = user::command(self.bindir.join(program), signal);
        // libpqwalreceiver of the unpacked servers would find Debian's older libpq.
        command.env("LD_LIBRARY_PATH", self.bindir.join("../lib"));
        command
    }
}

impl fmt::Display for PgBin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} in {}", self.major, self.bindir.display())
    }
}

/// Makes of `fn name(pg: PgBin)` four tests, `name::pg15` to `name::pg18`.
macro_rules! on_every_major {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn pg15() { super::$name($crate::harness::pg(15)); }
            #[test]
            fn pg16() { super::$name($crate::harness::pg(16)); }
            #[test]
            fn pg17() { super::$name($crate::harness::pg(17)); }
            #[test]
            fn pg18() { super::$name($crate::harness::pg(18)); }
        }
    )+};
}
pub(crate) use on_every_major;
