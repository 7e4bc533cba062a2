//! What `verify` found is known to all who choose among backups.

use std::{fs::OpenOptions, os::unix::fs::FileExt};

use serde_json::Value;

use super::Sound;
use crate::harness::{Scratch, pg};

#[test]
fn a_damaged_backup_is_shown_and_avoided() {
    let scratch = Scratch::new();
    let sound = Sound::new(&scratch, 17, "zstd");
    let (tool, cluster) = (&sound.stow.tool, &sound.stow.cluster);
    cluster.psql("create table late as select 7 as n");
    let target = cluster.psql("select clock_timestamp()");
    cluster.psql("insert into late values (8)");
    cluster.switch_wal();
    let copy = scratch.join("copy");
    let copy = copy.to_str().unwrap();
    let bindir = &pg(17).bindir;
    let restore = |more: &[&str]| {
        let words = ["--json", "restore", "--target-time", &target];
        let places = ["--data-dir", copy, "--bindir", bindir.to_str().unwrap()];
        tool.command(&[&words[..], &places, more].concat())
    };
    let taken = |plan: &Value| plan["backup"].as_str().unwrap().to_owned();
    let shown = |id: &str| {
        let backups = sound.stow.backups();
        let line = backups.iter().find(|line| line["id"] == id).unwrap();
        line.clone()
    };
    let newest = sound.backup.id();
    assert_eq!(taken(&restore(&["--plan"]).ok().json()), newest);

    let child = sound.stow.backup(&["--incremental", "--method", "local"]);
    let part = sound.backup.object("part-0001.tar.zst");
    let file = OpenOptions::new().read(true).write(true).open(part);
    let file = file.unwrap();
    let mut kept = [0; 4];
    file.read_exact_at(&mut kept, 2000).unwrap();
    file.write_all_at(&kept.map(|byte| !byte), 2000).unwrap();
    assert_eq!(shown(newest)["state"], "complete", "nobody has looked yet");
    drop(tool.command(&["verify", "--all"]).fails(3));
    for id in [newest, child.id()] {
        let line = shown(id);
        assert_eq!(line["state"], "damaged", "{line:#}");
        assert_eq!(line["windows"], Value::Array(Vec::new()));
        let note = line["note"].as_str().unwrap();
        assert!(note.contains("`pgstow verify` found it damaged"), "{note}");
    }
    tool.command(&["list"]).ok().stdout_contains("DAMAGED");
    assert_eq!(shown(sound.first.id())["state"], "complete");

    // The older one leads to the same moment, and does so indeed.
    let warns = |report: &Value, of: &str| {
        let warnings = report["warnings"].as_array().unwrap().iter();
        let mut warnings = warnings.map(|one| one.as_str().unwrap());
        assert!(warnings.any(|one| one.contains(of)), "{report:#}");
    };
    for more in [&["--plan"][..], &[]] {
        let report = restore(more).ok().json();
        assert_eq!(taken(&report), sound.first.id());
        warns(&report, &format!("backup {newest} is newer, but not taken"));
    }
    // The one that is named is taken, with a word.
    let other = scratch.join("other");
    let words = ["--json", "restore", "--plan", newest, "--target-time"];
    let more = [&target, "--data-dir", other.to_str().unwrap()];
    let plan = tool.command(&[&words[..], &more].concat()).ok().json();
    assert_eq!(taken(&plan), newest);
    warns(&plan, &format!("backup {newest}, as asked for, isn't good"));

    file.write_all_at(&kept, 2000).unwrap();
    drop(tool.command(&["verify", "--all"]).ok());
    assert_eq!(shown(newest)["state"], "complete");
}
