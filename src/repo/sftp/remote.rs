//! Where a repository is on another host, and how to get there.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::{Error, Result};

/// Seconds: a connection that isn't made by then fails.
const CONNECT: &str = "ConnectTimeout=10";

/// A server that says nothing for four times this many seconds hangs.
const ALIVE: [&str; 2] = ["ServerAliveInterval=15", "ServerAliveCountMax=4"];

/// A folder of a host, as in `sftp://user@host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// None: as ssh's own configuration says.
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    pub path: PathBuf,
    /// A private key in the place of those that ssh tries by itself.
    pub key: Option<PathBuf>,
    /// The hosts' keys in the place of those that ssh knows.
    pub known_hosts: Option<PathBuf>,
}

impl Remote {
    /// Reads what follows `sftp://`.
    pub fn read(rest: &str) -> Result<Self> {
        Self::parse(rest).ok_or_else(|| {
            Error::usage(format!("not a folder of another host: sftp://{rest}")).hint(
                "write sftp://user@host/folder or sftp://user@host:port/folder, with the whole path there; keys and known \
                 hosts are told by other keys, or found by ssh.",
            )
        })
    }

    fn parse(rest: &str) -> Option<Self> {
        let plain = |text: &str| {
            // Nothing that ssh takes for an option.
            let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            begins
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let (place, path) = rest.split_once('/')?;
        let (user, place) = match place.split_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        let (host, port) = match place.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (place, None),
        };
        let path = format!("/{}", path.trim_end_matches('/'));
        let parts_are_plain = path
            .split('/')
            .skip(1)
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains(char::is_control));
        (user.as_deref().is_none_or(plain) && plain(host) && parts_are_plain).then(|| Self {
            user,
            host: host.to_owned(),
            port,
            path: path.into(),
            key: None,
            known_hosts: None,
        })
    }

    /// The path there of what is `name` in the repository.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name.trim_end_matches('/'))
    }

    /// As an operator would write it.
    pub fn place(&self, path: &Path) -> String {
        let user = self
            .user
            .as_ref()
            .map_or_else(String::new, |user| format!("{user}@"));
        format!("{user}{}:{}", self.host, path.display())
    }

    /// `ssh` that speaks with the sftp server there. It asks nobody for anything, and nobody it doesn't know.
    pub fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "ClearAllForwardings=yes",
            CONNECT,
            ALIVE[0],
            ALIVE[1],
        ] {
            command.args(["-o", option]);
        }
        if let Some(key) = &self.key {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        if let Some(known) = &self.known_hosts {
            command.args(["-o", &format!("UserKnownHostsFile=\"{}\"", known.display())]);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["-s", "--", &self.host, "sftp"]);
        command
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.path.display())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hosts() {
        for text in [
            "backup@host.example/srv/pg",
            "host/srv/pg",
            "u@127.0.0.1:2222/a b",
        ] {
            assert_eq!(
                Remote::read(text).unwrap().to_string(),
                format!("sftp://{text}")
            );
        }
        assert_eq!(Remote::read("h/srv/").unwrap().path, Path::new("/srv"));
        for bad in [
            "",
            "host",
            "host/",
            "/srv",
            "-oProxyCommand=x/srv",
            "u@-x/srv",
            "-u@h/srv",
            "h:port/srv",
            "h/a/../b",
            "h//a",
            "u:secret@h/srv",
            "h/a\nb",
        ] {
            assert!(Remote::read(bad).is_err(), "{bad}");
        }
    }
}
