//! WAL that `verify --wal` found damaged or missing: all who judge know of it until it is mended or a good backup is
//! behind it; from then on it is the past, and hides nothing new.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::Watched;
use crate::harness::user;

/// Some bytes of an object changed, and how it was.
struct Damaged {
    object: PathBuf,
    whole: Vec<u8>,
}

impl Damaged {
    fn new(object: PathBuf) -> Self {
        let whole = fs::read(&object).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20].fill(0x5a);
        put(&object, &bytes);
        Self { object, whole }
    }

    fn mend(&self) {
        put(&self.object, &self.whole);
    }
}

fn put(object: &PathBuf, bytes: &[u8]) {
    fs::write(object, bytes).unwrap();
    user::own(object);
}

impl Watched {
    /// Archives `count` segments; their names.
    fn segments(&self, count: usize) -> Vec<String> {
        let noise = "select md5(random()::text) as t from generate_series(1, 5000)";
        let cluster = &self.stow.cluster;
        let next = || {
            cluster.psql("drop table if exists noise");
            cluster.psql(&format!("create table noise as {noise}"));
            cluster.switch_wal()
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn verify_wal(&self, code: i32) -> Value {
        let verify = self.stow.tool.command(&["--json", "verify", "--wal"]);
        let verify = if code == 0 {
            verify.ok()
        } else {
            verify.fails(code)
        };
        verify.json()["wal"][0].clone()
    }

    fn warns(&self, of: &str) -> bool {
        let copy = self.scratch.join("copy");
        let plan = [
            "--json",
            "restore",
            "--plan",
            "--data-dir",
            copy.to_str().unwrap(),
        ];
        let plan = self.stow.tool.command(&plan).ok().json();
        plan["warnings"].to_string().contains(of)
    }
}

fn lines(told: &Value) -> Vec<String> {
    let text = |one: &Value| {
        format!(
            "{}: {}",
            one["object"].as_str().unwrap(),
            one["what"].as_str().unwrap()
        )
    };
    told.as_array().unwrap().iter().map(text).collect()
}

#[test]
fn what_verify_finds_damaged_is_known_to_all_until_it_is_mended_or_a_backup_is_behind_it() {
    let watched = Watched::start(17);
    let tool = &watched.stow.tool;
    let segments = watched.segments(4);
    watched.is_well();
    let damaged = Damaged::new(watched.stow.wal_object(&segments[1]));
    // Listings don't show it.
    watched.is("restorable", &[], "ok", "can be restored");
    let found = watched.verify_wal(3);
    assert_eq!(lines(&found["findings"]).len(), 1, "{found:#}");
    let told = format!("found WAL {} in repository local damaged", segments[1]);
    let is_told = || watched.is("restorable", &[], "critical", &told);
    is_told();
    // Who reads no WAL takes nothing back; nor does it lie in the state folder.
    drop(tool.command(&["verify"]).ok());
    is_told();
    drop(tool.command(&["verify", "--all"]).ok());
    fs::remove_dir_all(watched.scratch.join("state/main")).unwrap();
    is_told();
    let check = tool.command(&["check"]).fails(1);
    drop(check.stdout_contains(&told));
    let list = tool.command(&["list"]).ok();
    drop(list.stdout_contains(&format!("found: {0} to {0};", segments[1])));
    let warning = format!("found WAL {} damaged", segments[1]);
    assert!(watched.warns(&warning));

    // It is good again once somebody has looked.
    damaged.mend();
    is_told();
    assert_eq!(lines(&watched.verify_wal(0)["past"]), Vec::<String>::new());
    watched.is_well();
    assert!(!watched.warns("damaged"));
    assert_eq!(
        watched.stow.list()["wal"][0]["damaged"],
        serde_json::json!([])
    );

    // It is gone: what listings show says so.
    let damaged = Damaged::new(damaged.object);
    drop(watched.verify_wal(3));
    is_told();
    fs::remove_file(&damaged.object).unwrap();
    let missing = format!("WAL {} is missing", segments[1]);
    watched.is("restorable", &[], "critical", &missing);
    damaged.mend();
    is_told();
    drop(watched.verify_wal(0));
    watched.is_well();

    // A backup behind it ends it, too.
    let damaged = Damaged::new(damaged.object);
    drop(watched.verify_wal(3));
    is_told();
    watched.stow.backup(&[]);
    watched.is("restorable", &[], "ok", "can be restored");
    assert!(!watched.warns("damaged"));
    drop(watched.verify_wal(0));
    watched.is_well();
    damaged.mend();
    drop(watched.verify_wal(0));
}

/// A check that is critical already must not hide a second finding until its reminder.
#[test]
fn a_second_finding_is_told_beside_the_first() {
    let watched = Watched::start(16);
    let segments = watched.segments(5);
    let changes = |code: i32| {
        let words = ["monitor", "--changes", "--only", "runs,restorable"];
        let command = watched.stow.tool.command(&words);
        let output = if code == 0 {
            command.ok()
        } else {
            command.fails(code)
        };
        output.stdout
    };
    let second = Damaged::new(watched.stow.wal_object(&segments[3]));
    drop(watched.verify_wal(3));
    let told = changes(2);
    assert!(told.contains("CRITICAL restorable local: "), "{told}");
    assert!(told.contains(&segments[3]), "{told}");
    drop(watched.verify_wal(3));
    assert_eq!(changes(2), "");

    // Recovery ends before it now: `restorable` and `runs` are as bad as they were.
    let first = Damaged::new(watched.stow.wal_object(&segments[1]));
    drop(watched.verify_wal(3));
    let told = changes(2);
    let of = |check: &str| {
        let begin = |line: &&str| line.contains(check);
        told.lines()
            .find(begin)
            .unwrap_or_else(|| panic!("{told}"))
            .to_owned()
    };
    assert!(
        of("CRITICAL restorable local: ").contains(&segments[1]),
        "{told}"
    );
    let runs = of("WARNING runs verify: new: ");
    let (new, old) = runs.split_once("; told before: ").unwrap();
    assert!(
        new.contains(&segments[1]) && !new.contains(&segments[3]),
        "{told}"
    );
    assert!(
        old.contains(&segments[3]) && !old.contains(&segments[1]),
        "{told}"
    );
    drop(watched.verify_wal(3));
    assert_eq!(changes(2), "");

    // One more, behind both: recovery never gets there.
    let third = Damaged::new(watched.stow.wal_object(&segments[4]));
    drop(watched.verify_wal(3));
    let told = changes(2);
    for check in [
        "CRITICAL restorable local: new: ",
        "WARNING runs verify: new: ",
    ] {
        let begin = |line: &&str| line.contains(check);
        let line = told.lines().find(begin).unwrap_or_else(|| panic!("{told}"));
        let (new, old) = line.split_once("; told before: ").unwrap();
        assert!(
            new.contains(&segments[4]) && !new.contains(&segments[1]),
            "{told}"
        );
        // The rest may be cut, since a message is for people.
        assert!(old.contains(&segments[1]), "{told}");
    }

    // Mended one by one; well again once all is.
    first.mend();
    third.mend();
    drop(watched.verify_wal(3));
    assert_eq!(changes(2), "");
    second.mend();
    drop(watched.verify_wal(0));
    let told = changes(0);
    assert!(
        told.contains("OK restorable local: ") && told.contains("OK runs verify: "),
        "{told}"
    );
}

/// A backup whose own WAL is damaged can't be restored, and must not count as the newest good one, for `cleanup` least
/// of all.
#[test]
fn a_backup_whose_own_wal_is_damaged_is_not_good() {
    let watched = Watched::start(18);
    let stow = &watched.stow;
    let older = stow.backups()[0]["id"].as_str().unwrap().to_owned();
    watched.segments(2);
    let newer = stow.backup(&["--full"]);
    let segment = newer.json()["start_segment"].as_str().unwrap().to_owned();
    let age = || {
        let verdict = watched.verdict(
            "backup_age",
            &[
                ("BACKUP_AGE_WARNING", "off"),
                ("BACKUP_AGE_CRITICAL", "off"),
            ],
        );
        verdict["reason"].as_str().unwrap().to_owned()
    };
    let good = || {
        let file = watched.scratch.join("metrics.prom");
        let words = [
            "monitor",
            "--only",
            "clock",
            "--textfile",
            file.to_str().unwrap(),
        ];
        drop(stow.tool.command(&words).ok());
        let metrics = fs::read_to_string(file).unwrap();
        let line =
            |line: &&str| line.starts_with("pgstow_backups{") && line.contains("state=\"good\"");
        metrics
            .lines()
            .find(line)
            .unwrap()
            .rsplit_once(' ')
            .unwrap()
            .1
            .to_owned()
    };
    // By a rule that wants one.
    let kept = |id: &str| {
        let plan = stow.tool.command(&["--json", "cleanup", "--dry-run"]);
        let plan = plan
            .env("PGSTOW_REPO_RETENTION_FULL", "1")
            .env("PGSTOW_REPO_RETENTION_MIN", "1");
        let plan = plan.ok().json();
        let mut backups = plan["backups"].as_array().unwrap().iter();
        let one = backups.find(|one| one["id"] == *id);
        one.unwrap_or_else(|| panic!("{plan:#}"))["action"] == "keep"
    };
    assert_eq!((good().as_str(), kept(&older)), ("2", false), "{}", age());
    let damaged = Damaged::new(stow.wal_object(&segment));
    drop(watched.verify_wal(3));
    assert_eq!((good().as_str(), kept(&older)), ("1", true), "{}", age());
    damaged.mend();
    drop(watched.verify_wal(0));
    assert_eq!((good().as_str(), kept(&older)), ("2", false));
}

#[test]
fn what_a_good_backup_is_behind_is_told_once_as_a_finding_and_hides_nothing_new() {
    let watched = Watched::start(15);
    let segments = watched.segments(6);
    let behind = watched.stow.backup(&[]);
    drop(watched.verify_wal(0));
    let first = Damaged::new(watched.stow.wal_object(&segments[1]));
    let is_of =
        |lines: &[String], number: usize| lines.len() == 1 && lines[0].contains(&segments[number]);
    // It is news, though the newest backup doesn't need it.
    let found = watched.verify_wal(3);
    assert!(is_of(&lines(&found["findings"]), 1), "{found:#}");
    watched.is("restorable", &[], "ok", "can be restored");
    watched.is("runs", &[], "warning", &segments[1]);
    let found = watched.verify_wal(0);
    let past = lines(&found["past"]);
    assert!(
        is_of(&past, 1) && past[0].contains(behind.id()),
        "{found:#}"
    );
    assert_eq!(found["affected"].as_array().unwrap().len(), 1, "{found:#}");
    let text = watched.stow.tool.command(&["verify", "--wal"]).ok();
    let text = text.stdout_contains("nothing new is wrong");
    drop(text.stdout_contains("in the past: "));
    watched.is_well();

    // A second one, and a gap.
    let second = Damaged::new(watched.stow.wal_object(&segments[3]));
    let found = watched.verify_wal(3);
    assert!(is_of(&lines(&found["findings"]), 3), "{found:#}");
    assert!(is_of(&lines(&found["past"]), 1), "{found:#}");
    assert_eq!(lines(&watched.verify_wal(0)["past"]).len(), 2);
    second.mend();
    assert_eq!(lines(&watched.verify_wal(0)["past"]).len(), 1);
    fs::remove_file(&second.object).unwrap();
    let found = watched.verify_wal(3);
    assert!(is_of(&lines(&found["findings"]), 3), "{found:#}");
    assert_eq!(lines(&watched.verify_wal(0)["past"]).len(), 2);
    watched.is_well();

    first.mend();
    let new = watched.segments(3);
    Damaged::new(watched.stow.wal_object(&new[1]));
    drop(watched.verify_wal(3));
    // Behind the newest backup it stays a finding.
    let found = watched.verify_wal(3);
    assert!(
        lines(&found["findings"])
            .iter()
            .any(|one| one.contains(&new[1])),
        "{found:#}"
    );
}
