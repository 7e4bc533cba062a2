//! What hangs: the others are told all the same, and it all ends in time.

use std::{net::TcpListener, process::Command, time::Duration};

use super::{Host, Receiver};
use crate::harness::{Scratch, user};

const URL: &str = "PGSTOW_ALERT_WEBHOOK_URL";

/// The promise of docs/monitoring.md.
const IN_TIME: Duration = Duration::from_secs(30);

/// Takes connections and never answers.
struct BlackHole {
    port: String,
    _listener: TcpListener,
}

impl BlackHole {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: listener.local_addr().unwrap().port().to_string(),
            _listener: listener,
        }
    }
}

#[test]
fn what_hangs_is_left_behind() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    let web = Receiver::web(&scratch, "web");
    let dead = BlackHole::open();
    let url = web.url("/hook");
    let alerts = [
        (URL, url.as_str()),
        ("PGSTOW_ALERT_MAIL_TO", "a@example.org"),
        ("PGSTOW_ALERT_MAIL_HOST", "127.0.0.1"),
        ("PGSTOW_ALERT_MAIL_PORT", &dead.port),
        ("PGSTOW_ALERT_TIME_LIMIT", "2s"),
    ];
    drop(
        host.monitor("warning", &alerts)
            .expect_warning("alert mail: ")
            .limit(IN_TIME)
            .fails(1),
    );
    assert_eq!(web.kinds(), ["failure"]);
}

/// With the limits that there are by default.
#[test]
fn where_all_hangs_monitor_ends_in_time_with_the_reasons() {
    let scratch = Scratch::new();
    let host = Host::new(&scratch);
    // Opening a pipe that nobody writes to hangs as a dead NFS server does.
    let marker = scratch.join("repository/repository.json");
    user::run_ok(Command::new("mkfifo").args(["-m", "666"]).arg(&marker));
    let [server, mail, web, gateway] = [(); 4].map(|()| BlackHole::open());
    let metrics = format!("http://127.0.0.1:{}", gateway.port);
    let output = host
        .tool
        .command(&["--json", "monitor", "--pushgateway", &metrics])
        .env("PGSTOW_CLUSTER_HOST", "127.0.0.1")
        .env("PGSTOW_CLUSTER_PORT", &server.port)
        .env("PGSTOW_ALERT_MAIL_TO", "a@example.org")
        .env("PGSTOW_ALERT_MAIL_HOST", "127.0.0.1")
        .env("PGSTOW_ALERT_MAIL_PORT", &mail.port)
        .env(URL, format!("http://127.0.0.1:{}/", web.port))
        .expect_warning("alert mail: ")
        .expect_warning("alert webhook: ")
        .limit(IN_TIME)
        .fails(2);
    let checks = output.json()["checks"].as_array().unwrap().clone();
    let is = |check: &str, state: &str, reason: &str| {
        let one = checks.iter().find(|one| one["check"] == check).unwrap();
        assert_eq!(one["state"], state, "{one:#}");
        assert!(one["reason"].as_str().unwrap().contains(reason), "{one:#}");
    };
    is("connection", "critical", "127.0.0.1");
    is("repository", "critical", "no answer after");
    is("runs", "ok", "");
    is("alerts", "ok", "nothing to tell yet");
    is("delivery", "unknown", "");
    // What could not be told is noted for the next run.
    let ledger = std::fs::read_to_string(host.ledger()).unwrap();
    assert!(ledger.contains("connection"), "{ledger}");
}
