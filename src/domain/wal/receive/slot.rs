//! The slot of receive-wal, as its server tells of it.

use crate::{
    error::Result,
    postgres::{connection::Session, lsn::Lsn},
};

/// One that is there: WAL comes through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSlot {
    pub name: String,
    /// Somebody receives through it now.
    pub is_active: bool,
}

impl ReceiverSlot {
    pub fn find(session: &Session, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT active FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'physical'";
        let rows = session.query_rows(sql, &[name])?;
        let slot = rows.first().map(|row| {
            Ok(Self {
                name: name.to_owned(),
                is_active: row.parse(0)?,
            })
        });
        slot.transpose()
    }

    /// Up to where the server may forget its WAL: what the receiver has told it.
    pub fn upto(&self, session: &Session) -> Result<Option<Lsn>> {
        let sql = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1 AND restart_lsn IS NOT NULL";
        let rows = session.query_rows(sql, &[&self.name])?;
        rows.first().map(|row| row.parse(0)).transpose()
    }

    /// For a sentence.
    pub fn describe(&self) -> String {
        format!("receive-wal brings it, through slot {}", self.name)
    }

    /// Why nothing comes.
    pub fn trouble(&self) -> Option<String> {
        (!self.is_active).then(|| {
            format!(
                "receive-wal should bring it, and nobody receives through slot {}",
                self.name
            )
        })
    }
}
