//! The store in a bucket of S3, Google Cloud Storage or Azure, on `object_store`: whose verbs wait where ours block.

mod access;
mod client;
mod connect;
mod create;
mod failure;
mod part;
mod profile;
mod read;
mod store;
mod unfinished;
mod wire;

pub use access::{Access, Bucket, Provider};
pub use store::ObjectStorage;
