//! What is kept of one backup: its description, and what tells that it is being made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    backup_id::{BackupId, BackupKind},
    codec::Codec,
    coding::Coding,
    layout::BackupObject,
    tablespace::Tablespace,
};
use crate::{
    error::{Error, Result},
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        page_failures::PageFailure,
        wal_name::{Segment, SegmentSize, segment_numbers},
    },
    util::{clock::Time, hash::Sha256, host::ProcessId},
};

/// `started.json`: claims the id, and tells every host that a backup runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Started {
    pub format: u32,
    pub id: BackupId,
    pub parent: Option<BackupId>,
    pub system_id: SystemId,
    pub timeline: TimelineId,
    /// The last checkpoint's redo: the backup will start there or later.
    pub lower_bound: Lsn,
    pub time: Time,
    #[serde(flatten)]
    pub process: ProcessId,
    /// The id of the repository that it is copied from by `sync`, which goes on with what it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
}

impl Started {
    /// Whether its process is at work. None: nobody can say. Of a copy that a process left another one goes on
    /// with it, so that its end says nothing.
    pub fn lives(&self) -> Option<bool> {
        let lives = self.process.lives();
        lives.filter(|lives| *lives || self.copied_from.is_none())
    }
}

/// `alive-<n>.json`: a sign of life; the first one tells the true start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alive {
    pub format: u32,
    pub time: Time,
    pub start_lsn: Lsn,
    pub timeline: TimelineId,
    /// What `sync` has copied since the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<StoredObject>,
}

/// How the files were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Local,
    Stream,
}

/// `backup.json`: the commit point and the description of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backup {
    pub format: u32,
    pub id: BackupId,
    pub kind: BackupKind,
    pub parent: Option<BackupId>,
    pub cluster: String,
    pub system_id: SystemId,
    /// As PostgreSQL's server_version_num, such as 150019.
    pub postgres_version: u32,
    pub timeline: TimelineId,
    pub start_lsn: Lsn,
    /// Recovery is consistent from here on.
    pub stop_lsn: Lsn,
    /// By the server's clock, as all times that recovery compares with.
    pub start_time: Time,
    pub stop_time: Time,
    pub start_segment: String,
    pub stop_segment: String,
    /// What these are on the server itself; known where receive-wal brings the WAL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_segment_sha256: Option<Sha256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_segment_sha256: Option<Sha256>,
    pub segment_size: SegmentSize,
    pub block_size: u32,
    pub data_checksums: bool,
    pub method: Method,
    /// Taken from a standby.
    pub standby: bool,
    /// Holds the WAL that it needs.
    pub standalone: bool,
    pub label: String,
    pub data_directory: String,
    /// Of the parts.
    pub compression: Codec,
    pub level: i32,
    /// For whom parts and configuration are encrypted; none: they are not.
    pub recipients: Vec<String>,
    pub tablespaces: Vec<Tablespace>,
    pub parts: Vec<Part>,
    /// Files of the data directory, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Those of them that lie in the data directory itself, not in a tablespace elsewhere.
    pub base_bytes: u64,
    /// Bytes of all parts as stored.
    pub stored_bytes: u64,
    /// The other objects that a restore reads: manifest, index, relations, configuration.
    pub objects: Vec<StoredObject>,
    /// Configuration files outside the data directory: those in `config.tar`.
    pub config_files: Vec<String>,
    /// Those that could not be read, each with the reason.
    pub config_missing: Vec<String>,
    pub page_failures: Vec<PageFailure>,
    pub settings: RecoverySettings,
    /// Whether the stored parts were re-read and found right.
    pub verified: bool,
    pub host: String,
    pub pgstow_version: String,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Backup {
    /// Of the parts and of the configuration.
    pub fn coding(&self) -> Coding {
        Coding {
            codec: self.compression,
            encrypted: !self.recipients.is_empty(),
        }
    }

    /// What `SHA256SUMS` holds, which `sha256sum -c` reads.
    pub fn sums(&self) -> String {
        sums(&self.parts)
    }

    /// Whether it is the same backup, in whatever repository: its parts hold the same bytes, encrypted or not.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let place = |one: &Self| (one.id, one.system_id, one.start_lsn, one.stop_lsn);
        let parts = |one: &Self| -> Vec<(u32, Sha256)> {
            let parts = one.parts.iter();
            parts
                .map(|part| (part.number, part.unencrypted_sha256))
                .collect()
        };
        place(self) == place(other) && parts(self) == parts(other)
    }

    /// The segments that recovery needs to become consistent, first and last, as numbers.
    pub fn needed_segments(&self) -> std::ops::RangeInclusive<u64> {
        segment_numbers(self.start_lsn, self.stop_lsn, self.segment_size)
    }

    /// The segment with that number on the backup's timeline.
    pub fn segment(&self, number: u64) -> Segment {
        Segment::nth(self.timeline, number, self.segment_size)
    }

    /// A file whose time (seconds since 1970) lies before this one had its content when the backup
    /// began: what changed it later would have given it a later time. Less two seconds, since some
    /// file systems know no finer times than that.
    pub fn settled_before(&self) -> i64 {
        self.start_time.timestamp() - 2
    }

    /// PostgreSQL's major version, such as 15.
    pub fn major(&self) -> u32 {
        self.postgres_version / 10_000
    }

    /// Whether an object beside the parts, such as the index, has the SHA-256 that it had.
    pub fn check_object(&self, object: BackupObject, sha256: Sha256) -> Result<()> {
        let name = object.to_string();
        match self.objects.iter().find(|object| object.name == name) {
            Some(object) if object.sha256 == sha256 => Ok(()),
            Some(_) => Err(Error::damaged(format!(
                "{name} has another SHA-256 than backup.json says"
            ))),
            None => Err(Error::damaged(format!("backup.json lists no {name}"))),
        }
    }

    pub fn duration(&self) -> std::time::Duration {
        (self.stop_time - self.start_time)
            .to_std()
            .unwrap_or_default()
    }
}

/// A whole tar archive; together the parts are the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub number: u32,
    pub name: String,
    /// Bytes of the tar archive.
    pub plain_bytes: u64,
    pub stored_bytes: u64,
    /// As stored, as in `SHA256SUMS`.
    pub sha256: Sha256,
    /// Before encryption: the part's identity across repositories.
    pub unencrypted_sha256: Sha256,
}

impl Part {
    /// What its name says it is: one that was healed may have another than it was made with.
    pub fn object(&self) -> Result<BackupObject> {
        match BackupObject::read(&self.name) {
            Some(object @ BackupObject::Part(number, ..)) if number == self.number => Ok(object),
            _ => Err(Error::damaged(format!(
                "backup.json calls part {} {:?}",
                self.number, self.name
            ))),
        }
    }
}

pub fn sums(parts: &[Part]) -> String {
    let line = |part: &Part| format!("{}  {}\n", part.sha256, part.name);
    parts.iter().map(line).collect()
}

/// An object of a backup that is no part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    pub name: String,
    pub stored_bytes: u64,
    pub sha256: Sha256,
    /// Before encryption, of one that is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unencrypted_sha256: Option<Sha256>,
}

/// Recovery refuses to go on where these are lower than they were on the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverySettings {
    pub max_connections: u32,
    pub max_worker_processes: u32,
    pub max_wal_senders: u32,
    pub max_prepared_transactions: u32,
    pub max_locks_per_transaction: u32,
}

impl RecoverySettings {
    /// Each with the server's own name.
    pub fn named(&self) -> [(&'static str, u32); 5] {
        [
            ("max_connections", self.max_connections),
            ("max_worker_processes", self.max_worker_processes),
            ("max_wal_senders", self.max_wal_senders),
            ("max_prepared_transactions", self.max_prepared_transactions),
            ("max_locks_per_transaction", self.max_locks_per_transaction),
        ]
    }
}
