//! All that a drill is asked for.

use std::time::Duration;

use super::{ground::Ground, pick::To};
use crate::{domain::restore::measured::Measured, postgres::conninfo::ConnInfo};

#[derive(Clone, Debug)]
pub struct Request {
    pub to: To,
    /// Where and how it is restored.
    pub ground: Ground,
    /// What restores took on this host.
    pub restores: Vec<Measured>,
    /// The server that was backed up, where it is known.
    pub living: Option<ConnInfo>,
    /// Statements that must return true.
    pub sql: Vec<String>,
    /// Where they are asked.
    pub database: String,
    /// How long relations are looked at by pg_amcheck.
    pub amcheck_limit: Duration,
    /// How old the newest transaction may be, before the target.
    pub recovery_point: Option<Duration>,
}
