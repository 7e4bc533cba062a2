//! Runs of jobs tell of themselves as `monitor` would, and end as they would without it.

use std::{fs, os::unix::fs::PermissionsExt};

use super::Receiver;
use crate::harness::{Scratch, Stow, pg};

#[test]
fn a_failed_run_is_told_at_once_and_once() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let web = Receiver::web(&scratch, "web");
    let all = "failure,recovery,success";
    let base = |on: &str| {
        stow.base(&[])
            .env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/hook"))
            .env("PGSTOW_ALERT_WEBHOOK_ON", on)
            .env("PGSTOW_CONNECT_RETRIES", "0")
    };
    let monitor = || {
        let words = ["--json", "monitor", "--only", "runs"];
        let command = stow.tool.command(&words);
        command.env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/hook"))
    };
    drop(base("failure,recovery").ok());
    assert_eq!(web.got().len(), 0);
    drop(base(all).ok());
    assert_eq!(web.kinds(), ["success"]);
    let success = web.got()[0]["body"].clone();
    let reason = success["alerts"][0]["reason"].as_str().unwrap();
    let id = stow.backups()[1]["id"].as_str().unwrap().to_owned();
    assert!(
        reason.contains(&format!("was well, backup {id}, ")),
        "{reason}"
    );

    drop(base(all).env("PGSTOW_CLUSTER_PORT", "1").fails(1));
    assert_eq!(web.kinds(), ["success", "failure"]);
    let failure = web.got()[1]["body"]["alerts"][0].clone();
    assert_eq!(failure["check"], "runs");
    assert_eq!(failure["object"], "base");
    assert_eq!(failure["state"], "warning");
    let reason = failure["reason"].as_str().unwrap();
    assert!(reason.contains("failed: can't connect"), "{reason}");
    // The hint of the error itself.
    let hint = failure["hint"].as_str().unwrap();
    assert!(!hint.contains("list --runs"), "{hint}");
    // `monitor` sees the same, and says nothing more.
    drop(monitor().fails(1));
    assert_eq!(web.got().len(), 2);
    drop(base(all).ok());
    assert_eq!(web.kinds()[2..], ["recovery"]);
    drop(monitor().ok());
    assert_eq!(web.got().len(), 3);
}

/// `monitor` and `check` refuse it, since it is they who would tell; what works without alerts goes on.
#[test]
fn an_address_that_all_can_read_holds_no_wal_up() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    let config = scratch.join("pgstow-home/pgstow.toml");
    let address = "[alert.x]\nurl = \"http://127.0.0.1:1/secret\"\n";
    let text = fs::read_to_string(&config).unwrap() + address;
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let said = "alert.x.url can be read by every user";
    let main = &stow.cluster;
    let segment = main.switch_wal();
    let copy = scratch.folder("out").join("copy");
    let restore_wal = ["restore-wal", &segment, copy.to_str().unwrap()];
    let restore_wal = stow.tool.command(&restore_wal);
    drop(restore_wal.current_dir(main.data_dir()).ok());
    let there = main.data_dir().join("pg_wal").join(&segment);
    assert!(fs::read(&copy).unwrap() == fs::read(there).unwrap());
    drop(stow.base(&[]).expect_warning(said).ok());
    // Of a check that can't be made Nagios wants a 3.
    for (command, code) in [("check", 2), ("monitor", 3)] {
        let refused = stow.tool.command(&[command]).fails(code);
        refused.stderr_contains(said).stderr_contains("chmod o-rwx");
    }
}

#[test]
fn an_alert_that_fails_fails_no_job() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let web = Receiver::web(&scratch, "web");
    let base = || stow.base(&[]).env("PGSTOW_ALERT_WEBHOOK_ON", "success");
    drop(
        base()
            .env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/gone/x"))
            .expect_warning("alert webhook: ")
            .ok(),
    );
    drop(
        base()
            .env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/x"))
            .env("PGSTOW_ALERT_WEBHOOK_FORM", "telex")
            .expect_warning("nobody is told of this run: ")
            .ok(),
    );
    assert_eq!(stow.backups().len(), 2);
    // Where no note can be left, it is told all the same.
    let told = web.got().len();
    let base = base()
        .env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/x"))
        .env("PGSTOW_STATE_DIR", "/proc/pgstow")
        .expect_warning("this run is not noted")
        .expect_warning("who was told what can't be noted");
    drop(base.ok());
    assert_eq!(web.got().len(), told + 1);

    // archive-wal sends nothing, whatever is wrong with it or with alerts.
    let told = web.got().len();
    drop(
        stow.tool
            .command(&["archive-wal", "/nowhere/000000010000000000000001"])
            .env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/x"))
            .env("PGSTOW_ALERT_WEBHOOK_FORM", "telex")
            .fails(1),
    );
    assert_eq!(web.got().len(), told);
}

#[test]
fn failures_and_findings_of_cleanup_and_verify_are_told() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    let web = Receiver::web(&scratch, "web");
    let told = |words: &[&str], code: i32| {
        let command = stow.tool.command(words);
        drop(
            command
                .env("PGSTOW_ALERT_WEBHOOK_URL", web.url("/hook"))
                .fails(code),
        );
        let got = web.got();
        let last = &got.last().unwrap()["body"]["alerts"][0];
        let text = |field: &str| last[field].as_str().unwrap_or_default().to_owned();
        (got.len(), text("kind"), text("object"), text("reason"))
    };
    let is = |(count, kind, object, reason): (usize, String, String, String), expected| {
        assert_eq!(
            (count, kind.as_str(), object.as_str()),
            expected,
            "{reason}"
        );
        reason
    };
    let backup = stow.backup(&[]);
    let part = backup.parts().remove(0);
    let whole = fs::read(&part).unwrap();
    fs::write(&part, [&whole[..100], b"?", &whole[101..]].concat()).unwrap();
    let reason = is(told(&["verify"], 3), (1, "failure", "verify"));
    // With what, where: the history of runs says the same.
    let name = part.display().to_string();
    let says = |text: &str| {
        assert!(
            text.contains("found something: ") || text.contains("FINDINGS"),
            "{text}"
        );
        assert!(text.contains("finding") && text.contains(&name), "{text}");
    };
    says(&reason);
    says(&stow.tool.command(&["list", "--runs"]).ok().stdout);
    fs::write(&part, whole).unwrap();
    is(told(&["verify"], 0), (2, "recovery", "verify"));

    let (systems, aside) = (stow.root().join("repository.json"), scratch.join("aside"));
    fs::rename(&systems, &aside).unwrap();
    let reason = is(told(&["cleanup"], 1), (3, "failure", "cleanup"));
    assert!(reason.contains("there is no repository at"), "{reason}");
    fs::rename(&aside, &systems).unwrap();
    is(told(&["cleanup"], 0), (4, "recovery", "cleanup"));
}
