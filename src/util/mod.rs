//! Files, hashes, processes, time. Knows no PostgreSQL.

pub mod account;
pub mod cancel;
pub mod clock;
pub mod cold_read;
pub mod cpu;
pub mod detach;
pub mod early_writing;
pub mod errand;
pub mod fs;
pub mod hash;
pub mod host;
pub mod http;
pub mod json_list;
pub mod meter;
pub mod moment;
pub mod private_file;
pub mod process;
pub mod read_behind;
pub mod scratch;
pub mod secret;
pub mod terminal;
pub mod trust;
pub mod units;
pub mod watchdog;
pub mod workers;
pub mod zone;
