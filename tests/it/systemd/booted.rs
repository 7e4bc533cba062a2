//! The units under a systemd that runs, in their sandbox, against a real server.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Booted, Scratch, Shutdown, Stored, Stow, pg, stow::ROLE, user};

/// For a word of systemd, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The checks run when the test wants them to.
const INSTALL: [&str; 4] = ["systemd", "install", "--on-calendar", "monitor=yearly"];

/// A host with a server, which wants a password, and a repository.
struct Host {
    stow: Stow,
    booted: Booted,
}

impl Host {
    /// None where no container can be started.
    fn start(scratch: &Scratch) -> Option<Self> {
        let mut stow = Stow::build(scratch, pg(17))
            .setting("wal_timeout = \"30s\"")
            .setting("checkpoint = \"fast\"")
            .start();
        stow.cluster.psql(&format!(
            "alter role {ROLE} password 'of the role'; grant pg_monitor to {ROLE}"
        ));
        let tablespace = scratch.folder("tablespace");
        stow.cluster.psql(&format!(
            "create tablespace apart location '{}'",
            tablespace.display()
        ));
        stow.cluster
            .psql("create table kept tablespace apart as select generate_series(1, 1000) as id");
        stow.cluster.stop(Shutdown::Fast);
        let hba = stow.cluster.data_dir().join("pg_hba.conf");
        let rest = fs::read_to_string(&hba).unwrap();
        let lines = format!(
            "local all {ROLE} scram-sha-256\nlocal replication {ROLE} scram-sha-256\n{rest}"
        );
        fs::write(&hba, lines).unwrap();
        let host = Self {
            booted: Booted::boot(scratch)?,
            stow,
        };
        host.server("start");
        Some(host)
    }

    /// `pg_ctl ACTION` in the container.
    fn server(&self, action: &str) {
        let cluster = &self.stow.cluster;
        let (data_dir, socket_dir) = (cluster.data_dir(), cluster.host());
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={}",
            socket_dir.display()
        );
        let mut command = self.booted.command("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--",
            ])
            .arg(cluster.pg.bindir.join("pg_ctl"))
            .args(["-w", "-D", data_dir.to_str().unwrap(), "-o", &options])
            .arg("-l")
            .arg(socket_dir.join("booted.log"))
            .arg(action)
            .env("LD_LIBRARY_PATH", cluster.pg.bindir.join("../lib"))
            .stdout(std::process::Stdio::null());
        assert!(command.status().unwrap().success(), "pg_ctl {action}");
    }

    /// `pgstow ARGUMENTS` as root, in the container; exit code and standard output.
    fn pgstow(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.stow.tool.config_file();
        let program = config.with_file_name("pgstow");
        let mut command = self.booted.command(program.to_str().unwrap());
        let output = command
            .arg("--config")
            .arg(config)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap() + &said,
        )
    }

    /// Starts a unit and waits for its end; whether systemd calls it a success.
    fn run(&self, unit: &str) -> bool {
        user::run(self.booted.command("systemctl").args(["start", unit])).is_ok()
    }

    /// What `pgstow systemd status` says of a job.
    #[track_caller]
    fn status(&self, code: i32, job: &str) -> Value {
        let (found, text) = self.pgstow(&["--json", "systemd", "status"]);
        assert_eq!(found, code, "{text}");
        let json: Value = serde_json::from_str(&text).unwrap();
        let mut jobs = json["jobs"].as_array().unwrap().iter();
        jobs.find(|one| one["job"] == job).unwrap().clone()
    }

    fn journal(&self, unit: &str) -> String {
        self.booted.run(&["journalctl", "--sync"]);
        self.booted
            .run(&["journalctl", "--no-pager", "--unit", unit])
    }

    /// Waits until the alert unit, which systemd starts after the other has ended, wrote `text`.
    #[track_caller]
    fn is_told(&self, instance: &str, text: &str) {
        let unit = format!("pgstow-alert@{instance}.service");
        let limit = Instant::now() + PATIENCE;
        while !self.journal(&unit).contains(text) {
            assert!(
                Instant::now() < limit,
                "no {text:?} in {}",
                self.journal(&unit)
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn units(&self) -> Vec<String> {
        let script = "find /etc/systemd/system /var/lib/systemd/timers -name '*pgstow-*@*' | sort";
        let found = self.booted.run(&["/bin/sh", "-c", script]);
        found.lines().map(str::to_owned).collect()
    }
}

#[test]
fn jobs_run_by_their_units_and_failures_are_told() {
    let scratch = Scratch::new();
    let Some(host) = Host::start(&scratch) else {
        return;
    };
    assert_eq!(host.units(), [""; 0]);
    let (code, text) = host.pgstow(&["systemd", "status"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("has no timers"), "{text}");
    for _ in 0..2 {
        let (code, text) = host.pgstow(&INSTALL);
        assert_eq!(code, 0, "{text}");
    }
    let timers = host
        .booted
        .run(&["systemctl", "list-timers", "--no-pager", "--no-legend"]);
    for job in super::JOBS {
        assert!(
            timers.contains(&format!("pgstow-{job}@main.timer")),
            "{timers}"
        );
        let status = host.status(0, job);
        assert_eq!(
            (&status["result"], &status["active"]),
            (&"none".into(), &true.into()),
            "{status}"
        );
        assert!(status["last_run"].is_null(), "{status}");
        assert!(status["next_run"].as_str().is_some(), "{status}");
    }

    // No password: the unit fails, systemd knows, the alert unit speaks, status shows why.
    assert!(!host.run("pgstow-base@main.service"));
    let status = host.status(3, "base");
    assert_eq!(
        (&status["result"], &status["exit_code"]),
        (&"failed".into(), &1.into()),
        "{status}"
    );
    assert!(status["log"].to_string().contains("password"), "{status}");
    host.is_told(
        "pgstow-base@main",
        "needs a look: result exit-code, exit status 1.",
    );

    // ~/.pgpass, as by hand.
    let home = Path::new("/var/lib/postgresql/.pgpass");
    host.booted.write(home, "600", "*:*:*:*:of the role\n");
    host.booted
        .run(&["chown", "postgres:", "/var/lib/postgresql/.pgpass"]);
    assert!(
        host.run("pgstow-base@main.service"),
        "{}",
        host.journal("pgstow-base@main.service")
    );
    let status = host.status(0, "base");
    assert_eq!(
        (&status["result"], &status["exit_code"]),
        (&"done".into(), &0.into()),
        "{status}"
    );

    // A credential, for all jobs of the cluster.
    host.booted.run(&["rm", "/var/lib/postgresql/.pgpass"]);
    assert!(!host.run("pgstow-incremental@main.service"));
    host.booted
        .write(Path::new("/etc/pgstow/password"), "400", "of the role\n");
    let page = fs::read_to_string(super::shipped().join("../docs/systemd.md")).unwrap();
    let drop_in = page
        .split("```ini\n")
        .find(|block| block.contains("LoadCredential="))
        .unwrap();
    host.booted.write(
        Path::new("/etc/systemd/system/pgstow-@main.service.d/password.conf"),
        "644",
        drop_in.split("```").next().unwrap(),
    );
    host.booted.run(&["systemctl", "daemon-reload"]);
    assert!(
        host.run("pgstow-incremental@main.service"),
        "{}",
        host.journal("pgstow-incremental@main.service")
    );
    let folders = host.stow.folders();
    let backups: Vec<Stored> = folders.iter().map(|id| host.stow.stored_as(id)).collect();
    // Read from the data directory itself, tablespace and all.
    let facts = backups.iter().map(|backup| {
        let json = backup.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (
            text("kind"),
            text("method"),
            json["tablespaces"].as_array().unwrap().len(),
        )
    });
    let local = |kind: &str| (kind.to_owned(), "local".to_owned(), 1);
    assert_eq!(Vec::from_iter(facts), [local("full"), local("incremental")]);
    for job in ["cleanup", "verify"] {
        let unit = format!("pgstow-{job}@main.service");
        assert!(host.run(&unit), "{}", host.journal(&unit));
        assert_eq!(host.status(0, job)["result"], "done");
    }

    // Every check can look from within the sandbox: none is unknown, which would be 3.
    assert!(
        host.run("pgstow-monitor@main.service"),
        "{}",
        host.journal("pgstow-monitor@main.service")
    );
    assert_ne!(host.status(0, "monitor")["exit_code"], 3);

    // Findings: no failure, and not silent.
    let part = backups[1].parts().remove(0);
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).unwrap();
    assert!(host.run("pgstow-verify@main.service"));
    assert_eq!(host.status(3, "verify")["result"], "findings");
    host.is_told(
        "pgstow-verify@main:findings",
        "needs a look: result success, exit status 3.",
    );
    host.is_told("pgstow-cleanup@main:findings", "Finished");
    let silent = host.journal("pgstow-alert@pgstow-cleanup@main:findings.service");
    assert!(!silent.contains("needs a look"), "{silent}");

    let (code, text) = host.pgstow(&["systemd", "remove"]);
    assert_eq!(code, 0, "{text}");
    // The operator's drop-in stays, and is named.
    assert_eq!(host.units(), ["/etc/systemd/system/pgstow-@main.service.d"]);
    assert!(text.contains("pgstow-@main.service.d"), "{text}");
    let known = host.booted.run(&[
        "systemctl",
        "list-units",
        "--all",
        "--no-legend",
        "pgstow-*main*",
    ]);
    assert!(
        !known.contains("failed") && !known.contains(".timer"),
        "{known}"
    );
    host.server("stop");
}

#[test]
fn full_and_incremental_backups_wait_for_each_other() {
    let scratch = Scratch::new();
    let Some(host) = Host::start(&scratch) else {
        return;
    };
    host.booted.write(
        Path::new("/var/lib/postgresql/.pgpass"),
        "600",
        "*:*:*:*:of the role\n",
    );
    host.booted
        .run(&["chown", "postgres:", "/var/lib/postgresql/.pgpass"]);
    let (code, text) = host.pgstow(&INSTALL);
    assert_eq!(code, 0, "{text}");
    let both = [
        "pgstow-base@main.service",
        "pgstow-incremental@main.service",
    ];
    host.booted
        .run(&[&["systemctl", "start"], &both[..]].concat());
    assert_eq!(host.stow.backups().len(), 2);
    host.server("stop");
}
