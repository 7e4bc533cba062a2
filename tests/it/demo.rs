//! `demo`: tells its story on any installation, as root and as another user, and leaves nothing.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PgBin, Scratch, pg, terminal, tool::Tool, user};

/// A scratch folder whose own folder `tmp` is where the demo works.
struct Stage {
    scratch: Scratch,
    tmp: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let scratch = Scratch::new();
        let tmp = scratch.folder("t");
        Self { scratch, tmp }
    }

    fn tool(&self) -> Tool {
        Tool::new(&self.scratch).env("TMPDIR", &self.tmp)
    }

    /// The scratch folder that the demo has made, once it has.
    fn folder(&self) -> Option<PathBuf> {
        let mut entries = fs::read_dir(&self.tmp).unwrap();
        entries.next().map(|entry| entry.unwrap().path())
    }

    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.folder(), None, "something is left");
        assert_eq!(processes_naming(&self.tmp), [""; 0], "processes are left");
    }
}

/// Command lines that name `path`.
fn processes_naming(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(path))
        .collect()
}

fn bindir(pg: &PgBin) -> &str {
    pg.bindir.to_str().unwrap()
}

#[track_caller]
fn judge(report: &serde_json::Value, pg: &PgBin) {
    assert_eq!(report["postgres_major"], pg.major, "{report}");
    assert_eq!(report["steps"].as_array().unwrap().len(), 6, "{report}");
    assert_eq!(report["expected"], report["restored"], "{report}");
    assert_eq!(report["restored"]["accounts"]["rows"], 1000, "{report}");
    let orders = report["restored"]["orders"]["rows"].as_u64().unwrap();
    assert!(
        orders > 100_000,
        "no order came in during the backup: {report}"
    );
}

fn as_an_ordinary_user(pg: PgBin) {
    let stage = Stage::new();
    let tool = stage.tool();
    let output = tool
        .command(&["--json", "demo", "--bindir", bindir(&pg)])
        .ok();
    judge(&output.json(), &pg);
    stage.is_clean();
}

#[test]
fn as_an_ordinary_user_on_15() {
    as_an_ordinary_user(pg(15));
}

#[test]
fn as_an_ordinary_user_on_18() {
    as_an_ordinary_user(pg(18));
}

/// The program as root calls it, from a folder that nobody else may enter.
fn as_root(stage: &Stage, arguments: &[&str]) -> Command {
    assert!(user::is_root(), "run this test as root, or leave it out");
    let closed = stage.scratch.join("closed");
    fs::create_dir(&closed).unwrap();
    let program = closed.join("pgstow");
    fs::copy(env!("CARGO_BIN_EXE_pgstow"), &program).unwrap();
    user::run_ok(Command::new("chmod").arg("700").arg(&closed));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&closed)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/root")
        .env("TMPDIR", &stage.tmp);
    command
}

#[test]
fn as_root_from_a_closed_folder() {
    for pg in [pg(15), pg(18)] {
        let stage = Stage::new();
        let output = user::run_ok(&mut as_root(
            &stage,
            &["--json", "demo", "--bindir", bindir(&pg)],
        ));
        judge(&serde_json::from_str(&output).unwrap(), &pg);
        stage.is_clean();
    }
}

#[test]
fn people_read_numbered_steps_and_that_it_worked() {
    let stage = Stage::new();
    // Debian's, found without being told.
    let output = user::run_ok(&mut as_root(&stage, &["demo"]));
    for number in 1..=6 {
        assert!(output.contains(&format!("\n{number}. ")), "{output}");
    }
    for shown in [
        "$ pgstow --config DEMO/pgstow.toml base\n",
        "restore --target-time '20",
        "archive_command = 'pgstow ",
    ] {
        assert!(output.contains(shown), "{output}");
    }
    let last = output.lines().last().unwrap();
    assert!(last.starts_with("It worked: all 100"), "{output}");
    stage.is_clean();
}

#[test]
fn what_is_kept_can_be_looked_at() {
    let stage = Stage::new();
    let tool = stage.tool();
    let output = tool.command(&["demo", "--keep"]).ok();
    let folder = stage.folder().unwrap();
    assert!(output.stdout.contains(&format!(
        "Kept, with its servers stopped: {}",
        folder.display()
    )));
    let config = folder.join("pgstow.toml");
    let config = config.to_str().unwrap();
    tool.command(&["--config", config, "verify", "--wal"]).ok();
    // The recovery settings are gone, and the copy does not archive.
    let settings = fs::read_to_string(folder.join("restored/postgresql.auto.conf")).unwrap();
    assert!(
        !settings.contains("recovery_") && !settings.contains("restore_command"),
        "{settings}"
    );
    assert!(settings.contains("archive_mode = 'off'"), "{settings}");
    assert_eq!(processes_naming(&stage.tmp), [""; 0]);
}

#[test]
fn an_interrupt_leaves_nothing_whenever_it_comes() {
    // The last of them comes with two servers running.
    for milestone in [
        "shop/PG_VERSION",
        "shop/postmaster.pid",
        "repository/main/base",
        "restored/postmaster.pid",
    ] {
        let stage = Stage::new();
        let mut child = as_root(&stage, &["demo"]).spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while !stage
            .folder()
            .is_some_and(|folder| folder.join(milestone).exists())
        {
            assert!(
                Instant::now() < limit && child.try_wait().unwrap().is_none(),
                "{milestone} never came"
            );
            thread::sleep(Duration::from_millis(2));
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "at {milestone}");
        stage.is_clean();
    }
}

#[test]
fn a_second_interrupt_leaves_no_server() {
    'milestones: for milestone in ["shop.log", "restored.log"] {
        let stage = Stage::new();
        let said = stage.scratch.join("stderr");
        let mut child = as_root(&stage, &["demo"])
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let text = || fs::read_to_string(&said).unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        let reached = || {
            let folder = stage.folder();
            folder.is_some_and(|folder| folder.join(milestone).exists())
        };
        while !reached() {
            assert!(Instant::now() < limit, "{milestone} never came");
            thread::sleep(Duration::from_millis(2));
        }
        let folder = stage.folder().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        while !text().contains("interrupted: ") {
            assert!(Instant::now() < limit, "{}", text());
            if let Some(status) = child.try_wait().unwrap() {
                // Too fast for a second one.
                assert_eq!(status.code(), Some(130), "{}", text());
                stage.is_clean();
                continue 'milestones;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert!(text().contains(folder.to_str().unwrap()), "{}", text());
        assert!(text().contains("a second interrupt"), "{}", text());
        // It may have ended meanwhile, but was not waited for yet.
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{}", text());
        while !processes_naming(&stage.tmp).is_empty() {
            assert!(Instant::now() < limit, "{:?}", processes_naming(&stage.tmp));
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn on_a_terminal_each_step_is_told_when_it_ends() {
    let stage = Stage::new();
    let line = stage.tool().shell("demo");
    let mut child = terminal::command(&line, 80)
        .env("TMPDIR", &stage.tmp)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    let mut bytes = [0; 4096];
    loop {
        match out.read(&mut bytes).unwrap() {
            0 => break,
            read => all.extend(&bytes[..read]),
        }
        let next = format!("{}. ", seen.len() + 1);
        if terminal::drawn(&all)
            .iter()
            .any(|line| line.starts_with(&next))
        {
            seen.push(Instant::now());
        }
    }
    assert!(child.wait().unwrap().success());
    let drawn = terminal::drawn(&all);
    assert_eq!(seen.len(), 6, "{drawn:#?}");
    // All at once they would come within a moment.
    assert!(seen[5] - seen[0] > Duration::from_secs(1), "{drawn:#?}");
    for once in ["pgstow demo on", "1. make", "6. start", "It worked"] {
        let found = drawn.iter().filter(|line| line.starts_with(once)).count();
        assert_eq!(found, 1, "{once:?} in {drawn:#?}");
    }
    // What is under way stands in the bar.
    let under_way = |line: &String| line.starts_with("make a database cluster");
    assert!(drawn.iter().any(under_way), "{drawn:#?}");
    stage.is_clean();
}

#[test]
fn a_failure_is_told_and_leaves_nothing() {
    let stage = Stage::new();
    let empty = stage.scratch.folder("empty");
    let tool = stage.tool();
    tool.command(&["demo", "--bindir", empty.to_str().unwrap()])
        .fails(1)
        .stderr_contains("no program postgres in");
    // A server that can't even begin: initdb's template is missing.
    let broken = stage.scratch.folder("bin");
    for program in ["postgres", "initdb", "pg_waldump"] {
        std::os::unix::fs::symlink(pg(15).bindir.join(program), broken.join(program)).unwrap();
    }
    fs::remove_file(broken.join("initdb")).unwrap();
    fs::write(
        broken.join("initdb"),
        "#!/bin/sh\necho no room >&2\nexit 1\n",
    )
    .unwrap();
    user::run_ok(Command::new("chmod").arg("755").arg(broken.join("initdb")));
    tool.command(&["demo", "--bindir", broken.to_str().unwrap()])
        .fails(1)
        .stderr_contains("the demo failed at: make a database cluster")
        .stderr_contains("no room");
    stage.is_clean();
}
