//! Units of systemd that failed: what the job could not tell is told for it, and nothing twice.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, thread, time::Duration};

use pgstow::repo::{location::Location, repository::Repository};
use rustix::process::Signal;
use serde_json::Value;

use super::{Host, Receiver};
use crate::harness::{Scratch, tool::Invocation, user, wait_for};

/// A host whose alerts go to `web`.
struct Watched {
    host: Host,
    web: Receiver,
}

impl Watched {
    /// With a repository, and no server.
    fn new(scratch: &Scratch) -> Self {
        let host = Host::new(scratch);
        let root = scratch.join("repository");
        let location = Location::Folder(root.clone());
        Repository::open_or_create(&location, "main".parse().unwrap()).unwrap();
        user::own(&root.join("repository.json"));
        Self {
            host,
            web: Receiver::web(scratch, "web"),
        }
    }

    /// A command of a unit in its run `invocation`.
    fn command(&self, words: &[&str], invocation: &str) -> Invocation {
        let command = self.host.tool.command(words);
        command
            .env("PGSTOW_ALERT_WEBHOOK_URL", self.web.url("/hook"))
            .env("INVOCATION_ID", invocation)
    }

    /// What pgstow-alert@UNIT calls, with the variables that systemd 252 sets.
    fn failed(&self, unit: &str, invocation: &str, result: &str, status: &str) -> Invocation {
        let command = self.command(
            &["--json", "monitor", "--failed-unit", unit],
            "of the alert",
        );
        command
            .env("MONITOR_SERVICE_RESULT", result)
            .env("MONITOR_EXIT_STATUS", status)
            .env("MONITOR_INVOCATION_ID", invocation)
    }

    fn last_told(&self) -> Value {
        let got = self.web.got();
        got.last().unwrap()["body"]["alerts"][0].clone()
    }

    /// Exit code and error of each run that is noted, oldest first.
    fn runs(&self) -> Vec<(Value, String)> {
        let runs = self.host.tool.command(&["--json", "list", "--runs"]).ok();
        let runs = runs.json()["runs"].as_array().unwrap().clone();
        let of = |run: &Value| (run["exit_code"].clone(), run["error"].to_string());
        runs.iter().map(of).collect()
    }
}

#[test]
fn what_a_job_told_itself_is_not_told_again() {
    let scratch = Scratch::new();
    let watched = Watched::new(&scratch);
    drop(watched.command(&["base"], "a").fails(1));
    assert_eq!(watched.web.kinds(), ["failure"]);
    let told = watched
        .failed("pgstow-base@main", "a", "exit-code", "1")
        .ok();
    assert!(
        told.json()["told"]["reason"]
            .to_string()
            .contains("/nowhere")
    );
    assert_eq!(watched.web.kinds(), ["failure"]);
    assert_eq!(watched.runs().len(), 1);
    // Findings, and nothing at all.
    for status in ["3", "0"] {
        let unit = "pgstow-verify@main:findings";
        let told = watched.failed(unit, "b", "success", status).ok();
        assert!(told.json()["told"].is_null());
    }
    assert_eq!(watched.web.kinds(), ["failure"]);
}

/// systemd keeps the status of a unit's last command alone.
#[test]
fn what_the_first_of_two_commands_found_is_in_the_journal() {
    let scratch = Scratch::new();
    let watched = Watched::new(&scratch);
    let junk = scratch.join("repository/main/base/junk");
    fs::create_dir_all(&junk).unwrap();
    fs::write(junk.join("file"), "x").unwrap();
    let verify = ["verify", "--all", "--wal"];
    drop(watched.command(&verify, "a").fails(3));
    fs::remove_dir_all(&junk).unwrap();
    drop(watched.command(&verify, "a").ok());
    let alert = |invocation, status| {
        let unit = "pgstow-verify@main:findings";
        let told = watched
            .failed(unit, invocation, "success", status)
            .ok()
            .json();
        assert!(told["told"].is_null(), "{told:#}");
        told["found"].as_str().map(str::to_owned)
    };
    let found = alert("a", "0").unwrap();
    assert!(
        found.contains("verify in repository local found something") && found.contains("junk"),
        "{found}"
    );
    // Of the last one the unit's own line tells, and of another run nothing is to be told.
    assert_eq!((alert("a", "3"), alert("b", "0")), (None, None));
    let words = [
        "--quiet",
        "monitor",
        "--failed-unit",
        "pgstow-verify@main:findings",
    ];
    let line = watched.command(&words, "of the alert");
    let line = line
        .env("MONITOR_SERVICE_RESULT", "success")
        .env("MONITOR_EXIT_STATUS", "0")
        .env("MONITOR_INVOCATION_ID", "a");
    let line = line.ok().stdout;
    assert!(
        line.starts_with("<3>pgstow-verify@main needs a look: verify in repository local found"),
        "{line}"
    );
}

#[test]
fn what_a_job_could_not_tell_is_told_for_it_once() {
    let scratch = Scratch::new();
    let watched = Watched::new(&scratch);
    // It could not be started.
    for _ in 0..2 {
        drop(
            watched
                .failed("pgstow-incremental@main", "a", "exit-code", "203")
                .ok(),
        );
        assert_eq!(watched.web.kinds(), ["failure"]);
    }
    let told = watched.last_told();
    assert_eq!(
        (&told["check"], &told["object"]),
        (&"runs".into(), &"base".into())
    );
    let reason = told["reason"].as_str().unwrap();
    let expected = "unit pgstow-incremental@main failed: exit-code, status 203";
    assert!(reason.contains(expected), "{reason}");
    let hint = told["hint"].as_str().unwrap();
    assert!(
        hint.contains("journalctl _SYSTEMD_INVOCATION_ID=a"),
        "{hint}"
    );
    // `monitor` says the same, so nothing more.
    drop(
        watched
            .command(&["monitor", "--only", "runs"], "m")
            .fails(1),
    );
    assert_eq!(watched.web.kinds(), ["failure"]);

    // It was killed while it waited for a server that says nothing.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = dead.local_addr().unwrap().port().to_string();
    let hanging = |invocation| {
        watched
            .command(&["base"], invocation)
            .env("PGSTOW_CLUSTER_HOST", "127.0.0.1")
            .env("PGSTOW_CLUSTER_PORT", &port)
            .env("PGSTOW_ALERT_REMIND", "1s")
            .spawn()
    };
    let running = hanging("k");
    wait_for(|| watched.runs().len() == 2);
    running.signal(Signal::KILL);
    drop(running);
    thread::sleep(Duration::from_millis(1100));
    let failed = watched.failed("pgstow-base@main", "k", "oom-kill", "KILL");
    drop(failed.env("PGSTOW_ALERT_REMIND", "1s").ok());
    // The job was told to be bad before: it still is.
    let told = watched.last_told();
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("failed: oom-kill, status KILL"), "{reason}");
    assert_eq!(watched.runs()[1].0, 137);

    // Its time was up, of which it knows only that it was to stop.
    let running = hanging("t");
    wait_for(|| watched.runs().len() == 3);
    running.signal(Signal::TERM);
    drop(running.wait());
    let told = watched
        .failed("pgstow-base@main", "t", "timeout", "TERM")
        .ok();
    let reason = told.json()["told"]["reason"].to_string();
    assert!(reason.contains("(systemd: timeout)"), "{reason}");
    assert_eq!(watched.runs()[2].0, 130);
}

#[test]
fn broken_settings_are_told() {
    let scratch = Scratch::new();
    let watched = Watched::new(&scratch);
    let config = watched.host.tool.config_file();
    let text = fs::read_to_string(config).unwrap();
    // The notifier stands in the file itself, between what is broken.
    let (first, rest) = text.split_once("[cluster.main]").unwrap();
    let alert = format!("[alert.ops]\nurl = \"{}\"\n", watched.web.url("/ops"));
    fs::write(
        config,
        format!("{first}bakups = \"?\"\n{alert}[cluster.main]{rest}= 1\n"),
    )
    .unwrap();
    let plain = |words: &[&str]| watched.host.tool.command(words);
    drop(plain(&["base"]).fails(2));
    assert_eq!(watched.web.got().len(), 0);
    let told = plain(&["monitor", "--failed-unit", "pgstow-base@main"])
        .env("MONITOR_SERVICE_RESULT", "exit-code")
        .env("MONITOR_EXIT_STATUS", "2")
        .env("MONITOR_INVOCATION_ID", "a");
    // state_dir is in the part that can't be read, and the default isn't the tests'.
    drop(told.env("PGSTOW_STATE_DIR", &watched.host.state).ok());
    let got = watched.web.got();
    assert_eq!(got[0]["path"], "/ops");
    assert_eq!(got[0]["body"]["alerts"][0]["object"], "base");
    drop(plain(&["monitor", "--failed-unit", "pgstow-base@main"]).fails(3));

    // Nor does an address that every user can read keep anybody from hearing that `monitor` refuses it.
    fs::write(config, format!("{first}{alert}[cluster.main]{rest}")).unwrap();
    fs::set_permissions(config, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = plain(&["monitor"]).fails(3);
    drop(refused.stderr_contains("alert.ops.url can be read by every user"));
    assert_eq!(watched.web.got().len(), 1);
    let told = plain(&["monitor", "--failed-unit", "pgstow-monitor@main"])
        .env("MONITOR_SERVICE_RESULT", "exit-code")
        .env("MONITOR_EXIT_STATUS", "3")
        .env("MONITOR_INVOCATION_ID", "b");
    drop(told.ok());
    let got = watched.web.got();
    assert_eq!(got[1]["path"], "/ops");
    assert_eq!(got[1]["body"]["alerts"][0]["object"], "monitor");
}

#[test]
fn monitor_itself() {
    let scratch = Scratch::new();
    let watched = Watched::new(&scratch);
    let unit = "pgstow-monitor@main";
    let monitor = |state: &str, invocation: &str| {
        let url = watched.web.url("/hook");
        let monitor = watched
            .host
            .monitor(state, &[("PGSTOW_ALERT_WEBHOOK_URL", &url)]);
        monitor.env("INVOCATION_ID", invocation)
    };
    // It told what it found.
    drop(monitor("warning", "a").fails(1));
    drop(watched.failed(unit, "a", "exit-code", "2").ok());
    // Nor is what it could not note, where the state folder can't be written.
    drop(watched.failed(unit, "unnoted", "exit-code", "2").ok());
    assert_eq!(watched.web.kinds(), ["failure"]);
    // It did not come as far.
    for _ in 0..2 {
        drop(watched.failed(unit, "b", "exit-code", "3").ok());
        assert_eq!(watched.web.kinds(), ["failure", "failure"]);
    }
    assert_eq!(watched.last_told()["object"], "monitor");
    // Nor is it in the history of runs, of which `monitor` would say that it failed.
    assert_eq!(watched.runs(), []);
    drop(monitor("warning", "c").fails(1));
    assert_eq!(watched.web.kinds(), ["failure", "failure", "recovery"]);
    assert_eq!(watched.last_told()["object"], "monitor");
}
