//! Setting a cluster up for backups, and proving that the set-up works.
//!
//! `init` registers the system and words the server's settings; `check` gathers facts, which
//! `checks` judges without touching anything, and sends a real segment through the archiver.

pub mod archive_command;
pub mod arrival;
pub mod check;
pub mod checks;
pub mod dump_programs;
pub mod facts;
pub mod finding;
pub mod given_up;
pub mod init;
pub mod places;
pub mod probe;
pub mod server_settings;
pub mod server_user;
pub mod stored;
