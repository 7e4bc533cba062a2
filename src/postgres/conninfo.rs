//! Where the server is and who we are there: libpq's settings with libpq's meanings.
//!
//! Order, as in libpq's `conninfo_add_defaults`: explicit, service file, environment, default.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use super::conn_settings::ConnParams;
use super::{conn_settings::Settings, passfile};
use crate::{
    error::{Error, Result},
    util::secret::Secret,
};

/// Debian's default socket folder, and the one of PostgreSQL built from source.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Without a setting libpq waits for ever; nothing of pgstow does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// libpq's "0: no limit".
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

const RETRIES: u32 = 3;
const DELAY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// The folder of a unix socket.
    Socket(PathBuf),
    /// A host's name or address, and the address to use instead of looking the name up.
    Tcp {
        name: String,
        address: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    /// libpq's word for it.
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

impl ChannelBinding {
    /// libpq's word for it.
    pub fn word(self) -> &'static str {
        match self {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Prefer => "prefer",
            ChannelBinding::Require => "require",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCerts {
    /// The operating system's trusted certificates (`sslrootcert=system`).
    System,
    File(PathBuf),
}

/// Everything that a connection needs.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    pub host: Host,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: Option<Secret>,
    pub passfile: Option<PathBuf>,
    pub sslmode: SslMode,
    /// None without a home folder.
    pub sslrootcert: Option<RootCerts>,
    pub sslcert: Option<PathBuf>,
    pub sslkey: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub channel_binding: ChannelBinding,
    pub application_name: String,
    /// `-c name=value` for the session.
    pub options: String,
    pub retries: u32,
    pub delay: Duration,
}

impl ConnInfo {
    pub fn resolve(
        explicit: &ConnParams,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnInfo> {
        let settings = Settings::gather(explicit, env)?;
        let home = settings.home.as_deref();
        let in_home = |name: &str| home.map(|home| home.join(".postgresql").join(name));
        let path = |keyword, default| settings.get(keyword).map(PathBuf::from).or(default);

        let sslrootcert = match settings.get("sslrootcert") {
            Some("system") => Some(RootCerts::System),
            Some(file) => Some(RootCerts::File(file.into())),
            None => in_home("root.crt").map(RootCerts::File),
        };
        let sslmode = sslmode(settings.get("sslmode"), sslrootcert.as_ref())?;
        Ok(ConnInfo {
            host: host(settings.get("host"), settings.get("hostaddr"))?,
            port: port(settings.get("port"))?,
            user: match settings.get("user") {
                Some(user) => user.to_owned(),
                None => whoami::username().map_err(|error| {
                    Error::failed("can't find the name of the present user")
                        .because(error)
                        .hint("name the database user.")
                })?,
            },
            database: settings.get("dbname").unwrap_or("postgres").to_owned(),
            password: settings.get("password").map(Secret::new),
            passfile: path("passfile", home.map(|home| home.join(".pgpass"))),
            sslmode,
            sslrootcert,
            sslcert: path("sslcert", in_home("postgresql.crt")),
            sslkey: path("sslkey", in_home("postgresql.key")),
            connect_timeout: timeout(settings.get("connect_timeout"))?,
            channel_binding: channel_binding(settings.get("channel_binding"))?,
            application_name: settings
                .get("application_name")
                .unwrap_or("pgstow")
                .to_owned(),
            options: settings.get("options").unwrap_or_default().to_owned(),
            retries: explicit.retries.unwrap_or(RETRIES),
            delay: explicit.delay.unwrap_or(DELAY),
        })
    }

    /// The same server, another database.
    #[must_use]
    pub fn with_database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    /// Another server, with all else the same; the port stays where None.
    pub fn with_server(mut self, server: &str, own_port: Option<u16>) -> Result<Self> {
        self.host = host(Some(server), None)?;
        self.port = own_port.unwrap_or(self.port);
        Ok(self)
    }

    /// The same server, with this sslmode.
    pub fn with_sslmode(mut self, mode: &str) -> Result<Self> {
        self.sslmode = sslmode(Some(mode), self.sslrootcert.as_ref())?;
        Ok(self)
    }

    /// The password for `database`: the one given, else the password file's. Read anew for
    /// each connection, since a session may be made hours after the settings were read.
    pub fn password_for(&self, database: &str) -> Result<Option<Secret>> {
        if self.password.is_some() {
            return Ok(self.password.clone());
        }
        let Some(file) = &self.passfile else {
            return Ok(None);
        };
        let folder = match &self.host {
            Host::Socket(folder) => folder.to_string_lossy(),
            Host::Tcp { name, .. } => name.into(),
        };
        let host = if SOCKET_FOLDERS.contains(&&*folder) {
            "localhost"
        } else {
            &folder
        };
        let wanted = passfile::Wanted {
            host,
            port: self.port,
            database,
            user: &self.user,
        };
        passfile::password(file, wanted)
    }

    /// `options` for a session that may rest for hours: whatever time limits the role or the
    /// database has must not end it. Ours come last, so that they win.
    pub fn session_options(&self) -> String {
        let timeouts = [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "idle_session_timeout",
        ];
        let mut options = self.options.clone();
        for name in timeouts {
            options.push_str(&format!(" -c {name}=0"));
        }
        options.trim_start().to_owned()
    }

    /// The file of the unix socket.
    pub fn socket_file(folder: &Path, port: u16) -> PathBuf {
        folder.join(format!(".s.PGSQL.{port}"))
    }

    /// For messages: which server this is.
    pub fn server(&self) -> String {
        match &self.host {
            Host::Socket(folder) => Self::socket_file(folder, self.port).display().to_string(),
            Host::Tcp { name, .. } if name.contains(':') => format!("[{name}]:{}", self.port),
            Host::Tcp { name, .. } => format!("{name}:{}", self.port),
        }
    }
}

fn host(host: Option<&str>, address: Option<&str>) -> Result<Host> {
    for given in [host, address].into_iter().flatten() {
        if given.contains(',') {
            return Err(Error::usage(format!("several hosts: {given:?}"))
                .hint("name the one server that is to be backed up."));
        }
    }
    match (host, address) {
        (Some(folder), None) if folder.starts_with('/') => Ok(Host::Socket(folder.into())),
        (Some(name), _) if name.starts_with('@') => Err(Error::usage(format!(
            "sockets in the abstract namespace are not supported: {name:?}"
        ))),
        (None, None) => {
            let folder = SOCKET_FOLDERS
                .into_iter()
                .find(|folder| Path::new(folder).is_dir())
                .unwrap_or(SOCKET_FOLDERS[0]);
            Ok(Host::Socket(folder.into()))
        }
        (name, address) => Ok(Host::Tcp {
            name: name.or(address).unwrap_or_default().to_owned(),
            address: address.map(str::to_owned),
        }),
    }
}

fn port(text: Option<&str>) -> Result<u16> {
    let Some(text) = text else {
        return Ok(5432);
    };
    let port = text.trim().parse().ok().filter(|&port| port != 0);
    port.ok_or_else(|| {
        Error::usage(format!("not a port: {text:?}")).hint("a port is a number from 1 to 65535.")
    })
}

fn timeout(text: Option<&str>) -> Result<Duration> {
    let Some(text) = text else {
        return Ok(CONNECT_TIMEOUT);
    };
    match text.trim().parse::<i64>() {
        Ok(seconds) if seconds > 0 => {
            Ok(Duration::from_secs(seconds.unsigned_abs()).min(LONGEST_TIMEOUT))
        }
        Ok(_) => Ok(LONGEST_TIMEOUT),
        Err(_) => Err(Error::usage(format!("not a connect_timeout: {text:?}"))
            .hint("connect_timeout is a number of seconds.")),
    }
}

fn sslmode(text: Option<&str>, roots: Option<&RootCerts>) -> Result<SslMode> {
    let system = roots == Some(&RootCerts::System);
    let mode = match text {
        // libpq raises the default: anybody can have a certificate that the system trusts.
        None if system => SslMode::VerifyFull,
        None | Some("prefer") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(other) => {
            return Err(Error::usage(format!("not an sslmode: {other:?}"))
                .hint("sslmode is disable, allow, prefer, require, verify-ca or verify-full."));
        }
    };
    if system && mode != SslMode::VerifyFull {
        return Err(
            Error::usage("sslrootcert=system needs sslmode=verify-full").hint(
                "with a weaker mode, anybody who has a public certificate could pose as the server.",
            ),
        );
    }
    Ok(mode)
}

fn channel_binding(text: Option<&str>) -> Result<ChannelBinding> {
    match text {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") => Ok(ChannelBinding::Require),
        Some(other) => Err(Error::usage(format!("not a channel_binding: {other:?}"))
            .hint("channel_binding is disable, prefer or require.")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn resolve(params: &ConnParams, env: &[(&str, &str)]) -> Result<ConnInfo> {
        ConnInfo::resolve(params, &|name| {
            let mut pairs = [("HOME", "/nowhere")].iter().chain(env).rev();
            pairs
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn explicit_comes_before_service_before_environment_before_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("services");
        fs::write(&file, "[s]\nhost=from-service\nport=2\nuser=service\n").unwrap();
        let env = [
            ("PGSERVICE", "s"),
            ("PGSERVICEFILE", file.to_str().unwrap()),
            ("PGHOST", "from-env"),
            ("PGPORT", "3"),
            ("PGUSER", "env"),
            ("PGDATABASE", "envdb"),
            ("PGAPPNAME", ""),
        ];
        let params = ConnParams {
            user: Some("explicit".to_owned()),
            ..ConnParams::default()
        };
        let info = resolve(&params, &env).unwrap();
        assert_eq!(info.server(), "from-service:2");
        assert_eq!(info.user, "explicit");
        assert_eq!(info.database, "envdb");
        assert_eq!(info.application_name, "pgstow");
        assert_eq!(info.sslmode, SslMode::Prefer);
        assert_eq!(info.connect_timeout, CONNECT_TIMEOUT);
        let missing = resolve(&params, &[("PGSERVICE", "s"), ("PGSYSCONFDIR", "/nowhere")]);
        assert!(missing.is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        for (name, value) in [
            ("PGHOST", "a,b"),
            ("PGHOST", "@x"),
            ("PGPORT", "0"),
            ("PGPORT", "65536"),
            ("PGPORT", "5432,5433"),
            ("PGSSLMODE", "verify"),
            ("PGCHANNELBINDING", "yes"),
            ("PGCONNECT_TIMEOUT", "soon"),
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGSSLCRL", "/x"),
            ("PGTARGETSESSIONATTRS", "primary"),
        ] {
            assert!(
                resolve(&ConnParams::default(), &[(name, value)]).is_err(),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn system_roots_need_the_full_check() {
        let with = |mode: &str| {
            let env = [("PGSSLROOTCERT", "system"), ("PGSSLMODE", mode)];
            resolve(&ConnParams::default(), &env).map(|info| info.sslmode)
        };
        assert_eq!(with("").unwrap(), SslMode::VerifyFull);
        assert!(with("require").is_err());
    }

    #[test]
    fn the_default_socket_is_localhost_in_the_password_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        fs::write(&file, "localhost:*:*:*:a\n/sock:*:*:*:b\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for (host, password) in [
            ("/var/run/postgresql", "a"),
            ("/tmp", "a"),
            ("/sock", "b"),
            ("localhost", "a"),
        ] {
            let env = [("PGHOST", host), ("PGPASSFILE", file.to_str().unwrap())];
            let info = resolve(&ConnParams::default(), &env).unwrap();
            let found = info.password_for("postgres").unwrap();
            assert_eq!(found, Some(Secret::new(password)), "{host}");
        }
    }

    #[test]
    fn a_password_never_shows() {
        let info = resolve(&ConnParams::default(), &[("PGPASSWORD", "hunter2")]).unwrap();
        assert_eq!(info.password.as_ref().map(Secret::expose), Some("hunter2"));
        assert!(!format!("{info:?}").contains("hunter2"));
    }
}
