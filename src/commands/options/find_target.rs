//! Options of `find-target`.

use crate::domain::history::Request;

#[derive(Debug, PartialEq, Eq)]
pub struct FindTargetOptions {
    pub request: Request,
    /// The program and the global options that lead `restore` to the same repository.
    pub call: Vec<String>,
}
