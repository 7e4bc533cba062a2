//! A bucket that keeps versions, and a host whose key may create and read, nothing else; one whose object lock lets nobody
//! destroy them: docs/stores.md, Against a stolen key.

use std::{
    fs, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pgstow::repo::{layout::Layout, object::Access};

use super::{behind_proxy, stow_in};
use crate::harness::{Cluster, Scratch, Stow, bucket::Bucket, pg, tool::Invocation, wait_for};

fn by(stow: &Stow, access: &Access, of_bucket: &Scratch, arguments: &[&str]) -> Invocation {
    let other = Bucket::write_key(access, &of_bucket.join("admin_key"));
    stow.tool
        .command(arguments)
        .env("PGSTOW_REPO_ACCESS_KEY", access.access_key.clone().unwrap())
        .env("PGSTOW_REPO_SECRET_KEY_FILE", other)
}

#[test]
fn a_stolen_key_destroys_nothing() {
    let of_bucket = Scratch::new();
    let (bucket, admin) = Bucket::moto_with_rights(&of_bucket);
    let scratch = Scratch::new();
    let stow = stow_in(&bucket, &scratch, &of_bucket, pg(17));
    let cluster = &stow.cluster;
    cluster.psql("create table t as select n from generate_series(1, 10000) n");
    let backup = || {
        stow.base(&["--full"]).ok().json()["backup"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = backup();

    // Killed: what is left stays, for the host can't delete it, and hinders nothing.
    let killed = stow.base(&["--full"]).spawn();
    let store = super::open(&bucket);
    let layout = Layout::new("main".parse().unwrap());
    let claims = || {
        let found = store.list(&layout.base(), None).unwrap();
        let names = found.map(|info| info.unwrap().name);
        names
            .filter(|name| name.file_name() == "started.json")
            .count()
    };
    wait_for(|| claims() == 2);
    killed.signal(rustix::process::Signal::KILL);
    killed.wait();
    let second = stow
        .base(&["--full"])
        .expect_warning("remains of backup")
        .ok()
        .json()["backup"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let dump = cluster.dump("postgres");
    cluster.switch_wal();
    stow.tool.command(&["verify", "--all", "--wal"]).ok();

    stow.tool
        .command(&["check", "--repo", "local"])
        .ok()
        .stdout_contains("not allowed with these credentials: cleanup must run elsewhere");

    // Nor can the host clean up; nothing is half gone.
    let cleanup = ["cleanup"];
    let rule = |call: Invocation| {
        call.env("PGSTOW_REPO_RETENTION_FULL", "1")
            .env("PGSTOW_REPO_RETENTION_MIN", "1")
    };
    let refused = rule(stow.tool.command(&cleanup)).fails(1);
    let text = format!("{}{}", refused.stdout, refused.stderr);
    assert!(text.contains("not allowed to delete"), "{text}");
    stow.tool.command(&["verify", &first]).ok();

    // Versions are dated by seconds.
    thread::sleep(Duration::from_millis(1100));
    let before = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    thread::sleep(Duration::from_millis(1100));
    let done = bucket.act("attack", &bucket.access, &[]);
    assert_eq!(done["deleted"], 0, "{done}");
    assert_eq!(done["overwritten"], done["objects"], "{done}");
    stow.tool.command(&["list"]).fails(1);
    bucket.act("undo", &admin, &[&before.to_string()]);

    stow.tool.command(&["verify", "--all", "--wal"]).ok();
    rule(by(&stow, &admin, &of_bucket, &cleanup)).ok();
    let left = stow.tool.command(&["--json", "list"]).ok().json();
    assert_eq!(left["backups"].as_array().unwrap().len(), 1, "{left}");
    let target = scratch.join("copy");
    stow.tool
        .command(&["restore", &second, "--data-dir", target.to_str().unwrap()])
        .env("PGSTOW_CLUSTER_BINDIR", &cluster.pg.bindir)
        .ok();
    let mut copy = Cluster::existing(&scratch, cluster.pg.clone(), "copy-run", &target);
    copy.pg.verifybackup(copy.data_dir()).unwrap();
    copy.recover();
    assert!(copy.dump("postgres") == dump, "the dumps differ");
    fs::remove_file(of_bucket.join("admin_key")).unwrap();
}

/// Nothing that pgstow does is refused there, and what `cleanup` deletes can be shown again until its time is over.
fn what_is_locked_can_not_be_destroyed(mode: &str, major: u32) {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    proxy.want_sums();
    bucket.act("lock", &bucket.access, &[mode]);
    let scratch = Scratch::new();
    let stow = stow_in(&bucket, &scratch, &of_bucket, pg(major));
    // More than one piece of a multipart upload.
    stow.cluster
        .psql("create table t as select n, md5(n::text) from generate_series(1, 200000) n");
    let check = stow.tool.command(&["check", "--repo", "local"]);
    drop(check.ok());
    for _ in 0..2 {
        stow.base(&["--full"]).ok();
        stow.cluster.switch_wal();
    }
    let cleanup = stow.tool.command(&["cleanup"]);
    let cleanup = cleanup.env("PGSTOW_REPO_RETENTION_FULL", "1");
    cleanup.env("PGSTOW_REPO_RETENTION_MIN", "1").ok();
    let backups = || stow.list()["backups"].as_array().unwrap().len();
    assert_eq!(backups(), 1);
    stow.tool.command(&["verify", "--all", "--wal"]).ok();

    let done = bucket.act("destroy", &bucket.access, &[]);
    assert_eq!(done["destroyed"], 0, "{done}");
    assert!(done["refused"].as_u64() > Some(30), "{done}");
    bucket.act("show", &bucket.access, &[]);
    assert_eq!(backups(), 2);
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}

#[test]
fn what_is_locked_for_all_can_not_be_destroyed() {
    what_is_locked_can_not_be_destroyed("COMPLIANCE", 15);
}

#[test]
fn what_is_locked_for_most_can_not_be_destroyed() {
    what_is_locked_can_not_be_destroyed("GOVERNANCE", 18);
}
