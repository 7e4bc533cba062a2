//! Options of `base`, and what it costs.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::harness::{Cluster, FullDisk, Scratch, Stow, pg};

#[test]
fn label_annotations_and_rate() {
    for method in ["stream", "local"] {
        what_was_asked_for_is_done(method);
    }
}

fn what_was_asked_for_is_done(method: &str) {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(18))
        .setting("max_rate = \"8MB\"")
        .start();
    let begun = Instant::now();
    let backup = stow.backup(&[
        "--method",
        method,
        "--label",
        "it's the \"first\"",
        "--annotate",
        "why=before = after",
        "--annotate",
        "ticket=7",
    ]);
    let took = begun.elapsed();
    let json = &stow.backups()[0]["backup"];
    assert_eq!(json["label"], "it's the \"first\"");
    assert_eq!(json["annotations"]["why"], "before = after");
    assert_eq!(json["annotations"]["ticket"], "7");
    for bad in [["--label", "two\nlines"], ["--annotate", "why=two\nlines"]] {
        drop(stow.base(&bad).fails(2).stderr_contains("line breaks"));
    }
    let copy = scratch.join("copy");
    backup.unpack(&copy);
    let label = fs::read_to_string(copy.join("backup_label")).unwrap();
    assert!(label.contains("LABEL: it's the \"first\"\n"), "{label}");

    // A new cluster has some 22 MB.
    let rate = json["bytes"].as_f64().unwrap() / took.as_secs_f64();
    assert!(rate < 1.3 * f64::from(8 << 20), "{rate} bytes a second");

    let begun = Instant::now();
    stow.backup(&["--max-rate", "1GB", "--method", method]);
    assert!(begun.elapsed() < took, "the option outranks the setting");
}

/// As a cron job runs it, whose every word is a mail.
#[test]
fn quiet_is_silent_when_all_is_well() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 512 << 20);
    let stow = Stow::build(&scratch, pg(16)).root(disk.path()).start();
    let (base, quiet) = (["base", "--checkpoint", "fast"], "--quiet");
    for words in [&base[..], &["verify", "--all", "--wal"], &["check"]] {
        let loud = stow.tool.command(words).ok();
        assert!(!loud.stdout.is_empty(), "{words:?}");
        let silent = stow.tool.command(&[words, &[quiet]].concat()).ok();
        assert_eq!((&*silent.stdout, &*silent.stderr), ("", ""), "{words:?}");
    }
    let part = stow.backup(&[]).parts().pop().unwrap();
    fs::write(part, "damaged").unwrap();
    let damaged = stow.tool.command(&["verify", quiet]).fails(3);
    drop(damaged.stdout_contains("part-0001"));
}

/// Many files cost little memory: the rule of the design is 32 MiB, 16 MiB a worker and 200
/// bytes a file, on top of what the program and its libraries take.
#[test]
fn memory_stays_bounded() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let tables = if long { 20_000 } else { 2_000 };
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17))
        .cluster(|cluster| cluster.conf("max_locks_per_transaction", "1000"))
        .repo("part_size = \"64MB\"")
        .start();
    make_tables(&stow.cluster, tables);
    // Much data beside the many files, so that all queues are full.
    let rows = "select n, md5(n::text) from generate_series(1, 1000000) n";
    stow.cluster.psql(&format!("create table large as {rows}"));

    let bound = |files| (32 << 20) + 2 * (16 << 20) + 200 * files;
    let mut files = 0;
    for (method, compression) in [("stream", "zstd:1"), ("local", "zstd:1"), ("local", "none")] {
        let running = stow
            .base(&["--jobs", "2", "--method", method])
            .env("PGSTOW_REPO_COMPRESSION", compression)
            .limit(Duration::from_secs(600))
            .spawn();
        let (output, peak) = running.watch();
        assert!(output.status.success(), "{output}");
        let backup = stow.stored(&output);
        files = backup.json()["files"].as_u64().unwrap();
        assert!(files > tables);
        let bound = bound(files);
        println!("{method} {compression}: {files} files: {peak} bytes of {bound}");
        assert!(
            peak < bound,
            "{method} {compression}: {peak} bytes, {bound} are allowed"
        );

        let copy = scratch.join(&format!("{method}-{compression}"));
        backup.unpack(&copy);
        stow.cluster.pg.verifybackup(&copy).unwrap();
        let relations = backup.text("relations.json.zst");
        assert!(relations.contains(&format!("\"t_{tables}\"")));
    }
    let bound = bound(files);
    let verify = stow.tool.command(&["verify", "--jobs", "2"]).spawn();
    let (output, peak) = verify.watch();
    assert!(output.status.success(), "{output}");
    println!("verify: {peak} bytes");
    assert!(peak < bound, "verify: {peak} bytes, {bound} are allowed");
}

fn make_tables(cluster: &Cluster, tables: u64) {
    for first in (1..=tables).step_by(1000) {
        let last = (first + 999).min(tables);
        cluster.psql(&format!(
            "do $$ begin for n in {first}..{last} loop
                execute format('create table t_%s as select %s as n', n, n);
             end loop; end $$"
        ));
    }
}

/// More than one segment file, mostly holes on disk; some minutes.
#[test]
fn a_relation_of_several_files() {
    // Just over the 1 GB of a segment file, or 3 GB: seven rows a page.
    let rows = match std::env::var_os("PGSTOW_TEST_LONG") {
        Some(_) => 2_800_000,
        None => 950_000,
    };
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    stow.cluster.psql(&format!(
        "create table large as select n, repeat('x', 1000) from generate_series(1, {rows}) n"
    ));
    let path = stow.cluster.psql("select pg_relation_filepath('large')");
    assert!(stow.cluster.data_dir().join(format!("{path}.1")).exists());
    let backup = stow.backup(&[]);
    // A file larger than part_size has a part of its own.
    assert!(backup.parts().len() > 2);
    let copy = scratch.join("copy");
    backup.unpack(&copy);
    stow.cluster.pg.verifybackup(&copy).unwrap();
}
