//! WAL files on their way into the repository and back, and whether what is stored is whole.
//!
//! One object for each file; what proves that a segment is the right one is its own header.

mod compare;
pub mod fetch;
mod follow;
pub mod offered;
mod pass;
pub mod push;
pub mod standby;

#[cfg(test)]
mod sample;

/// History and backup files have a line for each timeline, or a dozen lines: more than this is
/// none of them.
const TEXT_LIMIT: u64 = 16 << 20;
