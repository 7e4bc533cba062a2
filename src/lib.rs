//! pgstow backs up PostgreSQL and brings it back to any moment.
//!
//! Layers, each of which uses only those behind it (`tests/it/layers.rs` checks it):
//! `cli` > `commands` > `domain` > `repo` > `postgres` > `util` > `error`.

pub mod cli;
pub mod commands;
pub mod domain;
pub mod error;
pub mod postgres;
pub mod repo;
pub mod util;
