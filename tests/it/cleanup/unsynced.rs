//! Repositories that `sync` fills: what they lack stays, and `monitor` says so. A plain `cp` plays sync.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{planted::Planted, story::time};
use crate::harness::{Scratch, user};

struct Pair {
    source: Planted,
    root: PathBuf,
    offsite: PathBuf,
}

impl Pair {
    /// Three backups and the WAL, in both.
    fn new(scratch: &Scratch) -> Self {
        let mut source = Planted::new(scratch, "");
        for (day, segment) in [("11-01", 10), ("11-05", 20), ("11-10", 30)] {
            source.backup(time(day), segment, None);
        }
        source.segments(5..=40);
        let offsite = scratch.folder("offsite");
        let root = scratch.join("repository");
        source.tool = source.tool.config(&format!(
            "state_dir = \"{}\"\n[repo.local]\nurl = \"{}\"\nretention = {{ full = 1, min = 1 }}\n\
             [repo.offsite]\nurl = \"{}\"\nwal_mode = \"sync\"\nretention = {{ full = 2, min = 1 }}\n\
             [cluster.main]\nhost = \"/nowhere\"\n",
            scratch.join("state").display(),
            root.display(),
            offsite.display(),
        ));
        let pair = Self {
            source,
            root,
            offsite,
        };
        pair.sync();
        pair
    }

    /// Copies what is missing there.
    fn sync(&self) {
        self.source.hand_over();
        // Leases are each repository's own.
        let parts = ["repository.json", "main/systems", "main/base", "main/wal"];
        let mut copy = Command::new("cp");
        copy.args(["-a", "--no-clobber", "--parents"]).args(parts);
        user::run_ok(copy.arg(&self.offsite).current_dir(&self.root));
    }

    /// `pgstow cleanup`; the reasons of all that stays, by backup and then by row of WAL.
    fn cleanup(&self, words: &[&str], code: i32) -> Value {
        let all = [&["--json", "cleanup"], words].concat();
        self.source.tool.command(&all).fails(code).json()
    }

    fn ids(&self) -> Vec<String> {
        let backups = self.source.repository.backups().unwrap().into_iter();
        backups.map(|entry| entry.id.to_string()).collect()
    }

    fn has_segment(&self, number: u64) -> bool {
        self.source
            .objects()
            .contains(&Planted::segment_object(number))
    }
}

const LATE: &str = "20261115T015900Z-full";
const NEWEST: &str = "20261116T015900Z-full";
const REASON: &str = "repository offsite hasn't got it yet";

#[test]
fn what_the_other_repository_lacks_stays() {
    let scratch = Scratch::new();
    let pair = Pair::new(&scratch);
    // What the other one's own rules delete there, it does not lack.
    let offsite = ["--repo", "offsite", "cleanup"];
    pair.source.tool.command(&offsite).ok();
    for (day, segment) in [("11-15", 45), ("11-16", 50)] {
        pair.source.backup(time(day), segment, None);
    }
    pair.source.segments(41..=55);
    pair.source.hand_over();
    // Nothing can be said of a repository that can't be read.
    let away = scratch.join("away");
    fs::rename(&pair.offsite, &away).unwrap();
    let told = pair.cleanup(&[], 3);
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(warning.contains("repository offsite lacks"), "{warning}");
    assert!(warning.contains("--force-unsynced"), "{warning}");
    assert_eq!(pair.ids().len(), 5);
    fs::rename(&away, &pair.offsite).unwrap();

    let told = pair.cleanup(&[], 0);
    assert_eq!(pair.ids(), [LATE, NEWEST], "{told:#}");
    let backups = told["backups"].as_array().unwrap();
    assert!(
        backups[3]["reasons"].to_string().contains(REASON),
        "{told:#}"
    );
    let rows = told["wal"].as_array().unwrap();
    let lacking = rows.iter().filter(|row| row["reason"] == REASON);
    let segments: u64 = lacking.map(|row| row["segments"].as_u64().unwrap()).sum();
    // 45 is what the late one needs anyway.
    assert!((8..=9).contains(&segments), "{told:#}");
    assert!(!pair.has_segment(40) && (41..=55).all(|number| pair.has_segment(number)));

    // Once they are there, they go.
    pair.sync();
    let told = pair.cleanup(&[], 0);
    assert_eq!(pair.ids(), [NEWEST], "{told:#}");
    assert!(!pair.has_segment(49) && pair.has_segment(50));
}

#[test]
fn who_insists_loses_what_the_other_repository_lacks() {
    let scratch = Scratch::new();
    let pair = Pair::new(&scratch);
    for (day, segment) in [("11-15", 45), ("11-16", 50)] {
        pair.source.backup(time(day), segment, None);
    }
    pair.source.segments(41..=55);
    pair.source.hand_over();
    let dry = pair.cleanup(&["--dry-run"], 0);
    assert!(dry["backups"].to_string().contains(REASON), "{dry:#}");
    pair.cleanup(&["--force-unsynced"], 0);
    assert_eq!(pair.ids(), [NEWEST]);
    assert!(!pair.has_segment(49));
}

#[test]
fn monitor_says_since_when_it_lacks_something() {
    let scratch = Scratch::new();
    let pair = Pair::new(&scratch);
    let words = ["--json", "monitor", "--only", "unsynced"];
    let is = |shift: &str, code: i32, reason: &str| {
        let output = pair.source.tool.shifted(shift, &words).fails(code).json();
        let check = &output["checks"][0];
        assert_eq!(check["object"], "offsite", "{output:#}");
        assert!(
            check["reason"].as_str().unwrap().contains(reason),
            "{output:#}"
        );
    };
    is("+0s", 0, "it has all that there is");
    pair.source.backup(time("11-15"), 45, None);
    pair.source.segments(41..=45);
    pair.source.hand_over();
    let reason = "it lacks 1 backup and 5 segments of WAL, the first since ";
    is("+23h", 0, reason);
    is("+25h", 1, reason);
    is("+73h", 2, reason);
    pair.sync();
    is("+73h", 0, "it has all that there is");
    fs::rename(&pair.offsite, scratch.join("away")).unwrap();
    is("+0s", 3, "there is no repository");
    // No other command knows of it unless it is told to.
    pair.source.tool.command(&["list"]).ok();
    pair.source
        .tool
        .command(&["--repo", "offsite", "list"])
        .fails(1);
}
