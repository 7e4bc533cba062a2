//! The variables of libpq and of the scripts that pgstow replaces: a row for each name.
//!
//! They are read from the process environment, then from the env file, and rank below
//! pgstow.toml. libpq's further variables have no key: `postgres/conninfo` knows them.

use super::keys::{self, Key, Scope};

pub struct OldName {
    pub name: &'static str,
    pub becomes: Becomes,
    /// Of repositories and alerts: old scripts know one.
    pub section: Option<&'static str>,
}

pub enum Becomes {
    /// The key's value as it stands.
    Key(Key),
    /// The key's value after a change; None switches the key off.
    Changed(Key, fn(&str) -> Option<String>),
    /// Where the old scripts kept WAL: now always in the repository.
    WalFolder,
    /// Whether Discord is told of successes, of failures: both make the key's value.
    Wish(Key),
}

impl OldName {
    pub fn key(&self) -> Option<Key> {
        match self.becomes {
            Becomes::Key(key) | Becomes::Changed(key, _) | Becomes::Wish(key) => Some(key),
            Becomes::WalFolder => None,
        }
    }

    pub fn is_secret(&self) -> bool {
        self.key().is_some_and(|key| key.secret)
    }

    /// libpq's own names may be overruled without a word, as an option of psql does it.
    pub fn is_libpqs(&self) -> bool {
        self.name.starts_with("PG")
    }

    /// True if this row speaks of `key` in `section`.
    pub fn sets(&self, key: Key, section: &str) -> bool {
        self.key() == Some(key) && self.section.is_none_or(|own| own == section)
    }

    pub fn value(&self, text: &str) -> Option<String> {
        match self.becomes {
            Becomes::Changed(_, change) => change(text),
            _ => Some(text.to_owned()),
        }
    }
}

/// The repository that the old names speak of, and the one that there is without a file.
pub const OLD_REPOSITORY: &str = "local";

/// The alerts that the old names speak of.
pub const DISCORD: &str = "discord";
pub const WEBHOOK: &str = "webhook";

pub const DISCORD_NOTIFY_SUCCESS: &str = "DISCORD_NOTIFY_SUCCESS";
pub const DISCORD_NOTIFY_FAILURE: &str = "DISCORD_NOTIFY_FAILURE";

pub const WAL_ARCHIVE_DIR: &str = "WAL_ARCHIVE_DIR";

const fn row(name: &'static str, key: Key) -> OldName {
    OldName {
        name,
        becomes: Becomes::Key(key),
        section: section_of(key),
    }
}

const fn section_of(key: Key) -> Option<&'static str> {
    match key.scope {
        Scope::Repo => Some(OLD_REPOSITORY),
        _ => None,
    }
}

const fn of_alert(name: &'static str, section: &'static str, becomes: Becomes) -> OldName {
    OldName {
        name,
        becomes,
        section: Some(section),
    }
}

const fn changed(name: &'static str, key: Key, change: fn(&str) -> Option<String>) -> OldName {
    OldName {
        name,
        becomes: Becomes::Changed(key, change),
        section: section_of(key),
    }
}

pub const OLD_NAMES: &[OldName] = &[
    row("PGHOST", keys::HOST),
    row("PGPORT", keys::PORT),
    row("PGUSER", keys::USER),
    row("PGPASSWORD", keys::PASSWORD),
    changed("PGDATABASE", keys::DATABASE, first_of_list),
    row("PGPASSFILE", keys::PASSFILE),
    row("PGSERVICE", keys::SERVICE),
    row("PGSERVICEFILE", keys::SERVICEFILE),
    row("PGSSLMODE", keys::SSLMODE),
    row("PGSSLROOTCERT", keys::SSLROOTCERT),
    row("PGSSLCERT", keys::SSLCERT),
    row("PGSSLKEY", keys::SSLKEY),
    row("PGCHANNELBINDING", keys::CHANNEL_BINDING),
    row("PGCONNECT_TIMEOUT", keys::CONNECT_TIMEOUT),
    row("POSTGRES_HOST", keys::HOST),
    row("POSTGRES_PORT", keys::PORT),
    row("POSTGRES_USER", keys::USER),
    row("POSTGRES_PASSWORD", keys::PASSWORD),
    changed("POSTGRES_DB", keys::DATABASE, first_of_list),
    changed("PGDATABASE", keys::DUMP_DATABASES, with_commas),
    changed("POSTGRES_DB", keys::DUMP_DATABASES, with_commas),
    row("BACKUP_DIR", keys::REPO_URL),
    row("BACKUP_FORMAT", keys::DUMP_FORMAT),
    row("BACKUP_COMPRESSION_LEVEL", keys::DUMP_LEVEL),
    row("BACKUP_BASE_NAME", keys::DUMP_PREFIX),
    row("REMOTE_PATH_FORMAT", keys::DUMP_PATH_FORMAT),
    row("BACKUP_KEEP_DAYS", keys::DUMP_RETENTION_DAYS),
    row("BACKUP_KEEP_MIN_COUNT", keys::DUMP_RETENTION_MIN),
    row("BACKUP_RETENTION_DAILY", keys::DUMP_RETENTION_DAILY),
    row("BACKUP_RETENTION_WEEKLY", keys::DUMP_RETENTION_WEEKLY),
    row("VERIFY_ENABLED", keys::DUMP_VERIFY),
    row("VERIFY_HOST", keys::VERIFY_HOST),
    row("VERIFY_PORT", keys::VERIFY_PORT),
    row("VERIFY_USER", keys::VERIFY_USER),
    row("VERIFY_PASSWORD", keys::VERIFY_PASSWORD),
    row("VERIFY_DB", keys::VERIFY_DATABASE),
    row("RESTORE_BACKUP_FILE", keys::VERIFY_FROM),
    row("RETRY_COUNT", keys::CONNECT_RETRIES),
    row("RETRY_DELAY", keys::CONNECT_DELAY),
    row("MAX_BACKUP_AGE_SECONDS", keys::MONITOR_DUMP_AGE_CRITICAL),
    row("MAX_BACKUP_AGE_SECONDS", keys::MONITOR_BACKUP_AGE_CRITICAL),
    changed("RETENTION_DAYS", keys::RETENTION_DAYS, zero_is_off),
    row("LOG_LEVEL", keys::LOG_LEVEL),
    of_alert(
        "DISCORD_WEBHOOK_URL",
        DISCORD,
        Becomes::Key(keys::ALERT_URL),
    ),
    of_alert(
        DISCORD_NOTIFY_SUCCESS,
        DISCORD,
        Becomes::Wish(keys::ALERT_ON),
    ),
    of_alert(
        DISCORD_NOTIFY_FAILURE,
        DISCORD,
        Becomes::Wish(keys::ALERT_ON),
    ),
    of_alert("WEBHOOK_URL", WEBHOOK, Becomes::Key(keys::ALERT_URL)),
    OldName {
        name: WAL_ARCHIVE_DIR,
        becomes: Becomes::WalFolder,
        section: None,
    },
];

/// Old scripts list the databases to dump here; the session connects to the first.
fn first_of_list(text: &str) -> Option<String> {
    text.split([',', ' '])
        .find(|name| !name.is_empty())
        .map(str::to_owned)
}

fn with_commas(text: &str) -> Option<String> {
    let names: Vec<&str> = text
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .collect();
    Some(names.join(","))
}

fn zero_is_off(text: &str) -> Option<String> {
    (text.trim() != "0").then(|| text.to_owned())
}
