//! Memory grows by no more than the design's 200 bytes a file.

use std::{fs, time::Duration};

use super::copy::restore;
use crate::harness::{Scratch, Stow, pg, user};

#[test]
fn many_files_cost_little_memory() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let (few, more) = if long {
        (20_000, 100_000)
    } else {
        (5_000, 8_000)
    };
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    // A server copies whatever lies in its folder, if it looks like a relation also as a stub.
    let folder = stow.cluster.data_dir().join("base/4");
    let add = |from: u64, to: u64| {
        for n in from..to {
            let file = folder.join(format!("{}_vm", 100_000 + n));
            fs::write(&file, [0; 8192]).unwrap();
            user::own(&file);
        }
        // Of what was written in the last two seconds nobody can tell that it did not change.
        std::thread::sleep(Duration::from_secs(3));
    };
    // Of a restore to an empty folder, then of one into what it made.
    let peaks = |kind: &str| {
        let files = stow.backup(&[kind]).json()["files"].as_u64().unwrap();
        let fixed = ["--jobs", "2", "--target-immediate"];
        let peaks = [&[][..], &["--delta"]].map(|delta| {
            let all = [&fixed, delta].concat();
            let (restore, _) = restore(&scratch, &stow, "restored", &all);
            let (output, peak) = restore.limit(Duration::from_secs(300)).spawn().watch();
            assert!(output.status.success(), "{output}");
            println!("{kind} {delta:?}: {files} files, {peak} bytes");
            assert!(peak <= 64 << 20);
            peak
        });
        fs::remove_dir_all(scratch.join("restored")).unwrap();
        (files, peaks)
    };
    let both = || [peaks("--full"), peaks("--incremental")];
    add(0, few);
    let before = both();
    add(few, few + more);
    for ((few, before), (many, after)) in before.into_iter().zip(both()) {
        assert!(many >= few + more);
        for (before, after) in before.into_iter().zip(after) {
            println!(
                "{} bytes a file",
                after.saturating_sub(before) / (many - few)
            );
            // Not all buffers and queues are full with few files: they are no cost of files.
            let bound = before + (4 << 20) + 200 * (many - few);
            assert!(after <= bound, "{after} bytes, {bound} are allowed");
        }
    }
}
