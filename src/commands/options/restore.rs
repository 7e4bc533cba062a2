//! Options of `restore`.

use crate::domain::restore::request::Request;

#[derive(Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    pub request: Request,
    /// Only show what would be done.
    pub plan: bool,
    /// Global flags that lead restore-wal, called by the server, to the same settings.
    pub server_flags: Vec<String>,
}
