//! The settings of a connection as text, each from the first place that has it: explicit, service
//! file, environment (the order of libpq's `conninfo_add_defaults`).

use std::{path::PathBuf, time::Duration};

use super::service_file;
use crate::{
    error::{Error, Result},
    util::secret::Secret,
};

/// libpq's keywords that we heed, and their environment variables.
const VARIABLES: [(&str, &str); 16] = [
    ("service", "PGSERVICE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("dbname", "PGDATABASE"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
];

/// Settings that ask for more safety than we can give, and the values that ask for nothing.
const REFUSED: [(&str, &str, &[&str]); 8] = [
    ("require_auth", "PGREQUIREAUTH", &[""]),
    ("requirepeer", "PGREQUIREPEER", &[""]),
    ("sslcrl", "PGSSLCRL", &[""]),
    ("sslcrldir", "PGSSLCRLDIR", &[""]),
    ("gssencmode", "PGGSSENCMODE", &["", "disable", "prefer"]),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", &["", "any"]),
    (
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        &["", "TLSv1", "TLSv1.1", "TLSv1.2"],
    ),
    (
        "ssl_max_protocol_version",
        "PGSSLMAXPROTOCOLVERSION",
        &["", "TLSv1.3"],
    ),
];

/// What flags and the configuration file say; what is None comes from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct ConnParams {
    pub service: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub database: Option<String>,
    pub password: Option<Secret>,
    pub passfile: Option<PathBuf>,
    pub sslmode: Option<String>,
    pub sslrootcert: Option<String>,
    pub sslcert: Option<PathBuf>,
    pub sslkey: Option<PathBuf>,
    pub connect_timeout: Option<Duration>,
    pub channel_binding: Option<String>,
    pub application_name: Option<String>,
    /// How often to try again after an error that may pass.
    pub retries: Option<u32>,
    /// How long to wait before that.
    pub delay: Option<Duration>,
}

/// Every setting that was found, each from the first place that has it.
pub struct Settings {
    found: Vec<(String, String)>,
    /// The user's home folder, where libpq looks for its files.
    pub home: Option<PathBuf>,
}

impl Settings {
    pub fn gather(explicit: &ConnParams, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let home = env("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
            .or_else(std::env::home_dir);
        let mut settings = Settings {
            found: explicit.pairs(),
            home,
        };
        let service = settings.get("service").map(str::to_owned);
        if let Some(service) = service
            .or_else(|| env("PGSERVICE"))
            .filter(|s| !s.is_empty())
        {
            let found = service_file::settings(&service, env, settings.home.as_deref())?;
            for (keyword, _) in &found {
                if !known(keyword) {
                    tracing::warn!("service {service:?}: setting {keyword:?} has no effect here");
                }
            }
            settings.found.extend(found);
        }
        let variables = VARIABLES
            .iter()
            .copied()
            .chain(REFUSED.map(|(keyword, variable, _)| (keyword, variable)));
        for (keyword, variable) in variables {
            settings
                .found
                .extend(env(variable).map(|value| (keyword.to_owned(), value)));
        }
        for (keyword, variable, harmless) in REFUSED {
            let value = settings.get(keyword).unwrap_or_default();
            if !harmless.contains(&value) {
                return Err(
                    Error::usage(format!("{keyword}={value} is not supported")).hint(format!(
                        "take {keyword} out of the service file, or unset {variable}."
                    )),
                );
            }
        }
        Ok(settings)
    }

    /// An empty value is as good as none, as in libpq.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        let mut values = self.found.iter().filter(|(name, _)| name == keyword);
        values
            .next()
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

impl ConnParams {
    fn pairs(&self) -> Vec<(String, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        let pairs = [
            ("service", self.service.clone()),
            ("host", self.host.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("user", self.user.clone()),
            ("dbname", self.database.clone()),
            (
                "password",
                self.password.as_ref().map(|p| p.expose().to_owned()),
            ),
            ("passfile", path(&self.passfile)),
            ("sslmode", self.sslmode.clone()),
            ("sslrootcert", self.sslrootcert.clone()),
            ("sslcert", path(&self.sslcert)),
            ("sslkey", path(&self.sslkey)),
            (
                "connect_timeout",
                self.connect_timeout
                    .map(|limit| limit.as_secs().max(1).to_string()),
            ),
            ("channel_binding", self.channel_binding.clone()),
            ("application_name", self.application_name.clone()),
        ];
        pairs
            .into_iter()
            .filter_map(|(keyword, value)| Some((keyword.to_owned(), value?)))
            .collect()
    }
}

fn known(keyword: &str) -> bool {
    VARIABLES.iter().any(|(name, _)| *name == keyword)
        || REFUSED.iter().any(|(name, _, _)| *name == keyword)
}
