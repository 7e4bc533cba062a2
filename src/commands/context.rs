//! What every command is given beside its options.

use super::options::Settings;
use crate::util::{cancel::Cancel, meter::Meter};

#[derive(Debug)]
pub struct Context {
    pub settings: Settings,
    /// Set by SIGINT and SIGTERM.
    pub cancel: Cancel,
    /// Drawn while the command runs.
    pub meter: Meter,
}
