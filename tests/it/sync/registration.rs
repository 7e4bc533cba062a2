//! A system's registration that is lost or damaged in one repository is written anew by what another one knows of it, and
//! by what is stored here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Site, count, files, flip, repair::verify};
use crate::harness::{Scratch, keys, pg, user};

fn registration(root: &Path) -> PathBuf {
    let systems = root.join("main/systems");
    let [name] = files(&systems).try_into().unwrap();
    systems.join(name)
}

/// What it fixes.
fn told(file: &Path) -> [Value; 6] {
    let json: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    [
        "system_id",
        "postgres_major",
        "segment_size",
        "wal_codec",
        "encrypted",
        "registered",
    ]
    .map(|field| json[field].clone())
}

/// What may happen to it.
const HARM: [fn(&Path); 3] = [
    |file| fs::remove_file(file).unwrap(),
    |file| fs::write(file, "{").unwrap(),
    |file| flip(file),
];

#[test]
fn a_lost_registration_is_healed_as_what_is_stored_there() {
    if keys::are_wanted() {
        return;
    }
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let site = Site::start(pg(17), &lines);
    let [full, _] = site.fill();
    site.sync(0);
    let dump = site.main().dump("postgres");
    let parts = [full.parts(), site.copied(&full).parts()].map(|parts| parts[0].clone());
    let roots = [site.stow.root(), &site.offsite];
    for ((repo, root), part) in ["local", "offsite"].into_iter().zip(roots).zip(&parts) {
        let file = registration(root);
        let before = told(&file);
        assert_eq!(before[4], repo == "offsite");
        for harm in HARM {
            harm(&file);
            // It hides nothing else.
            flip(part);
            let found = verify(&site, repo, &[], 3);
            let name = file.display().to_string();
            assert!(found["wal"].to_string().contains(&name), "{found:#}");
            let of_backup = found["backups"][0]["findings"].to_string();
            let named = part.display().to_string();
            assert!(
                of_backup.contains(&named) && of_backup.contains(&name),
                "{found:#}"
            );
            flip(part);
            let healed = verify(&site, repo, &["--repair"], 0);
            assert_eq!(count(&healed, "repairs"), 1, "{healed:#}");
            assert_eq!(healed["repairs"][0]["object"], name);
            let left = told(&file);
            // The copy's own says when it was copied.
            assert_eq!(left[..5], before[..5]);
            verify(&site, repo, &[], 0);
        }
    }
    assert_eq!(
        told(&registration(roots[0]))[5],
        told(&registration(roots[1]))[5]
    );
    site.comes_back(&[], &dump);
}

#[test]
fn sync_brings_a_lost_registration_back() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let site = Site::start(pg(16), &lines);
    site.fill();
    site.sync(0);
    let file = registration(&site.offsite);
    let before = told(&file);
    for harm in HARM {
        harm(&file);
        site.main().switch_wal();
        let sync = site.pgstow(&["--json", "sync"]);
        let sync = sync.expect_warning("is written anew").ok().json();
        let copied = &sync["repositories"][0]["wal"]["objects"];
        assert!(copied.as_u64() > Some(0), "{sync:#}");
        assert_eq!(told(&file)[..5], before[..5]);
        assert_eq!(site.sync(0)["bytes"], 0);
    }
    verify(&site, "offsite", &[], 0);
}

/// WAL of which nobody can tell how it is to be read on.
#[test]
fn what_the_registration_was_is_not_guessed() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    site.fill();
    let segment = site.main().switch_wal();
    site.sync(0);
    let file = registration(&site.offsite);
    let stored = site.stow.wal_object_in(&site.offsite, &segment);
    let other = stored.with_file_name(format!("{segment}.gz"));
    fs::copy(&stored, &other).unwrap();
    user::own(&other);
    fs::remove_file(&file).unwrap();
    let found = verify(&site, "offsite", &["--repair"], 3);
    let why = found["repairs"][0]["why"].as_str().unwrap_or_default();
    assert!(
        why.contains("can't be told from what is stored"),
        "{found:#}"
    );
    assert!(found["repairs"][0]["hint"].is_string(), "{found:#}");
    site.pgstow(&["sync"])
        .fails(1)
        .stderr_contains("can't be told from what is stored");
    assert!(!file.exists());
    fs::remove_file(&other).unwrap();
    verify(&site, "offsite", &["--repair"], 0);
    site.sync(0);
}
