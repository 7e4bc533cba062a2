//! What `check` says of what is stored, with `list` as the witness.

use std::fs;

use serde_json::Value;

use super::{lose, put_back, stop_segment, text};
use crate::harness::{FullDisk, Scratch, Shutdown, Stow, output::Output, pg, tool::Invocation};

/// With a repository on a disk of its own, so that `check` has nothing to warn of.
fn on_two_disks(scratch: &Scratch, major: u32) -> (Stow, FullDisk) {
    let disk = FullDisk::mount(scratch, "disk", 512 << 20);
    let stow = Stow::build(scratch, pg(major))
        .root(disk.path())
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .start();
    (stow, disk)
}

#[track_caller]
fn check(stow: &Stow, code: i32) -> Output {
    let check = stow.tool.command(&["check", "--wal-timeout", "20s"]);
    check.fails(code)
}

/// The only window of the newest backup.
#[track_caller]
fn window(stow: &Stow) -> Value {
    let newest = stow.backups().pop().unwrap();
    assert_eq!(newest["windows"].as_array().unwrap().len(), 1, "{newest}");
    newest["windows"][0].clone()
}

#[test]
fn check_names_a_hole_behind_the_newest_backup() {
    let scratch = Scratch::new();
    let (stow, _disk) = on_two_disks(&scratch, 16);
    let first = stow.backup(&[]);
    stow.cluster.switch_wal();
    drop(check(&stow, 0).stdout_contains(first.id()));

    let good = stow.cluster.psql("show archive_command");
    stow.cluster.set("archive_command", "/bin/true");
    let lost: Vec<String> = (0..3).map(|_| stow.cluster.switch_wal()).collect();
    stow.cluster.set("archive_command", &good);
    stow.cluster.switch_wal();
    stow.cluster.switch_wal();
    let window = window(&stow);
    let (from, to) = (
        &window["missing"]["first_segment"],
        &window["missing"]["last_segment"],
    );
    let (from, to, lsn) = (text(from), text(to), text(&window["to_lsn"]));
    assert!(from <= lost[1] && lost[1] <= to, "{window}");
    for named in [
        format!("{}, the newest in repository local", first.id()),
        format!("up to LSN {lsn} on timeline 1, and to nothing behind it: WAL {from}"),
        format!("{to} is missing"),
        "`pgstow base`".to_owned(),
    ] {
        drop(
            check(&stow, 1)
                .stdout_contains("CRITICAL  backup")
                .stdout_contains(&named),
        );
    }
    let second = stow.backup(&[]);
    drop(check(&stow, 0));

    // One that can't even become consistent.
    let segment = stop_segment(&second);
    let own = lose(&scratch, stow.wal_object(&segment));
    let named = format!("can't be restored: WAL {segment} is missing");
    drop(
        check(&stow, 1)
            .stdout_contains("CRITICAL")
            .stdout_contains(&named),
    );
    put_back(own);
    drop(check(&stow, 0));

    // Others that are damaged cost only themselves.
    let part = lose(&scratch, first.parts().remove(0));
    drop(
        check(&stow, 3).stdout_contains(&format!("{} in repository local is damaged", first.id())),
    );
    put_back(part);
    first.rewrite("{", "[");
    drop(
        check(&stow, 3)
            .stdout_contains(&format!("{} in repository local is unreadable", first.id())),
    );
    fs::remove_dir_all(second.folder()).unwrap();
    drop(check(&stow, 1).stdout_contains("no backup of this system"));
}

#[test]
fn check_says_of_a_pending_backup_whether_there_is_hope() {
    let scratch = Scratch::new();
    let (stow, _disk) = on_two_disks(&scratch, 17);
    stow.backup(&[]);
    let good = stow.cluster.psql("show archive_command");
    let pending = |base: Invocation| {
        drop(base.fails(1).stderr_contains("not restorable yet"));
        stow.folders().pop().unwrap()
    };

    stow.cluster.set("archive_command", "");
    let base = || stow.base(&["--wal-timeout", "1s"]);
    let id = pending(base().expect_warning("archive_command is empty"));
    let waits = format!("{id} in repository local can't be restored yet: it waits for WAL");
    let short = ["check", "--wal-timeout", "1s"];
    drop(stow.tool.command(&short).fails(1).stdout_contains(&waits));
    stow.cluster.set("archive_command", &good);
    stow.cluster.switch_wal();
    drop(check(&stow, 3).stdout_contains(&format!("pgstow base --finish {id}")));
    stow.tool.command(&["base", "--finish", &id]).ok();
    drop(check(&stow, 0));

    stow.cluster.set("archive_command", "/bin/true");
    let id = pending(base());
    stow.cluster.switch_wal();
    stow.cluster.set("archive_command", &good);
    stow.cluster.switch_wal();
    let missing = format!("backup {id} is still pending");
    stow.base(&[]).expect_warning(&missing).ok();
    let drop_it = ["cleanup", "--drop-pending", &id];
    let checked = check(&stow, 3)
        .stdout_contains(&format!("{id} in repository local waits for WAL"))
        .stdout_contains("in vain")
        .stdout_contains(&format!("run: pgstow {}", drop_it.join(" ")));
    drop(checked);
    stow.tool.command(&drop_it).ok();
    drop(check(&stow, 0));
}

#[test]
fn check_misses_the_history_of_the_servers_timeline() {
    let scratch = Scratch::new();
    let (mut stow, _disk) = on_two_disks(&scratch, 18);
    stow.backup(&[]);
    stow.cluster.stop(Shutdown::Fast);
    fs::write(stow.cluster.data_dir().join("standby.signal"), "").unwrap();
    stow.cluster.start();
    stow.cluster.promote();
    stow.cluster.switch_wal();
    drop(check(&stow, 0));

    // While pg_wal has it, archive-wal would bring it back.
    let history = stow.cluster.data_dir().join("pg_wal/00000002.history");
    let kept = lose(&scratch, history);
    let stored = stow.wal_object("00000002.history");
    fs::remove_file(&stored).unwrap();
    let named = format!(
        "the server is on timeline 2, and {} is missing",
        stored.display()
    );
    let checked = check(&stow, 1).stdout_contains(&named);
    drop(checked.stdout_contains("pgstow archive-wal pg_wal/00000002.history"));
    put_back(kept);
    fs::write(&stored, "").unwrap();
    drop(check(&stow, 1).stdout_contains(&format!("{} is damaged", stored.display())));
    fs::remove_file(&stored).unwrap();
    // As the hint says.
    stow.tool
        .command(&["archive-wal", "pg_wal/00000002.history"])
        .current_dir(stow.cluster.data_dir())
        .ok();
    drop(check(&stow, 0));
}
