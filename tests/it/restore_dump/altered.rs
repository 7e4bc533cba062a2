//! Data, `.sha256` and `.json` of a dump are compared, and the one that differs is named.

use std::{fs, path::Path};

use super::{Site, beside, failed, make_shop, results, stem};
use crate::harness::{output::Output, pg};

/// Changes a hexadecimal digit of the only sum in a text.
fn alter(path: &Path, text: &str) {
    let first = if text.starts_with('0') { "1" } else { "0" };
    fs::write(path, format!("{first}{}", &text[1..])).unwrap();
}

#[track_caller]
fn said(output: &Output, what: &str) {
    let report = output.json();
    let mut checks = report["dumps"][0]["checks"].as_array().unwrap().iter();
    let failed = checks.find(|check| check["result"] == "failed").unwrap();
    let said = failed["what"].as_str().unwrap();
    assert!(said.contains(what), "{what:?} in {output}");
}

/// Of `verify --dumps`, one of which is not good: which ones are.
#[track_caller]
fn all_newest(site: &Site) -> Vec<bool> {
    let report = site.pgstow(&["verify", "--dumps"]).fails(3).json();
    let dumps = report["dumps"].as_array().unwrap().iter();
    dumps.map(|one| one["good"] == true).collect()
}

#[test]
fn the_one_that_differs_is_named() {
    let site = Site::start(pg(18));
    make_shop(&site.stow.cluster, "shop");
    let data = site.dump("shop", &[]);
    let stem = stem(&data);
    let (sums, description) = (beside(&data, "sha256"), beside(&data, "json"));
    let verify =
        |arguments: &[&str], code| site.pgstow(&[&["verify"], arguments].concat()).fails(code);
    let from = ["--from", data.to_str().unwrap()];
    let restore = || site.pgstow(&["restore-dump", "shop", "-d", "copy"]);
    let (told, json) = (
        fs::read_to_string(&sums).unwrap(),
        fs::read(&description).unwrap(),
    );

    // `.sha256`: a finding, and all else is looked at; the rows are there for who needs them.
    alter(&sums, &told);
    for arguments in [&["shop"][..], &["--dumps"], &from] {
        let proven = verify(arguments, 3);
        assert_eq!(failed(&proven), ["sha256_file"], "{proven}");
        // Nobody loses a row by it: the dump stays good, for rules and restores.
        assert_eq!(proven.json()["dumps"][0]["good"], true, "{proven}");
        assert!(
            results(&proven).contains(&"row_counts passed".to_owned()),
            "{proven}"
        );
        said(&proven, &format!("{stem}.sha256 differs"));
    }
    site.pgstow(&["monitor", "--only", "dump_verification"])
        .fails(1)
        .stdout_contains("is good, but what lies beside it is not");
    let text = site.stow.tool.command(&["list", "--dumps"]).ok();
    text.stdout_contains("the data is good, but its .sha256 is not");
    let warning = format!("{stem}.sha256 differs");
    restore().expect_warning(&warning).ok();
    site.stow.cluster.psql("drop database copy");
    for (text, what) in [("", "tells nothing of"), ("xyz  NAME\n", "can't be read")] {
        let name = data.file_name().unwrap().to_str().unwrap();
        fs::write(&sums, text.replace("NAME", name)).unwrap();
        let proven = verify(&["shop"], 3);
        assert_eq!(failed(&proven), ["sha256_file"], "{proven}");
        said(&proven, what);
    }
    fs::remove_file(&sums).unwrap();
    said(&verify(&["shop"], 3), &format!("{stem}.sha256 is missing"));
    // A file has what it has.
    assert_eq!(failed(&verify(&from, 0)), [""; 0]);
    fs::write(&sums, &told).unwrap();
    assert_eq!(failed(&verify(&["shop"], 0)), [""; 0]);

    // `.json`, by somebody who knows what he does; then it is not clear what else is wrong in it.
    let other = "0".repeat(64);
    site.describe(&data, |json| json["data"]["sha256"] = other.clone().into());
    for arguments in [&["shop"][..], &from] {
        let proven = verify(arguments, 3);
        assert_eq!(results(&proven), ["intact failed"], "{proven}");
        said(&proven, &format!("{stem}.json differs"));
    }
    restore()
        .expect_warning("found it not good")
        .fails(1)
        .stderr_contains(&format!("{stem}.json differs"));
    // And without that knowledge. A newer one is no reason to be silent, nor is an older one.
    let text = String::from_utf8(json.clone()).unwrap();
    fs::write(&description, text.replacen("manual", "manuel", 1)).unwrap();
    let proven = verify(&[&stem], 3);
    assert_eq!(results(&proven), ["intact failed"], "{proven}");
    said(&proven, &format!("{stem}.json is not as it was written"));
    let newer = site.dump("shop", &[]);
    assert_eq!(all_newest(&site), [true, false]);
    fs::write(&description, json).unwrap();

    // The data itself, of the newest: the older one takes its place.
    fs::remove_file(&newer).unwrap();
    assert_eq!(all_newest(&site), [false, true]);
    let lost = newer.file_name().unwrap().to_str().unwrap();
    let older = site.pgstow(&["restore-dump", "shop", "-d", "copy"]);
    older
        .expect_warning("which is newer, can't be used")
        .ok()
        .stderr_contains(lost.trim_end_matches(".dump"));
    site.stow.cluster.psql("drop database copy");
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&data, bytes).unwrap();
    said(&verify(&[&stem], 3), &format!("{stem} is damaged"));
    site.assert_clean("shop");
}
