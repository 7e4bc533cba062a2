//! `verify --wal` on WAL that is stored as it is, where no codec has a checksum: what real
//! servers archive is whole, and a changed byte is found wherever it has a meaning.

use std::{collections::BTreeMap, fs, path::Path};

use pgstow::postgres::{
    lsn::{Lsn, TimelineId},
    wal_name::{Segment, SegmentSize, WalName},
    wal_records::{Followed, WalRecords},
};

use super::put;
use crate::harness::{
    PgBin, Scratch, Shutdown, Stow, on_every_major, pg,
    random::{Random, rounds},
};

/// Stored segments by name, without their `.partial`.
pub type Segments = BTreeMap<String, Vec<u8>>;

pub fn stored(stow: &Stow) -> Segments {
    let mut segments = Segments::new();
    let mut folders = vec![stow.root().join("main/wal")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if matches!(name.parse(), Ok(WalName::Segment(_))) {
                segments.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    segments
}

fn follow(name: &str, bytes: &[u8]) -> Followed {
    let segment = name.parse::<WalName>().unwrap().segment().unwrap();
    let mut records = WalRecords::new(segment.timeline);
    bytes.chunks(10_007).for_each(|piece| records.feed(piece));
    records.finish()
}

fn verify(stow: &Stow, code: i32) -> serde_json::Value {
    let verify = stow.tool.command(&["--json", "verify", "--wal"]);
    let output = match code {
        0 => verify.ok(),
        _ => verify.fails(code),
    };
    output.json()["wal"][0]["findings"].clone()
}

/// Records of all kinds and sizes, a crash in their midst, switches.
fn write(stow: &mut Stow) {
    let rows = "select n, md5(n::text) from generate_series(1, 20000) n";
    stow.cluster.psql(&format!("create table t as {rows}"));
    stow.cluster.psql("create index on t (md5)");
    // Larger than some segments.
    let large = "select pg_logical_emit_message(false, 'test', repeat('large', 500000))";
    stow.cluster.psql(large);
    for n in 0..3 {
        stow.cluster.psql("checkpoint");
        stow.cluster
            .psql(&format!("update t set md5 = '{n}' where n % 7 = 0"));
        stow.cluster.switch_wal();
    }
    stow.cluster.psql("update t set n = n + 1");
    stow.cluster.stop(Shutdown::Kill);
    stow.cluster.start();
    stow.cluster.psql("update t set n = n + 1");
    stow.cluster.switch_wal();
}

fn start(scratch: &Scratch, pg: PgBin, megabytes: u32) -> Stow {
    let size = format!("--wal-segsize={megabytes}");
    Stow::build(scratch, pg)
        .compression("none")
        .cluster(|cluster| cluster.initdb(&size).conf("min_wal_size", "200MB"))
        .start()
}

on_every_major!(a_changed_byte_is_found_or_means_nothing);

fn a_changed_byte_is_found_or_means_nothing(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = start(&scratch, pg, 1);
    write(&mut stow);
    stow.cluster.stop(Shutdown::Immediate);
    assert_eq!(verify(&stow, 0), serde_json::json!([]));

    let segments = stored(&stow);
    let names: Vec<&String> = segments.keys().collect();
    assert!(names.len() > 8, "{names:?}");
    let copy = scratch.folder("wal");
    for (name, bytes) in &segments {
        put(&copy.join(name), bytes);
    }
    let sound = dump(&stow.cluster.pg, &copy, &names);
    let mut followed: Vec<Followed> = Vec::new();
    for name in &names {
        followed.push(follow(name, &segments[*name]));
        assert_eq!(followed.last().unwrap().broken, None, "{name}");
    }
    // Large records and small ones go on in the next segment.
    assert!(followed.iter().filter(|one| one.rest.is_some()).count() > 2);

    // A magic of another version, where no second page contradicts it.
    let single = names.iter().filter_map(|name| {
        let mut bytes = segments[*name].clone();
        bytes[0] ^= 0x20;
        let whole = follow(name, &bytes).broken.is_none();
        whole.then_some((name, bytes))
    });
    for (name, bytes) in single {
        put(&stow.wal_object(name), &bytes);
        let findings = verify(&stow, 3);
        put(&stow.wal_object(name), &segments[*name]);
        let what = findings[0]["what"].as_str().unwrap();
        assert!(what.contains("of PostgreSQL 19"), "{name}: {findings}");
    }

    let mut random = Random::new("a_changed_byte_is_found_or_means_nothing");
    let (mut found, mut joined, mut missed) = (0, 0, 0);
    let flips = rounds(150, 10_000);
    for _ in 0..flips {
        let number = random.below(names.len() as u64) as usize;
        let name = names[number];
        let mut bytes = segments[name].clone();
        // Behind the record of a switch the server leaves zeros.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let at = random.below(end) as usize;
        bytes[at] ^= 1 << random.below(8);
        let changed = follow(name, &bytes);
        if changed.broken.is_some() {
            found += 1;
            continue;
        }
        // Records that span segments: `verify` joins them.
        put(&stow.wal_object(name), &bytes);
        let verify = stow.tool.command(&["--json", "verify", "--wal"]);
        let report = verify.spawn().wait().json();
        put(&stow.wal_object(name), &segments[name]);
        if report["wal"][0]["findings"] != serde_json::json!([]) {
            joined += 1;
            continue;
        }
        // PostgreSQL reads the same records all the same.
        missed += 1;
        put(&copy.join(name), &bytes);
        let same = dump(&stow.cluster.pg, &copy, &names) == sound;
        assert!(same, "a change of {name} at {at} was not found");
        put(&copy.join(name), &segments[name]);
    }
    println!(
        "{flips} flips: {found} found within a segment, {joined} across, {missed} mean nothing"
    );
    assert!(missed < flips / 5);
}

/// What pg_waldump of the server's version reads, errors too.
fn dump(pg: &PgBin, folder: &Path, names: &[&String]) -> (String, String) {
    let mut command = pg.command("pg_waldump");
    command
        .arg("-p")
        .arg(folder)
        .args([names[0], names[names.len() - 1]]);
    let output = command.output().unwrap();
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn segments_of_every_size_and_a_fork_are_whole() {
    for (major, megabytes) in [(15, 64), (16, 16), (17, 1), (18, 16)] {
        let scratch = Scratch::new();
        let mut stow = start(&scratch, pg(major), megabytes);
        write(&mut stow);
        // Promoted in the middle of a segment, of which both timelines have their own.
        stow.cluster.psql("update t set n = n + 1 where n % 10 = 0");
        stow.cluster.stop(Shutdown::Kill);
        put(&stow.cluster.data_dir().join("standby.signal"), b"");
        stow.cluster.start();
        stow.cluster.promote();
        stow.cluster.psql("update t set n = n + 1");
        stow.cluster.switch_wal();
        assert_eq!(verify(&stow, 0), serde_json::json!([]));
        let fork = fork(&stow);
        let whole = stored(&stow).into_keys().next_back().unwrap();
        assert!(whole.starts_with("00000002"));
        if megabytes < 64 {
            left_in_the_middle(&stow, &fork);
        }
    }
}

/// The segment in which timeline 1 was left, and where in it.
fn fork(stow: &Stow) -> (String, usize) {
    let history = fs::read_to_string(stow.wal_object("00000002.history")).unwrap();
    let lsn: Lsn = history.split('\t').nth(1).unwrap().parse().unwrap();
    let sizes = stored(stow).into_values().next().unwrap().len() as u64;
    let size = SegmentSize::new(sizes as u32).unwrap();
    let segment = Segment::holding(TimelineId::FIRST, lsn, size);
    (segment.to_string(), (lsn.0 % sizes) as usize)
}

/// Before the fork every byte counts, behind it none.
fn left_in_the_middle(stow: &Stow, (name, fork): &(String, usize)) {
    let partial = stow.wal_object(&format!("{name}.partial"));
    let sound = fs::read(&partial).unwrap();
    let history = stow.wal_object("00000002.history");
    // As the partial file, and as a standby with archive_mode = always archives it.
    let plain = partial.with_file_name(name);
    for path in [&partial, &plain] {
        for (at, found) in [(fork - 20, true), (fork / 2, true), (fork + 20, false)] {
            let mut bytes = sound.clone();
            // Several bytes, so that it is no padding.
            bytes[at - 8..at + 8]
                .iter_mut()
                .for_each(|byte| *byte ^= 0x10);
            put(path, &bytes);
            let findings = verify(stow, if found { 3 } else { 0 });
            let named = findings.to_string().contains(path.to_str().unwrap());
            assert_eq!(named, found, "{at} of {fork}: {findings}");
        }
        put(path, &sound);
    }
    verify(stow, 0);
    // Without a fork no server archives a segment that is not full.
    let aside = history.with_file_name("aside");
    fs::rename(&history, &aside).unwrap();
    let findings = verify(stow, 3).to_string();
    assert!(findings.contains(plain.to_str().unwrap()), "{findings}");
    assert!(
        findings.contains("WAL ends at") || findings.contains("page at"),
        "{findings}"
    );
    fs::rename(&aside, &history).unwrap();
    fs::remove_file(plain).unwrap();
}
