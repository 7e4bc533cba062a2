//! The safety valve `wal.drop_above`: what it gives up is known from then on.

use std::{fs, path::Path};

use super::{name_of, segments};
use crate::harness::{Archive, FullDisk, Scratch, Stow, pg, user::own};

fn noted(scratch: &Scratch) -> Option<serde_json::Value> {
    let text = fs::read_to_string(scratch.join("state/main/gaps.json")).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

fn gap_objects(root: &Path) -> Vec<String> {
    let wal = fs::read_dir(root.join("main/wal")).unwrap();
    let gaps = wal.map(|system| system.unwrap().path().join("gaps"));
    let names = gaps.filter_map(|gaps| fs::read_dir(gaps).ok()).flatten();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Writes a segment and has the server go on to the next one.
fn fill(stow: &Stow, segments: usize) {
    for _ in 0..segments {
        stow.cluster.psql("insert into t values (1)");
        stow.cluster.psql("select pg_switch_wal()");
    }
}

#[test]
fn it_notes_the_gap_before_it_gives_anything_up_and_every_repository_learns_of_it() {
    let scratch = Scratch::new();
    let truth = scratch.folder("truth");
    let stow = Stow::start(&scratch, pg(17));
    let check = || {
        stow.tool
            .command(&["--json", "check", "--wal-timeout", "60s"])
    };
    let config = stow.tool.config_file();
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, format!("wal.drop_above = \"64MB\"\n{text}")).unwrap();
    let archive_wal = stow.tool.shell("archive-wal %p");
    let command = format!("cp %p {}/%f && {archive_wal}", truth.display());
    stow.cluster.set("archive_command", &command);
    stow.cluster.reload();
    stow.cluster.psql("create table t (n int)");
    stow.cluster.switch_wal();
    stow.backup(&[]);

    // While storing works nothing goes, however much waits.
    let none = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'";
    stow.cluster.set("archive_command", "false");
    stow.cluster.reload();
    fill(&stow, 7);
    stow.cluster.set("archive_command", &command);
    stow.cluster.reload();
    stow.cluster.wait_until(none, "0");
    assert_eq!(noted(&scratch), None);
    assert_eq!(
        stow.list()["wal"][0]["given_up"].as_array().unwrap().len(),
        0
    );

    // Below the limit the valve is shut, and PostgreSQL is told the truth.
    let (root, away) = (stow.root(), scratch.join("away"));
    fs::rename(root, &away).unwrap();
    fill(&stow, 3);
    let failed = "select failed_count > 0 from pg_stat_archiver";
    stow.cluster.wait_until(failed, "t");
    assert_eq!(noted(&scratch), None);

    // Above it the oldest go, one after the other, as one gap.
    fill(&stow, 4);
    let waiting = "select count(*) <= 4 from pg_ls_archive_statusdir() where name like '%.ready'";
    stow.cluster.wait_until(waiting, "t");
    let notes = noted(&scratch).unwrap();
    let gaps = notes["gaps"].as_array().unwrap();
    let [gap] = &gaps[..] else {
        panic!("{notes}");
    };
    let (first, last) = (
        gap["first"].as_str().unwrap(),
        gap["last"].as_str().unwrap(),
    );
    assert!(first < last, "{gap}");
    assert!(stow.cluster.log().contains("is given up, not archived"));
    // Without the repository nothing else can be checked, but this can.
    let findings = check().fails(1).json()["findings"].to_string();
    assert!(
        findings.contains("is given up, and archiving has not worked since"),
        "{findings}"
    );

    // The repository learns of it before anything else is acknowledged.
    fs::rename(&away, root).unwrap();
    stow.cluster.reload();
    stow.cluster.wait_until(none, "0");
    let newest = "select last_archived_wal from pg_stat_archiver";
    let newest = stow.cluster.psql(newest);
    assert_eq!(gap_objects(root), [format!("{first}-{last}.json")]);
    assert_eq!(noted(&scratch), None);
    drop(stow.wal_object(&newest));
    let given_up = || stow.list()["wal"][0]["given_up"].clone();
    assert_eq!(given_up()[0]["first_segment"], first);
    assert_eq!(given_up()[0]["last_segment"], last);
    let findings = check().fails(1).json()["findings"].to_string();
    assert!(
        findings.contains("is given up, and missing in repository local"),
        "{findings}"
    );
    // Recovery is not led to believe that the archive ends here, whatever lies behind.
    let fetched = scratch.join("fetched");
    let fetch = |name: &str| {
        let words = ["restore-wal", name, fetched.to_str().unwrap()];
        let command = stow.tool.command(&words);
        command.current_dir(stow.cluster.data_dir())
    };
    drop(fetch(last).fails(126).stderr_contains("were given up"));
    drop(stow.tool.command(&["verify", "--wal"]).fails(3));

    // A segment that arrives after all outranks the gap.
    let copy = truth.join(last);
    drop(
        stow.tool
            .command(&["archive-wal", copy.to_str().unwrap()])
            .ok(),
    );
    drop(fetch(last).ok());
    assert_eq!(given_up().as_array().unwrap().len(), 1);
    assert_ne!(given_up()[0]["last_segment"], last);

    // From a full backup on all is well.
    stow.backup(&[]);
    let findings = check().spawn().wait().json()["findings"].to_string();
    assert!(!findings.contains("given up"), "{findings}");
}

/// Storing works, but slower than WAL comes: the server must live on.
#[test]
fn a_disk_that_is_nearly_full_is_not_filled_up() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd:1");
    let (main, truth) = segments(&scratch, &archive, 2);
    archive.register(&main);
    let disk = FullDisk::mount(&scratch, "pg_wal", 60 << 20);
    let status = disk.path().join("archive_status");
    fs::create_dir(&status).unwrap();
    // All of them younger than those that are there.
    for number in 100..170 {
        let name = format!("{:024X}.ready", (1_u128 << 64) + number);
        fs::write(status.join(name), "").unwrap();
    }
    for path in &truth {
        let copy = disk.path().join(name_of(path));
        fs::copy(path, &copy).unwrap();
        own(&copy);
        fs::write(status.join(format!("{}.ready", name_of(path))), "").unwrap();
    }
    let call = |path: &Path| {
        let path = disk.path().join(name_of(path));
        let words = ["--json", "archive-wal", path.to_str().unwrap()];
        let call = archive.tool.command(&words);
        call.current_dir(main.data_dir())
            .env("PGSTOW_WAL_DROP_ABOVE", "64MB")
            .env("PGSTOW_WAL_LOOK_AHEAD", "0")
    };
    let given_up = call(&truth[0]).expect_warning("the disk of pg_wal is nearly full");
    assert_eq!(given_up.ok().json()["given_up"], true);
    assert_eq!(
        noted(&scratch).unwrap()["gaps"][0]["first"],
        name_of(&truth[0])
    );
    // With room it isn't.
    fs::remove_file(status.join(format!("{}.ready", name_of(&truth[0])))).unwrap();
    disk.resize(200 << 20);
    assert_eq!(call(&truth[1]).ok().json()["given_up"], false);
    let gap = format!("{0}-{0}.json", name_of(&truth[0]));
    assert_eq!(
        archive.stored(),
        [gap, format!("{}.zst", name_of(&truth[1]))]
    );
}

#[test]
fn without_a_note_nothing_is_given_up() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let config = stow.tool.config_file();
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, format!("wal.drop_above = \"64MB\"\n{text}")).unwrap();
    stow.cluster.psql("create table t (n int)");
    stow.cluster.switch_wal();
    let archived = stow
        .cluster
        .psql("select archived_count from pg_stat_archiver");
    fs::rename(stow.root(), scratch.join("away")).unwrap();
    // A file where the folder must be.
    let state = scratch.join("state/main");
    let _ = fs::remove_dir_all(&state);
    fs::write(&state, "").unwrap();
    fill(&stow, 8);
    let failed = "select failed_count > 2 from pg_stat_archiver";
    stow.cluster.wait_until(failed, "t");
    assert!(
        stow.cluster.log().contains("can't give anything up"),
        "{}",
        stow.cluster.log()
    );
    assert_eq!(
        stow.cluster
            .psql("select archived_count from pg_stat_archiver"),
        archived
    );
}
