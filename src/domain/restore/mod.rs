//! Restores a data directory to any moment.
pub mod auto_conf;
pub mod choice;
pub mod contents;
pub mod folders;
pub mod member;
pub mod path;
mod possible;
pub mod prove;
pub mod recovery;
mod rescue;
pub mod tablespaces;
pub mod target;
pub mod unpack;
