//! Webhooks, and what is told when.

use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use super::{Host, Receiver, secret};
use crate::harness::{
    Scratch,
    certificate::{self, certificate},
    wait_for,
};

const URL: &str = "PGSTOW_ALERT_WEBHOOK_URL";

#[test]
fn changes_of_state_are_told_once() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let url = web.url("/hook");
    let alerts = [(URL, url.as_str())];
    drop(host.monitor("ok", &alerts).ok());
    assert_eq!(web.got().len(), 0);
    for _ in 0..2 {
        drop(host.monitor("warning", &alerts).fails(1));
        assert_eq!(web.kinds(), ["failure"]);
    }
    let first = &web.got()[0];
    assert_eq!(first["type"], "application/json");
    let body = &first["body"];
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let hostname = hostname.trim();
    assert_eq!(body["version"], 1);
    assert_eq!(body["cluster"], "main");
    assert_eq!(body["host"], hostname);
    assert_eq!(body["state"], "warning");
    let subject = format!("[pgstow] WARNING main on {hostname}: disk repo.local");
    assert_eq!(body["subject"], subject);
    let alert = &body["alerts"][0];
    assert_eq!(alert["check"], "disk");
    assert_eq!(alert["object"], "repo.local");
    let reason = alert["reason"].as_str().unwrap();
    assert!(reason.contains("% used"), "{reason}");
    let text = body["text"].as_str().unwrap();
    let hint = alert["hint"].as_str().unwrap();
    assert!(text.contains(reason) && text.contains(hint), "{text}");

    drop(
        host.monitor("warning", &alerts)
            .env("PGSTOW_ALERT_REMIND", "1s")
            .fails(1),
    );
    thread::sleep(Duration::from_millis(1100));
    drop(
        host.monitor("warning", &alerts)
            .env("PGSTOW_ALERT_REMIND", "1s")
            .fails(1),
    );
    assert_eq!(web.kinds().last().unwrap(), "reminder");
    let told = web.got().len();
    drop(host.monitor("ok", &alerts).ok());
    drop(host.monitor("ok", &alerts).ok());
    assert_eq!(web.got().len(), told + 1);
    assert_eq!(web.kinds().last().unwrap(), "recovery");
}

#[test]
fn each_form_reaches_its_server() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    type Look = fn(&Value) -> (&Value, &Value);
    let forms: [(&str, Look); 4] = [
        ("slack", |b| (&b["text"], &b["attachments"][0]["text"])),
        ("discord", |b| {
            let embed = &b["embeds"][0];
            (&embed["title"], &embed["description"])
        }),
        ("teams", |b| {
            let card = &b["attachments"][0]["content"]["body"];
            (&card[0]["text"], &card[2]["text"])
        }),
        ("json", |b| (&b["subject"], &b["text"])),
    ];
    for (number, (form, look)) in forms.into_iter().enumerate() {
        let url = web.url(&format!("/{form}"));
        let command = host.tool.command(&["monitor", "--test-alert"]);
        command
            .env(URL, url)
            .env("PGSTOW_ALERT_WEBHOOK_FORM", form)
            .ok()
            .stdout_contains("webhook  sent");
        let got = &web.got()[number];
        assert_eq!(got["path"], format!("/{form}"));
        let (subject, text) = look(&got["body"]);
        let subject = subject.as_str().unwrap();
        assert!(subject.starts_with("[pgstow] TEST main on "), "{subject}");
        let text = text.as_str().unwrap();
        assert!(text.contains("a test, sent by"), "{text}");
    }
}

#[test]
fn who_fails_is_reported_and_hears_it_later() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let folder = scratch.folder("secrets");
    let file = |path: &str| secret(&folder, "url", &web.url(path));
    let mail = [
        (
            "PGSTOW_ALERT_WEBHOOK_URL_FILE",
            file("/gone/secrettoken?key=valuable"),
        ),
        ("PGSTOW_ALERT_DISCORD_URL", web.url("/other")),
        ("PGSTOW_ALERT_DISCORD_FORM", "json".to_owned()),
    ];
    let alerts: Vec<(&str, &str)> = mail.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let check = |output: &crate::harness::output::Output, name: &str| -> Value {
        let checks = output.json()["checks"].as_array().unwrap().clone();
        let found = checks
            .iter()
            .find(|one| one["check"] == "alerts" && one["object"] == name);
        found.unwrap().clone()
    };
    let told_others = || {
        let got = web.got();
        got.iter().filter(|one| one["path"] == "/other").count()
    };
    let refused = "alert webhook: http://127.0.0.1/... refused what was sent (404 Not Found)";
    let output = host
        .monitor("warning", &alerts)
        .expect_warning(refused)
        .fails(1);
    assert_eq!(check(&output, "webhook")["state"], "ok");
    assert_eq!(told_others(), 1);
    // The next run sees it, tells the other one of it, and tries again.
    let output = host
        .monitor("warning", &alerts)
        .expect_warning(refused)
        .fails(1);
    let verdict = check(&output, "webhook");
    assert_eq!(verdict["state"], "warning");
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.contains("can't be reached since"), "{reason}");
    assert_eq!(check(&output, "discord")["state"], "ok");
    assert_eq!(told_others(), 2);
    let test = host.tool.command(&["monitor", "--test-alert"]);
    let mut test = test.env(alerts[0].0, alerts[0].1);
    for (name, value) in &alerts[1..] {
        test = test.env(name, *value);
    }
    let test = test.fails(3);
    assert!(
        test.stdout
            .contains("webhook  NOT SENT  http://127.0.0.1/..."),
        "{test}"
    );
    assert!(test.stdout.contains("discord  sent"), "{test}");

    // Nobody shows the address.
    let shown = host.tool.command(&["check", "--show-settings"]);
    let shown = shown.env(alerts[0].0, alerts[0].1).ok();
    let ledger = fs::read_to_string(host.ledger()).unwrap();
    for text in [
        &ledger,
        &output.stderr,
        &output.stdout,
        &test.stdout,
        &shown.stdout,
    ] {
        assert!(
            !text.contains("secrettoken") && !text.contains("valuable"),
            "{text}"
        );
    }

    // It was bad and is well again before the hook is: that is told.
    let well = host.monitor("ok", &alerts).expect_warning(refused).fails(1);
    assert_eq!(check(&well, "webhook")["state"], "warning");
    file("/mended");
    drop(host.monitor("ok", &alerts).fails(1));
    let got = web.got();
    let late = got.iter().find(|one| one["path"] == "/mended").unwrap();
    assert_eq!(late["body"]["alerts"][0]["kind"], "missed");
    let reason = late["body"]["alerts"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("was WARNING: "), "{reason}");
    let output = host.monitor("ok", &alerts).ok();
    assert_eq!(check(&output, "webhook")["state"], "ok");
    let last = web.got().pop().unwrap();
    assert_eq!(last["path"], "/other");
    assert_eq!(last["body"]["alerts"][0]["kind"], "recovery");
}

#[test]
fn nobody_is_followed_elsewhere() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let url = web.url("/moved/x");
    drop(
        host.monitor("warning", &[(URL, &url)])
            .expect_warning("refused what was sent (307")
            .fails(1),
    );
    assert_eq!(web.got().len(), 1);
    drop(
        host.monitor("warning", &[(URL, "ftp://secrethost/secretpath")])
            .expect_warning("alert webhook: the address is none of a web server")
            .fails(1),
    );
}

#[test]
fn two_runs_at_once_tell_it_once() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let url = web.url("/hook");
    for round in 0..3 {
        for state in ["warning", "ok"] {
            let start = || host.monitor(state, &[(URL, &url)]).spawn();
            let running = [start(), start(), start(), start()];
            for one in running {
                one.wait();
            }
            let expected = 2 * round + 1 + usize::from(state == "ok");
            assert_eq!(web.got().len(), expected, "{:?}", web.kinds());
        }
    }
}

#[test]
fn killed_before_it_is_noted_it_is_told_once_more() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let hold = web.url("/hold/x");
    let running = host.monitor("warning", &[(URL, &hold)]).spawn();
    wait_for(|| web.got().len() == 1);
    running.signal(Signal::KILL);
    drop(running);
    let url = web.url("/hook");
    for _ in 0..2 {
        drop(host.monitor("warning", &[(URL, &url)]).fails(1));
        assert_eq!(web.kinds(), ["failure", "failure"]);
    }
    // Notes that are damaged are as none.
    for damage in ["", "{", "{\"version\":7,\"notifiers\":{}}", "\0\0\0"] {
        fs::write(host.ledger(), damage).unwrap();
        let told = web.got().len();
        drop(
            host.monitor("warning", &[(URL, &url)])
                .expect_warning("alerts.json is damaged, so what is wrong is told again")
                .fails(1),
        );
        drop(host.monitor("warning", &[(URL, &url)]).fails(1));
        assert_eq!(web.got().len(), told + 1, "{damage}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let folder = scratch.folder("secrets");
    let [good, other] = ["localhost", "elsewhere"].map(|name| certificate(&folder, name));
    let web = Receiver::secure_web(&scratch, "web", &good);
    let stranger = Receiver::secure_web(&scratch, "stranger", &other);
    let test = |web: &Receiver, variables: &[(&str, &str)]| {
        let url = format!("https://localhost:{}/hook/secrettoken", web.peer.port);
        let words = ["monitor", "--test-alert"];
        let mut command = host.tool.command(&words).env(URL, url);
        for (name, value) in variables {
            command = command.env(name, *value);
        }
        command
    };
    let ca_file = "PGSTOW_ALERT_WEBHOOK_CA_FILE";
    // Of an authority that nobody knows; of another name; of another authority.
    for (web, variables, says) in [
        (&web, &[][..], "UnknownIssuer"),
        (
            &stranger,
            &[(ca_file, other.0.as_str())],
            "not valid for name",
        ),
        (
            &web,
            &[(ca_file, other.0.as_str())],
            "invalid peer certificate",
        ),
    ] {
        let refused = test(web, variables).fails(3);
        let said = &refused.stdout;
        assert!(
            said.contains("can't send to https://localhost/..."),
            "{said}"
        );
        assert!(said.contains(says) && said.contains("ca_file"), "{said}");
        assert!(!said.contains("secrettoken"), "{said}");
        assert_eq!(web.got().len(), 0);
    }
    // As openssl makes one by default: a CA, which no server may be.
    let ca = certificate::self_signed(&folder, "authority", "CA:TRUE");
    let wrong = Receiver::secure_web(&scratch, "wrong", &ca);
    let refused = test(&wrong, &[(ca_file, &ca.0)]).fails(3).stdout;
    assert!(refused.contains("basicConstraints = CA:FALSE"), "{refused}");
    drop(test(&web, &[(ca_file, &good.0)]).ok());
    drop(test(&web, &[("SSL_CERT_FILE", &good.0)]).ok());
    assert_eq!(web.got().len(), 2);
    drop(test(&web, &[("SSL_CERT_FILE", "/nowhere")]).fails(3));
}
