//! One thin file for each subcommand: opens things, calls the domain, returns a report.

pub mod alerts;
pub mod archive_wal;
pub mod base;
pub mod check;
pub mod cleanup;
mod cleanup_behind;
pub mod context;
pub mod demo;
pub mod drill;
pub mod dump;
pub mod find_target;
pub mod init;
pub mod list;
pub mod make_key;
pub mod monitor;
pub mod options;
pub mod pin;
pub mod receive_wal;
pub mod report;
pub mod restore;
pub mod restore_done;
pub mod restore_dump;
pub mod restore_wal;
pub mod systemd;
pub mod table;
pub mod unpin;
pub mod verify;
