//! Repositories in buckets: the contract of stores over each of them, what they do when a store fails, how often they ask,
//! and what a stolen key can do.

mod commands;
mod contract;
mod drills;
mod faults;
mod overwriting;
mod requests;
mod rights;
mod sftp;
mod trust;
mod unfinished;

pub use commands::with_faults;
use pgstow::repo::{location::Location, storage::Storage};

use crate::harness::{
    PgBin, Scratch, Stow,
    bucket::Bucket,
    proxy::{Fault, Proxy},
};

pub fn open(bucket: &Bucket) -> std::sync::Arc<dyn Storage> {
    let location: Location = bucket.url.parse().unwrap();
    location.with_access(bucket.access.clone()).open().unwrap()
}

/// A server of S3 behind a proxy.
pub fn behind_proxy(scratch: &Scratch) -> (Bucket, Proxy) {
    let mut bucket = Bucket::moto(scratch);
    let proxy = Proxy::start(bucket.port());
    bucket.access.endpoint = Some(format!("http://127.0.0.1:{}", proxy.port));
    (bucket, proxy)
}

/// A cluster whose repository is in `bucket`.
fn stow_in(bucket: &Bucket, scratch: &Scratch, of_bucket: &Scratch, pg: PgBin) -> Stow {
    let settings = bucket.settings(of_bucket);
    Stow::build(scratch, pg)
        .url(bucket.url)
        .repo(&settings)
        .repo("part_size = \"4MB\"")
        .start()
}

/// Counts the requests of `work`.
pub fn requests(proxy: &Proxy, work: impl FnOnce()) -> Vec<String> {
    proxy.fail(usize::MAX, Fault::Cut);
    work();
    proxy.seen()
}
