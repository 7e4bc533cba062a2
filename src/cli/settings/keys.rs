//! Every key of pgstow.toml, with its default. What each means stands in `conf/pgstow.toml`.
//!
//! The name of a key's environment variable follows from the key: `PGSTOW_`, then the key in
//! capitals with `_` for each dot, without the name of the repository or cluster, since one of them
//! is chosen: `cluster.main.data_dir` is `PGSTOW_CLUSTER_DATA_DIR`. Alerts all count, so theirs have
//! it: `alert.mail.to` is `PGSTOW_ALERT_MAIL_TO`.

/// Where a key stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Top,
    /// In every `[repo.NAME]`.
    Repo,
    /// In every `[cluster.NAME]`.
    Cluster,
    /// In every `[alert.NAME]`.
    Alert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub scope: Scope,
    /// Without `repo.NAME.` and its like; may hold dots.
    pub name: &'static str,
    /// As it would be written in the file; None: unset.
    pub default: Option<&'static str>,
    /// Shown nowhere, and may be given by a file: `password_file`, `PGSTOW_..._FILE`.
    pub secret: bool,
}

impl Key {
    /// The key with its section: `repo.local.url`.
    pub fn path(&self, section: &str) -> String {
        match self.scope {
            Scope::Top => self.name.to_owned(),
            Scope::Repo => format!("repo.{section}.{}", self.name),
            Scope::Cluster => format!("cluster.{section}.{}", self.name),
            Scope::Alert => format!("alert.{section}.{}", self.name),
        }
    }

    /// The name of its environment variable.
    pub fn variable(&self, section: &str) -> String {
        let section = match self.scope {
            Scope::Top => String::new(),
            Scope::Repo => "REPO_".to_owned(),
            Scope::Cluster => "CLUSTER_".to_owned(),
            Scope::Alert => format!("ALERT_{section}_"),
        };
        let name = format!("PGSTOW_{section}{}", self.name);
        name.to_ascii_uppercase().replace(['.', '-'], "_")
    }

    /// Whether the file may have several texts in brackets.
    pub fn is_list(&self) -> bool {
        let with_commas = [
            ALERT_ON,
            ALERT_TO,
            DUMP_DATABASES,
            DUMP_EXCLUDE,
            DUMP_PRODUCTION,
            ENCRYPTION_RECIPIENTS,
        ];
        self.has_lines() || with_commas.contains(self)
    }

    /// What is between the texts of a list: SQL and settings have commas of their own.
    pub fn separator(&self) -> &'static str {
        if self.has_lines() { "\n" } else { "," }
    }

    fn has_lines(&self) -> bool {
        [VERIFY_SQL, DRILL_SQL, DRILL_SETTINGS].contains(self)
    }
}

macro_rules! keys {
    ($($constant:ident = $scope:ident $name:literal $default:expr, $secret:literal;)*) => {
        $(pub const $constant: Key = Key {
            scope: Scope::$scope,
            name: $name,
            default: $default,
            secret: $secret,
        };)*
        pub const KEYS: &[Key] = &[$($constant),*];
    };
}

keys! {
    STATE_DIR = Top "state_dir" Some("/var/lib/pgstow"), false;
    LOG_LEVEL = Top "log.level" Some("info"), false;
    LOG_FILE = Top "log.file" None, false;
    CONNECT_RETRIES = Top "connect.retries" Some("3"), false;
    CONNECT_DELAY = Top "connect.delay" Some("1s"), false;
    CONNECT_TIMEOUT = Top "connect.timeout" None, false;
    ARCHIVE_WAL_TIME_LIMIT = Top "archive_wal.time_limit" Some("60s"), false;
    RESTORE_WAL_TIME_LIMIT = Top "restore_wal.time_limit" Some("60s"), false;
    RECEIVE_WAL_SLOT = Top "receive_wal.slot" Some("pgstow"), false;
    RECEIVE_WAL_LIVE = Top "receive_wal.live" None, false;
    WAL_LOOK_AHEAD = Top "wal.look_ahead" Some("64"), false;
    WAL_DROP_ABOVE = Top "wal.drop_above" None, false;
    WAL_PREFETCH = Top "wal.prefetch" Some("16"), false;
    WAL_PREFETCH_SIZE = Top "wal.prefetch_size" Some("512MB"), false;
    ALERT_TIME_LIMIT = Top "alert.time_limit" Some("10s"), false;
    ALERT_REMIND = Top "alert.remind" Some("24h"), false;
    MONITOR_TIME_LIMIT = Top "monitor.time_limit" Some("15s"), false;
    MONITOR_BACKUP_AGE_WARNING = Top "monitor.backup_age.warning" Some("26h"), false;
    MONITOR_BACKUP_AGE_CRITICAL = Top "monitor.backup_age.critical" Some("50h"), false;
    MONITOR_FULL_AGE_WARNING = Top "monitor.full_age.warning" Some("8d"), false;
    MONITOR_FULL_AGE_CRITICAL = Top "monitor.full_age.critical" Some("15d"), false;
    MONITOR_DUMP_AGE_WARNING = Top "monitor.dump_age.warning" Some("26h"), false;
    MONITOR_DUMP_AGE_CRITICAL = Top "monitor.dump_age.critical" Some("50h"), false;
    MONITOR_VERIFY_AGE_WARNING = Top "monitor.verify_age.warning" Some("8d"), false;
    MONITOR_VERIFY_AGE_CRITICAL = Top "monitor.verify_age.critical" Some("31d"), false;
    MONITOR_DRILL_AGE_WARNING = Top "monitor.drill_age.warning" Some("8d"), false;
    MONITOR_DRILL_AGE_CRITICAL = Top "monitor.drill_age.critical" Some("31d"), false;
    MONITOR_RTO_WARNING = Top "monitor.rto.warning" None, false;
    MONITOR_RTO_CRITICAL = Top "monitor.rto.critical" None, false;
    MONITOR_RPO_WARNING = Top "monitor.rpo.warning" None, false;
    MONITOR_RPO_CRITICAL = Top "monitor.rpo.critical" None, false;
    MONITOR_WAITING_WARNING = Top "monitor.waiting.warning" Some("100"), false;
    MONITOR_WAITING_CRITICAL = Top "monitor.waiting.critical" Some("1000"), false;
    MONITOR_WAITING_AGE_WARNING = Top "monitor.waiting_age.warning" Some("10min"), false;
    MONITOR_WAITING_AGE_CRITICAL = Top "monitor.waiting_age.critical" Some("1h"), false;
    MONITOR_WAL_LAG_WARNING = Top "monitor.wal_lag.warning" Some("512MB"), false;
    MONITOR_WAL_LAG_CRITICAL = Top "monitor.wal_lag.critical" Some("4GB"), false;
    MONITOR_WAL_AGE_WARNING = Top "monitor.wal_age.warning" Some("10min"), false;
    MONITOR_WAL_AGE_CRITICAL = Top "monitor.wal_age.critical" Some("1h"), false;
    MONITOR_UNSYNCED_AGE_WARNING = Top "monitor.unsynced_age.warning" Some("24h"), false;
    MONITOR_UNSYNCED_AGE_CRITICAL = Top "monitor.unsynced_age.critical" Some("72h"), false;
    MONITOR_SLOT_WAL_WARNING = Top "monitor.slot_wal.warning" Some("4GB"), false;
    MONITOR_SLOT_WAL_CRITICAL = Top "monitor.slot_wal.critical" Some("16GB"), false;
    MONITOR_DISK_USED_WARNING = Top "monitor.disk_used.warning" Some("80"), false;
    MONITOR_DISK_USED_CRITICAL = Top "monitor.disk_used.critical" Some("90"), false;
    MONITOR_CLOCK_WARNING = Top "monitor.clock.warning" Some("2s"), false;
    MONITOR_CLOCK_CRITICAL = Top "monitor.clock.critical" Some("60s"), false;
    MONITOR_FAILED_RUNS_WARNING = Top "monitor.failed_runs.warning" Some("1"), false;
    MONITOR_FAILED_RUNS_CRITICAL = Top "monitor.failed_runs.critical" Some("3"), false;

    DUMP_DATABASES = Top "dump.databases" None, false;
    DUMP_EXCLUDE = Top "dump.exclude" None, false;
    DUMP_FORMAT = Top "dump.format" Some("custom"), false;
    DUMP_COMPRESSION = Top "dump.compression" Some("gzip"), false;
    DUMP_LEVEL = Top "dump.level" None, false;
    DUMP_ROW_COUNTS = Top "dump.row_counts" Some("exact"), false;
    DUMP_GLOBALS = Top "dump.globals" Some("true"), false;
    DUMP_PREFIX = Top "dump.prefix" None, false;
    DUMP_PATH_FORMAT = Top "dump.path_format" Some("database"), false;
    DUMP_VERIFY = Top "dump.verify" Some("false"), false;
    DUMP_PRODUCTION = Top "dump.production" None, false;
    DUMP_RETENTION_DAILY = Top "dump.retention.daily" Some("7"), false;
    DUMP_RETENTION_WEEKLY = Top "dump.retention.weekly" Some("4"), false;
    DUMP_RETENTION_MONTHLY = Top "dump.retention.monthly" Some("12"), false;
    DUMP_RETENTION_YEARLY = Top "dump.retention.yearly" Some("forever"), false;
    DUMP_RETENTION_DAYS = Top "dump.retention.days" None, false;
    DUMP_RETENTION_MIN = Top "dump.retention.min" Some("2"), false;

    VERIFY_FROM = Top "verify.from" None, false;
    VERIFY_PLACE = Top "verify.place" None, false;
    VERIFY_HOST = Top "verify.host" None, false;
    VERIFY_PORT = Top "verify.port" None, false;
    VERIFY_USER = Top "verify.user" None, false;
    VERIFY_PASSWORD = Top "verify.password" None, true;
    VERIFY_PASSFILE = Top "verify.passfile" None, false;
    VERIFY_SSLMODE = Top "verify.sslmode" None, false;
    VERIFY_DATABASE = Top "verify.database" None, false;
    VERIFY_SQL = Top "verify.sql" None, false;
    VERIFY_HEALTH_URL = Top "verify.health_url" None, false;
    VERIFY_HEALTH_COMMAND = Top "verify.health_command" None, false;
    VERIFY_HEALTH_TIMEOUT = Top "verify.health_timeout" Some("60s"), false;

    DRILL_SCRATCH = Top "drill.scratch" None, false;
    DRILL_SQL = Top "drill.sql" None, false;
    DRILL_DATABASE = Top "drill.database" None, false;
    DRILL_AMCHECK_LIMIT = Top "drill.amcheck_limit" Some("30min"), false;
    DRILL_RECOVERY_POINT = Top "drill.recovery_point" None, false;
    DRILL_SETTINGS = Top "drill.settings" None, false;

    REPO_URL = Repo "url" None, false;
    ENDPOINT = Repo "endpoint" None, false;
    REGION = Repo "region" None, false;
    PATH_STYLE = Repo "path_style" None, false;
    CA_FILE = Repo "ca_file" None, false;
    PROFILE = Repo "profile" None, false;
    ACCESS_KEY = Repo "access_key" None, false;
    SECRET_KEY = Repo "secret_key" None, true;
    CREDENTIALS_FILE = Repo "credentials_file" None, false;
    STORAGE_CLASS = Repo "storage_class" None, false;
    CREATE_ONLY = Repo "create_only" Some("true"), false;
    KMS_KEY = Repo "kms_key" None, false;
    SSH_KEY = Repo "ssh_key" None, false;
    KNOWN_HOSTS = Repo "known_hosts" None, false;
    WAL_MODE = Repo "wal_mode" Some("push"), false;
    COMPRESSION = Repo "compression" Some("zstd:3"), false;
    PART_SIZE = Repo "part_size" Some("1GB"), false;
    VERIFY_AFTER_WRITE = Repo "verify_after_write" Some("true"), false;
    ENCRYPTION_RECIPIENTS = Repo "encryption.recipients" None, false;
    ENCRYPTION_RECIPIENTS_FILE = Repo "encryption.recipients_file" None, false;
    ENCRYPTION_IDENTITY = Repo "encryption.identity" None, true;
    RETENTION_FULL = Repo "retention.full" None, false;
    RETENTION_DAYS = Repo "retention.days" None, false;
    RETENTION_DAILY = Repo "retention.daily" None, false;
    RETENTION_WEEKLY = Repo "retention.weekly" None, false;
    RETENTION_MONTHLY = Repo "retention.monthly" None, false;
    RETENTION_YEARLY = Repo "retention.yearly" None, false;
    RETENTION_MIN = Repo "retention.min" Some("2"), false;
    RETENTION_WAL = Repo "retention.wal" Some("window"), false;
    RETENTION_TIME_ZONE = Repo "retention.time_zone" Some("UTC"), false;
    REPO_DUMP_RETENTION_DAILY = Repo "dump.retention.daily" None, false;
    REPO_DUMP_RETENTION_WEEKLY = Repo "dump.retention.weekly" None, false;
    REPO_DUMP_RETENTION_MONTHLY = Repo "dump.retention.monthly" None, false;
    REPO_DUMP_RETENTION_YEARLY = Repo "dump.retention.yearly" None, false;
    REPO_DUMP_RETENTION_DAYS = Repo "dump.retention.days" None, false;
    REPO_DUMP_RETENTION_MIN = Repo "dump.retention.min" None, false;

    HOST = Cluster "host" None, false;
    PORT = Cluster "port" None, false;
    USER = Cluster "user" None, false;
    DATABASE = Cluster "database" None, false;
    PASSWORD = Cluster "password" None, true;
    PASSFILE = Cluster "passfile" None, false;
    SERVICE = Cluster "service" None, false;
    SERVICEFILE = Cluster "servicefile" None, false;
    SSLMODE = Cluster "sslmode" None, false;
    SSLROOTCERT = Cluster "sslrootcert" None, false;
    SSLCERT = Cluster "sslcert" None, false;
    SSLKEY = Cluster "sslkey" None, false;
    CHANNEL_BINDING = Cluster "channel_binding" None, false;
    PRIMARY_HOST = Cluster "primary_host" None, false;
    PRIMARY_PORT = Cluster "primary_port" None, false;
    DATA_DIR = Cluster "data_dir" None, false;
    BINDIR = Cluster "bindir" None, false;
    JOBS = Cluster "jobs" Some("auto"), false;
    CHECKPOINT = Cluster "checkpoint" Some("spread"), false;
    MAX_RATE = Cluster "max_rate" None, false;
    FULL_EVERY = Cluster "full_every" None, false;
    CHAIN_MAX = Cluster "chain_max" Some("30"), false;
    MANIFEST_CHECKSUMS = Cluster "manifest_checksums" Some("crc32c"), false;
    WAL_TIMEOUT = Cluster "wal_timeout" Some("10min"), false;

    ALERT_ON = Alert "on" Some("failure,recovery"), false;
    ALERT_URL = Alert "url" None, true;
    ALERT_FORM = Alert "form" Some("auto"), false;
    ALERT_TO = Alert "to" None, false;
    ALERT_FROM = Alert "from" None, false;
    ALERT_HOST = Alert "host" Some("localhost"), false;
    ALERT_PORT = Alert "port" None, false;
    ALERT_TLS = Alert "tls" Some("starttls"), false;
    ALERT_CA_FILE = Alert "ca_file" None, false;
    ALERT_USER = Alert "user" None, false;
    ALERT_PASSWORD = Alert "password" None, true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_follow_the_rule_and_none_means_two_keys() {
        assert_eq!(LOG_LEVEL.variable(""), "PGSTOW_LOG_LEVEL");
        assert_eq!(REPO_URL.variable("x"), "PGSTOW_REPO_URL");
        assert_eq!(RETENTION_FULL.variable("x"), "PGSTOW_REPO_RETENTION_FULL");
        assert_eq!(ALERT_TO.variable("a-b"), "PGSTOW_ALERT_A_B_TO");
        assert_eq!(DATA_DIR.path("main"), "cluster.main.data_dir");
        let mut names: Vec<_> = KEYS.iter().map(|key| key.variable("a-b")).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
    }
}
