//! Checking all that is stored: each damage and each hole is named.

use std::fs;

use crate::{
    domain::wal::verify::{WalChecked, verify},
    error::Kind,
    util::{cancel::Cancel, meter::Meter},
};

use super::sample::Sample;

fn name(number: u64) -> String {
    format!("00000001000000000000000{number}")
}

fn run(sample: &Sample) -> WalChecked {
    verify(
        &sample.repository,
        &sample.system,
        3,
        &Cancel::default(),
        &Meter::default(),
    )
    .unwrap()
}

#[test]
fn whole_wal_has_no_findings() {
    let sample = Sample::new("zstd");
    for number in 1..=9 {
        sample.push(&name(number)).unwrap();
    }
    sample.push(&format!("{}.partial", name(9))).unwrap();
    sample.push_history(2, "1\t0/950000\tx\n").unwrap();
    let checked = run(&sample);
    assert_eq!(checked.findings, []);
    assert_eq!(checked.objects, 11);
}

#[test]
fn each_damage_and_each_hole_is_named() {
    let sample = Sample::new("zstd");
    for number in [1, 2, 3, 4, 5, 8] {
        sample.push(&name(number)).unwrap();
    }
    sample.push(&format!("{}.partial", name(9))).unwrap();
    sample.push_history(2, "1\t0/950000\tx\n").unwrap();
    let change = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(sample.object(file)).unwrap();
        change(&mut bytes);
        fs::write(sample.object(file), bytes).unwrap();
    };
    change(&name(1), &|bytes| bytes.truncate(1000));
    change(&name(3), &|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
    });
    change(&format!("{}.partial", name(9)), &|bytes| bytes.clear());
    change("00000002.history", &|bytes| bytes.truncate(1));
    fs::copy(sample.object(&name(2)), sample.object(&name(4))).unwrap();
    let odd = sample.object(&name(5)).with_extension("lz4");
    fs::rename(sample.object(&name(5)), odd).unwrap();

    let checked = run(&sample);
    let found: Vec<(&str, Option<(u64, u64)>)> = checked
        .findings
        .iter()
        .map(|finding| {
            let object = finding.object.rsplit('/').next().unwrap();
            (object, finding.lost.map(|lost| (lost.first, lost.last)))
        })
        .collect();
    let expected = [
        ("000000010000000000000001.zst", Some((1, 1))),
        ("000000010000000000000003.zst", Some((3, 3))),
        ("000000010000000000000004.zst", Some((4, 4))),
        ("000000010000000000000005.lz4", None),
        ("000000010000000000000009.partial.zst", None),
        ("00000002.history", None),
        (
            "000000010000000000000005 to 000000010000000000000007",
            Some((5, 7)),
        ),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for finding in expected {
        assert!(found.contains(&finding), "{finding:?} in {found:?}");
    }
}

#[test]
fn a_stop_is_obeyed_and_a_lost_store_is_an_error() {
    let sample = Sample::new("none");
    sample.push(&name(1)).unwrap();
    let cancel = Cancel::default();
    let run = || {
        let meter = Meter::default();
        verify(&sample.repository, &sample.system, 1, &cancel, &meter)
    };
    run().unwrap();
    fs::rename(sample.path("repository"), sample.path("elsewhere")).unwrap();
    assert!(run().is_err());
    fs::rename(sample.path("elsewhere"), sample.path("repository")).unwrap();
    cancel.set();
    assert_eq!(run().unwrap_err().kind(), Kind::Interrupted);
}
