//! pg_control: what a data directory says of itself.
//!
//! Layout: ControlFileData and CheckPoint in `src/include/catalog/pg_control.h`, as a 64-bit
//! little-endian server writes them. The CRC-32C behind the last field proves that the layout is
//! the right one for the version.

use std::{fs, path::Path, thread, time::Duration};

use super::{
    lsn::{Lsn, SystemId, TimelineId},
    version::Major,
    wal_name::SegmentSize,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    util::clock::Time,
};

/// Where it lies in a data directory.
pub const PATH: &str = "global/pg_control";

/// DBState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    StartingUp,
    ShutDown,
    ShutDownInRecovery,
    ShuttingDown,
    InCrashRecovery,
    InArchiveRecovery,
    InProduction,
}

/// `wal_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalLevel {
    Minimal,
    Replica,
    Logical,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub major: Major,
    pub system: SystemId,
    pub control_version: u32,
    pub catalog_version: u32,
    pub state: State,
    /// When pg_control was last written.
    pub written: Time,
    /// LSN of the last checkpoint's record.
    pub checkpoint: Lsn,
    /// Where replay from that checkpoint begins.
    pub redo: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: TimelineId,
    /// Whether WAL from that checkpoint on has all of a page with its first change, as far as was known then.
    pub full_page_writes: bool,
    pub checkpoint_time: Time,
    /// Recovery must come to here before the cluster is consistent; 0/0 outside of recovery.
    pub min_recovery_point: Lsn,
    /// None outside of recovery.
    pub min_recovery_timeline: Option<TimelineId>,
    /// Not 0/0: recovery from an online backup hasn't reached the backup's end yet.
    pub backup_start_point: Lsn,
    pub backup_end_point: Lsn,
    pub backup_end_required: bool,
    /// These six must not be lower where this cluster's WAL is replayed.
    pub wal_level: WalLevel,
    pub max_connections: u32,
    pub max_worker_processes: u32,
    pub max_wal_senders: u32,
    pub max_prepared_transactions: u32,
    pub max_locks_per_transaction: u32,
    /// Bytes in a block of a relation.
    pub block_size: u32,
    /// Blocks in a file of a large relation.
    pub relation_segment_blocks: u32,
    pub wal_block_size: u32,
    pub segment_size: SegmentSize,
    /// 0: pages have no checksums.
    pub data_checksum_version: u32,
}

impl Control {
    /// Reads pg_control of a data directory that may be in use.
    ///
    /// A running server rewrites it in place, and a reader can see half of that: a wrong CRC is
    /// looked at again for a while before it is believed.
    pub fn read(data_dir: &Path) -> Result<Self> {
        Self::read_file(&data_dir.join(PATH))
    }

    /// The same for a file that lies elsewhere.
    pub fn read_file(path: &Path) -> Result<Self> {
        read_whole(path).map(|(control, _)| control)
    }

    /// Reads the bytes of a pg_control file; [`Kind::Damaged`] for a wrong CRC, and
    /// [`Kind::Foreign`] for a version that pgstow doesn't know.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let field = Fields(bytes);
        let control_version = field.u32(8)?;
        let catalog_version = field.u32(12)?;
        let major = Major::from_control(control_version, catalog_version)
            .ok_or_else(|| unknown_version(bytes, control_version, catalog_version))?;
        let layout = Layout::of(major);
        check_crc(bytes, layout.crc)?;
        // Behind the copy of the checkpoint's record, at 40, which is longer from 19 on.
        let tail = |at: usize| at + layout.checkpoint_grew;
        Ok(Self {
            major,
            system: SystemId(field.u64(0)?),
            control_version,
            catalog_version,
            state: state(field.u32(16)?)?,
            written: time(field.u64(24)?)?,
            checkpoint: Lsn(field.u64(32)?),
            redo: Lsn(field.u64(40)?),
            timeline: TimelineId::new(field.u32(48)?).ok_or_else(|| odd("timeline", 0u32))?,
            full_page_writes: field.u32(56)? & 0xFF != 0,
            checkpoint_time: time(field.u64(tail(104))?)?,
            min_recovery_point: Lsn(field.u64(tail(136))?),
            min_recovery_timeline: TimelineId::new(field.u32(tail(144))?),
            backup_start_point: Lsn(field.u64(tail(152))?),
            backup_end_point: Lsn(field.u64(tail(160))?),
            backup_end_required: field.u32(tail(168))? & 0xFF != 0,
            wal_level: wal_level(field.u32(tail(172))?)?,
            max_connections: field.u32(tail(180))?,
            max_worker_processes: field.u32(tail(184))?,
            max_wal_senders: field.u32(tail(188))?,
            max_prepared_transactions: field.u32(tail(192))?,
            max_locks_per_transaction: field.u32(tail(196))?,
            block_size: block_size(field.u32(tail(216))?)?,
            relation_segment_blocks: field.u32(tail(220))?,
            wal_block_size: block_size(field.u32(tail(224))?)?,
            segment_size: SegmentSize::try_from(field.u32(tail(228))?).map_err(Error::damaged)?,
            data_checksum_version: field.u32(tail(252))?,
        })
    }

    /// Pages of relations carry checksums.
    pub fn has_data_checksums(&self) -> bool {
        self.data_checksum_version != 0
    }

    /// The server ended in order: the data directory is consistent as it lies there.
    pub fn is_shut_down(&self) -> bool {
        matches!(self.state, State::ShutDown | State::ShutDownInRecovery)
    }
}

/// The file of a data directory that may be in use, byte for byte, in a state that has a right
/// CRC.
pub fn read_bytes(data_dir: &Path) -> Result<Vec<u8>> {
    read_whole(&data_dir.join(PATH)).map(|(_, bytes)| bytes)
}

fn read_whole(path: &Path) -> Result<(Control, Vec<u8>)> {
    const TRIES: u32 = 10;
    let mut tries = 0;
    loop {
        tries += 1;
        let bytes = fs::read(path).at("read", path)?;
        match Control::parse(&bytes) {
            Ok(control) => return Ok((control, bytes)),
            Err(error) if error.kind() == Kind::Damaged && tries < TRIES => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                return Err(error.context(format!("can't use {}", path.display())));
            }
        }
    }
}

/// What differs between the versions.
struct Layout {
    /// By how much the copy of the checkpoint's record is longer than in 15.
    checkpoint_grew: usize,
    /// Where the CRC stands, and so what it covers.
    crc: usize,
}

impl Layout {
    fn of(major: Major) -> Self {
        let (checkpoint_grew, crc) = match major {
            Major::V15 | Major::V16 | Major::V17 => (0, 288),
            // default_char_signedness came before the nonce.
            Major::V18 => (0, 292),
            // Wider offsets of multixacts, and the state of checksums.
            Major::V19 => (8, 300),
        };
        Self {
            checkpoint_grew,
            crc,
        }
    }
}

fn check_crc(bytes: &[u8], at: usize) -> Result<()> {
    let found = Fields(bytes).u32(at)?;
    let expected = crc32c::crc32c(bytes.get(..at).unwrap_or_default());
    if found == expected {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "pg_control is damaged: its CRC is {found:08X}, its bytes give {expected:08X}"
    )))
}

/// An unknown version is only believed where the CRC of some layout fits: torn or damaged bytes
/// have strange versions, too.
fn unknown_version(bytes: &[u8], control_version: u32, catalog_version: u32) -> Error {
    let whole = (256..=512)
        .step_by(4)
        .any(|at| check_crc(bytes, at).is_ok());
    if !whole {
        return Error::damaged(format!(
            "pg_control is damaged, or of a server that pgstow can't read: \
             version {control_version}, catalog version {catalog_version}"
        ));
    }
    Error::new(
        Kind::Foreign,
        format!(
            "pg_control is of an unsupported PostgreSQL: \
             version {control_version}, catalog version {catalog_version}"
        ),
    )
    .hint("pgstow supports PostgreSQL 15 to 18, released versions only.")
}

/// Reads of numbers at fixed places; a file that is too short is damaged.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let rest = self.0.get(at..).and_then(|rest| rest.first_chunk());
        rest.copied()
            .ok_or_else(|| Error::damaged(format!("pg_control is cut off: {} bytes", self.0.len())))
    }

    fn u32(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

fn state(number: u32) -> Result<State> {
    Ok(match number {
        0 => State::StartingUp,
        1 => State::ShutDown,
        2 => State::ShutDownInRecovery,
        3 => State::ShuttingDown,
        4 => State::InCrashRecovery,
        5 => State::InArchiveRecovery,
        6 => State::InProduction,
        other => return Err(odd("state", other)),
    })
}

fn wal_level(number: u32) -> Result<WalLevel> {
    Ok(match number {
        0 => WalLevel::Minimal,
        1 => WalLevel::Replica,
        2 => WalLevel::Logical,
        other => return Err(odd("wal_level", other)),
    })
}

fn block_size(bytes: u32) -> Result<u32> {
    let fits = bytes.is_power_of_two() && (1 << 10..=1 << 16).contains(&bytes);
    fits.then_some(bytes)
        .ok_or_else(|| odd("block size", bytes))
}

/// pg_time_t: seconds since 1970.
fn time(seconds: u64) -> Result<Time> {
    Time::from_timestamp_secs(seconds.cast_signed()).ok_or_else(|| odd("time", seconds))
}

fn odd(what: &str, value: impl Into<u64>) -> Error {
    Error::damaged(format!("pg_control has an odd {what}: {}", value.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The first 512 bytes, as servers of 15 to 18 left them behind at shutdown.
    const REAL: [(Major, u64, u64, &[u8]); 4] = [
        (
            Major::V15,
            7_710_466_183_223_509_428,
            0x300_0028,
            include_bytes!("../../tests/data/pg_control/15"),
        ),
        (
            Major::V16,
            7_710_466_186_856_407_527,
            0x300_0028,
            include_bytes!("../../tests/data/pg_control/16"),
        ),
        (
            Major::V17,
            7_710_466_191_037_678_106,
            0x300_0028,
            include_bytes!("../../tests/data/pg_control/17"),
        ),
        (
            Major::V18,
            7_710_466_195_015_307_849,
            0x300_0028,
            include_bytes!("../../tests/data/pg_control/18"),
        ),
    ];

    #[test]
    fn fields_of_real_files() {
        for (major, system, checkpoint, bytes) in REAL {
            let control = Control::parse(bytes).unwrap();
            assert_eq!(control.major, major);
            assert_eq!(Some(control.catalog_version), major.catalog_version());
            assert_eq!(control.system, SystemId(system));
            assert_eq!(control.checkpoint, Lsn(checkpoint));
            assert_eq!(control.redo, control.checkpoint);
            assert_eq!(control.timeline, TimelineId::FIRST);
            assert_eq!(control.min_recovery_timeline, None);
            assert!(control.is_shut_down() && control.has_data_checksums());
            assert!(control.full_page_writes);
            assert!((0..=60).contains(&(control.written - control.checkpoint_time).num_seconds()));
            assert_eq!(control.wal_level, WalLevel::Replica);
            // As the servers were started, each with another number.
            let settings = [
                control.max_connections,
                control.max_worker_processes,
                control.max_wal_senders,
                control.max_prepared_transactions,
                control.max_locks_per_transaction,
            ];
            assert_eq!(settings, [57, 9, 7, 3, 77]);
            let sizes = [
                control.block_size,
                control.relation_segment_blocks,
                control.wal_block_size,
                control.segment_size.into(),
            ];
            assert_eq!(sizes, [8192, 131_072, 8192, 16 << 20]);
        }
    }

    #[test]
    fn any_changed_byte_is_damage() {
        for (major, _, _, real) in REAL {
            let covered = Layout::of(major).crc + 4;
            for at in 0..covered {
                let mut bytes = real.to_vec();
                bytes[at] ^= 0x40;
                let error = Control::parse(&bytes).unwrap_err();
                assert_eq!(error.kind(), Kind::Damaged, "{major} {at}: {error}");
                assert!(Control::parse(&real[..at]).is_err());
            }
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = REAL[3].3.to_vec();
        bytes[12] ^= 1;
        let crc = crc32c::crc32c(&bytes[..292]);
        bytes[292..296].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Control::parse(&bytes).unwrap_err().kind(), Kind::Foreign);
    }

    #[test]
    fn a_torn_read_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pg_control");
        let real = REAL[0].3;
        let mut torn = real.to_vec();
        torn[130] ^= 1;
        fs::write(&path, &torn).unwrap();
        assert_eq!(Control::read_file(&path).unwrap_err().kind(), Kind::Damaged);
        let other = path.clone();
        let server = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            fs::write(&other, real)
        });
        assert_eq!(Control::read_file(&path).unwrap().major, Major::V15);
        server.join().unwrap().unwrap();
    }
}
