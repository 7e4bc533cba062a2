//! How long deciding takes, and how much memory, in a large repository.

use std::time::Instant;

use chrono::TimeDelta;

use super::{planted::Planted, story::time};
use crate::harness::{Scratch, random::rounds};

/// The long form is that of the aim: 1,000 backups and 1,000,000 segments in 64 MiB. What it took is
/// printed; only memory is judged, since the machine may have other things to do.
#[test]
fn memory_does_not_grow_with_the_repository() {
    let backups = rounds(200, 1000);
    let segments = rounds(20_000, 1_000_000);
    let scratch = Scratch::new();
    // Two backups a day, of which the last fifth is in the window.
    let rules = format!(
        "days = {}, daily = {}, weekly = 30",
        backups / 10,
        backups / 5
    );
    let planted = Planted::new(&scratch, &rules);
    let mut parent = None;
    for number in 0..backups {
        let ended = time("2025-01-01") + TimeDelta::hours(12 * number as i64);
        let full = number % 7 == 0;
        let segment = 1 + number * (segments / backups);
        parent = Some(planted.backup(ended, segment, parent.filter(|_| !full)));
    }
    planted.segments(1..=segments);
    planted.hand_over();
    let begun = Instant::now();
    let (output, peak) = planted
        .tool
        .command(&["cleanup", "--dry-run", "--json"])
        .spawn()
        .watch();
    let took = begun.elapsed();
    println!(
        "{backups} backups, {segments} segments: {took:?}, {} MiB",
        peak >> 20
    );
    let report = output.json();
    let deleted = report["deleted"]["wal"]["objects"].as_u64().unwrap();
    assert!(deleted > segments / 2, "{deleted}");
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}
