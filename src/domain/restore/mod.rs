//! Restores a data directory to any moment.
pub mod auto_conf;
pub mod choice;
pub mod path;
mod possible;
pub mod recovery;
pub mod target;
