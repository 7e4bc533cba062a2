//! Metrics, judged by Prometheus' own tools: promtool, a Pushgateway, and a Prometheus that
//! scrapes it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::{Watched, has};
use crate::harness::{Peer, Scratch, Tool, certificate, tool::Invocation, user, wait_for};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server of this test alone.
struct Server(Peer);

impl Server {
    /// It chooses its port itself: one that was looked for before may be taken by then.
    fn start(scratch: &Scratch, program: &str, arguments: &[&str]) -> Self {
        let path = scratch.join(&format!("{program}.log"));
        let log = File::create(&path).unwrap();
        let mut command = user::command(Path::new("/usr/bin").join(program), "KILL");
        command
            .arg("--web.listen-address=127.0.0.1:0")
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Self(Peer::start(&mut command, || {
            let log = fs::read_to_string(&path).unwrap();
            let (_, told) = log.split_once("msg=\"Listening on\" address=127.0.0.1:")?;
            told.lines().next()?.parse().ok()
        }))
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// What is at `path`.
    fn get(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(("127.0.0.1", self.0.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// The names of the metrics in a document.
fn names(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

/// The words of a query or page that look like names of ours.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("pgstow_") || word.starts_with("pg_backup_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn the_metrics_reach_prometheus() {
    let watched = Watched::start(17);
    let stow = &watched.stow;
    stow.cluster
        .psql("select pg_create_physical_replication_slot('a', true)");
    drop(stow.tool.command(&["verify"]).ok());
    let drills = watched.scratch.folder("drills");
    let drill = ["drill", "--scratch", drills.to_str().unwrap()];
    let bindir = &stow.cluster.pg.bindir;
    let drill = stow
        .tool
        .command(&drill)
        .env("PGSTOW_CLUSTER_BINDIR", bindir)
        .env("LD_LIBRARY_PATH", bindir.join("../lib"));
    drop(drill.ok());
    let gateway = Server::start(&watched.scratch, "prometheus-pushgateway", &[]);
    let file = watched.scratch.folder("metrics").join("pgstow.prom");
    let words = [
        "monitor",
        "--plain-names",
        "--textfile",
        file.to_str().unwrap(),
        "--pushgateway",
        &gateway.url(),
    ];
    drop(super::healthy(stow.tool.command(&words)).ok());
    let metrics = fs::read_to_string(&file).unwrap();

    // By the conventions.
    let mut promtool = Command::new("promtool");
    promtool
        .args(["check", "metrics"])
        .stdin(File::open(&file).unwrap());
    let judged = promtool.output().unwrap();
    assert!(
        judged.status.success() && judged.stdout.is_empty() && judged.stderr.is_empty(),
        "{judged:?}"
    );
    // What it says is true.
    let has_line =
        |line: &str| assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    has_line("pgstow_check_state{cluster=\"main\",check=\"backup_age\",object=\"\"} 0");
    has_line("pgstow_backups{cluster=\"main\",repository=\"local\",state=\"good\"} 1");
    has_line("pgstow_run_last_exit_code{cluster=\"main\",command=\"base\",repository=\"local\"} 0");
    let bytes = stow.backups()[0]["backup"]["stored_bytes"].clone();
    for (name, repository) in [
        ("pgstow_run_last_bytes", ",repository=\"local\""),
        ("pg_backup_last_bytes", ""),
    ] {
        has_line(&format!(
            "{name}{{cluster=\"main\",command=\"base\"{repository}}} {bytes}"
        ));
    }
    // Each is described, and the dashboard shows only such as there are.
    let page = fs::read_to_string(root().join("docs/monitoring.md")).unwrap();
    let mut known = names(&metrics);
    // Only of a disk that grows.
    known.insert("pgstow_disk_full_in_seconds".to_owned());
    // Only where dumps are restored to be checked: tests/it/restore_dump/kept.rs.
    known.insert("pgstow_dump_verification_newest_timestamp_seconds".to_owned());
    // Only where dumps are made: tests/it/dump/watched.rs.
    known.insert("pgstow_dump_newest_timestamp_seconds".to_owned());
    known.insert("pgstow_dump_newest_stored_bytes".to_owned());
    let described = mentioned(&page);
    // A table's line breaks, a file's name.
    assert!(
        known.is_subset(&described),
        "{:?}",
        known.difference(&described)
    );
    let invented: Vec<&String> = described
        .iter()
        .filter(|name| !known.contains(*name) && *name != "pg_backup_last_")
        .collect();
    assert!(invented.is_empty(), "{invented:?}");
    for file in ["conf/grafana-dashboard.json", "conf/prometheus-alerts.yml"] {
        let used = mentioned(&fs::read_to_string(root().join(file)).unwrap());
        assert!(
            !used.is_empty() && used.is_subset(&known),
            "{file}: {used:?}"
        );
    }

    // The gateway has the same, and Prometheus takes it from there.
    let config = watched.scratch.folder("prometheus").join("prometheus.yml");
    let target = format!("127.0.0.1:{}", gateway.0.port);
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n- job_name: gateway\n  honor_labels: true\n  \
             static_configs: [{{targets: ['{target}']}}]\n",
            watched.scratch.join("prometheus/alerts.yml").display()
        ),
    )
    .unwrap();
    fs::copy(
        root().join("conf/prometheus-alerts.yml"),
        watched.scratch.join("prometheus/alerts.yml"),
    )
    .unwrap();
    let prometheus = Server::start(
        &watched.scratch,
        "prometheus",
        &[
            &format!("--config.file={}", config.display()),
            &format!(
                "--storage.tsdb.path={}",
                watched.scratch.folder("tsdb").display()
            ),
        ],
    );
    let value = |query: &str| {
        let answer = prometheus.get(&format!("/api/v1/query?query={query}"));
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let value = answer["data"]["result"][0]["value"][1].as_str()?;
        Some(value.to_owned())
    };
    let newest = "pgstow_run_last_bytes%7Bcommand=%22base%22%7D";
    wait_for(|| value(newest) == Some(bytes.to_string()));
    assert_eq!(value("pgstow_server_up").as_deref(), Some("1"));

    // Another host's cluster of the same name has a group of its own.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let group = format!(
        "pgstow_server_up{{cluster=\"main\",instance=\"{}\",",
        host.trim()
    );
    assert!(gateway.get("/metrics").contains(&group), "{group}");

    // What is pushed again takes the place of all that was there.
    stow.cluster.psql("select pg_drop_replication_slot('a')");
    assert!(gateway.get("/metrics").contains("pgstow_slot_held_bytes{"));
    drop(super::healthy(stow.tool.command(&words)).ok());
    assert!(!gateway.get("/metrics").contains("pgstow_slot_held_bytes{"));

    // A gateway that is away, and a folder that is: unknown, and the checks are told.
    drop(gateway);
    let output = super::healthy(stow.tool.command(&[&["--json"], &words[..]].concat())).fails(3);
    let checks = output.json()["checks"].as_array().unwrap().clone();
    has(
        checks.last().unwrap(),
        "unknown",
        "can't send to http://127.0.0.1",
    );
    let nowhere = ["--json", "monitor", "--textfile", "/nowhere/x.prom"];
    let output = super::healthy(stow.tool.command(&nowhere)).fails(3);
    let checks = output.json()["checks"].as_array().unwrap().clone();
    has(checks.last().unwrap(), "unknown", "/nowhere");
}

#[test]
fn a_pushgateway_over_tls_must_be_trusted() {
    let scratch = Scratch::new();
    let folder = scratch.folder("secrets");
    let (cert, key) = certificate(&folder, "localhost");
    let config = folder.join("web.yml");
    let text = format!("tls_server_config: {{cert_file: '{cert}', key_file: '{key}'}}\n");
    fs::write(&config, text).unwrap();
    let option = format!("--web.config.file={}", config.display());
    let gateway = Server::start(&scratch, "prometheus-pushgateway", &[&option]);
    let url = format!("https://localhost:{}", gateway.0.port);
    let tool = Tool::new(&scratch).config(&format!(
        "state_dir = \"{}\"\n[repo.local]\nurl = \"{}\"\n[cluster.main]\nhost = \"/nowhere\"\n",
        scratch.folder("state").display(),
        scratch.folder("repository").display(),
    ));
    let words = [
        "--json",
        "monitor",
        "--only",
        "timers",
        "--pushgateway",
        &url,
    ];
    let delivery = |command: Invocation, code: i32| {
        let checks = command.fails(code).json()["checks"]
            .as_array()
            .unwrap()
            .clone();
        checks.last().unwrap().clone()
    };
    let refused = delivery(tool.command(&words), 3);
    has(&refused, "unknown", "invalid peer certificate");
    assert!(refused["hint"].as_str().unwrap().contains("SSL_CERT_FILE"));
    let trusting = tool.command(&words).env("SSL_CERT_FILE", &cert);
    has(&delivery(trusting, 0), "ok", "the metrics are there");
}

#[test]
fn the_alert_rules_do_what_they_say() {
    for arguments in [
        ["check", "rules", "conf/prometheus-alerts.yml"],
        ["test", "rules", "tests/data/prometheus/alerts-test.yml"],
    ] {
        user::run_ok(Command::new("promtool").args(arguments).current_dir(root()));
    }
}
