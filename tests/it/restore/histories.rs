//! A history file that is damaged or missing: everything else is listed and restored, and no
//! older timeline is taken in silence.

use std::fs;

use serde_json::Value;

use super::copy::{copy, open, opened, restore, rows};
use crate::harness::{Scratch, Shutdown, Stow, archive::stored_in, pg, user};

#[test]
fn what_needs_it_is_refused_and_the_rest_works() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(17));
    stow.cluster.psql("create table t as select 1 as n");
    let first = stow.backup(&[]);
    stow.cluster.psql("insert into t values (2)");
    let lsn = stow.cluster.psql("select pg_current_wal_lsn()");
    stow.cluster.psql("insert into t values (3)");
    stow.cluster.switch_wal();
    stow.cluster.stop(Shutdown::Fast);
    let bindir = stow.cluster.pg.bindir.display().to_string();
    let back = [
        "restore",
        "--bindir",
        &bindir,
        "--replace",
        "--target-lsn",
        &lsn,
    ];
    stow.tool.command(&back).ok();
    stow.cluster.start();
    stow.cluster.wait_until("select pg_is_in_recovery()", "f");
    stow.cluster.psql("insert into t values (4)");
    stow.cluster.switch_wal();
    // Rows of the timeline that was left can't be told from those of the new one by their number.
    let history = stow.wal_object("00000002.history");
    let whole = fs::read(&history).unwrap();

    for damage in [Some(&b"1\tnowhere\n"[..]), Some(b""), None] {
        match damage {
            Some(bytes) => fs::write(&history, bytes).unwrap(),
            None => fs::remove_file(&history).unwrap(),
        }
        let bad = history.display().to_string();
        let list = stow.tool.command(&["list"]).ok();
        list.stdout_contains("HISTORY OF TIMELINE 2")
            .stdout_contains(&bad);
        let verify = stow.tool.command(&["verify", "--wal"]).fails(3);
        drop(verify.stdout_contains(&bad));
        let noted = &stow.list()["wal"][0]["bad_histories"];
        assert_eq!(noted[0]["timeline"], 2);
        assert_eq!(noted[0]["damage"] == Value::Null, damage.is_none());
        assert_eq!(stow.backups()[0]["windows"].as_array().unwrap().len(), 1);

        for wish in [&[][..], &["--target-timeline", "2"], &[first.id()]] {
            let (refused, to) = restore(&scratch, &stow, "refused", wish);
            refused
                .fails(1)
                .stderr_contains(&bad)
                .stderr_contains("pg_wal");
            assert!(!to.exists());
        }
        let name = format!("old-{}", damage.map_or(9, <[u8]>::len));
        let old = ["--target-timeline", "1"];
        restore(&scratch, &stow, &name, &old).0.ok();
        let old = open(copy(&scratch, &stow, &name));
        assert_eq!(rows(&old), "1,2,3");
        // What is damaged still has its number, which no other timeline gets.
        let own = old.psql("select timeline_id from pg_control_checkpoint()");
        assert_eq!(own, if damage.is_some() { "3" } else { "2" });
    }
    fs::write(&history, whole).unwrap();
    restore(&scratch, &stow, "new", &[]).0.ok();
    assert_eq!(rows(&open(copy(&scratch, &stow, "new"))), "1,2,4");

    // A backup of the timeline itself needs it too: the server asks for the file of the timeline that
    // it is told.
    let second = stow.backup(&[]);
    stow.cluster.switch_wal();
    fs::remove_file(&history).unwrap();
    for wish in [&[][..], &[second.id()], &["--target-timeline", "current"]] {
        let (refused, to) = restore(&scratch, &stow, "refused", wish);
        refused.fails(1).stderr_contains("00000002.history");
        assert!(!to.exists());
    }
    // The next one stores it again.
    stow.backup(&[]);
    restore(&scratch, &stow, "again", &[]).0.ok();
    assert_eq!(rows(&open(copy(&scratch, &stow, "again"))), "1,2,4");
}

/// PostgreSQL offers a history file once, when the timeline begins: a copy that archives only later
/// never does.
#[test]
fn a_copy_that_archives_later_brings_its_history_along() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .start();
    stow.cluster.psql("create table t as select 1 as n");
    let backup = stow.backup(&[]);
    stow.cluster.psql("insert into t values (2)");
    stow.cluster.switch_wal();

    let mut later = opened(&scratch, &stow, "later", &[]);
    later.psql("insert into t values (3)");
    assert_eq!(later.psql("show archive_mode"), "off");
    later.set("archive_mode", "on");
    later.set("archive_command", &stow.tool.shell("archive-wal %p"));
    later.restart();
    assert!(!stored_in(stow.root()).contains(&"00000002.history".to_owned()));
    later.psql("insert into t values (4)");
    let segment = later.switch_wal();
    assert!(segment.starts_with("00000002"));

    let windows = stow.backups()[0]["windows"].clone();
    let timelines = windows.as_array().unwrap().iter();
    let timelines: Vec<&Value> = timelines.map(|window| &window["timeline"]).collect();
    assert_eq!(timelines, [1, 2]);
    let new = opened(&scratch, &stow, "new", &[backup.id()]);
    assert_eq!(rows(&new), "1,2,3,4");

    // Every repository gets it.
    let second = scratch.folder("second");
    let config = stow.tool.config_file();
    let text = fs::read_to_string(config).unwrap();
    let url = second.display();
    fs::write(config, format!("{text}\n[repo.second]\nurl = \"{url}\"\n")).unwrap();
    user::own(config);
    stow.tool.command(&["init"]).ok();
    let archive = |name: &str| {
        let path = format!("pg_wal/{name}");
        let archive = stow.tool.command(&["archive-wal", &path]);
        archive.current_dir(later.data_dir())
    };
    archive(&segment).ok();
    let both = ["00000002.history".to_owned(), format!("{segment}.zst")];
    assert_eq!(stored_in(&second), both);

    // Where it is gone, or isn't one, the segment still counts.
    let own = later.data_dir().join("pg_wal/00000002.history");
    for damage in [true, false] {
        fs::remove_dir_all(second.join("main/wal")).unwrap();
        match damage {
            true => fs::write(&own, "").unwrap(),
            false => fs::remove_file(&own).unwrap(),
        }
        let warned = "without it backups of earlier timelines can't be restored";
        archive(&segment).expect_warning(warned).ok();
        assert_eq!(stored_in(&second), both[1..]);
    }
}
