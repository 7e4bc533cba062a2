//! WAL that does not arrive.

use super::{Watched, has};
use crate::harness::Shutdown;

const BYTES: [(&str, &str); 2] = [("WAL_LAG_WARNING", "16MB"), ("WAL_LAG_CRITICAL", "48MB")];
const FILES: [(&str, &str); 2] = [("WAITING_WARNING", "1"), ("WAITING_CRITICAL", "3")];
const AT_ONCE: [(&str, &str); 2] = [("WAL_AGE_WARNING", "1s"), ("WAITING_AGE_WARNING", "1s")];
const AT_ONCE_CRITICAL: [(&str, &str); 4] = [
    ("WAL_AGE_WARNING", "1s"),
    ("WAITING_AGE_WARNING", "1s"),
    ("WAL_AGE_CRITICAL", "1s"),
    ("WAITING_AGE_CRITICAL", "1s"),
];

impl Watched {
    /// Completes so many segments.
    fn fill(&self, segments: usize) {
        for _ in 0..segments {
            self.stow
                .cluster
                .psql("select pg_logical_emit_message(false, 'test', '')");
            self.stow.cluster.psql("select pg_switch_wal()");
        }
    }

    fn wait_for_archive(&self) {
        let waits = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'";
        self.stow.cluster.wait_until(waits, "0");
    }
}

fn archiving(major: u32) {
    let watched = Watched::start(major);
    let cluster = &watched.stow.cluster;
    let good = cluster.psql("show archive_command");
    watched.is("waiting", &FILES, "ok", "nothing waits");

    cluster.set("archive_command", "false");
    watched.fill(1);
    cluster.wait_until("select failed_count > 0 from pg_stat_archiver", "t");
    watched.is("archiver", &[], "critical", "archiving fails: ");
    watched.is("archive_command", &[], "critical", "doesn't call pgstow");
    watched.is("waiting", &FILES, "warning", "1 file waiting");
    watched.is(
        "wal_lag",
        &BYTES,
        "warning",
        "16.0 MiB of complete segments",
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    watched.is("waiting", &AT_ONCE, "warning", "the oldest since");
    watched.is("wal_lag", &AT_ONCE, "warning", "the first since");
    watched.is("waiting", &AT_ONCE_CRITICAL, "critical", "the oldest since");
    watched.is("wal_lag", &AT_ONCE_CRITICAL, "critical", "the first since");
    watched.fill(2);
    watched.is("waiting", &FILES, "critical", "3 files waiting");
    watched.is(
        "wal_lag",
        &BYTES,
        "critical",
        "48.0 MiB of complete segments",
    );
    // By default a moment's backlog is no alarm.
    watched.is("waiting", &[], "ok", "3 files waiting");
    watched.is("wal_lag", &[], "ok", "");

    cluster.set("archive_command", &good);
    watched.wait_for_archive();
    watched.is("archiver", &[], "ok", "");
    watched.is("waiting", &FILES, "ok", "nothing waits");
    watched.is("wal_lag", &BYTES, "ok", "every complete segment");
    watched.is_well();

    // Who lies to the server is found by what is missing.
    cluster.set("archive_command", "true");
    watched.fill(3);
    watched.wait_for_archive();
    watched.is("archiver", &[], "ok", "");
    watched.is("wal_lag", &BYTES, "critical", "48.0 MiB");
    watched.is("restorable", &[], "ok", "can be restored");
    cluster.set("archive_command", &format!("test -n %f && {good}"));
    watched.is("archive_command", &[], "warning", "among other things");
    cluster.set("archive_command", &good);
    cluster.switch_wal();
    watched.is("wal_lag", &BYTES, "ok", "every complete segment");
    watched.is("restorable", &[], "critical", "to nothing behind it: WAL ");
    watched.stow.backup(&[]);
    watched.is_well();
}

#[test]
fn archiving_on_15() {
    archiving(15);
}

#[test]
fn archiving_on_18() {
    archiving(18);
}

#[test]
fn what_was_given_up_is_critical_until_the_next_full_backup() {
    let watched = Watched::start(17);
    let cluster = &watched.stow.cluster;
    let good = cluster.psql("show archive_command");
    cluster.set("archive_command", "false");
    watched.fill(6);
    // The repository is away: only this host knows.
    let (root, away) = (watched.stow.root(), watched.scratch.join("away"));
    std::fs::rename(root, &away).unwrap();
    let valve = format!("PGSTOW_WAL_DROP_ABOVE=64MB {good}");
    cluster.set("archive_command", &valve);
    let few = "select count(*) <= 4 from pg_ls_archive_statusdir() where name like '%.ready'";
    cluster.wait_until(few, "t");
    std::fs::rename(&away, root).unwrap();
    let noted = watched.verdict("given_up", &[]);
    super::has(&noted, "critical", "is given up");
    cluster.set("archive_command", &good);
    watched.wait_for_archive();
    watched.is("given_up", &[], "critical", "missing in repository local");
    watched.is("restorable", &[], "critical", "to nothing behind it");
    // A full backup is due.
    let made = watched.stow.base(&["--incremental"]).ok();
    let kind = made.json()["backup"]["kind"].clone();
    assert_eq!(kind, "full", "{made}");
    watched.is("given_up", &[], "ok", "no WAL was given up");
    watched.is_well();
}

#[test]
fn slots_hold_wal_back() {
    let mut watched = Watched::start(16);
    let cluster = &watched.stow.cluster;
    watched.is("slots", &[], "ok", "no replication slot");
    cluster.psql("select pg_create_physical_replication_slot('forgotten', true)");
    watched.fill(3);
    let low = ("SLOT_WAL_WARNING", "1MB");
    let held = "slot forgotten holds back";
    watched.is("slots", &[low], "warning", held);
    watched.is(
        "slots",
        &[low, ("SLOT_WAL_CRITICAL", "16MB")],
        "critical",
        held,
    );
    watched.is("slots", &[], "ok", held);
    cluster.set("max_slot_wal_keep_size", "16MB");
    watched.fill(3);
    cluster.psql("checkpoint");
    watched.stow.cluster.stop(Shutdown::Fast);
    watched.stow.cluster.start();
    let cluster = &watched.stow.cluster;
    cluster.wait_until("select wal_status from pg_replication_slots", "lost");
    watched.is("slots", &[], "warning", "has lost WAL");
    // One that is bad hides no other.
    cluster.psql("select pg_create_physical_replication_slot('second', true)");
    watched.fill(1);
    let both = watched.verdict("slots", &[low]);
    has(&both, "warning", "slot second holds back");
    has(&both, "warning", "slot forgotten has lost WAL");
    cluster
        .psql("select pg_drop_replication_slot('forgotten'), pg_drop_replication_slot('second')");
    watched.is("slots", &[low], "ok", "no replication slot");
}

/// The slot of receive-wal, whose WAL the server threw away.
#[test]
fn the_slot_of_receive_wal_that_has_lost_its_wal() {
    let watched = Watched::start(17);
    let cluster = &watched.stow.cluster;
    let tool = &watched.stow.tool;
    watched.is("receive_wal", &[], "ok", "not used");
    tool.command(&["receive-wal", "--create-slot"]).ok();
    watched.is("receive_wal", &[], "warning", "nobody receives");
    cluster.set("max_slot_wal_keep_size", "1MB");
    watched.fill(6);
    cluster.psql("checkpoint");
    cluster.wait_until("select wal_status from pg_replication_slots", "lost");
    watched.is("receive_wal", &[], "critical", "slot pgstow has lost WAL");
    // As its hint says; nobody receives yet.
    cluster.psql("select pg_drop_replication_slot('pgstow')");
    watched.is("receive_wal", &[], "ok", "not used");
    tool.command(&["receive-wal", "--create-slot"]).ok();
    watched.is("receive_wal", &[], "warning", "nobody receives");
}

/// Each with what the server archives by it lost, though it is told that all is well.
#[test]
fn wal_that_goes_elsewhere_is_critical_at_once() {
    let watched = Watched::start(17);
    let (cluster, tool) = (&watched.stow.cluster, &watched.stow.tool);
    let good = cluster.psql("show archive_command");
    let elsewhere = watched.scratch.folder("elsewhere");
    let url = elsewhere.display();
    tool.command(&["--repo-url", &url.to_string(), "init"]).ok();
    let other = watched.scratch.join("other.toml");
    let text = std::fs::read_to_string(tool.config_file()).unwrap();
    let root = watched.stow.root().display().to_string();
    std::fs::write(&other, text.replace(&root, &url.to_string())).unwrap();
    let config = format!("--config '{}'", tool.config_file().display());
    let to_url = format!("{config} --repo-url {url}");
    let to_other = format!("--config {}", other.display());
    for (options, seen) in [(to_url, "critical"), (to_other, "ok")] {
        let called = good.replace(&config, &options);
        assert_ne!(called, good);
        cluster.set("archive_command", &called);
        watched.is("archive_command", &[], seen, "");
        // Nothing is lost yet, then the first segment is.
        watched.is("wal_lag", &[], "ok", "");
        watched.fill(1);
        watched.wait_for_archive();
        watched.is("archiver", &[], "ok", "");
        let lost = "but it is not in this repository: its WAL goes elsewhere";
        watched.is("wal_lag", &[], "critical", lost);
        cluster.set("archive_command", &good);
        watched.stow.backup(&["--full"]);
        watched.is_well();
    }
    for (from, to, reason) in [
        ("%p", "%f", "doesn't give archive-wal the file's path"),
        ("pgstow.toml", "none.toml", "none.toml"),
    ] {
        cluster.set("archive_command", &good.replace(from, to));
        watched.is("archive_command", &[], "critical", reason);
    }
}
