//! `pgstow base` with real servers.

mod by_hand;
