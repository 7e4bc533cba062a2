//! What hinders a drill on this host says nothing of what is stored: it is an error, and no report.

use std::{
    fs::{self, Permissions, set_permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Site, failed,
    killed::{at_work, folder, wait_for},
};
use crate::harness::{FullDisk, pg};

#[test]
fn what_hinders_the_server_is_told() {
    let site = Site::start(pg(16));
    site.stow.backup(&[]);
    for (setting, code, words) in [
        ("nothing", 2, "not a server's setting"),
        (
            "Archive_mode = on",
            2,
            "drill.settings can't set Archive_mode",
        ),
        ("listen_addresses = *", 2, "is reached by nobody"),
        (
            "shared_preload_libraries = not_there",
            1,
            "could not access file \"not_there\"",
        ),
        ("not_there = 1", 1, "unrecognized configuration parameter"),
    ] {
        let drill = site.drill(&[]).env("PGSTOW_DRILL_SETTINGS", setting);
        drop(drill.fails(code).stderr_contains(words));
    }
    // Before anything is restored, and without making what may be a disk that is not mounted.
    let away = site.scratch.join("away");
    let drill = site.drill(&["--scratch", away.to_str().unwrap()]);
    drop(drill.fails(1).stderr_contains("there is no folder"));
    assert!(!away.exists());
    let long = site.scratch.folder(&"x".repeat(90));
    let drill = site.drill(&["--scratch", long.to_str().unwrap()]);
    drop(drill.fails(1).stderr_contains("longer than 107 bytes"));
    assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
    site.assert_clean();
}

#[test]
fn too_little_room_is_told_before_anything_is_written() {
    let site = Site::start(pg(15));
    site.stow.backup(&[]);
    let disk = FullDisk::mount(&site.scratch, "small", 20 << 20);
    let small = disk.path().to_str().unwrap();
    let output = site.drill(&["--scratch", small]).fails(1);
    let output = output.stderr_contains("a drill needs");
    drop(output.stderr_contains("are free"));
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    assert!(!site.stow.root().join("main/drills").exists());
    assert!(
        !site
            .objects()
            .keys()
            .any(|path| path.to_string_lossy().contains("/restores/"))
    );
}

/// The postmaster of a drill, and the process of it that runs a statement.
fn processes(folder: &Path) -> Option<(i32, i32)> {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    let postmaster: i32 = text.lines().next()?.parse().ok()?;
    let asks = |process: fs::DirEntry| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let status = fs::read_to_string(process.path().join("stat")).ok()?;
        let parent = status.rsplit(") ").next()?.split(' ').nth(1)?;
        let ours = parent == postmaster.to_string();
        let asks = String::from_utf8_lossy(&line).contains("[local] SELECT");
        (ours && asks).then(|| process.file_name().to_str()?.parse().ok())?
    };
    let mut entries = fs::read_dir("/proc").unwrap().flatten();
    Some((postmaster, entries.find_map(asks)?))
}

/// As by a host whose memory ran out.
#[test]
fn a_server_that_is_killed_is_no_finding() {
    let site = Site::start(pg(17));
    site.stow.backup(&[]);
    for whole in [true, false] {
        let slow = "SELECT pg_sleep(100) IS NOT NULL";
        let running = site.drill(&[]).env("PGSTOW_DRILL_SQL", slow).spawn();
        let mut found = None;
        wait_for("no statement is asked", || {
            found = folder(&site).and_then(|folder| processes(&folder));
            found.is_some()
        });
        let (postmaster, backend) = found.unwrap();
        // None of its memory has a name outside of the folder, under which it would stay.
        let maps = fs::read_to_string(format!("/proc/{postmaster}/maps")).unwrap();
        let inside = site.drills.display().to_string();
        let stays = |line: &str| line.contains("/dev/shm/") && !line.contains(&inside);
        assert!(
            maps.contains("/pg_dynshmem/") && !maps.lines().any(stays),
            "{maps}"
        );
        let victim = if whole { postmaster } else { backend };
        kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
        let output = running.wait();
        assert_eq!(output.status.code(), Some(1), "{output}");
        drop(output.stderr_contains("the restored server was killed"));
        site.assert_clean();
        wait_for("a process of the drill lives on", || {
            at_work(&site).is_empty()
        });
        assert!(!site.stow.root().join("main/drills").exists());
    }
    site.proves(site.drill(&[]));
}

/// What hours of work found is told, whatever becomes of the report.
#[test]
fn a_report_that_cant_be_filed_is_printed() {
    let site = Site::start(pg(15));
    site.stow.backup(&[]);
    site.proves(site.drill(&[]));
    let drills = site.stow.root().join("main/drills");
    let before = site.objects();
    let allow = |mode| set_permissions(&drills, Permissions::from_mode(mode)).unwrap();
    allow(0o500);
    let output = site.drill(&[]).fails(1);
    let report = output.json();
    assert_eq!(report["good"], true, "{output}");
    assert_eq!(failed(&output), [""; 0]);
    assert!(report["report"].is_null(), "{output}");
    let why = report["not_filed"].as_str().unwrap();
    assert!(why.contains("main/drills"), "{why}");
    let output = site.stow.tool.command(&["drill"]).fails(1);
    let output = output.stdout_contains("proven, to ");
    drop(output.stdout_contains("NOT FILED: "));
    // What was found counts for more.
    let drill = site.drill(&[]).env("PGSTOW_DRILL_SQL", "SELECT false");
    assert!(drill.fails(3).json()["report"].is_null());
    allow(0o750);
    site.assert_clean();
    assert!(site.objects() == before);
}
