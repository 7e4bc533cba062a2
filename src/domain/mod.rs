//! What pgstow does, by subject. Which subject may use which is a short list in `tests/it/layers.rs`.

pub mod backup;
pub mod demo;
pub mod drill;
pub mod history;
pub mod list;
pub mod logical;
pub mod monitor;
pub mod regain;
pub mod restore;
pub mod retention;
pub mod setup;
pub mod sync;
pub mod systemd;
pub mod wal;
