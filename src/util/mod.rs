//! Files, hashes, processes, time. Knows no PostgreSQL.

pub mod cancel;
pub mod clock;
pub mod fs;
pub mod hash;
pub mod host;
pub mod meter;
pub mod secret;
pub mod moment;
pub mod units;
