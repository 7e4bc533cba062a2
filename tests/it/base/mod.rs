//! `pgstow base` with real servers.

mod archiving;
mod by_hand;
mod clock;
mod config;
mod elsewhere;
mod included;
mod incremental;
mod interrupted;
mod local;
mod options;
mod standby;
mod trouble;
