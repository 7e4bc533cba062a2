//! The documents of a dump: who makes it, and, once it is made, what it holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    codec::Codec,
    coding::Coding,
    dump_name::{Class, DumpFormat, DumpName, DumpObject, Subject},
};
use crate::{
    postgres::lsn::{Lsn, SystemId},
    util::{clock::Time, hash::Sha256, host::ProcessId},
};

/// `<name>.started.json`: claims the name. It goes once the dump is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpStarted {
    pub format: u32,
    pub name: DumpName,
    pub time: Time,
    #[serde(flatten)]
    pub process: ProcessId,
    /// The id of the repository that it is copied from by `sync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
}

/// `<name>.json`: the commit point and the description of a dump.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dump {
    pub format: u32,
    /// Folder and stem: `shop/main_shop_20261121T020000Z_daily`.
    pub name: DumpName,
    pub class: Class,
    pub cluster: String,
    pub system_id: SystemId,
    /// None: the globals of the cluster.
    pub database: Option<String>,
    /// Whose the database was; None of globals, and of those of earlier versions.
    #[serde(default)]
    pub owner: Option<String>,
    /// What text is in it, and how it is ordered; None of globals, and of those of earlier versions.
    #[serde(default)]
    pub locale: Option<DumpLocale>,
    pub dump_format: DumpFormat,
    /// What pgstow compressed it with, which pg_dump did not.
    pub compression: Codec,
    pub level: i32,
    /// For whom it is encrypted; none: it is not.
    #[serde(default)]
    pub recipients: Vec<String>,
    pub data: StoredDump,
    /// When its run began, the same of all dumps of a run: names may tell a later second. None of earlier versions.
    #[serde(default)]
    pub run: Option<Time>,
    /// By this host's clock.
    pub begun: Time,
    pub ended: Time,
    /// As PostgreSQL's server_version_num, such as 150019.
    pub server_version: u32,
    /// As pg_dump tells it: `15.19 (Debian 15.19-0+deb12u1)`.
    pub client_version: String,
    /// The database's size on the server's disk; None of globals.
    pub database_bytes: Option<u64>,
    /// As pg_dump was called, but for the connection.
    pub options: Vec<String>,
    /// None of globals, which pg_dumpall reads one after the other.
    pub snapshot: Option<Snapshot>,
    /// What is in it; None of globals, and where it could not be told: see `missing`.
    pub contents: Option<DumpContents>,
    /// Why something is not in the contents, or not in the dump (passwords of roles).
    pub missing: Vec<String>,
    /// Whether the data was read again and found right before it counted.
    #[serde(default)]
    pub verified: bool,
    pub host: String,
    pub pgstow_version: String,
}

impl Dump {
    /// Whether it is the same dump, in whatever repository: its data has the same bytes, encrypted or not.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let identity = |one: &Self| (one.name.clone(), one.data.identity());
        identity(self) == identity(other)
    }
}

/// The dump's object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDump {
    /// The name of its file.
    pub name: String,
    /// Bytes that pg_dump wrote.
    pub plain_bytes: u64,
    pub stored_bytes: u64,
    /// As stored, as in `.sha256`.
    pub sha256: Sha256,
    /// Before encryption: the dump's identity across repositories. None: it is that of what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unencrypted_sha256: Option<Sha256>,
}

/// As CREATE DATABASE takes them. Plain dumps tell the encoding alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpLocale {
    pub encoding: String,
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    pub collate: String,
    pub ctype: String,
    /// Of icu and builtin.
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
}

impl StoredDump {
    /// What it is known by across repositories.
    pub fn identity(&self) -> Sha256 {
        self.unencrypted_sha256.unwrap_or(self.sha256)
    }
}

/// The state of the database that a dump holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where the server's WAL ended when the snapshot was taken.
    pub lsn: Lsn,
    /// By the server's clock.
    pub time: Time,
}

/// How rows were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowCounts {
    /// Each of them, in the snapshot of the dump.
    Exact,
    /// As the planner believes.
    Estimated,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpContents {
    pub row_counts: RowCounts,
    pub tables: Vec<DumpTable>,
    pub counts: ObjectCounts,
    /// By name.
    pub extensions: Vec<String>,
    /// What tools for schema migrations noted; usually one, or none.
    pub migrations: Vec<Migration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpTable {
    pub schema: String,
    pub name: String,
    /// As `pg_class.relkind`: `r`, `p` (partitioned) or `f` (foreign).
    pub kind: String,
    /// None where the dump has no data of it, or nobody counted.
    pub rows: Option<u64>,
}

/// Objects that the dump makes again, but for those of extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCounts {
    pub tables: u64,
    pub indexes: u64,
    /// Of tables: checks, primary keys, unique ones, exclusions.
    pub constraints: u64,
    pub foreign_keys: u64,
    pub enum_types: u64,
    pub extensions: u64,
}

/// The newest step that a tool for schema migrations noted in its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Such as `flyway`.
    pub tool: String,
    pub schema: String,
    pub table: String,
    /// None: none was made yet.
    pub version: Option<String>,
    /// Whether the tool notes that a step failed or is not done; None: it notes no such thing.
    pub dirty: Option<bool>,
}

impl Dump {
    pub fn subject(&self) -> Subject {
        Subject::of(self.database.as_deref())
    }

    /// The object that holds it.
    pub fn object(&self) -> DumpObject {
        DumpObject::Data(self.dump_format, self.coding())
    }

    pub fn coding(&self) -> Coding {
        Coding {
            codec: self.compression,
            encrypted: !self.recipients.is_empty(),
        }
    }

    pub fn duration(&self) -> Duration {
        (self.ended - self.begun).to_std().unwrap_or_default()
    }

    /// PostgreSQL's major version of the server, such as 15.
    pub fn major(&self) -> u32 {
        self.server_version / 10_000
    }
}
