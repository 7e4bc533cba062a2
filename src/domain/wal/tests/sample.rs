//! Made-up WAL for tests: segments of 1 MiB of system 7, and a repository that knows it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use crate::{
    domain::wal::{
        offered::Offered,
        push::{Pushed, push},
    },
    error::Result,
    postgres::{
        control::PATH,
        lsn::SystemId,
        wal_name::{SegmentSize, WalName},
    },
    repo::{
        codec::Compression,
        crypt::Keys,
        document::FORMAT,
        location::Location,
        repository::{Repository, System},
    },
    util::{clock::now, meter::Meter},
};

const SYSTEM: u64 = 7;
const SIZE: u32 = 1 << 20;

/// The content of the segment `name` (or of its `.partial`): a true header, the record of a
/// switch to the next segment, and bytes that compress a little.
pub fn segment_file(name: &str) -> Vec<u8> {
    let segment = name.parse::<WalName>().unwrap().segment().unwrap();
    let size = SegmentSize::new(SIZE).unwrap();
    let mut bytes = Vec::with_capacity(SIZE as usize);
    // XLogLongPageHeaderData: magic of 15, XLP_LONG_HEADER, timeline, address, length of the rest
    // of a record, padding, system, segment size, page size.
    bytes.extend(0xD110_u16.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(segment.timeline.get().to_le_bytes());
    bytes.extend(segment.start(size).0.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(SYSTEM.to_le_bytes());
    bytes.extend(SIZE.to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    // XLogRecord: length, transaction, the record before, XLOG_SWITCH of resource manager 0, CRC.
    let mut record = [0; 20];
    (record[0], record[16]) = (24, 0x40);
    bytes.extend(record);
    bytes.extend(crc32c::crc32c(&record).to_le_bytes());
    let mut state = segment.number(size) as u32 + 1;
    while bytes.len() < SIZE as usize {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend((state >> 24).to_le_bytes());
    }
    bytes
}

/// A history file may have comments and empty lines.
pub fn history_file(lines: &str) -> String {
    format!("# made up\n\n{lines}")
}

pub struct Sample {
    pub repository: Repository,
    pub system: System,
    folder: TempDir,
}

impl Sample {
    pub fn new(codec: &str) -> Self {
        Self::with(codec, Keys::default())
    }

    /// Encrypted where `keys` have recipients.
    pub fn with(codec: &str, keys: Keys) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().join("repository"));
        let cluster = "main".parse().unwrap();
        let (repository, _) = Repository::open_or_create(&location, cluster).unwrap();
        let system = System {
            format: FORMAT,
            system_id: SystemId(SYSTEM),
            postgres_major: 15,
            segment_size: SegmentSize::new(SIZE).unwrap(),
            wal_codec: codec.parse::<Compression>().unwrap().codec,
            encrypted: keys.encrypt(),
            registered: now(),
        };
        repository.register(&system).unwrap();
        let repository = repository.with_keys(&Arc::new(keys));
        let sample = Self {
            repository,
            system,
            folder,
        };
        sample.write_control();
        sample
    }

    /// A pg_control of 15 that says no more than whose it is.
    fn write_control(&self) {
        let mut bytes = vec![0; 8192];
        let mut set = |at: usize, value: u32| {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        };
        set(0, SYSTEM as u32);
        set(8, 1300);
        set(12, 202_209_061);
        set(16, 6);
        set(48, 1);
        set(172, 1);
        set(216, 8192);
        set(224, 8192);
        set(228, SIZE);
        let crc = crc32c::crc32c(&bytes[..288]);
        bytes[288..292].copy_from_slice(&crc.to_le_bytes());
        let path = self.path(PATH);
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A place beside the repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where `name` is stored.
    pub fn object(&self, name: &str) -> PathBuf {
        let name: WalName = name.parse().unwrap();
        let system = &self.system;
        let coding = system.coding_of(name);
        let layout = self.repository.layout();
        self.path("repository")
            .join(layout.wal_file(system.system_id, name, coding).as_str())
    }

    pub fn offer(&self, name: &str, bytes: &[u8]) -> Result<Offered> {
        fs::write(self.path(name), bytes).unwrap();
        Offered::open(&self.path(name), name.parse().unwrap(), self.folder.path())
    }

    pub fn push_bytes(&self, name: &str, bytes: &[u8]) -> Result<Pushed> {
        let offered = self.offer(name, bytes)?;
        let level = Compression::default();
        push(&self.repository, &offered, level, &Meter::default())
    }

    pub fn push(&self, name: &str) -> Result<Pushed> {
        self.push_bytes(name, &segment_file(name))
    }

    pub fn push_history(&self, timeline: u32, text: &str) -> Result<Pushed> {
        self.push_bytes(&format!("{timeline:08X}.history"), text.as_bytes())
    }

    /// Temporary files, anywhere.
    pub fn strays(&self) -> Vec<String> {
        let mut strays = Vec::new();
        collect(self.folder.path(), &mut strays);
        strays
    }
}

fn collect(folder: &Path, strays: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, strays);
        } else if path.extension().is_some_and(|ending| ending == "tmp") {
            strays.push(path.display().to_string());
        }
    }
}
