//! A password in a pgstow.toml that every user can read: what needs it refuses, all else goes on and warns. WAL must
//! not wait for it.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::harness::{Scratch, Stow, pg, user};

#[test]
fn a_password_that_all_can_read_holds_no_wal_up() {
    const SAID: &str = "cluster.main.password can be read by every user";
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    stow.backup(&[]);
    let config = stow.tool.config_file();
    let text = fs::read_to_string(config).unwrap();
    let section = "[cluster.main]\n";
    assert!(text.contains(section), "{text}");
    let with_password = text.replace(section, "[cluster.main]\npassword = \"hush\"\n");
    fs::write(config, with_password).unwrap();
    fs::set_permissions(config, fs::Permissions::from_mode(0o644)).unwrap();

    let main = &stow.cluster;
    let segment = main.switch_wal();
    assert!(main.log().contains(SAID), "{}", main.log());
    let copy = scratch.folder("out").join("copy");
    let restore_wal = ["restore-wal", &segment, copy.to_str().unwrap()];
    let restore_wal = stow.tool.command(&restore_wal).expect_warning(SAID);
    drop(restore_wal.current_dir(main.data_dir()).ok());
    let there = main.data_dir().join("pg_wal").join(&segment);
    assert!(fs::read(&copy).unwrap() == fs::read(there).unwrap());
    for words in [&["list"][..], &["cleanup"], &["verify", "--all", "--wal"]] {
        drop(stow.tool.command(words).expect_warning(SAID).ok());
    }
    for words in [&["base"][..], &["check"], &["dump", "postgres"]] {
        let refused = stow.tool.command(words).expect_warning(SAID).fails(2);
        let error = refused.stderr.split_once("error:").unwrap().1;
        assert!(
            error.contains(SAID) && error.contains("chmod o-rwx"),
            "{refused}"
        );
        assert!(!refused.stderr.contains("hush"), "{refused}");
    }
    // It looks at all that it can without the server.
    let words = ["--json", "monitor", "--only", "connection,restorable"];
    let report = stow
        .tool
        .command(&words)
        .expect_warning(SAID)
        .fails(2)
        .json();
    let of = |check: &str| {
        let mut checks = report["checks"].as_array().unwrap().iter();
        checks.find(|one| one["check"] == check).unwrap().clone()
    };
    assert_eq!(of("connection")["state"], "critical", "{report:#}");
    assert!(of("connection")["reason"].as_str().unwrap().contains(SAID));
    assert!(of("connection")["hint"].as_str().unwrap().contains("chmod"));
    assert_eq!(of("restorable")["state"], "ok", "{report:#}");

    fs::set_permissions(config, fs::Permissions::from_mode(0o640)).unwrap();
    drop(stow.tool.command(&["list"]).ok());
}

/// The same of an env file: all that it says is heard, but for what is secret.
#[test]
fn an_env_file_that_all_can_read_holds_no_wal_up() {
    const PASSWORD: &str = "env:2: PGPASSWORD can be read by every user";
    const ADDRESS: &str = "env:1: WEBHOOK_URL can be read by every user";
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    stow.backup(&[]);
    let main = &stow.cluster;
    let segment = main.switch_wal();
    let env_file = scratch.folder("etc").join("env");
    let write = |text: &str, mode| {
        fs::write(&env_file, text).unwrap();
        user::own(&env_file);
        fs::set_permissions(&env_file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let run = |words: &[&str]| {
        let command = stow.tool.command(words).env("PGSTOW_ENV_FILE", &env_file);
        command.current_dir(main.data_dir())
    };
    let copy = scratch.folder("out").join("copy");
    // The server recycles its own.
    let own = scratch.join("out").join(&segment);
    fs::copy(main.data_dir().join("pg_wal").join(&segment), &own).unwrap();
    user::own(&own);
    let archive_wal = ["archive-wal", own.to_str().unwrap()];
    let restore_wal = ["restore-wal", &segment, copy.to_str().unwrap()];
    let address = "WEBHOOK_URL=http://127.0.0.1:1/hush\n";

    // Without anything secret there is nothing to say.
    write("PGSTOW_LOG_LEVEL=info\n", 0o644);
    for words in [
        &archive_wal[..],
        &restore_wal,
        &["list"],
        &["check", "--show-settings"],
    ] {
        drop(run(words).ok());
    }
    // An address of alerts: nobody is told, and the job is done.
    write(address, 0o644);
    for words in [&archive_wal[..], &restore_wal, &["list"]] {
        drop(run(words).ok());
    }
    let base = run(&["base"])
        .expect_warning("nobody is told of this run")
        .ok();
    assert!(
        base.stderr.contains(ADDRESS) && !base.stderr.contains("hush"),
        "{base}"
    );
    for (words, code) in [(&["check"][..], 2), (&["monitor"], 3)] {
        let refused = run(words).fails(code);
        assert!(refused.stderr.contains(ADDRESS), "{refused}");
        assert!(refused.stderr.contains("run: chmod o-rwx"), "{refused}");
    }
    // A password: what needs the server refuses.
    write(&format!("{address}PGPASSWORD=hush\n"), 0o644);
    for words in [&archive_wal[..], &restore_wal] {
        drop(run(words).expect_warning(PASSWORD).ok());
    }
    drop(
        run(&["verify", "--all", "--wal"])
            .expect_warning(PASSWORD)
            .expect_warning("nobody is told")
            .ok(),
    );
    let refused = run(&["base"])
        .expect_warning(PASSWORD)
        .expect_warning("nobody is told")
        .fails(2);
    assert!(!refused.stderr.contains("hush"), "{refused}");
    // What others may change is nobody's word.
    write("PGSTOW_LOG_LEVEL=info\n", 0o646);
    drop(
        run(&archive_wal)
            .fails(1)
            .stderr_contains("env can be changed by every user"),
    );
}
