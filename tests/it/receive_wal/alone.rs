//! Backups whose WAL receive-wal alone brings: that in the repository must be the server's own, though no note of its tells so.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use super::Site;
use crate::harness::{
    Cluster, PgBin, Shutdown, Stored, keys, on_every_major, pg, tool::Running, user,
};

/// A receiver that the server knows, and so a backup.
fn receive(site: &Site) -> Running {
    let receiver = site.receive(&[]);
    let active = "select active from pg_replication_slots";
    site.stow.cluster.wait_until(active, "t");
    receiver
}

fn stop(site: &Site, receiver: Running) {
    receiver.signal(Signal::TERM);
    receiver.wait();
    let inactive = "select not active from pg_replication_slots";
    site.stow.cluster.wait_until(inactive, "t");
}

/// Restores the newest backup to the end of what is stored.
fn comes_back(site: &Site, name: &str) {
    let main = &site.stow.cluster;
    let dump = main.dump("postgres");
    site.wait_for_stored(&site.switch());
    let to = site.scratch.join(name);
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    site.stow.tool.command(&words).ok();
    main.pg.verifybackup(&to).unwrap();
    let run = format!("{name}-run");
    let mut copy = Cluster::existing(&site.scratch, main.pg.clone(), &run, &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "{name} is another database");
    copy.stop(Shutdown::Fast);
}

/// The first and the last segment, each with its hash there.
fn ends(backup: &Stored) -> [[String; 2]; 2] {
    let json = backup.json();
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    ["start", "stop"].map(|end| {
        [
            text(&format!("{end}_segment")),
            text(&format!("{end}_segment_sha256")),
        ]
    })
}

on_every_major!(a_backup_counts_without_an_archiver);

fn a_backup_counts_without_an_archiver(pg: PgBin) {
    let site = Site::start(pg);
    let main = &site.stow.cluster;
    let receiver = receive(&site);
    main.psql("create table t as select generate_series(1, 1000) n");
    let local = site.stow.backup(&["--full", "--method", "local"]);
    main.psql("insert into t select generate_series(1, 1000)");
    comes_back(&site, "local");
    for [segment, sha256] in ends(&local) {
        let path = main.data_dir().join("pg_wal").join(&segment);
        if path.exists() {
            let sum = user::run_ok(std::process::Command::new("sha256sum").arg(path));
            assert!(sum.starts_with(&sha256) && sha256.len() == 64, "{sum}");
        }
    }
    // Over several segments, of which the server keeps none for it.
    let words = ["--full", "--method", "stream", "--max-rate", "6MB"];
    let base = site.stow.base(&words).spawn();
    main.wait_until(
        "select count(*) from pg_stat_progress_basebackup where phase like 'streaming database%'",
        "1",
    );
    for _ in 0..3 {
        main.psql("insert into t select generate_series(1, 1000)");
        site.switch();
        main.psql("checkpoint");
    }
    let output = base.wait();
    assert_eq!(output.status.code(), Some(0), "{output}");
    let [first, last] = ends(&site.stow.stored(&output));
    assert!(
        first[0] < last[0] && first[1] != last[1],
        "{first:?} {last:?}"
    );
    comes_back(&site, "stream");
    let sessions = "select count(*) from pg_stat_replication";
    main.wait_until(sessions, "1");

    let tool = &site.stow.tool;
    // Its repository lies on the server's own disk.
    let check = tool.command(&["check"]).fails(3);
    for word in ["off: receive-wal brings it", "arrived in repository"] {
        assert!(check.stdout.contains(word), "no {word:?} in {check}");
    }
    for name in ["archive_mode", "archive_command"] {
        tool.command(&["monitor", "--only", name]).ok();
    }
    tool.command(&["verify", "--all", "--wal"]).ok();
    stop(&site, receiver);
    tool.command(&["check", "--wal-timeout", "1s"])
        .fails(1)
        .stdout_contains("nobody receives through slot pgstow");
    main.psql("select pg_drop_replication_slot('pgstow')");
    site.stow
        .base(&[])
        .fails(1)
        .stderr_contains("archive_mode is off")
        .stderr_contains("receive-wal");
}

/// Its host has no private key.
#[test]
fn an_encrypted_one_is_known_by_what_its_header_tells() {
    let site = Site::build(pg(17), |_, stow| stow.encrypted());
    let config = site.stow.tool.config_file();
    let known = fs::read_to_string(config).unwrap();
    let file = keys::identity_file(&site.scratch);
    let named = format!(", identity_file = \"{}\"", file.display());
    assert!(known.contains(&named), "{known}");
    fs::write(config, known.replace(&named, "")).unwrap();
    let receiver = receive(&site);
    site.stow.backup(&["--full"]);
    fs::write(config, known).unwrap();
    comes_back(&site, "copy");
    stop(&site, receiver);
}

#[test]
fn what_a_copy_of_the_server_stored_does_not_count() {
    let site = Site::start(pg(16));
    let receiver = site.receive(&[]);
    site.wait_for_stored(&site.switch());
    stop(&site, receiver);
    let output = site
        .stow
        .base(&["--full", "--wal-timeout", "0s"])
        .expect_warning("nobody receives through slot pgstow")
        .fails(1)
        .stderr_contains("not restorable yet");
    let id = site.stow.folders().remove(0);
    let finish = ["--finish", &id];
    let folder = site.stow.root().join("main/base").join(&id);
    let pending = fs::read(folder.join("pending.json")).unwrap();
    let pending: Value = serde_json::from_slice(&pending).unwrap();
    let segment = pending["start_segment"].as_str().unwrap();
    assert_eq!(segment, pending["stop_segment"], "{output}");

    // Of the right name, system and place, and other bytes behind the last record.
    let own = site.stow.cluster.data_dir().join("pg_wal").join(segment);
    let mut bytes = fs::read(own).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let receiver = site.receive(&[]);
    site.wait_for_stored(segment);
    stop(&site, receiver);
    let stored = site.stow.wal_object(segment);
    let own = fs::read(&stored).unwrap();
    fs::write(&stored, zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
    site.stow
        .base(&finish)
        .fails(1)
        .stderr_contains(&format!("{segment} there has other bytes"));
    fs::write(&stored, own).unwrap();
    site.stow.base(&finish).ok();
    assert_eq!(site.stow.backups()[0]["state"], "complete");
}
