//! Whether the port that a restored copy would listen on is taken on this host, and which is free.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::configuration::Configuration;
use crate::error::Result;

/// Another port than that of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Instead {
    pub taken: u16,
    pub free: u16,
}

/// What the server has to be told where its port is taken.
pub fn instead(configuration: &Configuration<'_>) -> Result<Option<Instead>> {
    let port = configuration.number("port")?;
    let folders = configuration.text("unix_socket_directories")?;
    let folders: Vec<PathBuf> = folders
        .split(',')
        .map(|folder| folder.trim().trim_matches('"'))
        // Names of abstract sockets begin with `@`.
        .filter(|folder| !folder.is_empty() && !folder.starts_with('@'))
        .map(|folder| configuration.data_dir.join(folder))
        .collect();
    let taken = u16::try_from(port).unwrap_or_default();
    Ok(next(taken, |port| is_free(port, &folders)))
}

fn next(taken: u16, is_free: impl Fn(u16) -> bool) -> Option<Instead> {
    let mut ports = (taken..=u16::MAX).filter(|port| is_free(*port));
    let free = ports.next()?;
    (free != taken).then_some(Instead { taken, free })
}

fn is_free(port: u16, folders: &[PathBuf]) -> bool {
    let taken = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
    !folders.iter().any(|folder| answers(folder, port))
        && !TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err_and(taken)
}

/// Whether somebody listens on the socket there, whether they let us in or not.
fn answers(folder: &Path, port: u16) -> bool {
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    match UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))) {
        Ok(_) => true,
        Err(error) => !nobody.contains(&error.kind()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_next_free_port_is_taken() {
        let instead = |taken, free| Some(Instead { taken, free });
        assert_eq!(next(5432, |_| true), None);
        assert_eq!(next(5432, |port| port > 5434), instead(5432, 5435));
        assert_eq!(next(65535, |_| false), None);
    }

    #[test]
    fn what_listens_is_seen() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port, &[]));
        drop(listener);
        let folders = [
            PathBuf::from("/nowhere"),
            tempfile::tempdir().unwrap().keep(),
        ];
        assert!(is_free(port, &folders));
        let path = folders[1].join(format!(".s.PGSQL.{port}"));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(!is_free(port, &folders));
        // A crashed server leaves its socket.
        drop(listener);
        assert!(path.exists() && is_free(port, &folders));
        std::fs::remove_dir_all(&folders[1]).unwrap();
    }
}
