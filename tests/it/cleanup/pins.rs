//! `pgstow pin` and `unpin`, and the results of `verify` that retention heeds.

use std::fs;

use super::{planted::Planted, story::time};
use crate::harness::Scratch;

/// Three full backups, of which the newest stays.
fn three(scratch: &Scratch) -> Planted {
    let planted = Planted::new(scratch, "full = 1, min = 1");
    for (day, segment) in [("11-01", 10), ("11-10", 20), ("11-20", 30)] {
        planted.backup(time(day), segment, None);
    }
    planted.segments(5..=40);
    planted.hand_over();
    planted
}

const OLD: &str = "20261101T015900Z-full";
const MIDDLE: &str = "20261110T015900Z-full";
const NEWEST: &str = "20261120T015900Z-full";

fn ids(planted: &Planted) -> Vec<String> {
    let backups = planted.repository.backups().unwrap().into_iter();
    backups.map(|entry| entry.id.to_string()).collect()
}

#[test]
fn a_pinned_backup_stays_until_it_is_unpinned() {
    let scratch = Scratch::new();
    let planted = three(&scratch);
    let pinned = planted
        .tool
        .command(&["--json", "pin", OLD, "--reason", "an audit"])
        .ok()
        .json();
    assert_eq!(
        (pinned["backup"].as_str(), pinned["pinned"].as_bool()),
        (Some(OLD), Some(true))
    );
    assert_eq!(pinned["reason"], "an audit");
    planted
        .tool
        .command(&["list"])
        .ok()
        .stdout_contains(&format!("{OLD}: pinned: an audit"));
    planted
        .tool
        .command(&["pin", MIDDLE, "--until", "2199-01-01 00:00:00+00"])
        .ok();
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("pinned: an audit")
        .stdout_contains("pinned until 2199-01-01 00:00:00+00");
    assert_eq!(ids(&planted), [OLD, MIDDLE, NEWEST]);
    let there = planted.objects();
    let segments: Vec<u64> = (5..=40)
        .filter(|number| there.contains(&Planted::segment_object(*number)))
        .collect();
    assert_eq!(
        segments,
        [10, 20].into_iter().chain(30..=40).collect::<Vec<u64>>()
    );

    // What was said last holds.
    planted.tool.command(&["unpin", MIDDLE]).ok();
    planted.tool.command(&["unpin", OLD]).ok();
    planted.tool.command(&["pin", OLD]).ok();
    planted.tool.command(&["cleanup"]).ok();
    assert_eq!(ids(&planted), [OLD, NEWEST]);
    // The words on a backup go with it.
    let pins = planted
        .objects()
        .into_iter()
        .filter(|name| name.contains("/pins/"));
    let pins: Vec<String> = pins.collect();
    assert!(
        pins.len() == 3 && pins.iter().all(|name| name.contains(OLD)),
        "{pins:?}"
    );
    planted.tool.command(&["unpin", OLD]).ok();
    planted.tool.command(&["cleanup"]).ok();
    assert_eq!(ids(&planted), [NEWEST]);
    assert!(!planted.objects().iter().any(|name| name.contains("/pins/")));
}

#[test]
fn what_can_not_be_pinned_is_refused() {
    let scratch = Scratch::new();
    let planted = three(&scratch);
    let gone = "20251101T015900Z-full";
    planted
        .tool
        .command(&["pin", gone])
        .fails(1)
        .stderr_contains("there is no backup");
    planted
        .tool
        .command(&["unpin", gone])
        .fails(1)
        .stderr_contains("there is no backup");
    planted
        .tool
        .command(&["pin", OLD, "--until", "2020-01-01 00:00:00+00"])
        .fails(2)
        .stderr_contains("over already");
    planted
        .tool
        .command(&["pin", OLD, "--until", "next year"])
        .fails(2)
        .stderr_contains("not a time");
    planted
        .tool
        .command(&["pin", OLD, "--reason", &"so ".repeat(67)])
        .fails(2)
        .stderr_contains("201 characters, more than 200");
    planted
        .tool
        .command(&["pin", OLD, "--reason", "a\nb"])
        .fails(2);
    assert!(!planted.objects().iter().any(|name| name.contains("/pins/")));
}

/// A pin that nobody can read any more may be what somebody relies on.
#[test]
fn a_damaged_pin_holds() {
    let scratch = Scratch::new();
    let planted = three(&scratch);
    planted.tool.command(&["pin", OLD]).ok();
    let pin = scratch.join(&format!("repository/main/pins/{OLD}-1.json"));
    let text = fs::read_to_string(&pin).unwrap().replace("true", "nope");
    fs::write(&pin, text).unwrap();
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("its pin can't be read");
    assert_eq!(ids(&planted), [OLD, NEWEST]);
}

#[test]
fn a_pin_waits_for_the_cleanup_that_runs() {
    let scratch = Scratch::new();
    let planted = three(&scratch);
    let lease = planted.repository.take_lease("cleanup").unwrap();
    planted.hand_over();
    let mut pin = planted.tool.command(&["pin", OLD]).spawn();
    let stored = scratch.join(&format!("repository/main/pins/{OLD}-1.json"));
    while !stored.exists() {
        assert!(pin.is_running());
    }
    // The cleanup had chosen this one before.
    planted
        .repository
        .remove_backup(OLD.parse().unwrap())
        .unwrap();
    assert!(pin.is_running());
    lease.release().unwrap();
    let output = pin.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    output.stderr_contains("a cleanup that had begun before deleted the backup");
}

#[test]
fn what_verify_found_damaged_counts_no_longer() {
    let scratch = Scratch::new();
    let planted = three(&scratch);
    let part = scratch.join(&format!("repository/main/base/{NEWEST}/part-0001.tar"));
    fs::write(&part, b"trap").unwrap();
    planted.tool.command(&["verify", NEWEST]).fails(3);
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("`pgstow verify` found it damaged");
    // The one before it counts in its place.
    assert_eq!(ids(&planted), [MIDDLE, NEWEST]);
    // Whoever pins it should know.
    let said =
        format!("backup {NEWEST} is pinned, but it is not good: `pgstow verify` found it damaged");
    drop(
        planted
            .tool
            .command(&["pin", NEWEST])
            .expect_warning(&said)
            .ok(),
    );
    planted.tool.command(&["unpin", NEWEST]).ok();
    planted.tool.command(&["pin", MIDDLE]).ok();
    planted.tool.command(&["unpin", MIDDLE]).ok();
    // Results that later ones overtook go; the newest stays.
    planted.tool.command(&["verify", "--all"]).fails(3);
    planted.tool.command(&["cleanup"]).ok();
    let results = planted
        .objects()
        .into_iter()
        .filter(|name| name.contains("/verified/"));
    assert_eq!(results.count(), 1);
}
