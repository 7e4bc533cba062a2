//! `receive-wal` with pieces: server and receiver are lost together, and nothing of what was stored before is.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Site, judge_and_end, typed};
use crate::harness::{
    Shutdown,
    archive::{pieces_in, wait_for_pieces},
    pg,
    tool::Running,
};

fn receive(site: &Site) -> Running {
    let receiver = site.pgstow(&["receive-wal"]);
    receiver.env("PGSTOW_RECEIVE_WAL_LIVE", "1s").spawn()
}

/// Inserts a row, and waits until it is in a piece; where in the segment that was.
fn commit(site: &Site, row: u32) -> u64 {
    site.main().psql(&format!("insert into t values ({row})"));
    wait_for_pieces(site.stow.root(), site.main()).1
}

/// The rows of what is restored into `name`.
fn restored(site: &Site, name: &str, arguments: &[&str], warning: Option<&str>) -> String {
    let restore = site.restore(name, arguments);
    let restore = match warning {
        Some(text) => restore.expect_warning(text),
        None => restore,
    };
    let told = "is put into pg_wal as far as the pieces of it go";
    drop(restore.ok().stdout_contains(told));
    let mut copy = site.existing(name);
    copy.recover();
    let rows = copy.psql("select string_agg(n::text, ',' order by n) from t");
    judge_and_end(copy);
    rows
}

/// With an empty table and a backup.
fn begin(major: u32, encrypted: bool) -> Site {
    let site = Site::build(pg(major), |stow| {
        let stow = stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"));
        match encrypted {
            true => stow.encrypted(),
            false => stow,
        }
    });
    site.main().psql("create table t (n int)");
    site.stow.backup(&[]);
    site.pgstow(&["receive-wal", "--create-slot"]).ok();
    site
}

/// Kills the server and the receiver, and takes all away that they had.
fn lose_both(site: &mut Site, receiver: Running) {
    site.stow.cluster.stop(Shutdown::Kill);
    receiver.signal(Signal::KILL);
    drop(receiver);
    fs::remove_dir_all(site.main().data_dir()).unwrap();
    fs::remove_dir_all(site.scratch.join("state/main")).unwrap();
}

fn the_last_commits_outlive_both_hosts(major: u32, encrypted: bool) {
    let mut site = begin(major, encrypted);
    let receiver = receive(&site);
    commit(&site, 1);
    commit(&site, 2);
    // The next one stores its pieces from the segment's beginning on.
    receiver.signal(Signal::KILL);
    drop(receiver);
    let inactive = "select not active from pg_replication_slots";
    site.main().wait_until(inactive, "t");
    let receiver = receive(&site);
    commit(&site, 3);
    let now = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    let between = typed(site.main().psql(now).parse().unwrap());
    let last = commit(&site, 4);
    let pieces = pieces_in(site.stow.root());
    let anew = pieces.iter().filter(|piece| piece.bytes.start == 0);
    assert!(anew.count() > 1 && pieces.len() > 3, "{pieces:?}");
    // Nobody stumbles over them.
    site.pgstow(&["verify", "--wal"]).ok();
    site.pgstow(&["list"]).ok();
    site.pgstow(&["cleanup"]).ok();
    let drill = site.pgstow(&["drill"]);
    let library = site.main().pg.bindir.join("../lib");
    let drill = drill.env("LD_LIBRARY_PATH", library);
    drill
        .env("PGSTOW_DRILL_SCRATCH", site.scratch.folder("drills"))
        .ok();
    assert!(pieces_in(site.stow.root()).len() >= pieces.len());

    lose_both(&mut site, receiver);
    assert_eq!(restored(&site, "copy", &[], None), "1,2,3,4");
    let to = ["--target-time", &between];
    assert_eq!(restored(&site, "between", &to, None), "1,2,3");

    // What is damaged ends it.
    let pieces = pieces_in(site.stow.root()).into_iter();
    let holds = |bytes: &std::ops::Range<u64>| bytes.start < last && last <= bytes.end;
    for piece in pieces.filter(|piece| holds(&piece.bytes)) {
        let bytes = fs::read(&piece.path).unwrap();
        fs::write(&piece.path, &bytes[..bytes.len() / 2]).unwrap();
        let verify = site.pgstow(&["verify", "--wal"]).fails(3);
        drop(verify.stdout_contains(piece.path.file_name().unwrap().to_str().unwrap()));
    }
    assert_eq!(restored(&site, "less", &[], Some("may be lost")), "1,2,3");
}

#[test]
fn the_last_commits_outlive_both_hosts_15() {
    the_last_commits_outlive_both_hosts(15, false);
}

#[test]
fn the_last_commits_outlive_both_hosts_17() {
    the_last_commits_outlive_both_hosts(17, false);
}

#[test]
fn the_last_commits_outlive_both_hosts_18_encrypted() {
    the_last_commits_outlive_both_hosts(18, true);
}

/// Of the new timeline nothing but pieces and its history is there.
#[test]
fn a_timeline_that_has_just_begun_is_restored() {
    let mut site = begin(16, false);
    let receiver = receive(&site);
    commit(&site, 1);
    let main = &mut site.stow.cluster;
    main.stop(Shutdown::Fast);
    fs::write(main.data_dir().join("standby.signal"), "").unwrap();
    main.start();
    let limit = Instant::now() + Duration::from_secs(60);
    while receiver.stderr().matches("receiving from").count() < 2 {
        assert!(Instant::now() < limit, "{}", receiver.stderr());
        thread::sleep(Duration::from_millis(20));
    }
    main.promote();
    main.wait_until("select timeline_id from pg_control_checkpoint()", "2");
    commit(&site, 2);
    let stored = site.stored_wal();
    assert!(
        !stored.iter().any(|name| name.starts_with("0000000200")),
        "{stored:?}"
    );
    lose_both(&mut site, receiver);
    assert_eq!(restored(&site, "copy", &[], None), "1,2");
}
