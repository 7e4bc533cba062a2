//! Integration tests: one binary, a module for each subject.

// A test may stop at the first surprise, and speak while it runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout
)]

mod agreement;
mod alerts;
mod archive_wal;
mod base;
mod check;
mod cleanup;
mod command_line;
mod connection;
mod demo;
mod documents;
mod drill;
mod dump;
mod encryption;
mod find_target;
mod formats;
mod harness;
mod harness_works;
mod imports;
mod init;
mod layers;
mod list;
mod monitor;
mod parsers;
mod private_server;
mod progress;
mod receive_wal;
mod regain;
mod replication;
mod restore;
mod restore_by_hand;
mod restore_dump;
mod restore_wal;
mod stores;
mod stories;
mod sync;
mod systemd;
mod verify;
