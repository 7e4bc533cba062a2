//! Mail, by a server with STARTTLS and a login.

use std::fs;

use serde_json::Value;

use super::{Host, Receiver, secret};
use crate::harness::{Scratch, certificate};

fn mail_server(scratch: &Scratch, name: &str, arguments: [&str; 4]) -> Receiver {
    let script = include_str!("../../data/alerts/mail_server.py");
    Receiver::start(scratch, name, script, &arguments)
}

/// Headers and text of a letter in quoted-printable.
fn read(letter: &Value) -> (String, String) {
    let letter = letter["letter"].as_str().unwrap().replace("\r\n", "\n");
    let (headers, text) = letter.split_once("\n\n").unwrap();
    let mut bytes = Vec::new();
    let mut rest = text.replace("=\n", "").into_bytes().into_iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'=' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    // A header that was folded goes on after a blank.
    (
        headers.replace("\n ", " "),
        String::from_utf8(bytes).unwrap(),
    )
}

#[test]
fn a_letter_arrives_by_starttls_and_login() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let folder = scratch.folder("secrets");
    let (cert, key) = certificate(&folder, "localhost");
    let (foreign, _) = certificate(&folder, "elsewhere");
    let server = mail_server(
        &scratch,
        "mail",
        ["starttls", &cert, &key, "stow:hush word"],
    );
    let port = server.peer.port.to_string();
    let password = secret(&folder, "password", "hush word");
    let alerts = [
        (
            "PGSTOW_ALERT_MAIL_TO",
            "dba@example.org, Ön Call <oncall@example.org>",
        ),
        ("PGSTOW_ALERT_MAIL_FROM", "pgstow <backup@example.org>"),
        ("PGSTOW_ALERT_MAIL_PORT", &port),
        ("PGSTOW_ALERT_MAIL_CA_FILE", &cert),
        ("PGSTOW_ALERT_MAIL_USER", "stow"),
        ("PGSTOW_ALERT_MAIL_PASSWORD_FILE", &password),
    ];
    let output = host.monitor("warning", &alerts).fails(1);
    let [letter] = &server.got()[..] else {
        panic!("{:?}", server.got());
    };
    assert_eq!(letter["from"], "backup@example.org");
    assert_eq!(
        letter["to"],
        serde_json::json!(["dba@example.org", "oncall@example.org"])
    );
    assert_eq!(letter["tls"], true);
    assert_eq!(letter["login"], true);
    let (headers, text) = read(letter);
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let hostname = hostname.trim();
    for header in [
        format!("Subject: [pgstow] WARNING main on {hostname}: disk repo.local"),
        "From: pgstow <backup@example.org>".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
    ] {
        assert!(headers.contains(&header), "{header}\n{headers}");
    }
    let checks = output.json()["checks"].as_array().unwrap().clone();
    let disk = checks.iter().find(|one| one["check"] == "disk").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with(&format!("main on {hostname}, 20")),
        "{text}"
    );
    let reason = disk["reason"].as_str().unwrap();
    assert_eq!(lines[2], format!("WARNING disk repo.local: {reason}"));
    assert_eq!(
        lines[3],
        format!("hint: {}", disk["hint"].as_str().unwrap())
    );
    assert!(lines[4].starts_with("Since 20"), "{text}");

    // Back to well.
    drop(host.monitor("ok", &alerts).ok());
    let (headers, text) = read(&server.got()[1]);
    let subject =
        format!("Subject: [pgstow] RECOVERY main on {hostname}: disk repo.local is well again");
    assert!(headers.contains(&subject), "{headers}");
    assert!(text.contains("\nIt was WARNING since 20"), "{text}");

    // A wrong password, a certificate of somebody else, a server that is gone; told afterwards.
    let wrong = secret(&folder, "wrong", "guess");
    let tried = [
        ("PGSTOW_ALERT_MAIL_PASSWORD_FILE", wrong.as_str(), "535"),
        (
            "PGSTOW_ALERT_MAIL_CA_FILE",
            &foreign,
            "invalid peer certificate",
        ),
        (
            "PGSTOW_ALERT_MAIL_HOST",
            "127.0.0.1",
            "invalid peer certificate",
        ),
        ("PGSTOW_ALERT_MAIL_PORT", "1", "onnection"),
        ("PGSTOW_ALERT_MAIL_PASSWORD_FILE", "/nowhere", "/nowhere"),
        (
            "PGSTOW_ALERT_MAIL_TLS",
            "tls",
            "can't send mail by localhost:",
        ),
    ];
    for (name, value, why) in tried {
        let output = host
            .monitor("warning", &alerts)
            .env(name, value)
            .expect_warning("alert mail: ")
            .fails(1);
        assert!(output.stderr.contains(why), "{why}: {output}");
        for secret in ["hush", "guess"] {
            assert!(!output.stderr.contains(secret), "{output}");
        }
    }
    let ledger = fs::read_to_string(host.ledger()).unwrap();
    assert!(!ledger.contains("hush"), "{ledger}");
    assert_eq!(server.got().len(), 2);
    drop(host.monitor("warning", &alerts).fails(1));
    assert_eq!(server.got().len(), 3);
}

#[test]
fn whom_the_server_refuses_keeps_no_other_from_hearing() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let server = mail_server(&scratch, "mail", ["none", "", "", ""]);
    let port = server.peer.port.to_string();
    let test = host
        .tool
        .command(&["monitor", "--test-alert"])
        .env(
            "PGSTOW_ALERT_MAIL_TO",
            "refused@example.org,dba@example.org",
        )
        .env("PGSTOW_ALERT_MAIL_PORT", &port)
        .env("PGSTOW_ALERT_MAIL_TLS", "none")
        .fails(3);
    let said = "mail  SENT, BUT NOT TO ALL  can't send mail to refused@example.org by localhost:";
    assert!(test.stdout.contains(said), "{test}");
    assert!(test.stdout.contains("nobody here of that name"), "{test}");
    let [letter] = &server.got()[..] else {
        panic!("{:?}", server.got());
    };
    assert_eq!(letter["to"], serde_json::json!(["dba@example.org"]));
    assert_eq!(letter["tls"], false);
}

/// Not first by the alert that can't be sent.
#[test]
fn what_is_no_address_is_found_by_check() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    for to in ["dba@", "dba", "dba@example.org, on call"] {
        let check = host
            .tool
            .command(&["check"])
            .env("PGSTOW_ALERT_MAIL_TO", to)
            .fails(2);
        assert!(check.stderr.contains("PGSTOW_ALERT_MAIL_TO"), "{check}");
    }
}

#[test]
fn tls_is_never_given_up() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let folder = scratch.folder("secrets");
    let (cert, key) = certificate(&folder, "localhost");
    let plain = mail_server(&scratch, "plain", ["none", "", "", "stow:hush"]);
    let wrapped = mail_server(&scratch, "wrapped", ["tls", &cert, &key, ""]);
    let test = |port: u16, tls: &str| {
        host.tool
            .command(&["monitor", "--test-alert"])
            .env("PGSTOW_ALERT_MAIL_TO", "dba@example.org")
            .env("PGSTOW_ALERT_MAIL_PORT", port.to_string())
            .env("PGSTOW_ALERT_MAIL_CA_FILE", &cert)
            .env("PGSTOW_ALERT_MAIL_TLS", tls)
    };
    drop(test(plain.peer.port, "starttls").fails(3));
    assert_eq!(plain.got().len(), 0);
    drop(test(wrapped.peer.port, "tls").ok());
    assert_eq!(wrapped.got()[0]["tls"], true);
}
