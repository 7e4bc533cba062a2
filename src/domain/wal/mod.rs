//! WAL files on their way into the repository and back, and whether what is stored is whole.
//!
//! One object for each file; what proves that a segment is the right one is its own header.

pub mod absence;
pub mod acks;
pub mod ahead;
pub mod archive;
mod compare;
mod content;
pub mod continuity;
pub mod failed;
pub mod fetch;
mod follow;
pub mod gaps;
pub mod history;
mod joints;
pub mod offered;
mod pass;
pub mod prefetch;
pub mod push;
pub mod receive;
mod running;
pub mod spool;
pub mod standby;
pub mod stored;
pub mod stores;
pub mod tail;
mod valve;
pub mod verify;

#[cfg(test)]
mod tests;
