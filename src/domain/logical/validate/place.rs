//! A server that runs already, on which dumps may be tried out.

use crate::postgres::conninfo::ConnInfo;

#[derive(Clone, Debug)]
pub struct Server {
    pub info: ConnInfo,
    /// The name of the temporary database; None: one that says whose it is.
    pub database: Option<String>,
}
