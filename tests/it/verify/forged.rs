//! Manifests that nobody damaged by chance: their own checksum and what backup.json says of them
//! are right.

use std::{fs, path::PathBuf};

use pgstow::util::hash::Sha256;

use super::put;
use crate::harness::{Cluster, Scratch, Stored, Stow, pg};

/// Changes the manifest's text, and all that would give it away.
fn forge(backup: &Stored, change: impl FnOnce(&str) -> String) -> PathBuf {
    const NAME: &str = "backup_manifest.zst";
    let object = backup.object(NAME);
    let text = String::from_utf8(zstd::decode_all(&*fs::read(&object).unwrap()).unwrap()).unwrap();
    let (files, _) = text.split_once("\"Manifest-Checksum\"").unwrap();
    let changed = change(files);
    assert_ne!(files, changed);
    let sum = Sha256::of(changed.as_bytes());
    let text = format!("{changed}\"Manifest-Checksum\": \"{sum}\"}}\n");
    let stored = zstd::encode_all(text.as_bytes(), 3).unwrap();
    put(&object, &stored);

    let mut json = backup.json();
    let objects = json["objects"].as_array_mut().unwrap();
    let entry = objects
        .iter_mut()
        .find(|entry| entry["name"] == NAME)
        .unwrap();
    entry["stored_bytes"] = stored.len().into();
    entry["sha256"] = Sha256::of(&stored).to_string().into();
    backup.rewrite_json(json);
    object
}

/// Gives a file another checksum of the same length.
fn other_checksum(files: &str, name: &str) -> String {
    let line = files.lines().find(|line| line.contains(name)).unwrap();
    let (before, sum) = line.split_once("\"Checksum\": \"").unwrap();
    let (sum, behind) = sum.split_once('"').unwrap();
    let sum: String = sum.chars().rev().collect();
    files.replace(line, &format!("{before}\"Checksum\": \"{sum}\"{behind}"))
}

/// Bytes and index agree, and every hash of pgstow's own: only the manifest knows better.
#[test]
fn a_file_with_another_checksum_in_the_manifest_is_named() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    for algorithm in ["crc32c", "sha224", "sha256", "sha384", "sha512"] {
        let backup = stow.backup(&["--manifest-checksums", algorithm]);
        let name = algorithm.to_uppercase();
        assert!(backup.text("backup_manifest.zst").contains(&name));
        let verify = || stow.tool.command(&["--json", "verify"]);
        verify().ok();
        for file in ["PG_VERSION", "global/pg_control"] {
            let sound = ["backup_manifest.zst", "backup.json"]
                .map(|name| (backup.object(name), fs::read(backup.object(name)).unwrap()));
            let quoted = format!("\"{file}\"");
            let manifest = forge(&backup, |files| other_checksum(files, &quoted));
            let report = verify().fails(3).json();
            let expected = serde_json::json!([{
                "object": manifest,
                "file": file,
                "problem": "has another checksum in the manifest",
            }]);
            assert_eq!(report["backups"][0]["findings"], expected, "{algorithm}");
            for (path, bytes) in sound {
                put(&path, &bytes);
            }
        }
    }
}

/// Since 17 the manifest names its system. Nothing but `verify` reads that: what a restore does
/// goes by backup.json, and pg_verifybackup finds the manifest that it leaves.
#[test]
fn a_manifest_of_another_system_is_named_and_misleads_nobody() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let backup = stow.backup(&[]);
    let own = stow
        .cluster
        .psql("select system_identifier from pg_control_system()");
    let other = format!("{}1", &own[1..]);
    let named = |id: &str| format!("\"System-Identifier\": {id},");
    let manifest = forge(&backup, |files| files.replace(&named(&own), &named(&other)));

    let verify = stow.tool.command(&["--json", "verify"]).fails(3).json();
    let expected = serde_json::json!([{
        "object": manifest,
        "file": null,
        "problem": "belongs to another system",
    }]);
    assert_eq!(verify["backups"][0]["findings"], expected);

    let listed = &stow.backups()[0];
    assert_eq!(listed["state"], "complete");
    assert_eq!(listed["backup"]["system_id"], own);

    let to = scratch.join("copy");
    let (bindir, place) = (
        stow.cluster.pg.bindir.display().to_string(),
        to.display().to_string(),
    );
    let restore = ["restore", "--bindir", &bindir, "--data-dir", &place];
    stow.tool.command(&restore).ok();
    let judged = stow.cluster.pg.verifybackup(&to).unwrap_err();
    assert!(judged.contains("manifest system identifier"), "{judged}");
    let mut copy = Cluster::existing(&scratch, stow.cluster.pg.clone(), "copy-run", &to);
    copy.recover();
    let restored = copy.psql("select system_identifier from pg_control_system()");
    assert_eq!(restored, own);
}
