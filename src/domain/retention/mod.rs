//! What is kept and what goes: decided purely, with a reason for every line, then done.
//!
//! The order of a run, and what a crash leaves behind each step:
//! 1. the lease is taken, and from then on everything is looked at (a lease that ends by itself);
//! 2. of each backup that goes the commit point first, then its data, its claim last; incremental ones
//!    before what they build on (a folder without `backup.json`: no backup, and known as remains);
//! 3. the lease notes from where on all WAL is kept, then what lies before it goes (the rest goes at
//!    the next run, which decides the same);
//! 4. the lease is released.

pub mod apply;
pub mod facts;
pub mod gather;

pub mod plan;
pub mod policy;
mod rules;
pub mod run;

pub mod wal;
mod window;
