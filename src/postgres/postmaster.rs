//! postmaster.pid: whether a server runs on a data directory, and how it is reached.
//!
//! Lines: `src/include/utils/pidfile.h`.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{control, pgdata};
use crate::error::{Error, IoContext, Kind, Result};

pub const NAME: &str = "postmaster.pid";

/// How far a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Starting,
    Stopping,
    /// Accepts connections.
    Ready,
    /// In recovery, accepts no connections.
    Standby,
}

/// A postmaster.pid; a server that has just started has not written all lines yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postmaster {
    pub pid: u32,
    pub data_dir: PathBuf,
    /// Seconds since 1970.
    pub started: i64,
    pub port: Option<u16>,
    /// None where it listens on no unix socket.
    pub socket_dir: Option<PathBuf>,
    pub status: Option<Status>,
}

impl Postmaster {
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        // A single-user server notes its process id as a negative number.
        let pid = lines.next()?.trim_start_matches('-').parse().ok()?;
        let data_dir = lines.next()?.into();
        let started = lines.next()?.parse().ok()?;
        let port = lines.next().and_then(|port| port.parse().ok());
        let socket_dir = lines.next().filter(|folder| !folder.is_empty());
        // Two lines of no interest: the address it listens on, and its shared memory.
        let status = lines.nth(2).and_then(|status| match status {
            "starting" => Some(Status::Starting),
            "stopping" => Some(Status::Stopping),
            "ready" => Some(Status::Ready),
            "standby" => Some(Status::Standby),
            _ => None,
        });
        Some(Self {
            pid,
            data_dir,
            started,
            port,
            socket_dir: socket_dir.map(PathBuf::from),
            status,
        })
    }

    /// The server that runs on `data_dir` in this host's process table, if there is one.
    ///
    /// A file of a server that crashed stays behind, and its process id may belong to somebody
    /// else by now. So the process must be of the owner of the data directory, and where we may
    /// look, it must work in that directory, as every server does.
    pub fn running(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(NAME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.at("read", &path)?,
        };
        let postmaster = Self::parse(&text).ok_or_else(|| {
            Error::damaged(format!("{} does not read as one", path.display()))
                .hint("see whether a server is starting there; if none runs, remove the file.")
        })?;
        let folder = fs::metadata(data_dir).at("read", data_dir)?;
        let process = PathBuf::from(format!("/proc/{}", postmaster.pid));
        let owned = fs::metadata(&process).is_ok_and(|process| process.uid() == folder.uid());
        let works_there = match fs::metadata(process.join("cwd")) {
            Ok(cwd) => (cwd.dev(), cwd.ino()) == (folder.dev(), folder.ino()),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        };
        Ok((owned && works_there).then_some(postmaster))
    }

    /// The data directories in which servers of this host work, as far as this user may see.
    pub fn folders_at_work() -> BTreeSet<PathBuf> {
        let Ok(processes) = fs::read_dir("/proc") else {
            return BTreeSet::new();
        };
        // Its working folder is every server's data directory (ChangeToDataDir in
        // `src/backend/utils/init/miscinit.c`).
        let folders =
            processes.filter_map(|process| fs::read_link(process.ok()?.path().join("cwd")).ok());
        let folders: BTreeSet<PathBuf> = folders.collect();
        let is_ones = |folder: &PathBuf| folder.join(control::PATH).exists();
        folders.into_iter().filter(is_ones).collect()
    }

    /// An error, with a hint, where a server runs on `data_dir`.
    pub fn refuse_running(data_dir: &Path) -> Result<()> {
        let Some(postmaster) = Self::running(data_dir)? else {
            return Ok(());
        };
        let major = pgdata::major(data_dir).map_or(String::new(), |major| format!(" {major}"));
        Err(Error::new(
            Kind::Failed,
            format!(
                "PostgreSQL{major} runs on {} (process {})",
                data_dir.display(),
                postmaster.pid
            ),
        )
        .hint("stop that server first."))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const REAL: &str = "457\n/var/lib/postgresql/18/main\n1795234059\n5432\n/run/postgresql\n\n \
                        10059784    131135\nready   \n";

    #[test]
    fn a_file_at_every_stage() {
        let ready = Postmaster::parse(REAL).unwrap();
        assert_eq!(
            (ready.pid, ready.started, ready.port),
            (457, 1_795_234_059, Some(5432))
        );
        assert_eq!(
            ready.socket_dir.as_deref(),
            Some(Path::new("/run/postgresql"))
        );
        assert_eq!(ready.status, Some(Status::Ready));
        let early = Postmaster::parse("-7\n/data\n12\n").unwrap();
        assert_eq!((early.pid, early.port, early.status), (7, None, None));
        let tcp_only = REAL.replace("/run/postgresql", "");
        let tcp_only = Postmaster::parse(&tcp_only).unwrap();
        assert_eq!(
            (tcp_only.socket_dir, tcp_only.status),
            (None, Some(Status::Ready))
        );
        for bad in ["", "x\n/data\n12\n", "1\n", "1\n/data\n", "1\n/data\nx\n"] {
            assert_eq!(Postmaster::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_file_that_stayed_behind_is_no_server() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Postmaster::running(folder.path()).unwrap(), None);
        // This process lives, but works elsewhere.
        let pid = std::process::id();
        for pid in [pid, u32::MAX] {
            fs::write(folder.path().join(NAME), format!("{pid}\n/data\n12\n")).unwrap();
            assert_eq!(Postmaster::running(folder.path()).unwrap(), None);
        }
        fs::write(folder.path().join(NAME), "").unwrap();
        assert!(Postmaster::running(folder.path()).is_err());
    }

    #[test]
    fn a_process_that_works_in_the_folder_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        fs::write(
            folder.path().join(NAME),
            format!("{}\n/data\n12\n", sleeper.id()),
        )
        .unwrap();
        let running = Postmaster::running(folder.path()).unwrap();
        let refused = Postmaster::refuse_running(folder.path());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(running.map(|found| found.pid), Some(sleeper.id()));
        assert!(refused.unwrap_err().hint_text().is_some());
        assert_eq!(Postmaster::running(folder.path()).unwrap(), None);
    }
}
