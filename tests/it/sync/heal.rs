//! What is damaged in the copy stays in the first repository, and comes once more when it was deleted there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Site, count, files, flip};
use crate::harness::pg;

impl Site {
    /// Damage is found by reading: nothing shows in a listing.
    fn verify_finds_damage_there(&self) {
        drop(self.offsite(&["verify", "--all", "--wal"]).fails(3));
    }

    #[track_caller]
    fn monitor_tells(&self, code: i32, words: &str) {
        let monitor = self.pgstow(&["--json", "monitor", "--only", "unsynced"]);
        let told = monitor.fails(code).json();
        assert!(told.to_string().contains(words), "{told:#}");
    }
}

pub(super) fn dumps_below(folder: &Path) -> Vec<PathBuf> {
    let dumps = files(folder).into_iter();
    let dumps = dumps.filter(|name| Path::new(name).extension().is_some_and(|end| end == "dump"));
    let paths = dumps.map(|name| folder.join(name));
    // But for the link to the newest.
    paths.filter(|path| !path.is_symlink()).collect()
}

#[test]
fn a_dump_that_is_damaged_there() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    site.fill();
    for _ in 0..3 {
        let dump = ["dump", "postgres", "--no-globals", "--class", "daily"];
        site.pgstow(&dump).ok();
    }
    assert_eq!(count(&site.sync(0), "dumps"), 3);
    site.monitor_tells(0, "it has all that there is");
    let there = dumps_below(&site.offsite);
    let cut = fs::File::options().write(true).open(&there[0]).unwrap();
    cut.set_len(100).unwrap();
    flip(&there[1]);
    site.verify_finds_damage_there();

    let told = site.sync(3);
    assert_eq!(count(&told, "findings"), 2, "{told:#}");
    site.monitor_tells(1, "(2 damaged there)");
    let status = site.pgstow(&["sync", "--status"]).fails(3).stdout;
    assert_eq!(status.matches("DAMAGED").count(), 2, "{status}");
    let cleanup = || {
        let cleanup = site.pgstow(&["--json", "cleanup"]);
        let rules = cleanup.env("PGSTOW_DUMP_RETENTION_DAILY", "1");
        let told = rules.env("PGSTOW_DUMP_RETENTION_MIN", "1").ok().json();
        let kept = |dump: &&Value| dump["action"] == "keep";
        (
            told["dumps"]
                .as_array()
                .unwrap()
                .iter()
                .filter(kept)
                .count(),
            told.to_string(),
        )
    };
    let (kept, told) = cleanup();
    assert_eq!(kept, 3, "{told}");
    assert!(told.contains("repository offsite has it damaged"), "{told}");

    for dump in &there[..2] {
        for object in [
            dump.clone(),
            dump.with_extension("sha256"),
            dump.with_extension("json"),
        ] {
            fs::remove_file(object).unwrap();
        }
    }
    assert_eq!(dumps_below(&site.offsite), there[2..]);
    assert_eq!(count(&site.sync(0), "dumps"), 2);
    // They were read again: nobody has to verify them first.
    assert_eq!(count(&site.sync(0), "dumps"), 0);
    site.monitor_tells(0, "it has all that there is");
    site.offsite(&["verify", "--all"]).ok();
    let (kept, told) = cleanup();
    assert_eq!(kept, 1, "{told}");
    // What retention deletes there, and was whole, does not come again.
    fs::remove_dir_all(there[2].parent().unwrap()).unwrap();
    assert_eq!(count(&site.sync(0), "dumps"), 0);
}

#[test]
fn a_backup_and_wal_that_are_damaged_there() {
    let site = Site::start(pg(16), "compression = \"zstd:1\"");
    let [first, _] = site.fill();
    let segment = site.main().switch_wal();
    let second = site.stow.backup(&["--full"]);
    assert_eq!(count(&site.sync(0), "backups"), 3);
    let copied = site.copied(&first);
    flip(&copied.parts()[0]);
    let segment = site.stow.wal_object(&segment);
    let within = segment.strip_prefix(site.stow.root()).unwrap();
    flip(&site.offsite.join(within));
    site.verify_finds_damage_there();
    let rules = [
        ("PGSTOW_REPO_RETENTION_FULL", "1"),
        ("PGSTOW_REPO_RETENTION_MIN", "1"),
    ];
    let cleanup = || {
        let mut cleanup = site.pgstow(&["cleanup"]);
        for (name, value) in rules {
            cleanup = cleanup.env(name, value);
        }
        cleanup.ok().stdout
    };
    let told = cleanup();
    assert!(told.contains("repository offsite has it damaged"), "{told}");
    assert!(first.folder().exists() && segment.exists(), "{told}");
    site.monitor_tells(1, "damaged there");
    let told = site.sync(3);
    assert!(
        told.to_string().contains(within.to_str().unwrap()),
        "{told:#}"
    );
    assert!(
        told.to_string().contains("verify --all --wal --repair"),
        "{told:#}"
    );

    fs::remove_dir_all(site.folder_of(&first)).unwrap();
    // The incremental one was bad for want of this one alone.
    let told = site.sync(3);
    assert_eq!(count(&told, "backups"), 1);
    assert!(
        told.to_string().contains(within.to_str().unwrap()),
        "{told:#}"
    );
    site.monitor_tells(1, "(1 damaged there)");
    fs::remove_file(site.offsite.join(within)).unwrap();
    site.sync(0);
    // It was read again: nobody has to verify it first.
    site.sync(0);
    site.monitor_tells(0, "it has all that there is");
    site.offsite(&["verify", "--all", "--wal"]).ok();
    assert_eq!(count(&site.sync(0), "backups"), 0);
    let told = cleanup();
    assert!(!first.folder().exists() && !segment.exists(), "{told}");
    assert!(second.folder().exists());
    site.monitor_tells(0, "it has all that there is");
}
