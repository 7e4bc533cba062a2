//! Whether backups run, as an operator wants to hear it: early, and with the reason.
//!
//! One pass gathers `facts` from server, repositories and this host, each of which may fail without
//! the others; `checks` judges them, purely, to verdicts. Everything else makes something of facts
//! and verdicts: `metrics` for Prometheus, `nagios` a line. What earlier runs left is in `runs`,
//! written by `recorder`, and `measures`.

pub mod checks;
pub mod exposition;
pub mod facts;
pub mod measures;
pub mod metrics;
pub mod nagios;
pub mod recorder;
pub mod runs;
pub mod thresholds;
pub mod verdict;
