//! `list`, `verify` and `check` say the same of what is missing: none of them says that all is
//! well while another one names a loss.

mod checked;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::harness::{Scratch, Shutdown, Stored, Stow, output::Output, pg, user};

/// Takes an object out of the repository; gives where it was and where it is now.
fn lose(scratch: &Scratch, object: PathBuf) -> [PathBuf; 2] {
    let aside = scratch.join("lost").join(object.file_name().unwrap());
    fs::create_dir_all(aside.parent().unwrap()).unwrap();
    rename(&object, &aside);
    [object, aside]
}

fn put_back([object, aside]: [PathBuf; 2]) {
    rename(&aside, &object);
}

/// From one file system to another, too.
fn rename(from: &Path, to: &Path) {
    user::run_ok(Command::new("mv").arg("-n").arg(from).arg(to));
}

fn stop_segment(backup: &Stored) -> String {
    backup.json()["stop_segment"].as_str().unwrap().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn a_backup_that_lost_its_own_wal_is_not_all_right() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let first = stow.backup(&[]);
    let alone = stow.backup(&["--standalone"]);
    let newest = stow.backup(&[]);
    stow.cluster.switch_wal();
    let verify = |words: &[&str]| stow.tool.command(&[&["verify"], words].concat());
    drop(verify(&["--all"]).ok());

    let segment = stop_segment(&newest);
    let lost = lose(&scratch, stow.wal_object(&segment));
    let named = format!("WAL {segment}: is not in the repository");
    for words in [&[][..], &[newest.id()], &["--all", "--wal"]] {
        drop(verify(words).fails(3).stdout_contains(&named));
    }
    let listed = stow.tool.command(&["list"]).ok();
    drop(listed.stdout_contains("NOT RESTORABLE"));
    drop(verify(&[first.id()]).ok());
    put_back(lost);

    // One that holds its WAL needs none of the archive's.
    let lost = lose(&scratch, stow.wal_object(&stop_segment(&first)));
    drop(verify(&[alone.id()]).ok());
    drop(verify(&[first.id()]).fails(3));
    put_back(lost);
    drop(verify(&["--all", "--wal"]).ok());
}

#[test]
fn a_system_without_its_registration_is_named() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    let backup = stow.backup(&[]);
    let system = text(&backup.json()["system_id"]);
    let file = stow.root().join(format!("main/systems/{system}.json"));
    let pending = backup.object("pending.json");
    let whole = |code: i32| stow.tool.command(&["verify", "--all", "--wal"]).fails(code);
    drop(whole(0));
    let lost = lose(&scratch, file.clone());
    let named = format!("{} is missing: restore-wal can't read", file.display());
    let names = |output: Output| {
        drop(
            output
                .stdout_contains(&named)
                .stdout_contains("pgstow init"),
        )
    };

    names(stow.tool.command(&["list"]).ok());
    let listed = stow.list()["unregistered"][0].clone();
    assert_eq!(text(&listed["system_id"]), system);
    assert_eq!(listed["backups"], serde_json::json!([backup.id()]));
    let named = format!("{}: is missing: restore-wal can't read", file.display());
    let names = |output: Output| {
        drop(
            output
                .stdout_contains(&named)
                .stdout_contains("pgstow init"),
        )
    };
    names(whole(3).stdout_contains(&format!("{} can't be restored at all", backup.id())));
    names(stow.tool.command(&["verify", "--wal"]).fails(3));
    names(stow.tool.command(&["verify"]).fails(3));
    // One that can't be sealed now is no reason to list nothing.
    fs::rename(backup.object("backup.json"), &pending).unwrap();
    let listed = stow.tool.command(&["list"]).ok().stdout_contains("pending");
    drop(listed.stdout_contains("is not registered"));
    fs::rename(&pending, backup.object("backup.json")).unwrap();

    // WAL alone is named too.
    let folder = lose(&scratch, backup.folder().to_owned());
    names(stow.tool.command(&["verify", "--wal"]).fails(3));
    put_back(folder);
    // As the hint says; or by putting it back.
    stow.tool.command(&["init"]).ok();
    drop(whole(0));
    fs::remove_file(&file).unwrap();
    put_back(lost);
    drop(whole(0));
}

#[test]
fn what_does_not_belong_is_named() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let backup = stow.backup(&[]);
    let segment = stow.cluster.switch_wal();
    let system = text(&backup.json()["system_id"]);
    let whole = |code: i32| stow.tool.command(&["verify", "--all", "--wal"]).fails(code);
    drop(whole(0));
    let stray = |place: PathBuf, code: i32, words: &[&str], what: &str| {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "stray").unwrap();
        let found = stow
            .tool
            .command(&[&["verify"], words].concat())
            .fails(code);
        if code == 3 {
            let named = found.stdout.lines().find(|line| line.contains(what));
            let folder = place.parent().unwrap().display().to_string();
            assert!(named.is_some_and(|line| line.contains(&folder)), "{found}");
        }
        fs::remove_file(&place).unwrap();
        // Some folders were there before.
        let _ = fs::remove_dir(place.parent().unwrap());
    };
    let all = ["--all", "--wal"];
    let last = backup.parts().pop().unwrap();
    let last = last.file_name().unwrap().to_str().unwrap().to_owned();
    let next = last.replace("part-0", "part-1");
    let takes = "who unpacks by hand would take it";
    stray(backup.object(&next), 3, &[], takes);
    stray(backup.object("config.tar"), 3, &[backup.id()], takes);
    stray(
        backup.object("notes.txt"),
        3,
        &[],
        "doesn't belong to this backup",
    );
    stray(
        backup.object("deeper/part-0001.tar"),
        3,
        &[],
        "doesn't belong",
    );
    let (base, wal) = (stow.root().join("main/base"), stow.root().join("main/wal"));
    stray(
        base.join("20200101/part-0001.tar.zst"),
        3,
        &all,
        "is no backup",
    );
    stray(
        base.join("20200101T000000Z-full/notes.txt"),
        3,
        &all,
        "is no backup",
    );
    stray(base.join("notes.txt"), 3, &all, "is no backup");
    stray(wal.join("notes.txt"), 3, &["--wal"], "is no system's WAL");
    stray(wal.join("main/notes.txt"), 3, &all, "is no system's WAL");
    let wal = wal.join(system);
    stray(wal.join("notes.txt"), 3, &all, "is no WAL file");
    // Under the right name in the wrong place restore-wal doesn't find it.
    stray(
        wal.join(format!("{segment}.zst")),
        3,
        &["--wal"],
        "is no WAL file",
    );
    stray(wal.join("live/1"), 3, &["--wal"], "is no WAL file");
    // What is being written.
    stray(wal.join(".half.1-2.tmp"), 0, &all, "");
    stray(backup.object(".part-0009.tar.zst.1-2.tmp"), 0, &all, "");
    drop(whole(0));
}

/// A server that was promoted, and a segment of its old timeline from far ahead: the timeline that
/// it is on now loses nothing.
#[test]
fn a_stray_segment_of_a_timeline_that_was_left_costs_the_new_one_nothing() {
    let scratch = Scratch::new();
    let mut stow = Stow::build(&scratch, pg(17))
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .start();
    let backup = stow.backup(&[]);
    stow.cluster.stop(Shutdown::Fast);
    fs::write(stow.cluster.data_dir().join("standby.signal"), "").unwrap();
    stow.cluster.start();
    stow.cluster.promote();
    stow.cluster.switch_wal();
    drop(stow.tool.command(&["verify", "--wal"]).ok());

    let own = stow.wal_object(&stop_segment(&backup));
    let folder = stow
        .root()
        .join("main/wal")
        .join(text(&backup.json()["system_id"]));
    let folder = folder.join("0000000100000000");
    // What its bytes are is another finding.
    fs::copy(&own, folder.join("0000000100000000000000F0.zst")).unwrap();
    user::own(&folder.join("0000000100000000000000F0.zst"));
    let windows = stow.backups()[0]["windows"].as_array().unwrap().clone();
    let missing: Vec<&Value> = windows.iter().map(|window| &window["missing"]).collect();
    assert_eq!(
        (missing.len(), missing[1]),
        (2, &Value::Null),
        "{windows:?}"
    );
    let first = text(&missing[0]["first_segment"]);

    let verified = stow
        .tool
        .command(&["--json", "verify", "--wal"])
        .fails(3)
        .json();
    let affected = &verified["wal"][0]["affected"];
    let only = format!(
        "{} can be restored to any moment before {first} on timeline 1, and to none after it",
        backup.id()
    );
    assert_eq!(*affected, serde_json::json!([only]));
}
