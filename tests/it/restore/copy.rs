//! A cluster restored beside the one that was backed up.

use std::path::PathBuf;

use crate::harness::{Cluster, Scratch, Stow, tool::Invocation};

/// `restore ARGUMENTS --data-dir NAME` into the scratch folder.
pub fn restore(
    scratch: &Scratch,
    stow: &Stow,
    name: &str,
    arguments: &[&str],
) -> (Invocation, PathBuf) {
    let to = scratch.join(name);
    let bindir = stow.cluster.pg.bindir.display().to_string();
    let place = to.display().to_string();
    let fixed = ["restore", "--bindir", &bindir, "--data-dir", &place];
    (stow.tool.command(&[&fixed, arguments].concat()), to)
}

/// The restored cluster, not started yet.
pub fn copy(scratch: &Scratch, stow: &Stow, name: &str) -> Cluster {
    let run = format!("{name}-run");
    Cluster::existing(scratch, stow.cluster.pg.clone(), &run, &scratch.join(name))
}

/// Restores, starts the copy and waits until it is open.
#[track_caller]
pub fn opened(scratch: &Scratch, stow: &Stow, name: &str, arguments: &[&str]) -> Cluster {
    restore(scratch, stow, name, arguments).0.ok();
    open(copy(scratch, stow, name))
}

/// Starts it, and waits until it left recovery.
#[track_caller]
pub fn open(mut cluster: Cluster) -> Cluster {
    cluster.start();
    cluster.wait_until("select pg_is_in_recovery()", "f");
    cluster
}

/// The numbers in table `t`, in order.
#[track_caller]
pub fn rows(cluster: &Cluster) -> String {
    cluster.psql("select string_agg(n::text, ',' order by n) from t")
}
