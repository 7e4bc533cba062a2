//! `pgstow cleanup`, `pin` and `unpin`: what stays, what goes, and that nothing is lost by it.

mod cases;
mod faults;
mod histories;
mod kills;
mod notes;
mod pins;
pub mod planted;
mod real;
mod restores;
mod size;
mod story;
mod undeletable;
mod unsynced;
