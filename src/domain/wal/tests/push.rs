//! Storing: what is refused, what counts as the same.

use std::fs;

use crate::{
    domain::wal::{
        offered::Offered,
        push::{Pushed, push},
    },
    error::Kind,
    repo::codec::Compression,
    util::{hash::Sha256, meter::Meter},
};

use super::sample::{Sample, history_file, segment_file};

const NAME: &str = "000000010000000000000003";

#[test]
fn the_same_bytes_again_are_success_whatever_the_level() {
    let sample = Sample::new("zstd");
    assert!(matches!(sample.push(NAME).unwrap(), Pushed::Stored { .. }));
    let stored = fs::read(sample.object(NAME)).unwrap();
    let offered = sample.offer(NAME, &segment_file(NAME)).unwrap();
    let hard = "zstd:19".parse().unwrap();
    let again = push(&sample.repository, &offered, hard, &Meter::default());
    assert_eq!(again.unwrap(), Pushed::AlreadyThere);
    assert!(fs::read(sample.object(NAME)).unwrap() == stored);
    assert_eq!(sample.strays(), Vec::<String>::new());
}

#[test]
fn other_bytes_are_refused_and_both_are_described() {
    let sample = Sample::new("zstd");
    let first = segment_file(NAME);
    sample.push(NAME).unwrap();
    let mut other = first.clone();
    *other.last_mut().unwrap() ^= 1;
    let error = sample.push_bytes(NAME, &other).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    let line = error.in_one_line();
    for bytes in [&first, &other] {
        let hash = Sha256::of(bytes).to_string();
        assert!(line.contains(&hash), "{line}");
    }
    assert!(
        line.contains("from 0/300000 on timeline 1 of system 7"),
        "{line}"
    );
    // What was there stays.
    assert_eq!(
        sample.push_bytes(NAME, &first).unwrap(),
        Pushed::AlreadyThere
    );

    let history = history_file("1\t0/300000\tx\n");
    sample.push_history(2, &history).unwrap();
    assert_eq!(
        sample.push_history(2, &history).unwrap(),
        Pushed::AlreadyThere
    );
    let error = sample.push_history(2, "1\t0/300001\tx\n").unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
}

#[test]
fn a_damaged_object_under_the_name_is_no_difference() {
    let sample = Sample::new("zstd");
    sample.push(NAME).unwrap();
    let object = sample.object(NAME);
    let mut bytes = fs::read(&object).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&object, bytes).unwrap();
    let error = sample.push(NAME).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.message().contains("is damaged"), "{error}");
}

#[test]
fn what_is_not_the_segment_that_it_is_called_is_refused() {
    let sample = Sample::new("none");
    let good = segment_file(NAME);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (name, bytes, wrong) in [
        (NAME, vec![], "too short"),
        (NAME, vec![0; good.len()], "zeros"),
        (NAME, good[..good.len() - 1].to_vec(), "has 1048575 bytes"),
        (NAME, [&good[..], b"x"].concat(), "has 1048577 bytes"),
        (
            "000000010000000000000004",
            good.clone(),
            "must begin at 0/400000",
        ),
        (
            "000000010000000000000004.partial",
            good.clone(),
            "must begin at 0/400000",
        ),
        // A page of a later timeline than the name; see below for an earlier one.
        (NAME, with(4, 2), "a later one"),
        // Another system, and a size and version that this one does not have.
        (NAME, with(24, 8), "not registered"),
        (NAME, with(0, 0x13), "of PostgreSQL 16"),
    ] {
        let error = sample.push_bytes(name, &bytes).unwrap_err();
        assert!(
            error.in_one_line().contains(wrong),
            "{wrong}: {}",
            error.in_one_line()
        );
    }
    assert!(!sample.object(NAME).exists());
    // The first segment after a promotion begins with pages of the old timeline.
    let promoted = "000000020000000000000003";
    assert!(matches!(
        sample.push_bytes(promoted, &good).unwrap(),
        Pushed::Stored { .. }
    ));
}

#[test]
fn only_regular_files_are_read() {
    let sample = Sample::new("none");
    let folder = sample.path("a-folder");
    fs::create_dir(&folder).unwrap();
    let name = NAME.parse().unwrap();
    let error = Offered::open(&folder, name, &folder).unwrap_err();
    assert!(error.message().contains("not a regular file"));
    let error = Offered::open(&sample.path("nothing"), name, &folder).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    for length in [0, 100, (1 << 20) - 1, (1 << 20) + 1] {
        let sample = Sample::new("none");
        let offered = sample.offer(NAME, &segment_file(NAME)).unwrap();
        fs::File::options()
            .write(true)
            .open(sample.path(NAME))
            .unwrap()
            .set_len(length)
            .unwrap();
        let error = push(
            &sample.repository,
            &offered,
            Compression::default(),
            &Meter::default(),
        )
        .unwrap_err();
        assert!(error.message().contains("changed while"), "{error}");
        assert!(!sample.object(NAME).exists());
        assert_eq!(sample.strays(), Vec::<String>::new());
    }
}
