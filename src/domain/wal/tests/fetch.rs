//! Fetching: only whole files are placed, and only what is proven is absent.

use std::{fs, thread, time::Duration};

use crate::{
    domain::wal::fetch::{Fetched, Wanted, fetch},
    error::{Kind, Result},
    postgres::{lsn::TimelineId, timeline::TimelineHistory},
    util::meter::Meter,
};

use super::sample::{Sample, segment_file};

const QUICK: Duration = Duration::from_millis(0);

fn fetch_named(sample: &Sample, name: &str, last: Option<&str>) -> Result<Fetched> {
    let destination = sample.path("RECOVERYXLOG");
    let wanted = Wanted {
        name: name.parse().unwrap(),
        destination: &destination,
        last: last.map(|last| last.parse().unwrap()),
        patience: QUICK,
    };
    let result = fetch(
        &sample.repository,
        &sample.system,
        &wanted,
        &Meter::default(),
    );
    let placed = matches!(result, Ok(Fetched::Placed));
    assert_eq!(destination.exists(), placed, "{name}");
    result
}

#[test]
fn what_was_stored_comes_back_byte_for_byte() {
    for codec in ["none", "gzip", "lz4", "zstd"] {
        let sample = Sample::new(codec);
        for name in [
            "000000010000000000000003",
            "000000010000000000000004.partial",
        ] {
            sample.push(name).unwrap();
            assert_eq!(fetch_named(&sample, name, None).unwrap(), Fetched::Placed);
            let found = fs::read(sample.path("RECOVERYXLOG")).unwrap();
            assert!(found == segment_file(name), "{codec} {name}");
            fs::remove_file(sample.path("RECOVERYXLOG")).unwrap();
        }
        // Nothing temporary is left beside it.
        assert_eq!(sample.strays(), Vec::<String>::new());
    }
}

#[test]
fn an_old_file_in_the_way_is_replaced() {
    let sample = Sample::new("zstd");
    let name = "000000010000000000000003";
    sample.push(name).unwrap();
    fs::write(sample.path("RECOVERYXLOG"), b"half").unwrap();
    fetch_named(&sample, name, None).unwrap();
    assert!(fs::read(sample.path("RECOVERYXLOG")).unwrap() == segment_file(name));
}

#[test]
fn damage_is_never_placed_and_never_absent() {
    let name = "000000010000000000000003";
    let other = "000000010000000000000004";
    for (codec, damage) in [
        ("zstd", "cut"),
        ("zstd", "flip"),
        ("zstd", "empty"),
        ("zstd", "other"),
        ("gzip", "cut"),
        ("lz4", "flip"),
        ("none", "cut"),
        ("none", "empty"),
        ("none", "longer"),
        ("none", "other"),
        ("none", "system"),
    ] {
        let sample = Sample::new(codec);
        sample.push(name).unwrap();
        sample.push(other).unwrap();
        let object = sample.object(name);
        let mut bytes = fs::read(&object).unwrap();
        match damage {
            "cut" => bytes.truncate(bytes.len() - 1),
            "flip" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            "empty" => bytes.clear(),
            "longer" => bytes.push(0),
            "other" => bytes = fs::read(sample.object(other)).unwrap(),
            // xlp_sysid
            _ => bytes[24] ^= 1,
        }
        fs::write(&object, bytes).unwrap();
        let error = fetch_named(&sample, name, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{codec} {damage}: {error}");
        assert_eq!(sample.strays(), Vec::<String>::new());
    }
}

#[test]
fn absent_is_only_what_nothing_follows() {
    // Segments of 1 MiB: 0/500000 is the first byte of segment 5.
    let history = |line: &str| format!("{line}\tno recovery target specified\n");
    let inside = history("1\t0/480000");
    let border = history("1\t0/500000");
    let grandchild = format!("{}{}", history("1\t0/500000"), history("2\t0/900000"));
    for (stored, histories, last, hole) in [
        // Nothing at all is a disk that isn't mounted, unless the plan has seen it so.
        (vec![], vec![], None, true),
        (vec![], vec![], Some("000000010000000000000004"), false),
        (vec!["000000010000000000000003"], vec![], None, false),
        (vec!["000000010000000000000005"], vec![], None, true),
        (vec!["000000010000000000000005.partial"], vec![], None, true),
        (vec!["000000010000000100000000"], vec![], None, true),
        // Its own partial one is never served, and proves nothing.
        (
            vec!["000000010000000000000004.partial"],
            vec![],
            None,
            false,
        ),
        // Of another timeline.
        (vec!["000000020000000000000005"], vec![], None, false),
        // A fork inside the segment is where the old timeline ends, one behind it is not.
        (vec![], vec![(2, inside.as_str())], None, false),
        (vec![], vec![(2, border.as_str())], None, true),
        (
            vec!["000000020000000000000004"],
            vec![(2, &inside)],
            None,
            false,
        ),
        (
            vec!["000000020000000000000005"],
            vec![(2, &inside), (7, &grandchild)],
            None,
            true,
        ),
        // Behind the last that is needed, whatever follows.
        (
            vec!["000000010000000000000005"],
            vec![],
            Some("000000010000000000000003"),
            false,
        ),
        (
            vec!["000000010000000000000005"],
            vec![],
            Some("000000010000000000000004"),
            true,
        ),
    ] {
        let sample = Sample::new("zstd");
        for name in &stored {
            sample.push(name).unwrap();
        }
        for (timeline, text) in &histories {
            sample.push_history(*timeline, text).unwrap();
        }
        let found = fetch_named(&sample, "000000010000000000000004", last);
        let case = format!("{stored:?} {histories:?} {last:?}");
        match found {
            Ok(found) => assert_eq!((found, hole), (Fetched::Absent, false), "{case}"),
            Err(error) => assert!(
                hole && error.message().contains("missing"),
                "{case} {error}"
            ),
        }
    }
}

#[test]
fn a_history_is_asked_for_to_find_out_whether_there_is_one() {
    let sample = Sample::new("zstd");
    sample.push_history(3, "1\t0/500000\tx\n").unwrap();
    let get = |name| fetch_named(&sample, name, None).unwrap();
    assert_eq!(get("00000002.history"), Fetched::Absent);
    assert_eq!(get("00000004.history"), Fetched::Absent);
    assert_eq!(get("00000003.history"), Fetched::Placed);
}

#[test]
fn a_hole_that_closes_in_time_is_none() {
    let sample = Sample::new("zstd");
    sample.push("000000010000000000000005").unwrap();
    let destination = sample.path("RECOVERYXLOG");
    let wanted = Wanted {
        name: "000000010000000000000004".parse().unwrap(),
        destination: &destination,
        last: None,
        patience: Duration::from_secs(60),
    };
    let found = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            sample.push("000000010000000000000004").unwrap();
        });
        fetch(
            &sample.repository,
            &sample.system,
            &wanted,
            &Meter::default(),
        )
    });
    assert_eq!(found.unwrap(), Fetched::Placed);
}

#[test]
fn a_disk_of_its_own_that_went_away_proves_nothing() {
    let sample = Sample::new("zstd");
    let names = ["000000010000000000000003", "00000002.history"];
    sample.push("000000010000000000000002").unwrap();
    for name in names {
        assert_eq!(fetch_named(&sample, name, None).unwrap(), Fetched::Absent);
    }
    for folder in ["wal", "systems"] {
        let path = sample.path("repository/main").join(folder);
        fs::rename(&path, sample.path("elsewhere")).unwrap();
        for name in names {
            let found = fetch_named(&sample, name, None);
            // The registration is read before, by who gives the system to fetch().
            let system = sample.repository.system(sample.system.system_id);
            assert!(found.is_err() || system.is_err(), "{folder} {name}");
        }
        fs::create_dir(&path).unwrap();
        assert_eq!(
            fetch_named(&sample, names[0], None).is_err(),
            folder == "wal"
        );
        fs::remove_dir(&path).unwrap();
        fs::rename(sample.path("elsewhere"), &path).unwrap();
    }
}

#[test]
fn a_repository_that_went_away_proves_nothing() {
    let sample = Sample::new("zstd");
    fs::rename(sample.path("repository"), sample.path("elsewhere")).unwrap();
    for name in ["000000010000000000000004", "00000002.history"] {
        assert!(fetch_named(&sample, name, None).is_err());
    }
    // The mount point without the disk.
    fs::create_dir(sample.path("repository")).unwrap();
    for name in ["000000010000000000000004", "00000002.history"] {
        assert!(fetch_named(&sample, name, None).is_err());
    }
}

#[test]
fn a_history_that_can_not_be_read_is_doubt() {
    let sample = Sample::new("zstd");
    sample.push_history(2, "1\t0/480000\tx\n").unwrap();
    fs::write(sample.object("00000002.history"), b"?").unwrap();
    let error = fetch_named(&sample, "000000010000000000000004", None).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(fetch_named(&sample, "00000002.history", None).is_err());
    // A plan that doesn't need it has said where the way ends: there it is no doubt. Its number
    // is taken, and no server can read it.
    let get = |name, last| fetch_named(&sample, name, Some(last)).unwrap();
    let last = "000000010000000000000003";
    assert_eq!(get("000000010000000000000004", last), Fetched::Absent);
    assert_eq!(get("00000002.history", last), Fetched::Placed);
    let placed = fs::read(sample.path("RECOVERYXLOG")).unwrap();
    TimelineHistory::parse(TimelineId::new(2).unwrap(), &placed).unwrap_err();
    fs::remove_file(sample.path("RECOVERYXLOG")).unwrap();
    let later = "000000030000000000000003";
    assert_eq!(get("00000002.history", later), Fetched::Absent);
}
