//! No key, another key, damage, and settings that don't fit: told apart, and nothing plain is stored.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Site, files};
use crate::harness::{keys::RECIPIENT, pg, user};

#[test]
fn no_key_a_wrong_key_and_damage_are_told_apart() {
    let site = Site::start(pg(18));
    let backup = site.stow.backup(&[]);
    let segment = site.main().switch_wal();
    let key = site.take_key_away();
    let to = site.scratch.join("copy");
    let restore = ["restore", "--data-dir", to.to_str().unwrap()];
    let fetched = site.scratch.join("fetched");
    let system = backup.json()["system_id"].as_str().unwrap().to_owned();
    let fetch = [
        "restore-wal",
        "--system-id",
        &system,
        &segment,
        fetched.to_str().unwrap(),
    ];
    let identity = "PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE";

    for (what, wanted) in [(&restore[..], 1), (&fetch[..], 126)] {
        site.pgstow(what)
            .fails(wanted)
            .stderr_contains("there is no identity to decrypt with")
            .stderr_contains("hint: name the file of the private key");
    }
    let stranger = site.scratch.join("stranger");
    site.pgstow(&["init", "--make-key", stranger.to_str().unwrap()])
        .ok();
    for (what, wanted) in [(&restore[..], 1), (&fetch[..], 126)] {
        site.pgstow(what)
            .env(identity, &stranger)
            .fails(wanted)
            .stderr_contains("it is encrypted for others than age1")
            .stderr_contains("hint: use the private key of one of the recipients");
    }
    // Before anything was touched.
    assert!(!to.exists() && !fetched.exists());
    let plan = site.pgstow(&[&restore[..], &["--plan"]].concat()).fails(1);
    assert!(plan.stdout.contains("no identity"), "{plan}");
    assert!(
        plan.stdout.contains("name the file of the private key"),
        "{plan}"
    );
    assert!(!plan.stdout.contains("stop that server"), "{plan}");
    // What this call knows, restore_command does not.
    let alone = "the environment of this call alone tells the identity";
    let plan = || site.pgstow(&[&restore[..], &["--plan"]].concat());
    plan().env(identity, &key).ok().stdout_contains(alone);
    let known = format!("identity_file = \"{}\", recipients = [", key.display());
    site.configure("recipients = [", &known);
    let told = plan().ok();
    assert!(!told.stdout.contains(alone), "{told}");
    site.configure(&known, "recipients = [");

    for path in [backup.parts()[0].clone(), site.stow.wal_object(&segment)] {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    for (what, wanted) in [(&restore[..], 1), (&fetch[..], 126)] {
        let failed = site.pgstow(what).env(identity, &key).fails(wanted);
        assert!(!failed.stderr.contains("identity"), "{failed}");
        assert!(failed.stderr.contains("decryption error"), "{failed}");
    }
}

#[test]
fn without_the_key_verify_checks_the_hashes_and_says_what_it_could_not() {
    let site = Site::start(pg(17));
    let backup = site.stow.backup(&[]);
    site.main().switch_wal();
    site.take_key_away();
    let verified = site.pgstow(&["verify", "--all", "--wal"]).ok();
    for line in [
        "what is stored is as it was written",
        "not checked: the ",
        "there is no identity to decrypt with",
        "nothing is missing",
        "not checked: what is in ",
    ] {
        assert!(verified.stdout.contains(line), "no {line:?} in {verified}");
    }
    let monitored = site.pgstow(&["monitor", "--only", "verification"]).ok();
    let told = "can't be proven on this host";
    assert!(monitored.stdout.contains(told), "{monitored}");

    // Who has set one wants it to be used.
    let nonsense = site.scratch.join("nonsense");
    fs::write(&nonsense, "no key\n").unwrap();
    fs::set_permissions(&nonsense, fs::Permissions::from_mode(0o600)).unwrap();
    user::own(&nonsense);
    site.pgstow(&["verify"])
        .env("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE", &nonsense)
        .expect_warning("what is encrypted is not checked: ")
        .ok();

    let part = &backup.parts()[0];
    let mut bytes = fs::read(part).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(part, bytes).unwrap();
    site.pgstow(&["verify"])
        .fails(3)
        .stdout_contains("SHA-256 differs");
}

/// Whatever the settings say: a repository is encrypted as its system was registered, or nothing is stored.
#[test]
fn nothing_is_stored_where_settings_and_repository_differ() {
    let site = Site::start(pg(16));
    let main = site.main();
    // What is full by now is stored before we look.
    main.switch_wal();
    let before = files(site.stow.root());
    let encryption = format!("recipients = [\"{RECIPIENT}\"]");
    site.configure(&encryption, "recipients = []");
    main.psql("select pg_logical_emit_message(false, 'test', '')");
    let segment = main.psql("select pg_walfile_name(pg_switch_wal())");
    let wal = main.data_dir().join("pg_wal").join(&segment);
    for (arguments, code) in [
        (&["base"][..], 2),
        (&["dump", "postgres"][..], 2),
        (&["archive-wal", wal.to_str().unwrap()][..], 1),
        (&["init"][..], 2),
    ] {
        site.pgstow(arguments)
            .current_dir(main.data_dir())
            .env("PGSTOW_CLUSTER_USER", "postgres")
            .fails(code)
            .stderr_contains("no recipients are set");
    }
    let check = site.pgstow(&["--repo", "local", "check"]).fails(1);
    assert!(check.stdout.contains("no recipients are set"), "{check}");
    let after: Vec<_> = files(site.stow.root());
    let plain: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    assert!(plain.is_empty(), "{plain:?}");
    site.configure("recipients = []", &encryption);
    main.switch_wal();
    site.stow.backup(&[]);
}

/// The way to the WAL needs the key too: a server that can't decrypt it stops instead of ending its recovery early.
#[test]
fn a_server_without_the_key_does_not_take_that_for_the_end() {
    let site = Site::start(pg(17));
    site.stow.backup(&[]);
    site.main().psql("insert into t values (-7, 'last')");
    site.main().switch_wal();
    let (restore, to) = site.restore("copy", &[]);
    restore.ok();
    let key = site.scratch.join("identity");
    fs::rename(&key, site.scratch.join("away")).unwrap();
    let pg = site.main().pg.clone();
    let mut copy = crate::harness::Cluster::existing(&site.scratch, pg, "copy-run", &to);
    let log = copy.try_start().unwrap_err();
    assert!(log.contains("can't use the identity"), "{log}");
    fs::rename(site.scratch.join("away"), &key).unwrap();
    user::own(&key);
    copy.start();
    copy.wait_until("select pg_is_in_recovery()", "f");
    assert_eq!(copy.psql("select count(*) from t where n = -7"), "1");
}
