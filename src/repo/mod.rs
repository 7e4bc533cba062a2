//! Where backups and WAL are kept: names, storage, codecs, and what the repository holds.
//!
//! The format is described in `docs/repository-format.md`.

pub mod backup_id;
pub mod brought;
pub mod catalog;
pub mod codec;
pub mod coded;
pub mod coding;
pub mod crypt;
pub mod document;
pub mod drill;
pub mod dump;
pub mod dump_drill;
pub mod dump_name;
pub mod dump_part;
pub mod dumps;
pub mod file_index;
pub mod gap;
pub mod good;
pub mod inventory;
pub mod lack;
pub mod latest_dump;
pub mod layout;
pub mod lease;
pub mod local;
pub mod location;
pub mod minimal;
pub mod object;
pub mod object_writer;
pub mod order;
pub mod pins;
mod ranged;
pub mod read_meter;
pub mod relations;
pub mod remembered;
pub mod repository;
pub mod reserve;
pub mod restoring;
mod runtime;
pub mod sealed_upload;
pub mod sftp;
pub mod storage;
pub mod tablespace;
pub mod verified;
pub mod verified_wal;
pub mod wal_index;
mod walk;
