//! `receive-wal`: what it receives and hands over, and what it says where it can't. That no commit is lost
//! stands in `stories/received.rs`.

mod alone;
mod confirmed;
mod pieces;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Cluster, FullDisk, PgBin, Scratch, Shutdown, Stow, archive::stored_in, on_every_major, pg,
    stow::Builder, tool::Running, user,
};

struct Site {
    // Dropped in this order: the server ends before its folder goes.
    stow: Stow,
    scratch: Scratch,
}

impl Site {
    /// Nothing is archived, so what is stored was received.
    fn start(pg: PgBin) -> Self {
        Self::build(pg, |_, stow| stow)
    }

    fn build(pg: PgBin, change: impl for<'a> FnOnce(&Scratch, Builder<'a>) -> Builder<'a>) -> Self {
        let scratch = Scratch::new();
        let stow = Stow::build(&scratch, pg)
            .no_archiving()
            .cluster(|cluster| cluster.initdb("--wal-segsize=1"));
        let stow = change(&scratch, stow).start();
        let made = stow.tool.command(&["receive-wal", "--create-slot"]).ok();
        made.stdout_contains("slot pgstow is made");
        Self { stow, scratch }
    }

    fn receive(&self, warnings: &[&str]) -> Running {
        let mut receiver = self.stow.tool.command(&["--json", "receive-wal"]);
        for warning in warnings {
            receiver = receiver.expect_warning(warning);
        }
        receiver.spawn()
    }

    fn folder(&self) -> PathBuf {
        self.scratch.join("state/main/receive")
    }

    fn received(&self) -> Vec<String> {
        let Ok(entries) = self.folder().read_dir() else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "running").collect();
        names.sort();
        names
    }

    /// Ends the server's present segment: its name.
    fn switch(&self) -> String {
        let main = &self.stow.cluster;
        main.psql("select pg_logical_emit_message(false, 'test', '')");
        main.psql("select pg_walfile_name(pg_switch_wal())")
    }

    fn stored(&self) -> Vec<String> {
        stored_in(self.stow.root())
    }

    fn wait_for_stored(&self, name: &str) {
        let is_it = |stored: &String| stored.starts_with(name);
        eventually(name, || self.stored().iter().any(is_it));
    }

    /// Stored or received, each segment has the server's bytes.
    fn judge(&self, segment: &str) {
        let wal = self.stow.cluster.data_dir().join("pg_wal").join(segment);
        let stored = fs::read(self.stow.wal_object(segment)).unwrap();
        let stored = zstd::decode_all(&stored[..]).unwrap();
        assert!(stored == fs::read(wal).unwrap(), "{segment} differs");
    }
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < limit, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

on_every_major!(segments_are_stored_and_a_promotion_is_followed);

fn segments_are_stored_and_a_promotion_is_followed(pg: PgBin) {
    let mut site = Site::start(pg);
    let receiver = site.receive(&[]);
    let first = site.switch();
    site.wait_for_stored(&first);
    site.judge(&first);
    eventually("it left the folder", || !site.received().contains(&first));
    // A clean shutdown of the server waits for us, and is no trouble.
    let main = &mut site.stow.cluster;
    main.stop(Shutdown::Fast);
    fs::write(main.data_dir().join("standby.signal"), "").unwrap();
    main.start();
    eventually("the standby is followed", || {
        receiver.stderr().matches("receiving from").count() > 1
    });
    let main = &site.stow.cluster;
    main.promote();
    // A checkpoint behind the promotion notes it.
    main.wait_until("select timeline_id from pg_control_checkpoint()", "2");
    let second = site.switch();
    assert!(second.starts_with("00000002"), "{second}");
    site.wait_for_stored(&second);
    site.judge(&second);
    assert!(site.stored().contains(&"00000002.history".to_owned()));
    // The segment in which the old timeline ended is kept as far as it came.
    let kept = site.received();
    let of_old = kept.iter().filter(|name| name.starts_with("00000001"));
    assert_eq!(
        of_old.filter(|name| name.ends_with(".partial")).count(),
        1,
        "{kept:?}"
    );

    receiver.signal(Signal::TERM);
    let output = receiver.wait();
    assert_eq!(output.status.code(), Some(0), "{output}");
    let report = output.json();
    assert_eq!(report["state"], "stopped");
    assert_eq!(report["timeline"], 2);
    assert_eq!(report["waiting"], 0);
}

/// Of a promotion that nobody could tell the repository of.
#[test]
fn a_timeline_that_was_received_alone_is_restored() {
    let mut site = Site::start(pg(17));
    let receiver = site.receive(&["it waits in"]);
    site.stow.cluster.psql("create table t as select 1 as n");
    let first = site.switch();
    site.wait_for_stored(&first);
    site.stow.backup(&[]);
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    let main = &mut site.stow.cluster;
    // The end of the first timeline waits here, too.
    main.psql("insert into t values (2)");
    site.switch();
    let main = &mut site.stow.cluster;
    main.psql("insert into t values (3)");
    main.stop(Shutdown::Fast);
    fs::write(main.data_dir().join("standby.signal"), "").unwrap();
    main.start();
    eventually("the standby is followed", || {
        receiver.stderr().matches("receiving from").count() > 1
    });
    let main = &site.stow.cluster;
    main.promote();
    main.wait_until("select timeline_id from pg_control_checkpoint()", "2");
    main.psql("insert into t values (4)");
    site.switch();
    let main = &site.stow.cluster;
    main.psql("insert into t values (5)");
    let here = "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication";
    main.wait_until(here, "t");
    assert!(site.received().contains(&"00000002.history".to_owned()));
    // The server is lost with its disk, then the receiver dies, before the repository is back.
    site.stow.cluster.stop(Shutdown::Kill);
    receiver.signal(Signal::KILL);
    drop(receiver);
    fs::rename(&away, site.stow.root()).unwrap();
    let to = site.scratch.join("copy");
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    let restore = site.stow.tool.command(&words).ok();
    restore.stdout_contains("timeline 2 is the newest");
    let pg = site.stow.cluster.pg.clone();
    let mut copy = Cluster::existing(&site.scratch, pg, "copy-run", &to);
    copy.recover();
    let rows = copy.psql("select string_agg(n::text, ',' order by n) from t");
    assert_eq!(rows, "1,2,3,4,5");
    copy.amcheck();
    copy.stop(Shutdown::Fast);

    // Meanwhile another server was restored without it, and its timeline got the same number.
    let wal = site.stow.wal_object(&first);
    let history = wal.parent().unwrap().with_file_name("00000002.history");
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n").unwrap();
    user::own(&history);
    let to = site.scratch.join("refused");
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    let refused = site.stow.tool.command(&words).fails(1);
    refused.stderr_contains("two servers used timeline 2");
    fs::rename(site.folder(), site.scratch.join("kept")).unwrap();
    let plan = [&words[..], &["--plan"]].concat();
    site.stow.tool.command(&plan).ok();
}

#[test]
fn a_repository_that_is_away_holds_nothing_up() {
    let site = Site::start(pg(17));
    let receiver = site.receive(&["it waits in"]);
    let stored = site.switch();
    site.wait_for_stored(&stored);
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    let waiting: Vec<String> = (0..3).map(|_| site.switch()).collect();
    eventually("all wait", || {
        let received = site.received();
        waiting.iter().all(|name| received.contains(name))
    });
    eventually("a warning", || receiver.stderr().contains("it waits in"));
    fs::rename(&away, site.stow.root()).unwrap();
    for name in &waiting {
        site.wait_for_stored(name);
        site.judge(name);
    }
    eventually("nothing waits", || {
        let received = site.received();
        !waiting.iter().any(|name| received.contains(name))
    });
    receiver.signal(Signal::TERM);
    receiver.wait();
}

#[test]
fn one_that_is_started_while_a_repository_is_away_receives_all_the_same() {
    let site = Site::start(pg(16));
    let away = site.scratch.join("away");
    // Who never received anything here is told that the place is wrong.
    fs::rename(site.stow.root(), &away).unwrap();
    let first = site.stow.tool.command(&["receive-wal"]);
    drop(first.fails(1).stderr_contains("there is no repository"));
    fs::rename(&away, site.stow.root()).unwrap();
    let stop = |receiver: Running| {
        receiver.signal(Signal::TERM);
        receiver.wait();
        let inactive = "select not active from pg_replication_slots";
        site.stow.cluster.wait_until(inactive, "t");
    };
    let receiver = site.receive(&[]);
    site.wait_for_stored(&site.switch());
    site.stow.cluster.psql("create table t (n int)");
    let here = "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication";
    site.stow.cluster.wait_until(here, "t");
    stop(receiver);
    fs::rename(site.stow.root(), &away).unwrap();
    let receiver = site.receive(&["what comes waits in", "it waits in"]);
    let segment = site.switch();
    eventually("it waits", || site.received().contains(&segment));
    eventually("a warning", || receiver.stderr().contains("it waits in"));
    fs::rename(&away, site.stow.root()).unwrap();
    site.wait_for_stored(&segment);
    site.judge(&segment);
    stop(receiver);
}

/// As a dead NFS server does it: whoever opens the repository waits.
#[test]
fn one_that_is_started_while_a_repository_hangs_receives_all_the_same() {
    let site = Site::start(pg(15));
    let receiver = site.receive(&[]);
    site.wait_for_stored(&site.switch());
    // What it leaves tells it later that the place is right.
    site.stow.cluster.psql("create table t (n int)");
    let here = "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication";
    site.stow.cluster.wait_until(here, "t");
    receiver.signal(Signal::TERM);
    receiver.wait();
    let inactive = "select not active from pg_replication_slots";
    site.stow.cluster.wait_until(inactive, "t");

    let [description, aside, hangs] =
        ["repository.json", "aside", "hangs"].map(|name| site.stow.root().join(name));
    fs::rename(&description, &aside).unwrap();
    user::run_ok(user::command("mkfifo", "KILL").arg(&hangs));
    fs::hard_link(&hangs, &description).unwrap();
    let begun = Instant::now();
    // As people see it, who are told what takes long.
    let receiver = site.stow.tool.command(&["receive-wal"]);
    let receiver = receiver.expect_warning("what comes waits in");
    let receiver = receiver.expect_warning("it waits in").spawn();
    let segment = site.switch();
    eventually("it waits", || site.received().contains(&segment));
    // Nothing is late any more: no line, of which one would come every 30 s, says so.
    thread::sleep(Duration::from_secs(31).saturating_sub(begun.elapsed()));
    let said = receiver.stderr();
    let late = said.lines().find(|line| line.starts_with("pgstow: "));
    assert_eq!(late, None, "{said}");
    fs::rename(&aside, &description).unwrap();
    // Who waits finds nothing in it, and asks again.
    drop(fs::OpenOptions::new().write(true).open(&hangs).unwrap());
    site.wait_for_stored(&segment);
    site.judge(&segment);
    receiver.signal(Signal::TERM);
    receiver.wait();
}

#[test]
fn a_full_disk_confirms_nothing_and_is_gone_on_from() {
    let site = Site::start(pg(18));
    let _disk = FullDisk::mount(&site.scratch, "state/main/receive", 4 << 20);
    let receiver = site.receive(&["trying again", "it waits in"]);
    let stored = site.switch();
    site.wait_for_stored(&stored);
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    let names: Vec<String> = (0..6).map(|_| site.switch()).collect();
    eventually("it says so", || receiver.stderr().contains("No space left"));
    // The server keeps what there was no room for.
    let kept = "select pg_walfile_name(restart_lsn) from pg_replication_slots";
    let kept = site.stow.cluster.psql(kept);
    assert!(kept < names[4], "{kept} {names:?}");
    fs::rename(&away, site.stow.root()).unwrap();
    for name in &names {
        site.wait_for_stored(name);
        site.judge(name);
    }
    receiver.signal(Signal::TERM);
    receiver.wait();
}

#[test]
fn monitor_sees_whether_it_keeps_up() {
    let site = Site::start(pg(15));
    let check = |warning: &str| {
        let monitor = site
            .stow
            .tool
            .command(&["--json", "monitor", "--only", "receive_wal"]);
        let monitor = monitor
            .env("PGSTOW_MONITOR_WAL_LAG_WARNING", warning)
            .env("PGSTOW_MONITOR_WAL_LAG_CRITICAL", "3MB");
        let output = monitor.spawn().wait();
        let report = output.json();
        let found = &report["checks"][0];
        assert_eq!(found["check"], "receive_wal", "{output}");
        found["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(check("2MB"), "warning");
    for _ in 0..4 {
        site.switch();
    }
    assert_eq!(check("2MB"), "critical");
    let receiver = site.receive(&[]);
    let name = site.switch();
    site.wait_for_stored(&name);
    eventually("it keeps up", || check("2MB") == "ok");
    receiver.signal(Signal::TERM);
    receiver.wait();
    let main = &site.stow.cluster;
    main.wait_until("select not active from pg_replication_slots", "t");
    assert_eq!(check("2MB"), "warning");
    main.psql("select pg_drop_replication_slot('pgstow')");
    assert_eq!(check("2MB"), "critical");
    // Nothing is to be received any more.
    fs::remove_dir_all(site.folder()).unwrap();
    assert_eq!(check("2MB"), "ok");
}

#[test]
fn what_another_try_would_not_mend_is_told() {
    let site = Site::start(pg(16));
    let again = site.stow.tool.command(&["receive-wal", "--create-slot"]);
    again.ok().stdout_contains("was there already");
    let other = site.stow.tool.command(&["receive-wal", "--slot", "other"]);
    other
        .fails(1)
        .stderr_contains("has no replication slot other")
        .stderr_contains("--create-slot");
    let wrong = site
        .stow
        .tool
        .command(&["receive-wal", "--slot", "No Slot"]);
    wrong
        .fails(2)
        .stderr_contains("not the name of a replication slot");
    // One at a time.
    let receiver = site.receive(&[]);
    site.wait_for_stored(&site.switch());
    let second = site.stow.tool.command(&["receive-wal"]);
    second.fails(1).stderr_contains("another receive-wal");
    receiver.signal(Signal::TERM);
    receiver.wait();

    // The slot is made anew: what was missed meanwhile is told, and what comes then is received.
    let main = &site.stow.cluster;
    main.wait_until("select not active from pg_replication_slots", "t");
    main.psql("select pg_drop_replication_slot('pgstow')");
    for _ in 0..3 {
        site.switch();
    }
    main.psql("checkpoint");
    site.stow
        .tool
        .command(&["receive-wal", "--create-slot"])
        .ok();
    let receiver = site.receive(&["was not received"]);
    let name = site.switch();
    site.wait_for_stored(&name);
    site.judge(&name);
    receiver.signal(Signal::TERM);
    receiver.wait();

    // A slot that holds nothing any more.
    let main = &site.stow.cluster;
    main.wait_until("select not active from pg_replication_slots", "t");
    main.set("max_slot_wal_keep_size", "1MB");
    for _ in 0..6 {
        site.switch();
    }
    main.psql("checkpoint");
    main.wait_until("select wal_status from pg_replication_slots", "lost");
    site.stow
        .tool
        .command(&["receive-wal"])
        .fails(1)
        .stderr_contains("keeps no WAL")
        .stderr_contains("max_slot_wal_keep_size");
}

/// The beginning of a segment may be all that there is of it.
#[test]
fn what_was_begun_stays_until_the_segment_is_stored() {
    let site = Site::start(pg(17));
    let main = &site.stow.cluster;
    let receiver = site.receive(&[]);
    site.wait_for_stored(&site.switch());
    main.psql("create table t (n int)");
    let here = "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication";
    main.wait_until(here, "t");
    let stop = |receiver: Running| {
        receiver.signal(Signal::TERM);
        receiver.wait();
        main.wait_until("select not active from pg_replication_slots", "t");
    };
    stop(receiver);
    main.psql("select pg_drop_replication_slot('pgstow')");
    let begun = site.switch();
    let partial = format!("{begun}.partial");
    assert!(site.received().contains(&partial));
    let copy = site.scratch.folder("aside").join(&begun);
    fs::copy(main.data_dir().join("pg_wal").join(&begun), &copy).unwrap();
    user::own(&copy);
    site.switch();
    main.psql("checkpoint");
    let slot = site.stow.tool.command(&["receive-wal", "--create-slot"]);
    slot.ok();
    let receiver = site.receive(&["was not received"]);
    for _ in 0..3 {
        site.wait_for_stored(&site.switch());
    }
    stop(receiver);
    assert!(site.received().contains(&partial));

    let copy = copy.to_str().unwrap();
    let archive_wal = site.stow.tool.command(&["archive-wal", copy]);
    archive_wal.current_dir(main.data_dir()).ok();
    let receiver = site.receive(&[]);
    eventually("it leaves", || {
        site.wait_for_stored(&site.switch());
        !site.received().contains(&partial)
    });
    stop(receiver);
    // The one in progress is still here.
    let last = main.psql("select pg_walfile_name(pg_current_wal_lsn())");
    assert!(site.received().contains(&format!("{last}.partial")));
}

#[test]
fn the_wal_of_another_system_is_refused() {
    let site = Site::start(pg(18));
    let stranger = Cluster::build(&site.scratch, pg(18))
        .name("stranger")
        .start();
    stranger.psql("create role pgstow login replication; select pg_create_physical_replication_slot('pgstow', true)");
    let receiver = site.stow.tool.command(&["receive-wal"]);
    receiver
        .env("PGSTOW_CLUSTER_HOST", stranger.host())
        .fails(1)
        .stderr_contains("is not registered");
}
