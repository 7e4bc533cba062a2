//! `pgstow base` with real servers.

mod archiving;
mod by_hand;
mod clock;
mod config;
mod elsewhere;
mod flawed;
mod included;
mod incremental;
mod incremental_stream;
mod interrupted;
mod local;
mod options;
mod other_life;
mod standby;
mod summaries;
mod trouble;
mod visibility;
