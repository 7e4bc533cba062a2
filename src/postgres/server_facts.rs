//! What a server says of itself: version, identity, settings, and how its archiver fares.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::PathBuf};

use chrono::DateTime;

use super::{
    conf_file::{ConfigFile, Syntax},
    connection::Session,
    conninfo::{ConnInfo, Host},
    control::Control,
    lsn::{Lsn, SystemId, TimelineId},
    postmaster::Postmaster,
    row::Row,
    wal_name::{Segment, SegmentSize, WalName},
};
use crate::{
    error::{Error, Result},
    util::{clock::Time, host},
};

/// Facts that stay as they are while the server runs.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// As server_version_num, such as 150019.
    pub version: u32,
    pub system_id: SystemId,
    pub standby: bool,
    pub data_directory: PathBuf,
    pub block_size: u32,
    pub segment_size: SegmentSize,
    pub data_checksums: bool,
    pub wal_level: String,
    pub archiving: Archiving,
    /// `config_file`, `hba_file`, `ident_file`, and those of their includes that have a setting
    /// in force.
    pub config_files: Vec<ConfigFile>,
    pub max_connections: u32,
    pub max_worker_processes: u32,
    pub max_wal_senders: u32,
    pub max_prepared_transactions: u32,
    pub max_locks_per_transaction: u32,
}

/// How WAL leaves the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archiving {
    /// `off`, `on` or `always`.
    pub mode: String,
    pub command: String,
    pub library: String,
}

/// `pg_stat_archiver`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiverState {
    pub archived: u64,
    pub last_archived: Option<(String, Time)>,
    pub failed: u64,
    pub last_failed: Option<(String, Time)>,
    /// When the settings were read last: what was archived before may have gone elsewhere.
    pub settings_read: Option<Time>,
}

/// The last checkpoint, of the primary or replayed by the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub redo: Lsn,
    pub timeline: TimelineId,
}

// archive_library came with 15: what is older is told by its version, not by an error.
const FACTS: &str = "
    SELECT current_setting('server_version_num'), s.system_identifier, pg_is_in_recovery(),
        (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
        current_setting('block_size'), pg_size_bytes(current_setting('wal_segment_size')),
        current_setting('data_checksums') = 'on', current_setting('wal_level'),
        current_setting('archive_mode'), current_setting('archive_command'),
        coalesce(current_setting('archive_library', true), ''),
        current_setting('max_connections'), current_setting('max_worker_processes'),
        current_setting('max_wal_senders'), current_setting('max_prepared_transactions'),
        current_setting('max_locks_per_transaction')
    FROM pg_control_system() s";

/// The second part needs rights that a role for backups may not have.
const CONFIG_FILES: &str = "
    SELECT setting, name <> 'config_file' FROM pg_settings
        WHERE name IN ('config_file', 'hba_file', 'ident_file') AND setting <> ''
    UNION SELECT sourcefile, false FROM pg_settings WHERE sourcefile IS NOT NULL
    ORDER BY 1";

/// What tells of more files, the function that it takes, and the version that has it.
const MORE_CONFIG_FILES: [(&str, &str, u32); 3] = [
    (
        "SELECT DISTINCT sourcefile, false FROM pg_show_all_file_settings() \
         WHERE sourcefile IS NOT NULL ORDER BY 1",
        "pg_catalog.pg_show_all_file_settings()",
        150_000,
    ),
    (
        "SELECT DISTINCT file_name, true FROM pg_hba_file_rules() \
         WHERE file_name IS NOT NULL ORDER BY 1",
        "pg_catalog.pg_hba_file_rules()",
        160_000,
    ),
    (
        "SELECT DISTINCT file_name, true FROM pg_ident_file_mappings() \
         WHERE file_name IS NOT NULL ORDER BY 1",
        "pg_catalog.pg_ident_file_mappings()",
        160_000,
    ),
];

impl ServerFacts {
    /// Asks the server; needs the privileges of pg_read_all_settings.
    pub fn gather(session: &Session) -> Result<Self> {
        let row = session.query_one(FACTS, &[])?;
        let Some(data_directory) = row.optional(3)? else {
            let role = session.query_one("SELECT pg_catalog.quote_ident(current_user)", &[])?;
            let grant = format!("GRANT pg_read_all_settings TO {};", role.text(0)?);
            let what = "the server does not tell where its data directory is";
            return Err(
                Error::failed(what).hint(format!("let the role read the settings: {grant}"))
            );
        };
        let segment_size: u32 = row.parse(5)?;
        Ok(Self {
            version: row.parse(0)?,
            system_id: row.parse::<i64>(1).map(|id| SystemId(id.cast_unsigned()))?,
            standby: row.parse(2)?,
            data_directory: data_directory.into(),
            block_size: row.parse(4)?,
            segment_size: segment_size.try_into().map_err(Error::damaged)?,
            data_checksums: row.parse(6)?,
            wal_level: row.text(7)?,
            archiving: Archiving {
                mode: row.text(8)?,
                command: row.text(9)?,
                library: row.text(10)?,
            },
            config_files: config_files(session, CONFIG_FILES)?,
            max_connections: row.parse(11)?,
            max_worker_processes: row.parse(12)?,
            max_wal_senders: row.parse(13)?,
            max_prepared_transactions: row.parse(14)?,
            max_locks_per_transaction: row.parse(15)?,
        })
    }

    /// PostgreSQL's major version, such as 15.
    pub fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Whether the server at `info` is on this host, as far as can be seen.
    pub fn is_here(&self, info: &ConnInfo) -> bool {
        if fs::metadata(&self.data_directory).is_err() {
            return false;
        }
        match Control::read(&self.data_directory) {
            Ok(control) => control.system == self.system_id,
            // Not ours to read: then only the way to the server can tell.
            Err(_) => is_near(&info.host),
        }
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Socket(_) => true,
        Host::Tcp { name, address } => {
            let address = address.as_deref().unwrap_or(name);
            matches!(address, "localhost" | "127.0.0.1" | "::1")
        }
    }
}

/// OIDs and places of the tablespaces but pg_default and pg_global. Places are any bytes, and
/// relative to the data directory for those in `pg_tblspc`.
pub fn tablespaces(session: &Session) -> Result<Vec<(u32, PathBuf)>> {
    let sql = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace";
    let mut spaces = Vec::new();
    for row in session.query_rows(sql, &[])? {
        let place = row.bytes(1)?.unwrap_or_default();
        if !place.is_empty() {
            spaces.push((row.parse(0)?, OsString::from_vec(place).into()));
        }
    }
    Ok(spaces)
}

/// Configuration files that the server reads, settings in force or not, as far as the role may
/// ask for them.
pub fn more_config_files(session: &Session, facts: &ServerFacts) -> Result<Vec<ConfigFile>> {
    let mut found = Vec::new();
    for (sql, function, since) in MORE_CONFIG_FILES {
        let may = "SELECT has_function_privilege($1, 'EXECUTE')";
        if facts.version >= since && session.query_one(may, &[function])?.parse(0)? {
            found.extend(config_files(session, sql)?);
        }
    }
    Ok(found)
}

fn config_files(session: &Session, sql: &str) -> Result<Vec<ConfigFile>> {
    let rows = session.query_rows(sql, &[])?;
    let file = |row: &Row| {
        let syntax = match row.parse(1)? {
            true => Syntax::Access,
            false => Syntax::Settings,
        };
        Ok(ConfigFile {
            path: row.text(0)?.into(),
            syntax,
        })
    };
    rows.iter().map(file).collect()
}

impl Archiving {
    /// Whether this server archives at all: a standby does so only with `always`.
    pub fn is_on(&self, standby: bool) -> bool {
        self.mode == "always" || (self.mode == "on" && !standby)
    }

    /// What archives, in words.
    pub fn describe(&self) -> String {
        match (self.command.as_str(), self.library.as_str()) {
            ("", "") => "archive_command is empty".to_owned(),
            // What SHOW tells while archive_mode is off.
            ("(disabled)", "") => "archive_mode is off".to_owned(),
            (_, library) if !library.is_empty() => format!("archive_library is {library:?}"),
            (command, _) => format!("archive_command is {command:?}"),
        }
    }
}

impl ArchiverState {
    pub fn gather(session: &Session) -> Result<Self> {
        let row = session.query_one(
            "SELECT archived_count, last_archived_wal,
                (extract(epoch FROM last_archived_time) * 1000000)::bigint,
                failed_count, last_failed_wal,
                (extract(epoch FROM last_failed_time) * 1000000)::bigint,
                (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint
             FROM pg_stat_archiver",
            &[],
        )?;
        let event = |name: usize| -> Result<Option<(String, Time)>> {
            match (row.optional(name)?, row.optional(name + 1)?) {
                (Some(wal), Some(_)) => Ok(Some((wal, time(&row, name + 1)?))),
                _ => Ok(None),
            }
        };
        Ok(Self {
            archived: row.parse(0)?,
            last_archived: event(1)?,
            failed: row.parse(3)?,
            last_failed: event(4)?,
            settings_read: Some(time(&row, 6)?),
        })
    }

    /// Whether the newest attempt failed. A clock that was set back tells nothing for a while; but segments are
    /// archived in their order, so one that failed and is behind the last that did not is still to come.
    pub fn is_failing(&self) -> bool {
        let is_behind = |failed: &str, archived: &str| {
            let (failed, archived) = (failed.parse::<Segment>(), archived.parse::<Segment>());
            failed.is_ok_and(|failed| {
                archived
                    .is_ok_and(|archived| failed.timeline == archived.timeline && failed > archived)
            })
        };
        match (&self.last_failed, &self.last_archived) {
            (Some((wal, failed)), Some((last, archived))) => {
                failed > archived || is_behind(wal, last)
            }
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// How far a standby is that replays as fast as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub position: Lsn,
    /// When the last transaction was committed that it has; where it replayed none since its start, when that was.
    pub since: Time,
}

impl Replayed {
    /// None of a primary, and of a standby that is to wait.
    pub fn gather(session: &Session) -> Result<Option<Self>> {
        const SQL: &str = "
            SELECT pg_last_wal_replay_lsn()::text,
                (extract(epoch FROM coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())) * 1000000)::bigint
            WHERE pg_is_in_recovery() AND pg_last_wal_replay_lsn() IS NOT NULL
                AND current_setting('recovery_min_apply_delay') = '0'";
        let rows = session.query_rows(SQL, &[])?;
        let replayed = |row: &Row| {
            Ok(Self {
                position: row.parse(0)?,
                since: time(row, 1)?,
            })
        };
        rows.first().map(replayed).transpose()
    }
}

impl Checkpoint {
    pub fn gather(session: &Session) -> Result<Self> {
        let row = session.query_one(
            "SELECT redo_lsn::text, timeline_id FROM pg_control_checkpoint()",
            &[],
        )?;
        let timeline = TimelineId::new(row.parse(1)?)
            .ok_or_else(|| Error::damaged("the server says that its timeline is 0"))?;
        Ok(Self {
            redo: row.parse(0)?,
            timeline,
        })
    }
}

/// The notes of backups in pg_wal, which a primary that archives keeps until the next backup
/// (`CleanupBackupHistory` in `src/backend/access/transam/xlog.c`); None where the role may not look.
pub fn backup_notes(session: &Session) -> Result<Option<Vec<WalName>>> {
    let may = session.query_one(
        "SELECT has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')",
        &[],
    )?;
    if !may.parse(0)? {
        return Ok(None);
    }
    let rows = session.query_rows(
        "SELECT name FROM pg_ls_waldir() WHERE right(name, 7) = '.backup'",
        &[],
    )?;
    rows.iter()
        .map(|row| row.parse(0))
        .collect::<Result<_>>()
        .map(Some)
}

/// What tells two servers of the same system apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub time: Time,
    pub port: u16,
    /// The process on the server's host that answers this session.
    pub backend: u32,
}

pub fn start(session: &Session) -> Result<Start> {
    let row = session.query_one(
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
            current_setting('port'), pg_backend_pid()",
        &[],
    )?;
    Ok(Start {
        time: time(&row, 0)?,
        port: row.parse(1)?,
        backend: row.parse(2)?,
    })
}

impl Start {
    /// Whether this is the server of that postmaster.pid on this host: the process that answers is
    /// its child. Port and time keep out a server of another host whose processes happen to have
    /// such numbers. The server notes its time in the file first, and its start once it has its
    /// memory, which may take a while where that is large.
    pub fn is_of(&self, here: &Postmaster) -> bool {
        host::process_parent(self.backend) == Some(here.pid)
            && here.port == Some(self.port)
            && (0..=60).contains(&(self.time.timestamp() - here.started))
    }
}

/// Whether the server summarizes its WAL; before 17 none does.
pub fn summarizes_wal(session: &Session) -> Result<bool> {
    let row = session.query_one(
        "SELECT coalesce(current_setting('summarize_wal', true) = 'on', false)",
        &[],
    )?;
    row.parse(0)
}

/// The server's clock.
pub fn now(session: &Session) -> Result<Time> {
    let row = session.query_one(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        &[],
    )?;
    time(&row, 0)
}

/// A column that holds microseconds since 1970.
fn time(row: &Row, column: usize) -> Result<Time> {
    DateTime::from_timestamp_micros(row.parse(column)?)
        .ok_or_else(|| Error::damaged("the server tells a time that is none"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn archiving_fails_while_the_newest_attempt_failed() {
        let at = |seconds| {
            Some((
                "x".to_owned(),
                DateTime::from_timestamp(seconds, 0).unwrap(),
            ))
        };
        let state = |archived, failed| ArchiverState {
            last_archived: archived,
            last_failed: failed,
            ..Default::default()
        };
        assert!(!state(None, None).is_failing());
        assert!(state(None, at(1)).is_failing());
        assert!(state(at(1), at(2)).is_failing());
        assert!(!state(at(3), at(2)).is_failing());
        let segment = |name: &str, seconds| {
            let time = DateTime::from_timestamp(seconds, 0).unwrap();
            Some((format!("0000000{name}"), time))
        };
        let (old, new) = ("10000000000000003", "10000000000000004");
        assert!(state(segment(old, 9), segment(new, 2)).is_failing());
        assert!(!state(segment(new, 9), segment(old, 2)).is_failing());
        let later = "20000000000000004";
        assert!(!state(segment(old, 9), segment(later, 2)).is_failing());
    }

    #[test]
    fn a_standby_archives_only_always() {
        let archiving = |mode: &str| Archiving {
            mode: mode.into(),
            command: "x".into(),
            library: String::new(),
        };
        assert!(archiving("on").is_on(false) && !archiving("on").is_on(true));
        assert!(archiving("always").is_on(true) && !archiving("off").is_on(false));
    }
}
