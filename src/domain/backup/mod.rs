//! Base backups.

pub mod claim;
pub mod member;
pub mod pack;
pub mod seal;
