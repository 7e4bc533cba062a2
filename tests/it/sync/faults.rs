//! A repository elsewhere is filled whatever happens on the way.

use std::{fs, path::Path};

use super::{Site, count};
use crate::{
    harness::{Scratch, Sshd, keys, pg, proxy::Fault},
    stores::{behind_proxy, requests, with_faults},
};

#[test]
fn a_sync_outlives_a_fault_of_any_of_its_requests() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let lines = format!("compression = \"zstd:1\"\n{}", bucket.settings(&of_bucket));
    let site = Site::at(pg(17), &lines, Some(bucket.url));
    site.fill();
    with_faults("sync", &proxy, |round| {
        site.main().psql(&format!(
            "update t set body = 'round {round}' where id % 900 = 0"
        ));
        site.stow.backup(&["--incremental"]);
        let told = site.sync(0);
        assert!(count(&told, "backups") > 0, "{told:#}");
    });
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    assert_eq!(site.sync(0)["findings"].as_array().unwrap().len(), 0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}

/// Nobody here can look into it, and no description tells its hash.
#[test]
fn an_altered_answer_gives_no_encrypted_segment_its_name() {
    if keys::are_wanted() {
        return;
    }
    let (of_bucket, of_keys) = (Scratch::new(), Scratch::new());
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let lines = format!(
        "compression = \"zstd:1\"\n{}\n{}",
        keys::setting(&of_keys),
        bucket.settings(&of_bucket)
    );
    let site = Site::at(pg(17), &lines, Some(bucket.url));
    let rows = "create table noise as select md5(random()::text) from generate_series(1, 5000)";
    site.main().psql(rows);
    let segment = site.main().switch_wal();
    site.main().switch_wal();
    site.sync(0);
    let (third, _) = site.third_without_key(&of_keys);
    let sync = |code: i32| {
        let words = ["--repo", "third", "--json", "sync", "--from", "offsite"];
        site.pgstow(&words).fails(code).json()["repositories"][0].clone()
    };
    sync(0);
    let copy = site.stow.wal_object_in(&third, &segment);
    let whole = fs::read(&copy).unwrap();
    let again = |code: i32| {
        fs::remove_file(&copy).unwrap();
        sync(code)
    };
    let is_of_it = |line: &String| line.starts_with("GET ") && line.contains(&segment);
    let sent = requests(&proxy, || drop(again(0)));
    let reads: Vec<usize> = (1..)
        .zip(&sent)
        .filter(|(_, line)| is_of_it(line))
        .map(|(number, _)| number)
        .collect();
    // Behind the header, of which age itself tells whether it is whole.
    let [.., first, second] = reads[..] else {
        panic!("not read twice: {sent:#?}");
    };
    for number in [first, second] {
        proxy.fail(number, Fault::Alter);
        let told = again(3);
        let seen = proxy.seen();
        assert!(is_of_it(&seen[number - 1]), "{seen:#?}");
        assert_eq!(count(&told, "findings"), 1, "{told:#}");
        assert!(!Path::new(&copy).exists(), "read {number}");
        proxy.fail(usize::MAX, Fault::Cut);
        sync(0);
        assert!(fs::read(&copy).unwrap() == whole);
    }
}

/// What is there is read once, from however many repositories it is filled.
#[test]
fn each_dump_there_is_asked_for_once() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let lines = format!("compression = \"zstd:1\"\n{}", bucket.settings(&of_bucket));
    let site = Site::at(pg(17), &lines, Some(bucket.url));
    let second = site.scratch.folder("second");
    let section = format!(
        "[repo.second]\nurl = \"{}\"\n[cluster.main]",
        second.display()
    );
    site.configure("[cluster.main]", &section);
    site.pgstow(&["--repo", "second", "init"]).ok();
    site.fill();
    for _ in 0..2 {
        site.pgstow(&["dump", "postgres", "--no-globals"]).ok();
    }
    site.sync(0);
    let sent = requests(&proxy, || assert_eq!(site.sync(0)["bytes"], 0));
    let read = |line: &&String| line.contains("/dumps/") && line.contains(".json HTTP");
    let read: Vec<&String> = sent.iter().filter(read).collect();
    assert_eq!(read.len(), 2, "{sent:#?}");
}

#[test]
fn two_that_begin_at_once_have_ids_of_their_own() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    site.configure("wal_mode = \"sync\"", "wal_mode = \"push\"");
    site.main().psql("create table t as select 1");
    // From now on WAL goes to both.
    site.main().switch_wal();
    let base = |repo: &str| {
        let words = [
            "--repo",
            repo,
            "--json",
            "base",
            "--full",
            "--checkpoint",
            "fast",
        ];
        site.pgstow(&words).spawn()
    };
    let running = ["local", "offsite"].map(base);
    let seconds = running.map(|run| {
        let output = run.wait();
        assert_eq!(output.status.code(), Some(0), "{output}");
        let id = output.json()["backup"]["id"].as_str().unwrap().to_owned();
        id[13..15].parse::<u32>().unwrap()
    });
    assert_eq!(seconds.map(|second| second % 2), [0, 1]);
    // Each repository gets the other's.
    for (to, from) in [("offsite", "local"), ("local", "offsite")] {
        let sync = ["--repo", to, "--json", "sync", "--from", from];
        let told = site.pgstow(&sync).ok().json();
        assert_eq!(count(&told["repositories"][0], "backups"), 1, "{told:#}");
    }
}

#[test]
fn another_host_is_filled_and_restored_from() {
    let of_host = Scratch::new();
    let sshd = Sshd::start(&of_host);
    let lines = format!("compression = \"zstd:1\"\n{}", sshd.settings());
    let site = Site::at(pg(18), &lines, Some(&sshd.url()));
    let [full, _] = site.fill();
    site.pgstow(&["dump", "postgres"]).ok();
    let dump = site.main().dump("postgres");
    let told = site.sync(0);
    assert_eq!((count(&told, "backups"), count(&told, "dumps")), (2, 2));
    assert_eq!(site.sync(0)["bytes"], 0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    // What is damaged there is replaced there.
    let copied = sshd.folder.join("main/base").join(full.id());
    super::flip(&copied.join("part-0001.tar.zst"));
    site.offsite(&["verify", "--all"]).fails(3);
    site.offsite(&["verify", "--all", "--repair"]).ok();
    site.offsite(&["verify", "--all"]).ok();
    site.comes_back(&[], &dump);
}
