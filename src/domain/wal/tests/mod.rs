//! Tests on made-up segments: no server, a fresh repository for each.
#![allow(clippy::unwrap_used)]

mod fetch;
mod push;
pub mod sample;
mod sealed;
mod verify;
