//! What is known of the target before a byte is written.

use serde::Serialize;

use crate::postgres::lsn::Lsn;

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The server will come by this record.
    Found {
        lsn: Lsn,
        segment: String,
        what: String,
    },
    /// Nothing was looked for: positions and names of segments are enough.
    NotNeeded,
    /// Why nothing is known.
    NotProven(String),
}
