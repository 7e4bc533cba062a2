//! Memory grows by no more than the design's 200 bytes a file.

use std::{fs, time::Duration};

use super::copy::restore;
use crate::harness::{Scratch, Stow, pg, user};

#[test]
fn many_files_cost_little_memory() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let more = if long { 100_000 } else { 20_000 };
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    // Of a restore to an empty folder, then of one into what it made.
    let peak = |name: &str| {
        let files = stow.backup(&[]).json()["files"].as_u64().unwrap();
        let fixed = ["--jobs", "2", "--target-immediate"];
        let peaks = [&[][..], &["--delta"]].map(|delta| {
            let (restore, _) = restore(&scratch, &stow, name, &[&fixed, delta].concat());
            let (output, peak) = restore.limit(Duration::from_secs(300)).spawn().watch();
            assert!(output.status.success(), "{output}");
            println!("{files} files: {peak} bytes");
            peak
        });
        fs::remove_dir_all(scratch.join(name)).unwrap();
        (files, peaks)
    };
    let (few, base) = peak("few");
    // A server copies whatever lies in its folder; names as long as those of relations.
    let folder = stow.cluster.data_dir().join("base/4/many");
    fs::create_dir(&folder).unwrap();
    user::own(&folder);
    for n in 0..more {
        let file = folder.join(format!("{n:07}_vm"));
        fs::write(&file, [0; 100]).unwrap();
        user::own(&file);
    }
    let (many, grown) = peak("many");
    assert!(many >= few + more);
    for (base, grown) in base.into_iter().zip(grown) {
        let each = grown.saturating_sub(base) / (many - few);
        println!("{each} bytes a file");
        // Larger frames and fuller queues are no cost of files.
        let bound = base + (2 << 20) + 200 * (many - few);
        assert!(grown <= bound, "{grown} bytes, {bound} are allowed");
        assert!(base <= 64 << 20, "{base} bytes");
    }
}
