//! Keys: made, changed, given by every way, never shown.

use std::{fs, os::unix::fs::PermissionsExt};

use super::Site;
use crate::harness::{
    Scratch, Tool,
    keys::{IDENTITY, RECIPIENT},
    pg, user,
};

#[test]
fn init_makes_a_pair_that_age_knows_and_overwrites_none() {
    let scratch = Scratch::new();
    let tool = Tool::new(&scratch);
    let path = scratch.join("new-identity");
    let report = tool
        .command(&["--json", "init", "--make-key", path.to_str().unwrap()])
        .ok()
        .json();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let recipient = report["recipient"].as_str().unwrap();
    let public = user::run_ok(user::command("age-keygen", "KILL").arg("-y").arg(&path));
    assert_eq!(public.trim(), recipient);
    let text = fs::read_to_string(&path).unwrap();
    tool.command(&["init", "--make-key", path.to_str().unwrap()])
        .fails(1)
        .stderr_contains("is there already");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    // What it prints shows the public key, and where the private one is; not that one.
    let other = scratch.join("other-identity");
    let told = tool
        .command(&["init", "--make-key", other.to_str().unwrap()])
        .ok();
    let secret = fs::read_to_string(&other).unwrap();
    let secret = secret.lines().last().unwrap();
    assert!(
        !told.stdout.contains(secret) && !told.stderr.contains(secret),
        "{told}"
    );
    for line in [
        "encryption.recipients = [\"age1",
        "encryption.identity_file = ",
        "Keep it",
    ] {
        assert!(told.stdout.contains(line), "no {line:?} in {told}");
    }
}

/// Recipients hold for new objects: who comes later reads what comes later, who goes the older ones.
#[test]
fn recipients_come_and_go() {
    let site = Site::start(pg(17));
    let (first, second) = (site.scratch.join("identity"), site.scratch.join("second"));
    let make = ["--json", "init", "--make-key", second.to_str().unwrap()];
    let made = site.pgstow(&make).ok().json();
    let late = made["recipient"].as_str().unwrap();
    let old = site.stow.backup(&["--full"]);
    site.configure(
        &format!("\"{RECIPIENT}\""),
        &format!("\"{RECIPIENT}\", \"{late}\""),
    );
    let both = site.stow.backup(&["--full"]);
    site.configure(&format!("\"{RECIPIENT}\", "), "");
    let new = site.stow.backup(&["--full"]);
    assert_eq!(new.json()["recipients"], serde_json::json!([late]));
    assert_eq!(
        both.json()["recipients"],
        serde_json::json!([RECIPIENT, late])
    );
    for (backup, by_first, by_second) in [
        (&old, true, false),
        (&both, true, true),
        (&new, false, true),
    ] {
        for (key, opens) in [(&first, by_first), (&second, by_second)] {
            let checked = site
                .pgstow(&["--json", "verify", backup.id()])
                .env("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE", key)
                .ok()
                .json();
            let sealed = &checked["backups"][0]["sealed"];
            assert_eq!(
                sealed.is_null(),
                opens,
                "{} {}: {sealed}",
                backup.id(),
                key.display()
            );
        }
    }
    // A file of several identities opens all of them.
    let all = site.scratch.join("all");
    let text = format!(
        "{}{}",
        fs::read_to_string(&first).unwrap(),
        fs::read_to_string(&second).unwrap()
    );
    fs::write(&all, text).unwrap();
    fs::set_permissions(&all, fs::Permissions::from_mode(0o600)).unwrap();
    user::own(&all);
    let checked = site
        .pgstow(&["--json", "verify", "--all", "--wal"])
        .env("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE", &all)
        .ok()
        .json();
    for backup in checked["backups"].as_array().unwrap() {
        assert!(backup["sealed"].is_null(), "{backup}");
    }
    assert_eq!(checked["wal"][0]["sealed"], 0);
}

/// Each backup of a chain is for those who were recipients then, and so is each segment.
#[test]
fn what_the_key_does_not_open_is_told_before_a_byte_is_written() {
    let site = Site::start(pg(16));
    let (first, second) = (site.scratch.join("identity"), site.scratch.join("second"));
    let make = ["--json", "init", "--make-key", second.to_str().unwrap()];
    let made = site.pgstow(&make).ok().json();
    let late = made["recipient"].as_str().unwrap();
    let both = site.scratch.join("both");
    let text = [&first, &second].map(|key| fs::read_to_string(key).unwrap());
    fs::write(&both, text.concat()).unwrap();
    fs::set_permissions(&both, fs::Permissions::from_mode(0o600)).unwrap();
    user::own(&both);
    let replace = |from: &str, to: &str| {
        site.configure(&format!("\"{from}\""), &format!("\"{to}\""));
    };
    let named = format!("identity_file = \"{}\"", first.display());
    let plan = |key: &std::path::Path| {
        let set = format!("identity_file = \"{}\"", key.display());
        site.configure(&named, &set);
        let plan = site.restore("copy", &["--plan"]).0.spawn().wait();
        site.configure(&set, &named);
        plan
    };
    let full = site.stow.backup(&["--full"]);
    replace(RECIPIENT, late);
    let incremental = site.stow.backup(&["--incremental"]);
    assert_eq!(incremental.json()["parent"], full.id());
    for (key, part) in [(&first, incremental.id()), (&second, full.id())] {
        let refused = plan(key);
        assert_eq!(refused.status.code(), Some(1), "{refused}");
        let text = &refused.stdout;
        assert!(text.contains("REFUSED") && text.contains(part), "{refused}");
    }
    let told = plan(&both);
    assert_eq!(told.status.code(), Some(0), "{told}");
    assert!(!told.stdout.contains("can't be decrypted"), "{told}");

    replace(late, RECIPIENT);
    site.main().switch_wal();
    site.stow.backup(&["--full"]);
    let told = plan(&first);
    assert!(!told.stdout.contains("can't be decrypted"), "{told}");
    replace(RECIPIENT, late);
    let segment = site.main().switch_wal();
    let told = plan(&first);
    assert_eq!(told.status.code(), Some(0), "{told}");
    let text = &told.stdout;
    assert!(
        text.contains("the end of the WAL can't be decrypted"),
        "{told}"
    );
    assert!(text.contains(&segment), "{told}");
}

#[test]
fn an_identity_comes_by_variable_or_file_and_is_never_told() {
    let site = Site::start(pg(15));
    let backup = site.stow.backup(&[]);
    let key = site.take_key_away();
    let verify = || site.pgstow(&["--json", "-vv", "verify", backup.id()]);
    let sealed = |invocation: crate::harness::tool::Invocation| {
        let output = invocation.ok();
        assert!(!output.stderr.contains("AGE-SECRET-KEY"), "{output}");
        assert!(!output.stdout.contains("AGE-SECRET-KEY"), "{output}");
        output.json()["backups"][0]["sealed"].clone()
    };
    assert!(sealed(verify()).as_str().unwrap().contains("no identity"));
    assert!(sealed(verify().env("PGSTOW_REPO_ENCRYPTION_IDENTITY", IDENTITY)).is_null());
    assert!(sealed(verify().env("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE", &key)).is_null());
    let shown = site
        .pgstow(&["check", "--show-settings"])
        .env("PGSTOW_REPO_ENCRYPTION_IDENTITY", IDENTITY)
        .ok();
    assert!(!shown.stdout.contains("AGE-SECRET-KEY"), "{shown}");

    // Closed to others, or not used.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = verify()
        .env("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE", &key)
        .expect_warning("what is encrypted is not checked: ");
    let refused = sealed(refused);
    assert!(
        refused.as_str().unwrap().contains("every user"),
        "{refused}"
    );
}
