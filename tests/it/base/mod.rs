//! `pgstow base` with real servers.

mod archiving;
mod by_hand;
mod config;
mod interrupted;
mod options;
mod standby;
mod trouble;
