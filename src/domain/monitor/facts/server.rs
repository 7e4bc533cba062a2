//! What the server tells: no question that costs it more than a moment.

use std::time::Duration;

use chrono::DateTime;

use crate::{
    domain::{
        logical::{databases, restore::fresh},
        setup::facts::Facts,
    },
    error::{Error, Result},
    postgres::{
        connection::Session,
        conninfo::ConnInfo,
        lsn::{Lsn, TimelineId},
        server_facts::{self, Replayed},
        wal_name::Segment,
    },
    util::{cancel::Cancel, clock::Time},
};

#[derive(Debug)]
pub struct Server {
    pub facts: Facts,
    /// Where it writes WAL; of a standby: as far as it has received or replayed any.
    pub position: Lsn,
    pub timeline: TimelineId,
    pub archive_timeout: Duration,
    pub summarizes_wal: bool,
    /// `synchronous_standby_names`; empty on a standby, which waits for nobody.
    pub standbys: String,
    /// Of a standby that replays as fast as it can.
    pub replayed: Option<Replayed>,
    pub slots: Vec<Slot>,
    /// The segments in pg_wal, with the time of their last write, by timeline and number; None
    /// where the role may not look.
    pub segments: Option<Vec<(Segment, Time)>>,
    /// But for those that are half dropped.
    pub databases: Vec<String>,
    /// Those of them that are dumped where all are.
    pub dumpable: Vec<String>,
    /// Those that restores of dumps left which were killed.
    pub left_databases: Vec<String>,
}

/// A replication slot that has, or had, WAL to hold back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost` (pg_replication_slots).
    pub wal_status: String,
    /// Bytes behind the server's position.
    pub held: u64,
}

/// The timeline of a standby is that of its last restart point, which is enough to find the way.
const POSITION: &str = "
    SELECT CASE WHEN pg_is_in_recovery()
            THEN coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')
            ELSE pg_current_wal_lsn() END::text,
        CASE WHEN pg_is_in_recovery()
            THEN (SELECT timeline_id FROM pg_control_checkpoint())
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
        (SELECT setting FROM pg_settings WHERE name = 'archive_timeout'),
        has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE'),
        CASE WHEN pg_is_in_recovery() THEN '' ELSE current_setting('synchronous_standby_names') END";

const SLOTS: &str = "
    SELECT slot_name, active, coalesce(wal_status, ''),
        greatest(coalesce($1::pg_lsn - restart_lsn, 0), 0)::bigint
    FROM pg_replication_slots WHERE restart_lsn IS NOT NULL OR wal_status = 'lost'
    ORDER BY slot_name";

const SEGMENTS: &str = "
    SELECT name, (extract(epoch FROM modification) * 1000000)::bigint
    FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' ORDER BY name";

impl Server {
    /// `limit`: for each question.
    pub fn gather(info: &ConnInfo, limit: Duration, cancel: &Cancel) -> Result<Self> {
        // The next run is the next attempt.
        let info = ConnInfo {
            retries: 0,
            connect_timeout: info.connect_timeout.min(limit / 2),
            ..info.clone()
        };
        let session = Session::connect(&info, cancel)?;
        session.with_limit(limit, |session| Self::ask(session, &info))
    }

    fn ask(session: &Session, info: &ConnInfo) -> Result<Self> {
        let facts = Facts::gather(session, info)?;
        let row = session.query_one(POSITION, &[])?;
        let position: Lsn = row.parse(0)?;
        let timeline = TimelineId::new(row.parse(1)?)
            .ok_or_else(|| Error::damaged("the server says that its timeline is 0"))?;
        let may_list: bool = row.parse(3)?;
        let slot = |row: &crate::postgres::row::Row| {
            Ok(Slot {
                name: row.text(0)?,
                active: row.parse(1)?,
                wal_status: row.text(2)?,
                held: row.parse(3)?,
            })
        };
        let slots = session.query_rows(SLOTS, &[&position.to_string()])?;
        let databases = databases::all(session)?;
        let dumpable = databases.iter().filter(|one| !one.special);
        Ok(Self {
            position,
            timeline,
            archive_timeout: Duration::from_secs(row.parse(2)?),
            summarizes_wal: server_facts::summarizes_wal(session)?,
            standbys: row.text(4)?,
            replayed: Replayed::gather(session)?,
            slots: slots.iter().map(slot).collect::<Result<_>>()?,
            dumpable: dumpable.map(|one| one.name.clone()).collect(),
            databases: databases
                .into_iter()
                .filter(|one| !one.is_invalid)
                .map(|one| one.name)
                .collect(),
            left_databases: fresh::left_behind(session)?,
            segments: match may_list {
                true => Some(segments(session)?),
                false => None,
            },
            facts,
        })
    }
}

fn segments(session: &Session) -> Result<Vec<(Segment, Time)>> {
    let mut segments = Vec::new();
    session.for_each_row(SEGMENTS, &[], |row| {
        let time = DateTime::from_timestamp_micros(row.parse(1)?);
        segments.extend(row.text(0)?.parse().ok().zip(time));
        Ok(())
    })?;
    Ok(segments)
}
