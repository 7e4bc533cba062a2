//! One thin file for each subcommand: opens things, calls the domain, returns a report.

pub mod context;
pub mod options;
pub mod report;
pub mod restore;
pub mod restore_done;
pub mod table;
