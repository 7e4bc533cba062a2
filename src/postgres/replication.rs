//! A walsender session: the commands of the physical replication protocol but BASE_BACKUP.
//!
//! Commands and their results: `doc/src/sgml/protocol.sgml`, "Streaming Replication Protocol".

use std::{str::FromStr, time::Duration};

use postgres_protocol::message::frontend;

use super::{
    auth,
    conninfo::ConnInfo,
    lsn::{Lsn, SystemId, TimelineId},
    server_error::ServerError,
    socket::{self, Encryption},
    wire::{Wire, tag},
};
use crate::{
    error::{Error, Result},
    util::cancel::Cancel,
};

/// The database field of pg_hba.conf and of the password file for these sessions.
const DATABASE: &str = "replication";

/// How long the server may think about one of the short commands.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// The columns of one row; None is NULL.
pub type Columns = Vec<Option<Vec<u8>>>;

/// A session in which the server takes replication commands. After an error of any call but
/// an error that the server reported, it is unusable: make a new one.
pub struct Replication {
    pub(super) wire: Wire,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifySystem {
    pub system_id: SystemId,
    pub timeline: TimelineId,
    /// What is flushed; on a standby, what is replayed.
    pub xlogpos: Lsn,
    /// None in a physical session.
    pub dbname: Option<String>,
}

impl Replication {
    pub fn connect(info: &ConnInfo, cancel: &Cancel) -> Result<Self> {
        socket::connect_with(info, cancel, |encryption| {
            Self::attempt(info, encryption, cancel)
        })
    }

    fn attempt(info: &ConnInfo, encryption: Encryption, cancel: &Cancel) -> Result<Self> {
        let mut wire = Wire::open(info, encryption, cancel)?;
        let options = info.session_options();
        let parameters = [
            ("user", info.user.as_str()),
            ("database", DATABASE),
            ("replication", "true"),
            ("application_name", &info.application_name),
            // Without a database nothing is converted, but as UTF8 the server would refuse to send
            // the places of tablespaces that are none.
            ("client_encoding", "SQL_ASCII"),
            ("options", &options),
        ];
        frontend::startup_message(parameters, &mut wire.outgoing)
            .map_err(|error| Error::usage("a connection setting can't be sent").because(error))?;
        wire.send()?;
        // A line for "replication", else one for the database that SQL sessions use.
        let password = match info.password_for(DATABASE)? {
            None => info.password_for(&info.database)?,
            found => found,
        };
        auth::authenticate(&mut wire, info, password.as_ref())?;
        loop {
            let message = wire.read()?;
            match message.tag {
                tag::READY => break,
                tag::ERROR => return Err(auth::refused(info, ServerError::parse(message.body))),
                // BackendKeyData and what later versions may add.
                _ => {}
            }
        }
        wire.set_limit(COMMAND_LIMIT);
        Ok(Self { wire })
    }

    /// Calls `callback` with each notice of the server as it comes.
    pub fn on_notice(&mut self, callback: impl FnMut(&ServerError) + Send + 'static) {
        self.wire.on_notice(callback);
    }

    pub fn identify_system(&mut self) -> Result<IdentifySystem> {
        let row = self.one_row("IDENTIFY_SYSTEM")?;
        Ok(IdentifySystem {
            system_id: parse(&row, 0)?,
            timeline: timeline(&row, 1)?,
            xlogpos: parse(&row, 2)?,
            dbname: text(&row, 3)?,
        })
    }

    /// The present value of a server setting.
    pub fn show(&mut self, name: &str) -> Result<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Error::usage(format!("not the name of a setting: {name:?}")));
        }
        let row = self.one_row(&format!("SHOW {name}"))?;
        Ok(text(&row, 0)?.unwrap_or_default())
    }

    /// Name and content of a timeline's history file. Timeline 1 has none.
    pub fn timeline_history(&mut self, timeline: TimelineId) -> Result<(String, Vec<u8>)> {
        let mut row = self.one_row(&format!("TIMELINE_HISTORY {timeline}"))?;
        let name = text(&row, 0)?.ok_or_else(strange)?;
        let content = row.get_mut(1).and_then(Option::take);
        Ok((name, content.ok_or_else(strange)?))
    }

    /// Creates a slot; with `reserve_wal` the server keeps its WAL from now on.
    pub fn create_physical_slot(
        &mut self,
        name: &str,
        temporary: bool,
        reserve_wal: bool,
    ) -> Result<()> {
        let name = slot_name(name)?;
        let temporary = if temporary { " TEMPORARY" } else { "" };
        let command = format!(
            "CREATE_REPLICATION_SLOT {name}{temporary} PHYSICAL (RESERVE_WAL {reserve_wal})"
        );
        self.rows(&command).map(|_| ())
    }

    pub fn drop_slot(&mut self, name: &str) -> Result<()> {
        let name = slot_name(name)?;
        self.rows(&format!("DROP_REPLICATION_SLOT {name}"))
            .map(|_| ())
    }

    pub(super) fn one_row(&mut self, command: &str) -> Result<Columns> {
        let mut rows = self.rows(command)?;
        match (rows.pop(), rows.pop()) {
            (Some(row), None) => Ok(row),
            _ => Err(strange()),
        }
    }

    fn rows(&mut self, command: &str) -> Result<Vec<Columns>> {
        self.command(command)?;
        self.rest_of(command)
    }

    /// The rows of a command that was sent, up to its end.
    pub(super) fn rest_of(&mut self, command: &str) -> Result<Vec<Columns>> {
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            let message = self.wire.read()?;
            match message.tag {
                tag::DATA_ROW => rows.push(columns(message.body).ok_or_else(strange)?),
                tag::ERROR => {
                    let error = ServerError::parse(message.body);
                    // Nothing follows a FATAL error.
                    if error.severity != "ERROR" {
                        return Err(self.failed(command, error));
                    }
                    failed = Some(error);
                }
                tag::ROW_DESCRIPTION | tag::COMMAND_COMPLETE => {}
                tag::READY => break,
                other => return Err(auth::unexpected(&self.wire.info, other)),
            }
        }
        match failed {
            Some(error) => Err(self.failed(command, error)),
            None => Ok(rows),
        }
    }

    pub(super) fn command(&mut self, command: &str) -> Result<()> {
        frontend::query(command, &mut self.wire.outgoing)
            .map_err(|error| Error::usage("a command can't be sent").because(error))?;
        self.wire.send()
    }

    pub(super) fn failed(&self, command: &str, error: ServerError) -> Error {
        let verb = command.split(' ').next().unwrap_or_default();
        error.explain(
            format!("{verb} failed on {}", self.wire.info.server()),
            &self.wire.info,
        )
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        // The server hears goodbye; where it can't, it finds out by itself.
        frontend::terminate(&mut self.wire.outgoing);
        self.wire.set_limit(Duration::ZERO);
        let _ = self.wire.send();
    }
}

/// Takes a DataRow apart: a count, then a length and the bytes of each column, -1 for NULL.
pub fn columns(body: &[u8]) -> Option<Columns> {
    let (count, mut rest) = body.split_first_chunk()?;
    let count = u16::from_be_bytes(*count);
    let mut columns = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        rest = behind;
        columns.push(match usize::try_from(length) {
            Ok(length) => {
                let (value, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Some(value.to_owned())
            }
            Err(_) => None,
        });
    }
    Some(columns)
}

pub(super) fn text(row: &Columns, index: usize) -> Result<Option<String>> {
    let bytes = row.get(index).ok_or_else(strange)?.as_deref();
    bytes
        .map(|bytes| std::str::from_utf8(bytes).map(str::to_owned))
        .transpose()
        .map_err(|error| strange().because(error))
}

pub(super) fn parse<T: FromStr>(row: &Columns, index: usize) -> Result<T> {
    text(row, index)?
        .and_then(|text| text.parse().ok())
        .ok_or_else(strange)
}

pub(super) fn timeline(row: &Columns, index: usize) -> Result<TimelineId> {
    TimelineId::new(parse(row, index)?).ok_or_else(strange)
}

pub(super) fn strange() -> Error {
    Error::damaged("the server's answer to a replication command makes no sense")
}

/// The server's own rule (`ReplicationSlotValidateName`, `src/backend/replication/slot.c`).
pub(super) fn slot_name(name: &str) -> Result<&str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if (1..=63).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(
        Error::usage(format!("not the name of a replication slot: {name:?}"))
            .hint("a slot's name has 1 to 63 lower case letters, digits and underscores."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_row_is_read_or_refused() {
        let row = b"\0\x03\0\0\0\x01a\xFF\xFF\xFF\xFF\0\0\0\0";
        let expected = vec![Some(b"a".to_vec()), None, Some(Vec::new())];
        assert_eq!(columns(row), Some(expected));
        for cut in 0..row.len() {
            assert_eq!(columns(&row[..cut]), None, "{cut}");
        }
        assert_eq!(columns(b"\0\x01\x7F\xFF\xFF\xFFx"), None);
    }

    #[test]
    fn slot_names_need_no_quotes() {
        assert!(slot_name("pgstow_1").is_ok());
        for bad in ["", "A", "a b", "a\"", "ä", &"a".repeat(64)] {
            assert!(slot_name(bad).is_err(), "{bad}");
        }
    }
}
