//! Whether backups run, as an operator wants to hear it: early, and with the reason.
//!
//! One pass gathers `facts` from server, repositories and this host, each of which may fail without
//! the others; `checks` judges them, purely, to verdicts. Everything else makes something of facts
//! and verdicts: `metrics` for Prometheus, `nagios` a line, `page` what a browser shows, and alerts: `alert` decides, purely, what
//! a notifier is told (by `noticed`, of several findings the new ones), `message` words it, `mail` and `webhook` send it; `door` does all that under
//! a lock, and `ledger` keeps who was told what, as `book` writes it. What earlier runs left is in `runs`,
//! written by `recorder`, and `measures`.

pub mod alert;
mod book;
pub mod changes;
pub mod checks;
pub mod door;
pub mod exposition;
pub mod facts;
pub mod ledger;
pub mod mail;
pub mod measures;
pub mod message;
pub mod metrics;
pub mod nagios;
mod noticed;
pub mod page;
pub mod recorder;
pub mod runs;
mod state_file;
pub mod thresholds;
pub mod verdict;
pub mod webhook;
