//! What is told where nobody can note that it was told, and to whom nobody could tell anything.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use super::{Host, Receiver};
use crate::harness::{FullDisk, Scratch};

const URL: &str = "PGSTOW_ALERT_WEBHOOK_URL";
const OTHER: &str = "PGSTOW_ALERT_DISCORD_URL";

#[test]
fn what_cannot_be_noted_is_told_at_every_run() {
    const LOST: &str = "alerts are not noted";
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "state", 1 << 20);
    let host = Host::of(&scratch, disk.path().to_owned());
    let web = Receiver::web(&scratch, "web");
    let url = web.url("/hook");
    let alerts = [(URL, url.as_str())];
    let state = |code: i32| {
        let words = ["--json", "monitor", "--only", "state"];
        let checks = host.tool.command(&words).fails(code).json();
        checks["checks"][0]["reason"].as_str().unwrap().to_owned()
    };
    let warn = || {
        drop(
            host.monitor("warning", &alerts)
                .expect_warning(LOST)
                .fails(1),
        )
    };
    warn_once(&host, &alerts);
    assert_eq!(web.kinds(), ["failure"]);

    // Before it is full, it is filling up.
    disk.fill(85);
    assert!(state(1).contains(" % of its file system used"));
    disk.fill(95);
    assert!(state(2).contains(" % of its file system used"));

    // Full, so that a second time can't be told from the first.
    disk.fill(100);
    assert!(state(2).contains("No space left on device"));
    drop(host.monitor("ok", &alerts).expect_warning(LOST).ok());
    warn();
    warn();
    let told = ["failure", "recovery", "failure", "failure"];
    assert_eq!(web.kinds(), told);
    fs::remove_file(disk.ballast()).unwrap();
    host.tool.command(&["monitor", "--only", "state"]).ok();
    drop(host.monitor("ok", &alerts).ok());
    assert_eq!(web.kinds()[4..], ["recovery"]);
    // That notes can be left again is told once, though no note says that they could not.
    let of_state = || {
        let words = ["--json", "monitor", "--only", "state"];
        drop(host.tool.command(&words).env(URL, &url).ok());
    };
    of_state();
    of_state();
    assert_eq!(web.kinds()[5..], ["recovery"]);
    let got = web.got();
    let last = &got.last().unwrap()["body"]["alerts"][0];
    assert_eq!(
        (&last["check"], &last["before"]),
        (&"state".into(), &"critical".into())
    );
    warn_once(&host, &alerts);
    assert_eq!(web.kinds()[6..], ["failure"]);

    // The same where the folder can't be written to.
    let folder = host.ledger();
    let folder = folder.parent().unwrap();
    let mode = |mode| fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    assert!(state(2).contains("Permission denied"));
    warn();
    warn();
    mode(0o700);
    assert_eq!(web.kinds()[7..], ["failure", "failure"]);
    warn_once(&host, &alerts);
    assert_eq!(web.kinds().len(), 9);
    of_state();
    assert_eq!(web.kinds()[9..], ["recovery"]);
}

/// Told, or not told again.
fn warn_once(host: &Host, alerts: &[(&str, &str)]) {
    drop(host.monitor("warning", alerts).fails(1));
}

#[test]
fn who_failed_a_test_is_tried_until_he_is_reached() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let (missing, other) = (web.url("/gone/x"), web.url("/other"));
    let mended = web.url("/mended");
    let form = ("PGSTOW_ALERT_DISCORD_FORM", "json");
    let alerts = |url| [(URL, url), (OTHER, other.as_str()), form];
    let test = |url: &str| {
        let command = host.tool.command(&["monitor", "--test-alert"]);
        command
            .env(URL, url)
            .env(OTHER, &*other)
            .env(form.0, form.1)
    };
    let told = |path: &str| {
        let got = web.got().into_iter();
        got.filter(|one| one["path"] == path).collect::<Vec<_>>()
    };
    drop(test(&missing).fails(3));
    let tests = told("/other").len();
    // Nothing else is to be said; the other hears of it if that is all that can be done.
    let refused = "refused what was sent (404 Not Found)";
    let lasts = host.monitor("ok", &alerts(&missing));
    drop(lasts.expect_warning(refused).fails(1));
    assert_eq!(told("/other").len(), tests + 1);
    drop(host.monitor("ok", &alerts(&mended)).fails(1));
    let again = &told("/mended")[0]["body"]["alerts"][0];
    assert_eq!(again["kind"], "recovery", "{again:#}");
    assert_eq!(again["check"], "alerts");
    assert_eq!(told("/other").len(), tests + 2, "it is well again");
    drop(host.monitor("ok", &alerts(&mended)).ok());
    assert_eq!(
        (told("/mended").len(), told("/other").len()),
        (1, tests + 2)
    );

    // Where he is reached at once, the other hears of nothing.
    drop(test(&missing).fails(3));
    let tests = told("/other").len();
    drop(host.monitor("ok", &alerts(&mended)).fails(1));
    drop(host.monitor("ok", &alerts(&mended)).ok());
    assert_eq!((told("/mended").len(), told("/other").len()), (2, tests));
}

/// What is said of another one must hold when it arrives.
#[test]
fn who_was_away_with_others_hears_of_them_what_holds() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let form = ("PGSTOW_ALERT_DISCORD_FORM", "json");
    let urls = |first: &str, second: &str| [web.url(first), web.url(second)];
    let run = |[first, second]: &[String; 2], is_well: bool| {
        let alerts = [(URL, first.as_str()), (OTHER, second.as_str()), form];
        let run = host.monitor("ok", &alerts).env("PGSTOW_LOG_LEVEL", "error");
        drop(if is_well { run.ok() } else { run.fails(1) });
    };
    let away = |both: &[String; 2]| {
        let alerts = [(URL, both[0].as_str()), (OTHER, both[1].as_str()), form];
        let test = host.tool.command(&["monitor", "--test-alert"]);
        let test = alerts
            .iter()
            .fold(test, |test, (name, value)| test.env(name, *value));
        drop(test.fails(3));
    };
    // Of another notifier: whom, and in which state he is said to be.
    let told = |path: &str| -> Vec<(String, String, String)> {
        let got = web.got().into_iter().filter(|one| one["path"] == path);
        let alerts = got.flat_map(|one| one["body"]["alerts"].as_array().unwrap().clone());
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        alerts
            .map(|one| {
                (
                    text(&one["kind"]),
                    text(&one["object"]),
                    text(&one["state"]),
                )
            })
            .collect()
    };
    let line = |kind: &str, object: &str, state: &str| {
        (kind.to_owned(), object.to_owned(), state.to_owned())
    };
    away(&urls("/gone/a", "/gone/b"));
    let back = urls("/a", "/b");
    run(&back, false);
    // Each that he is reached again, and nothing of the other, who is.
    assert_eq!(told("/a"), [line("recovery", "webhook", "ok")]);
    assert_eq!(told("/b"), [line("recovery", "discord", "ok")]);
    run(&back, true);
    assert_eq!((told("/a").len(), told("/b").len()), (1, 1));

    // One of them is back: he hears of the other at once.
    away(&urls("/gone/a", "/gone/b"));
    let half = urls("/a", "/gone/b");
    run(&half, false);
    let failed = line("failure", "discord", "warning");
    assert_eq!(told("/a")[1..], [line("recovery", "webhook", "ok"), failed]);
    run(&half, false);
    assert_eq!(told("/a").len(), 3);
    run(&back, false);
    assert_eq!(told("/a")[3..], [line("recovery", "discord", "ok")]);
    assert_eq!(told("/b")[1..], [line("recovery", "discord", "ok")]);
}

/// As cron mails whatever is said.
#[test]
fn what_reads_the_output_can_hear_of_changes_alone() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let run = |state: &str, code: i32| {
        let limit = if state == "ok" { "off" } else { "1" };
        let words = ["--quiet", "monitor", "--changes", "--only", "disk"];
        let command = host
            .tool
            .command(&words)
            .env("PGSTOW_MONITOR_DISK_USED_WARNING", limit)
            .env("PGSTOW_MONITOR_DISK_USED_CRITICAL", "off");
        let output = match code {
            0 => command.ok(),
            _ => command.fails(code),
        };
        assert_eq!(output.stderr, "");
        output.stdout
    };
    assert_eq!(run("ok", 0), "");
    let told = run("warning", 1);
    assert!(
        told.contains("WARNING disk repo.local: ") && told.contains("\nhint: "),
        "{told}"
    );
    // The exit code goes on to say it.
    assert_eq!(run("warning", 1), "");
    let told = run("ok", 0);
    assert!(
        told.contains("OK disk repo.local: ") && told.contains("It was WARNING since"),
        "{told}"
    );
    assert_eq!(run("ok", 0), "");
}
