//! Dumps: databases as PostgreSQL's own pg_dump writes them, streamed into the repository.
//!
//! The order of a dump, and what a crash leaves behind each step:
//! 1. the name is claimed: an object that says which process makes it (remains; the next run of this
//!    host removes them, `cleanup` does it for others);
//! 2. a session takes a snapshot and lends it to pg_dump, whose output goes through compression and hash
//!    into the repository in one pass, while the session counts rows (remains: no object appears before
//!    it is whole);
//! 3. the data is there, its `.sha256`, and then its `.json`: from here on it is a dump;
//! 4. the claim goes (if it can't, the next run removes it).

pub mod audit;
pub mod census;
pub mod claim;
pub mod class;
pub mod cleanup;
pub mod databases;
mod globals;
mod making;
mod migrations;
mod remains;
pub mod request;
mod reread;
pub mod restore;
pub mod retention;
pub mod run;
mod snapshot;
pub mod store;
mod tap;
pub mod toc;
pub mod validate;
