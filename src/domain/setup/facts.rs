//! What `check` and `monitor` ask of the server, before anything is judged.

use std::{fs, path::PathBuf};

use chrono::{DateTime, TimeDelta};

use super::server_user::ServerUser;
use crate::{
    domain::backup::method,
    error::{Kind, Result},
    postgres::{
        conf_file::Syntax,
        connection::Session,
        conninfo::ConnInfo,
        replication::{IdentifySystem, Replication},
        row::Row,
        server_facts::{self, ArchiverState, ServerFacts},
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
    },
};

/// What costs a server little to tell.
#[derive(Debug)]
pub struct Facts {
    pub server: ServerFacts,
    /// The role that we connect as.
    pub role: String,
    /// As set, even while archive_mode is off.
    pub archive_command: String,
    pub archive_library: String,
    pub archiver: ArchiverState,
    /// Files that wait to be archived; None where the role may not look.
    pub waiting: Option<Waiting>,
    pub leftovers: Vec<Leftover>,
    pub full_page_writes: bool,
    /// By how much the server's clock is ahead of this host's, as far as one question can tell.
    pub clock_ahead: TimeDelta,
    /// None where the server is not on this host.
    pub user: Option<ServerUser>,
}

/// Whether a base backup could begin.
#[derive(Debug)]
pub struct Readiness {
    /// What a walsender of this role tells of its server.
    pub walsender: Result<IdentifySystem>,
    /// Base backups read the data directory here, and need no walsender.
    pub local: bool,
    pub may_switch_wal: bool,
    /// Walsenders that may still be started.
    pub free_senders: i64,
    /// Bytes of the databases that the role may look at: about what a first backup copies.
    pub database_bytes: u64,
}

/// Files in `archive_status` that end in `.ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub files: u64,
    /// Since when the oldest of them waits; None if there is none.
    pub oldest: Option<Time>,
}

/// A recovery target that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub name: String,
    pub value: String,
    /// The server's files say something else than the running server.
    pub pending: bool,
}

const SETTINGS: &str = "
    SELECT current_user,
        (SELECT reset_val FROM pg_settings WHERE name = 'archive_command'),
        coalesce((SELECT reset_val FROM pg_settings WHERE name = 'archive_library'), ''),
        current_setting('full_page_writes') = 'on',
        has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'EXECUTE')";

const READINESS: &str = "
    SELECT has_function_privilege('pg_catalog.pg_switch_wal()', 'EXECUTE'),
        current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)";

/// What ALTER SYSTEM writes (guc.h), in the data directory.
const AUTO_CONF: &str = "postgresql.auto.conf";

/// Values of recovery that a server in service has no use for.
const LEFTOVERS: &str = "
    SELECT name, setting, pending_restart, sourcefile FROM pg_settings
    WHERE name IN ('recovery_target', 'recovery_target_lsn', 'recovery_target_name',
            'recovery_target_time', 'recovery_target_xid', 'recovery_target_timeline')
        AND (setting <> boot_val OR pending_restart)
    ORDER BY name";

const DATABASE_BYTES: &str = "
    SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database
    WHERE has_database_privilege(oid, 'CONNECT')";

const WAITING: &str =
    "SELECT count(*), coalesce((extract(epoch FROM min(modification)) * 1000000)::bigint, 0)
     FROM pg_ls_archive_statusdir() WHERE right(name, 6) = '.ready'";

impl Facts {
    pub fn gather(session: &Session, info: &ConnInfo) -> Result<Self> {
        let server = ServerFacts::gather(session)?;
        let row = session.query_one(SETTINGS, &[])?;
        let may_list: bool = row.parse(4)?;
        let waiting = match may_list {
            true => Some(Waiting::gather(session)?),
            false => None,
        };
        let leftovers = session.query_rows(LEFTOVERS, &[])?;
        let user = ServerUser::find(info, &server)?;
        Ok(Self {
            role: row.text(0)?,
            archive_command: row.text(1)?,
            archive_library: row.text(2)?,
            full_page_writes: row.parse(3)?,
            archiver: ArchiverState::gather(session)?,
            waiting,
            leftovers: leftovers
                .iter()
                .filter(|row| !is_gone(row, &server, user.is_some()))
                .map(|row| {
                    Ok(Leftover {
                        name: row.text(0)?,
                        value: row.text(1)?,
                        pending: row.parse(2)?,
                    })
                })
                .collect::<Result<_>>()?,
            clock_ahead: clock_ahead(session)?,
            user,
            server,
        })
    }
}

impl Readiness {
    pub fn gather(
        session: &Session,
        info: &ConnInfo,
        server: &ServerFacts,
        cancel: &Cancel,
    ) -> Result<Self> {
        let row = session.query_one(READINESS, &[])?;
        Ok(Self {
            local: method::reads_data_directory(session, server)?,
            may_switch_wal: row.parse(0)?,
            free_senders: row.parse(1)?,
            database_bytes: session.query_one(DATABASE_BYTES, &[])?.parse(0)?,
            walsender: walsender(info, cancel)?,
        })
    }
}

impl Waiting {
    fn gather(session: &Session) -> Result<Self> {
        let row = session.query_one(WAITING, &[])?;
        let files = row.parse(0)?;
        let oldest = DateTime::from_timestamp_micros(row.parse(1)?);
        Ok(Self {
            files,
            oldest: oldest.filter(|_| files > 0),
        })
    }
}

/// Opens a walsender for real: pg_hba.conf has lines of its own for them. Outer error: stopped.
fn walsender(info: &ConnInfo, cancel: &Cancel) -> Result<Result<IdentifySystem>> {
    let told = Replication::connect(info, cancel).and_then(|mut sender| sender.identify_system());
    match told {
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        told => Ok(told),
    }
}

fn clock_ahead(session: &Session) -> Result<TimeDelta> {
    let asked = clock::now();
    let server = server_facts::now(session)?;
    // The server answered somewhere between question and answer.
    let answered = clock::now();
    Ok(if server < asked {
        server - asked
    } else if server > answered {
        server - answered
    } else {
        TimeDelta::zero()
    })
}

/// After a restore the running server keeps its target until it is restarted, though
/// `restore-done` has removed it from the file: such a value reaches no replica. Nor does one that was set and
/// removed again, for which the server goes on waiting for a restart; it names no file then.
fn is_gone(row: &Row, server: &ServerFacts, here: bool) -> bool {
    let (Ok(name), Ok(file)) = (row.text(0), row.optional(3)) else {
        return false;
    };
    let files: Vec<PathBuf> = match file {
        Some(file) => vec![file.into()],
        None => {
            let own = server.config_files.iter();
            let own = own.filter(|file| here && file.syntax == Syntax::Settings);
            let own: Vec<PathBuf> = own.map(|file| file.path.clone()).collect();
            if own.is_empty() {
                return false;
            }
            [own, vec![server.data_directory.join(AUTO_CONF)]].concat()
        }
    };
    // Where we can't read one, it counts as still there.
    let names = |line: &str| {
        let word = line
            .trim_start()
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next();
        word.is_some_and(|word| word.eq_ignore_ascii_case(&name))
    };
    let mut texts = files.iter().map(fs::read_to_string);
    texts.all(|text| text.is_ok_and(|text| !text.lines().any(names)))
}
