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
    warn_once(&host, &alerts);
    assert_eq!(web.kinds()[5..], ["failure"]);

    // The same where the folder can't be written to.
    let folder = host.ledger();
    let folder = folder.parent().unwrap();
    let mode = |mode| fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    assert!(state(2).contains("Permission denied"));
    warn();
    warn();
    mode(0o700);
    assert_eq!(web.kinds()[6..], ["failure", "failure"]);
    warn_once(&host, &alerts);
    assert_eq!(web.kinds().len(), 8);
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
