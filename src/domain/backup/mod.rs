//! Base backups: the order of the steps, and what a crash at each of them leaves.
//!
//! 1. Look: facts of the server, the system's registration, archiving. Nothing is written.
//! 2. Claim: `started.json`. From here on a crash leaves remains, which the next run clears.
//! 3. Copy: from a source, the server's stream or its data directory; parts, index and manifest,
//!    re-read as they become durable.
//! 4. Describe: relations, configuration files, `SHA256SUMS`.
//! 5. Seal: wait for the WAL, create `backup.json`. Only now is there a backup.

pub mod apart;
mod changes;
pub mod claim;
mod complete;
pub mod config_files;
mod config_source;
mod contents;
mod describe;
mod diagnosis;
pub mod extra;
mod local;
mod manifest_check;
mod member;
pub mod method;
pub mod needed;
mod note;
mod options;
mod own_wal;
pub mod pack;
mod parent;
mod regrown;
mod relations;
mod repack;
mod run;
pub mod seal;
mod source;
mod stream;
mod summaries;
mod trace;
pub mod verify;

pub use options::{ChainPolicy, Method, Options, Outcome};
pub use run::run;
