//! Options of `find-target`.

use super::ReadFrom;
use crate::domain::history::Request;

#[derive(Debug)]
pub struct FindTargetOptions {
    pub request: Request,
    pub from: ReadFrom,
    /// The program and the global options that lead `restore` to the same repository.
    pub call: Vec<String>,
}
