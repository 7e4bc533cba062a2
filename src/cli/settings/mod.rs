//! Settings from flags, environment, files and defaults, each with its source.

mod alerts;
mod archive_call;
mod build;
mod connection;
mod drill;
mod dump;
mod encryption;
pub mod env_file;
mod environment;
mod exposed;
mod file;
mod layers;
mod monitor;
mod notes;
mod old_names;
mod salvage;
mod verify;

pub mod keys;
pub mod parse;
pub mod show;
pub mod source;
mod store;

pub use layers::{Flag, Layers, Places};
pub use notes::Note;

#[cfg(test)]
mod tests;
