//! How often a store is asked.

use std::{fs, thread, time::Duration};

use pgstow::repo::layout::Layout;

use super::{behind_proxy, requests, stow_in};
use crate::harness::{Scratch, Shutdown, bucket::Bucket, pg};

/// What is stored once and never changes is asked for once an hour.
#[test]
fn a_segment_costs_one_request() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let scratch = Scratch::new();
    let mut stow = stow_in(&bucket, &scratch, &of_bucket, pg(17));
    let system = stow
        .cluster
        .psql("select system_identifier from pg_control_system()");
    stow.cluster.switch_wal();
    let mut segment = String::new();
    let sent = requests(&proxy, || segment = stow.cluster.switch_wal());
    let object = format!(
        "/backups/pg/main/wal/{}/{}/{segment}.zst",
        system,
        &segment[..16]
    );
    assert_eq!(sent, [format!("PUT {object} HTTP/1.1")]);

    // A timeline whose history must be there, too.
    stow.cluster.stop(Shutdown::Fast);
    fs::write(stow.cluster.data_dir().join("standby.signal"), "").unwrap();
    stow.cluster.start();
    stow.cluster.promote();
    stow.cluster.switch_wal();
    let sent = requests(&proxy, || segment = stow.cluster.switch_wal());
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(
        sent[0].starts_with("PUT ") && segment.starts_with("00000002"),
        "{sent:?}"
    );

    let target = scratch.folder("fetched").join(&segment);
    let fetch = [
        "restore-wal",
        "--system-id",
        &system,
        &segment,
        target.to_str().unwrap(),
    ];
    let sent = requests(&proxy, || drop(stow.tool.command(&fetch).ok()));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].starts_with("GET ") && target.exists(), "{sent:?}");

    // What is kept of it is damaged, or too old: it is asked for again.
    let kept = || fs::read_dir(scratch.join("state/main/remembered")).unwrap();
    assert_eq!(kept().count(), 3, "the repository, the system, a history");
    for file in kept() {
        fs::write(file.unwrap().path(), "{\"text\":").unwrap();
    }
    let sent = requests(&proxy, || drop(stow.cluster.switch_wal()));
    assert_eq!(sent.len(), 4, "{sent:?}");
    for file in kept() {
        let path = file.unwrap().path();
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        json["seen"] = "2026-01-01T00:00:00Z".into();
        fs::write(path, json.to_string()).unwrap();
    }
    let sent = requests(&proxy, || drop(stow.cluster.switch_wal()));
    assert_eq!(sent.len(), 4, "{sent:?}");
    // Another repository may be at its place from now on.
    thread::sleep(Duration::from_millis(10));
    stow.tool.command(&["init"]).ok();
    assert!(!scratch.join("state/main/remembered").exists());
}

/// What waits is stored ahead by one process, and each call then believes what that noted.
#[test]
fn a_segment_that_is_stored_ahead_costs_one_request_too() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let scratch = Scratch::new();
    let mut stow = stow_in(&bucket, &scratch, &of_bucket, pg(18));
    // From here on the store is known.
    stow.cluster.switch_wal();
    stow.cluster.set("archive_command", "false");
    for _ in 0..8 {
        let message = "select pg_logical_emit_message(false, 'test', '')";
        stow.cluster.psql(message);
        stow.cluster.psql("select pg_switch_wal()");
    }
    // Which ends the segment that it writes last, too.
    stow.cluster.stop(Shutdown::Fast);
    let data_dir = stow.cluster.data_dir();
    let status = fs::read_dir(data_dir.join("pg_wal/archive_status")).unwrap();
    let ready = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".ready").map(str::to_owned)
    };
    let mut names: Vec<String> = status.filter_map(ready).collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    let archive_wal = |name: &str| {
        let path = format!("pg_wal/{name}");
        let call = stow.tool.command(&["--json", "archive-wal", &path]);
        let call = call.current_dir(data_dir).leave_children();
        call.ok().json()
    };
    let sent = requests(&proxy, || {
        let ahead = names
            .iter()
            .filter(|name| archive_wal(name)["acknowledged"] == true);
        assert_eq!(ahead.count(), names.len() - 1);
    });
    let puts: Vec<&str> = sent
        .iter()
        .map(|line| line.strip_prefix("PUT ").expect(line))
        .collect();
    assert_eq!(puts.len(), names.len(), "{sent:#?}");
    for (put, name) in puts.iter().zip(&names) {
        assert!(put.contains(&format!("/{name}.zst ")), "{sent:#?}");
    }

    // A minute later the store is asked again, and another repository than the one that has it always.
    let (note, last) = (
        scratch.join("state/main/stored-ahead.json"),
        names.last().unwrap(),
    );
    let noted = fs::read_to_string(&note).unwrap();
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json: serde_json::Value = serde_json::from_str(&noted).unwrap();
        change(&mut json["segments"][last.as_str()]);
        fs::write(&note, json.to_string()).unwrap();
    };
    let methods = |acknowledged: bool| {
        let sent = requests(&proxy, || {
            assert_eq!(archive_wal(last)["acknowledged"], acknowledged);
        });
        let method = |line: &String| line.split(' ').next().unwrap().to_owned();
        sent.iter().map(method).collect::<Vec<_>>()
    };
    change(&|ack| ack["stored"] = serde_json::json!({"another": 1}));
    assert_eq!(methods(false)[0], "PUT");
    let old = |ack: &mut serde_json::Value| ack["since"] = "2026-01-01T00:00:00Z".into();
    change(&old);
    assert_eq!(methods(true), ["HEAD"]);
    let store = super::open(&bucket);
    let all = Layout::new("main".parse().unwrap()).all();
    let mut objects = store
        .list(&all, None)
        .unwrap()
        .map(|info| info.unwrap().name);
    let object = objects.find(|name| name.file_name().starts_with(last.as_str()));
    store.delete(&object.unwrap()).unwrap();
    assert_eq!(methods(false), ["HEAD", "PUT"]);
}

/// However many there are.
#[test]
fn a_backup_reads_what_is_said_of_each_other_once() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let scratch = Scratch::new();
    let stow = stow_in(&bucket, &scratch, &of_bucket, pg(17));
    let base = |words: &[&str]| {
        let mut id = String::new();
        let sent = requests(&proxy, || {
            let told = stow.base(words).ok().json();
            id = told["backup"]["id"].as_str().unwrap().to_owned();
        });
        (id, sent)
    };
    let ids = [(); 3].map(|()| base(&["--full"]).0);
    let reads = |sent: &[String]| {
        ids.each_ref().map(|id| {
            let description = format!("/base/{id}/backup.json ");
            let read = |line: &&String| line.starts_with("GET ") && line.contains(&description);
            sent.iter().filter(read).count()
        })
    };
    let (_, sent) = base(&["--full"]);
    assert_eq!(reads(&sent), [0; 3], "{sent:#?}");
    let (_, sent) = base(&["--incremental"]);
    assert_eq!(reads(&sent), [1; 3], "{sent:#?}");
}

/// What goes goes many at once.
#[test]
fn a_cleanup_deletes_many_objects_by_one_request() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let scratch = Scratch::new();
    let stow = stow_in(&bucket, &scratch, &of_bucket, pg(16));
    for _ in 0..3 {
        stow.base(&["--full"]).ok();
        for _ in 0..10 {
            stow.cluster.switch_wal();
        }
    }
    let before = objects(&bucket);
    let cleanup = || {
        let cleanup = stow.tool.command(&["cleanup"]);
        cleanup
            .env("PGSTOW_REPO_RETENTION_FULL", "1")
            .env("PGSTOW_REPO_RETENTION_MIN", "1")
            .ok();
    };
    let sent = requests(&proxy, cleanup);
    let deleted = before - objects(&bucket);
    assert!(deleted > 35, "only {deleted} of {before} objects are gone");
    let deletes = sent.iter().filter(|line| line.contains("?delete"));
    let deletes = deletes.count();
    // For each of two backups its description, its data, its claim; WAL; leases, each by itself.
    assert!(
        (3..=12).contains(&deletes),
        "{deletes} for {deleted}: {sent:#?}"
    );
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}

/// How many there are, but for leases.
fn objects(bucket: &Bucket) -> usize {
    let listed = bucket.ask("GET /backups?list-type=2&max-keys=1000 HTTP/1.1\r\n");
    let keys = listed.split("<Key>").skip(1);
    keys.filter(|key| !key.contains("/locks/")).count()
}
