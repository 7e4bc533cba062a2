//! The units under a systemd that runs, in their sandbox, against a real server.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
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

const PGPASS: &str = "/var/lib/postgresql/.pgpass";

/// A host with a server, which wants a password, and a repository.
struct Host {
    stow: Stow,
    booted: Booted,
}

impl Host {
    /// In ~/.pgpass, as by hand.
    fn give_password(&self) {
        let home = Path::new(PGPASS);
        self.booted.write(home, "600", "*:*:*:*:of the role\n");
        self.booted.run(&["chown", "postgres:", PGPASS]);
    }

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

    /// Has the unit of a job find the server's programs, which lie in no usual place; with these variables, too.
    fn give_programs(&self, job: &str, variables: &str) {
        let path = format!("/etc/systemd/system/pgstow-{job}@main.service.d/programs.conf");
        let bindir = self.stow.cluster.pg.bindir.display();
        let text = format!("[Service]\nEnvironment=PGSTOW_CLUSTER_BINDIR={bindir} {variables}\n");
        self.booted.write(Path::new(&path), "644", &text);
        self.booted.run(&["systemctl", "daemon-reload"]);
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
        let unit = format!("pgstow-alert-main@{instance}.service");
        wait_until(|| match self.journal(&unit) {
            journal if journal.contains(text) => Ok(()),
            journal => Err(format!("no {text:?} in {journal}")),
        });
    }

    /// Starts a web server in the container, and sends alerts there.
    fn send_alerts_to(&self, folder: &Path) {
        let script = include_str!("../../data/alerts/web_server.py");
        let told = folder.join("told");
        let output = format!("--property=StandardOutput=file:{}", told.display());
        let server = ["/usr/bin/python3", "-c", script, folder.to_str().unwrap()];
        let run = ["systemd-run", "--quiet", &output];
        self.booted.run(&[&run[..], &server].concat());
        let port = wait_until(|| {
            let told = fs::read_to_string(&told).unwrap_or_default();
            let port = told
                .strip_prefix("port ")
                .map(|port| port.trim().to_owned());
            port.ok_or(told)
        });
        let config = self.stow.tool.config_file();
        let text = fs::read_to_string(config).unwrap();
        let alert = format!("[alert.ops]\nurl = \"http://127.0.0.1:{port}/\"\n");
        fs::write(config, text + &alert).unwrap();
        // The address is a secret.
        fs::set_permissions(config, Permissions::from_mode(0o600)).unwrap();
    }

    fn units(&self) -> Vec<String> {
        let script = "find /etc/systemd/system /var/lib/systemd/timers -name '*pgstow-*@*' | sort";
        let found = self.booted.run(&["/bin/sh", "-c", script]);
        found.lines().map(str::to_owned).collect()
    }
}

/// What comes in time.
#[track_caller]
fn wait_until<T>(mut come: impl FnMut() -> Result<T, String>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        match come() {
            Ok(found) => return found,
            Err(found) => assert!(Instant::now() < limit, "{found}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The first alert of each message that the web server in `folder` got.
fn alerts(folder: &Path) -> Vec<Value> {
    let read = |number: u32| fs::read(folder.join(format!("{number}.json"))).ok();
    let alert = |bytes: Vec<u8>| {
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        message["body"]["alerts"][0].clone()
    };
    (1..).map_while(read).map(alert).collect()
}

#[test]
fn jobs_run_by_their_units_and_failures_are_told() {
    let scratch = Scratch::on_disk();
    let Some(host) = Host::start(&scratch) else {
        return;
    };
    assert_eq!(host.units(), [""; 0]);
    let (code, text) = host.pgstow(&["systemd", "status"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("has no timers"), "{text}");
    // Whoever has others run the jobs is not alarmed.
    let (code, text) = host.pgstow(&["monitor", "--only", "timers"]);
    assert!(
        code == 0 && text.contains("has no timers of pgstow"),
        "{code} {text}"
    );
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

    // `monitor` sees a timer that won't be there, or isn't.
    let timer = "pgstow-verify@main.timer";
    let timers = |code: i32, state: &str, reason: &str| {
        let (found, text) = host.pgstow(&["monitor", "--only", "timers"]);
        assert_eq!(found, code, "{text}");
        let mut lines = text.lines();
        let line = lines.find(|line| line.contains(timer)).unwrap();
        assert!(line.starts_with(state) && line.contains(reason), "{text}");
    };
    timers(0, "ok", "next: ");
    host.booted.run(&["systemctl", "disable", timer]);
    timers(1, "warning", "after the next start of this host");
    host.booted.run(&["systemctl", "stop", timer]);
    timers(2, "CRITICAL", "it doesn't run");
    host.booted.run(&["systemctl", "enable", "--now", timer]);
    timers(0, "ok", "next: ");

    // It can't be started, so it can't tell it itself: the alert unit does, out of its sandbox.
    let web = scratch.folder("web");
    host.send_alerts_to(&web);
    let drop_in = "/run/systemd/system/pgstow-base@main.service.d/broken.conf";
    let broken = "[Service]\nExecStart=\nExecStart=/nowhere/pgstow base\n";
    host.booted.write(Path::new(drop_in), "644", broken);
    host.booted.run(&["systemctl", "daemon-reload"]);
    assert!(!host.run("pgstow-base@main.service"));
    let told = |count: usize| {
        wait_until(|| {
            let mut alerts = alerts(&web);
            let found = format!("{alerts:#?}");
            (alerts.len() == count)
                .then(|| alerts.remove(count - 1))
                .ok_or(found)
        })
    };
    let reason = told(1)["reason"].as_str().unwrap().to_owned();
    let expected = "unit pgstow-base@main failed: exit-code, status 203";
    assert!(reason.contains(expected), "{reason}");
    // The last words, which the journal shows to its group.
    assert!(reason.contains("/nowhere/pgstow"), "{reason}");
    host.booted.run(&["rm", drop_in]);
    host.booted.run(&["systemctl", "daemon-reload"]);

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
    // The second failure of the same job, which that told itself or would have: nothing new.
    host.is_told("pgstow-base@main", "Finished");
    assert_eq!(alerts(&web).len(), 1);

    host.give_password();
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
    assert_eq!(told(2)["kind"], "recovery");

    // A credential, for all jobs of the cluster.
    host.booted.run(&["rm", PGPASS]);
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
    host.give_programs("drill", "");
    for job in ["cleanup", "verify", "drill"] {
        let unit = format!("pgstow-{job}@main.service");
        assert!(host.run(&unit), "{}", host.journal(&unit));
        assert_eq!(host.status(0, job)["result"], "done");
    }

    // Dumps, once they are wanted; the directory format has a place of its own in the sandbox.
    let with_dumps = [&INSTALL[..], &["--on-calendar", "dump=yearly"]].concat();
    let (code, said) = host.pgstow(&with_dumps);
    assert_eq!(code, 0, "{said}");
    let grant = format!("grant pg_read_all_data to {}", crate::harness::stow::ROLE);
    host.stow.cluster.psql(&grant);
    host.give_programs("dump", "PGSTOW_DUMP_FORMAT=directory");
    let unit = "pgstow-dump@main.service";
    assert!(host.run(unit), "{}", host.journal(unit));
    assert_eq!(host.status(0, "dump")["result"], "done");
    let (code, listed) = host.pgstow(&["list", "--dumps"]);
    assert!(
        code == 0 && listed.contains("_postgres_") && listed.contains("directory"),
        "{listed}"
    );

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
    let findings = alerts(&web);
    let told: Vec<_> = findings
        .iter()
        .filter(|one| one["object"] == "verify")
        .collect();
    assert_eq!(
        (told.len(), &told[0]["kind"]),
        (1, &"failure".into()),
        "{findings:#?}"
    );
    host.is_told("pgstow-cleanup@main:findings", "Finished");
    let silent = host.journal("pgstow-alert-main@pgstow-cleanup@main:findings.service");
    assert!(!silent.contains("needs a look"), "{silent}");

    let (code, text) = host.pgstow(&["systemd", "remove"]);
    assert_eq!(code, 0, "{text}");
    // The operator's drop-ins stay, and are named.
    let left = ["pgstow-@", "pgstow-drill@", "pgstow-dump@"];
    let left = left.map(|unit| format!("/etc/systemd/system/{unit}main.service.d"));
    assert_eq!(host.units(), left);
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
    let scratch = Scratch::on_disk();
    let Some(host) = Host::start(&scratch) else {
        return;
    };
    host.give_password();
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

/// cron itself, which starts what is to be started with the host at once, and all else within a minute.
#[test]
fn cron_runs_the_jobs_of_its_file() {
    let scratch = Scratch::on_disk();
    let Some(host) = Host::start(&scratch) else {
        return;
    };
    host.give_password();
    // Nothing of this host; and no note of who logged in, which a container may not leave.
    let script = "rm -f /etc/cron.d/* /etc/cron.*/*; sed -i /loginuid/d /etc/pam.d/cron";
    host.booted.run(&["/bin/sh", "-c", script]);
    let install = [
        "systemd",
        "install",
        "--cron",
        "--on-calendar",
        "base=@reboot",
    ];
    let (code, text) = host.pgstow(&install);
    assert_eq!(code, 0, "{text}");
    let (code, text) = host.pgstow(&["systemd", "status"]);
    assert!(
        code == 1 && text.contains("run by cron, from /etc/cron.d/pgstow-main"),
        "{code} {text}"
    );
    host.booted.run(&["systemctl", "start", "cron.service"]);
    wait_until(|| match host.stow.backups().as_slice() {
        [one] if one["backup"]["kind"] == "full" => Ok(()),
        _ => Err(host.journal("cron.service")),
    });
    host.server("stop");
}
