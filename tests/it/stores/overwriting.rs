//! A store that overwrites what was to be created only if it isn't there.

use pgstow::{error::Kind, repo::layout};

use super::open;
use crate::harness::{Scratch, Stow, bucket::Bucket, pg};

#[test]
fn it_is_found_out_and_used_with_a_look_before_each_write_only() {
    let scratch = Scratch::new();
    let mut bucket = Bucket::nanio(&scratch);
    let name = layout::probe().object("once");
    // The fault is real.
    let store = open(&bucket);
    store.create(&name, b"first").unwrap();
    store.create(&name, b"second").unwrap();
    assert_eq!(store.read(&name, 10).unwrap(), b"second");

    bucket.access.overwrites = true;
    let guarded = open(&bucket);
    let refused = guarded.create(&name, b"third").unwrap_err();
    assert_eq!(refused.kind(), Kind::AlreadyExists);
    assert_eq!(guarded.read(&name, 10).unwrap(), b"second");
    guarded.delete(&name).unwrap();
    guarded.create(&name, b"again").unwrap();
    guarded.delete(&name).unwrap();
    drop((store, guarded));

    let of_cluster = Scratch::new();
    let stow = Stow::build(&of_cluster, pg(17))
        .url(bucket.url)
        .repo(&bucket.settings(&scratch))
        .repo("create_only = false")
        .start();
    stow.base(&["--full"]).ok();
    stow.cluster.switch_wal();
    stow.tool.command(&["check"]).ok();
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
    let unguarded = |arguments: &[&str]| {
        stow.tool
            .command(arguments)
            .env("PGSTOW_REPO_CREATE_ONLY", "true")
    };
    unguarded(&["check", "--repo", "local"])
        .fails(1)
        .stdout_contains("create_only = false");
    let new = format!("{}-new", bucket.url);
    unguarded(&["init"])
        .env("PGSTOW_REPO_URL", &new)
        .fails(1)
        .stderr_contains("create_only = false");
}
