//! `pgstow list`: what is there, and to where it can be restored.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::harness::{Cluster, Scratch, Stow, golden::golden, pg};

/// Times, ids, sizes and numbers of systems differ from run to run; the shape must not.
fn masked(text: &str, stow: &Stow) -> String {
    let host = pgstow::util::host::name();
    let text = text
        .replace(stow.root().to_str().unwrap(), "/repository")
        .replace(stow.cluster.data_dir().to_str().unwrap(), "/data")
        .replace(&format!(" {host}\n"), " HOST\n");
    let mut words = Vec::new();
    for line in text.lines() {
        let mut parts: Vec<String> = line.split(' ').map(masked_word).collect();
        // Sizes and durations are of different lengths, and with them the columns.
        parts.dedup_by(|a, b| a.is_empty() && b.is_empty());
        words.push(parts.join(" ").trim_end().to_owned());
    }
    words.join("\n") + "\n"
}

fn masked_word(word: &str) -> String {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let shape: String = word
        .chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect();
    // WAL names and LSNs have letters among their digits.
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word {
        _ if word.len() == 24 && hex(word) => "SEGMENT".to_owned(),
        _ if word
            .split_once('/')
            .is_some_and(|(a, b)| !a.is_empty() && hex(a) && hex(b)) =>
        {
            "LSN".to_owned()
        }
        _ if digits == 0 || word.starts_with('/') => word.to_owned(),
        _ if word.ends_with("-full") || word.ends_with("-full:") => shape,
        _ if word.contains('-') && word.len() == 10 => "DATE".to_owned(),
        _ if word[..word.len() - 1].contains(':') => "TIME".to_owned(),
        _ => "N".to_owned(),
    }
}

#[test]
fn its_text() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let list = || masked(&stow.tool.command(&["list"]).ok().stdout, &stow);
    golden("list-empty.txt", &list());
    let backup = stow.backup(&["--label", "the label", "--annotate", "why=a test"]);
    stow.cluster.switch_wal();
    golden("list.txt", &list());
    let one = stow.tool.command(&["list", backup.id()]).ok();
    golden("list-backup.txt", &masked(&one.stdout, &stow));
}

/// What was copied, or healed, later than those behind it is not the newest.
#[test]
fn the_newest_segment_is_the_last_and_not_what_came_last() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let [first, last] = [(); 2].map(|()| stow.cluster.switch_wal());
    let object = File::options().write(true).open(stow.wal_object(&first));
    let later = SystemTime::now() + Duration::from_secs(3600);
    object.unwrap().set_modified(later).unwrap();
    let wal = stow.list()["wal"][0].clone();
    assert_eq!(wal["newest"], last);
    let archived: DateTime<Utc> = wal["newest_archived"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        SystemTime::from(archived),
        fs::metadata(stow.wal_object(&last))
            .unwrap()
            .modified()
            .unwrap()
    );
}

/// A restore reads all that an incremental backup builds on: how much that is must be seen.
#[test]
fn an_incremental_backup_shows_its_chain() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    let full = stow.backup(&["--full"]);
    let second = stow.backup(&["--incremental"]);
    let third = stow.backup(&["--incremental"]);
    let ids = [full.id(), second.id(), third.id()];
    let fields = |number: usize| {
        let line = stow.backups()[number].clone();
        (line["parent"].clone(), line["chain_length"].clone())
    };
    assert_eq!(fields(0), (Value::Null, 1.into()));
    assert_eq!(fields(1), (ids[0].into(), 2.into()));
    assert_eq!(fields(2), (ids[1].into(), 3.into()));
    let table = |ends: [&str; 4]| {
        let text = stow.tool.command(&["list"]).ok().stdout;
        let lines: Vec<&str> = text.lines().skip(2).take(4).collect();
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{line:?} ends with {end:?}\n{text}");
        }
        // Numbers end below the end of their header.
        let end = lines[0].len();
        assert!(lines[2..].iter().all(|line| line.len() == end), "{text}");
    };
    let (of_second, of_third) = (
        format!("{}         2", ids[0]),
        format!("{}         3", ids[1]),
    );
    table([
        "builds on              chain of",
        "re-read",
        &of_second,
        &of_third,
    ]);

    for object in fs::read_dir(full.folder()).unwrap() {
        fs::remove_file(object.unwrap().path()).unwrap();
    }
    assert_eq!(stow.backups()[1]["chain_length"], Value::Null);
}

/// The names of all fields, in order; a list shows those of its first element.
fn fields(prefix: &str, value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                fields(&format!("{prefix}.{name}"), value, names);
            }
        }
        Value::Array(items) => match items.first() {
            Some(first) => fields(&format!("{prefix}[]"), first, names),
            None => names.push(format!("{prefix}[]")),
        },
        _ => names.push(prefix.to_owned()),
    }
}

#[test]
fn its_json() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    stow.backup(&["--annotate", "why=a test"]);
    let list = stow.list();
    let mut names = Vec::new();
    fields("", &list, &mut names);
    names.sort();
    golden("list-json.txt", &(names.join("\n") + "\n"));

    let unknown = ["list", "20201121T020000Z-full"];
    stow.tool
        .command(&unknown)
        .fails(1)
        .stderr_contains("there is no backup");
}

fn windows(stow: &Stow, number: usize) -> Vec<Value> {
    stow.backups()[number]["windows"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn a_missing_segment_ends_the_window() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    stow.backup(&[]);
    let segments: Vec<String> = (0..5).map(|_| stow.cluster.switch_wal()).collect();
    let whole = &windows(&stow, 0)[0];
    assert_eq!(whole["missing"], Value::Null);
    let end = |window: &Value| window["to_lsn"].as_str().unwrap().to_owned();
    // Segments of the same log file: the name's last digits are those of the LSN.
    assert_eq!(end(whole), lsn_behind(&segments[4]));

    for segment in &segments[1..3] {
        fs::remove_file(stow.wal_object(segment)).unwrap();
    }
    let cut = &windows(&stow, 0)[0];
    assert_eq!(end(cut), lsn_behind(&segments[0]));
    let number = |segment: &str| u64::from_str_radix(&segment[16..], 16).unwrap();
    assert_eq!(cut["missing"]["first"], number(&segments[1]));
    assert_eq!(cut["missing"]["last"], number(&segments[2]));
    assert_eq!(cut["missing"]["first_segment"], *segments[1]);
    assert_eq!(cut["missing"]["last_segment"], *segments[2]);
    let range = format!("{} to {}", segments[1], segments[2]);
    stow.tool.command(&["list"]).ok().stdout_contains(&range);

    // A backup taken behind the hole is whole again; without its own WAL it is nothing.
    let second = stow.backup(&[]);
    assert_eq!(windows(&stow, 1)[0]["missing"], Value::Null);
    let own = second.json()["stop_segment"].as_str().unwrap().to_owned();
    fs::remove_file(stow.wal_object(&own)).unwrap();
    assert_eq!(windows(&stow, 1)[0]["to_lsn"], Value::Null);
    stow.tool
        .command(&["list"])
        .ok()
        .stdout_contains("NOT RESTORABLE");
}

/// The end of a segment of 16 MB in the first 4 GB.
fn lsn_behind(segment: &str) -> String {
    let number = u64::from_str_radix(&segment[16..], 16).unwrap();
    format!("0/{:X}", (number + 1) << 24)
}

#[test]
fn each_timeline_has_its_window() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    stow.backup(&[]);
    let copy = scratch.join("copy");
    stow.cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&scratch, pg(17), "standby", &copy);
    standby.start();
    standby.wait_until("select count(*) from pg_stat_wal_receiver", "1");
    // The old primary lives on, as after a split brain.
    standby.promote();
    let forked = standby.switch_wal();
    let old = stow.cluster.switch_wal();

    let both = windows(&stow, 0);
    let of = |n: usize| {
        (
            both[n]["timeline"].as_u64().unwrap(),
            both[n]["to_lsn"].clone(),
        )
    };
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(of(0), (1, Value::from(lsn_behind(&old))));
    assert_eq!(of(1), (2, Value::from(lsn_behind(&forked))));
}
