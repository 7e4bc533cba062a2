//! The program itself: killed in the middle, twice at once, in a dry run, without a rule.

use std::{collections::BTreeSet, thread, time::Duration};

use pgstow::repo::layout::BackupObject;
use rustix::process::Signal;

use super::{planted::Planted, story::time};
use crate::harness::{
    Scratch,
    random::{Random, rounds},
};

/// Thirty full backups, and 3000 segments; three of the backups stay.
fn large(scratch: &Scratch, rules: &str) -> (Planted, BTreeSet<String>) {
    let planted = Planted::new(scratch, rules);
    for day in 1..=30u32 {
        planted.backup(time(&format!("10-{day:02}")), u64::from(day) * 100, None);
    }
    planted.segments(1..=3050);
    planted.hand_over();
    let stays = |name: &String| {
        let kept = ["20261028T", "20261029T", "20261030T"];
        let segment = |name: &str| u64::from_str_radix(&name[name.len() - 8..], 16).unwrap();
        match name {
            _ if name.starts_with("main/base/") => kept.iter().any(|id| name.contains(id)),
            _ if name.starts_with("main/wal/") => {
                let log = u64::from_str_radix(&name[name.len() - 16..name.len() - 8], 16).unwrap();
                log * 256 + segment(name) >= 2800
            }
            _ => true,
        }
    };
    let stays = planted.objects().into_iter().filter(stays).collect();
    (planted, stays)
}

#[test]
fn killed_again_and_again_it_comes_to_its_end() {
    let mut random = Random::new("killed_again_and_again_it_comes_to_its_end");
    for _ in 0..rounds(2, 10) {
        let scratch = Scratch::new();
        let (planted, stays) = large(&scratch, "full = 3");
        let mut kills = 0;
        loop {
            let run = planted.tool.command(&["cleanup", "--quiet"]).spawn();
            thread::sleep(Duration::from_millis(20 + random.below(150)));
            run.signal(Signal::KILL);
            let output = run.wait();
            let there = planted.objects();
            assert!(stays.is_subset(&there));
            if output.status.code() == Some(0) {
                break;
            }
            kills += 1;
            // The lease of a process of this host that is gone holds nobody up.
            if kills > 5 {
                planted.tool.command(&["cleanup", "--quiet"]).ok();
                break;
            }
        }
        assert_eq!(planted.objects(), stays, "{kills} kills");
    }
}

#[test]
fn of_two_at_once_one_gives_way() {
    let scratch = Scratch::new();
    let (planted, stays) = large(&scratch, "full = 3");
    let cleanups: Vec<_> = (0..3)
        .map(|_| planted.tool.command(&["cleanup", "--json"]).spawn())
        .collect();
    let mut succeeded = 0;
    for output in cleanups.into_iter().map(|cleanup| cleanup.wait()) {
        match output.status.code() {
            Some(0) => succeeded += 1,
            Some(1) => {
                let message = output.json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                assert!(
                    message.contains("another cleanup of this repository"),
                    "{output}"
                );
            }
            _ => panic!("{output}"),
        }
    }
    assert!(succeeded >= 1);
    assert_eq!(planted.objects(), stays);
}

#[test]
fn a_dry_run_touches_nothing_and_says_what_the_run_does() {
    let scratch = Scratch::new();
    let (planted, stays) = large(&scratch, "full = 3");
    let before = planted.objects();
    let dry = planted
        .tool
        .command(&["cleanup", "--dry-run", "--json"])
        .ok()
        .json();
    assert_eq!(planted.objects(), before);
    assert!(!scratch.join("repository/main/locks").exists());
    let done = planted.tool.command(&["cleanup", "--json"]).ok().json();
    for field in ["window", "backups", "wal", "deleted", "warnings"] {
        assert_eq!(dry[field], done[field], "{field}");
    }
    assert_eq!(
        (dry["dry_run"].as_bool(), done["dry_run"].as_bool()),
        (Some(true), Some(false))
    );
    let gone = before.len() - stays.len();
    let deleted = &done["deleted"];
    let count = |what: &str| deleted[what]["objects"].as_u64().unwrap() as usize;
    assert_eq!((count("backups"), count("wal")), (27 * 3, gone - 27 * 3));
    assert_eq!(planted.objects(), stays);
    let again = planted.tool.command(&["cleanup"]).ok();
    again.stdout_contains("deleted: 0 objects of backups (0 B), 0 objects of WAL (0 B)");
}

#[test]
fn without_a_rule_nothing_goes() {
    let scratch = Scratch::new();
    let (planted, _) = large(&scratch, "days = 0");
    let remains = "20261101T020000Z-full".parse().unwrap();
    planted.claim(remains, 2, None);
    planted.hand_over();
    let before = planted.objects();
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("no rule of retention is set");
    assert_eq!(planted.objects(), before);
    // Another place than the file's has none of its rules.
    let elsewhere = Scratch::new();
    let (other, _) = large(&elsewhere, "full = 3");
    let url = elsewhere.join("repository");
    let third = Scratch::new();
    let with_rules = Planted::new(&third, "full = 1");
    let before = other.objects();
    let arguments = ["--repo-url", url.to_str().unwrap(), "cleanup"];
    with_rules
        .tool
        .command(&arguments)
        .ok()
        .stdout_contains("no rule of retention is set");
    assert_eq!(other.objects(), before);
}

#[test]
fn what_runs_elsewhere_is_left_alone() {
    let scratch = Scratch::new();
    let planted = Planted::new(&scratch, "full = 1, min = 1");
    let old = planted.backup(time("11-01"), 10, None);
    planted.backup(time("11-10"), 20, None);
    planted.backup(time("11-20"), 30, None);
    planted.segments(1..=40);
    // Builds on the oldest, and gave its last sign of life just now.
    let running = "20261121T020000Z-incr".parse().unwrap();
    planted.claim_by(running, 25, Some(old), "elsewhere");
    planted.put(running, BackupObject::Sums, b"");
    planted.hand_over();
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("running, process 1 on host elsewhere");
    let there = planted.objects();
    let has = |part: &str| there.iter().any(|name| name.contains(part));
    assert!(has("20261101T015900Z-full/backup.json") && has("20261121T020000Z-incr/SHA256SUMS"));
    assert!(!has("20261110T015900Z-full"));
    let segments = (1..=40).filter(|number| there.contains(&Planted::segment_object(*number)));
    let expected: Vec<u64> = [10].into_iter().chain(25..=40).collect();
    assert_eq!(segments.collect::<Vec<_>>(), expected);
}
