//! A spell of `wal_level = minimal`: nothing behind it can be restored before the next backup, and all who judge
//! know of it, from the repository alone, once anybody saw it.

use std::fs;

use serde_json::Value;

use super::Watched;

const SETTINGS: [(&str, &str); 3] = [
    ("archive_mode", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
];

impl Watched {
    fn begin_spell(&mut self) {
        let cluster = &mut self.stow.cluster;
        for (name, value) in SETTINGS {
            cluster.set(name, value);
        }
        cluster.restart();
        cluster.psql("create table if not exists of_the_spell as select 1 as n");
    }

    /// The settings are right again, and the WAL of the spell is archived.
    fn end_spell(&mut self) {
        let cluster = &mut self.stow.cluster;
        for (name, _) in SETTINGS {
            cluster.psql(&format!("alter system reset {name}"));
        }
        cluster.restart();
        cluster.switch_wal();
    }

    fn lose_state(&self) {
        let state = self.scratch.join("state/main");
        fs::remove_dir_all(state).unwrap();
    }

    fn verified(&self, code: i32) -> Value {
        let verify = self.stow.tool.command(&["--json", "verify", "--wal"]);
        let output = match code {
            0 => verify.ok(),
            _ => verify.fails(code),
        };
        output.json()["wal"][0].clone()
    }

    fn is_lost(&self) {
        self.is("restorable", &[], "critical", "wal_level was minimal at");
        let verdict = self.verdict("restorable", &[]);
        let hint = verdict["hint"].as_str().unwrap();
        assert!(hint.contains("pgstow base --full"), "{verdict:#}");
    }
}

#[test]
fn what_verify_finds_is_known_to_all_until_a_backup_is_behind_it() {
    let mut watched = Watched::start(16);
    let before = watched.stow.backups()[0]["id"].as_str().unwrap().to_owned();
    watched.begin_spell();
    watched.end_spell();
    // Nobody looked, and nobody has read the WAL yet.
    watched.is("restorable", &[], "ok", "can be restored");
    let wal = watched.verified(3);
    let told = wal["findings"][0]["what"].as_str().unwrap();
    assert!(told.contains("wal_level was set to minimal"), "{wal:#}");
    assert!(told.contains("`pgstow base --full`"), "{wal:#}");
    assert_eq!(wal["past"], serde_json::json!([]));
    let affected = wal["affected"].as_array().unwrap();
    assert_eq!(affected.len(), 1, "{wal:#}");
    assert!(affected[0].as_str().unwrap().starts_with(&before));
    watched.lose_state();
    watched.is_lost();
    let copy = watched.scratch.join("copy");
    let plan = ["--json", "restore", "--plan", "--data-dir"];
    let plan = [&plan[..], &[copy.to_str().unwrap()]].concat();
    let warned = || {
        let plan = watched.stow.tool.command(&plan).ok().json();
        plan["warnings"]
            .to_string()
            .contains("wal_level was minimal at LSN")
    };
    assert!(warned());
    watched
        .stow
        .tool
        .command(&["check"])
        .fails(1)
        .stdout_contains("wal_level was minimal at");

    // What the hint says helps, and ends it.
    let behind = watched.stow.backup(&["--full"]);
    watched.is_well();
    let check = watched.stow.tool.command(&["check"]).spawn().wait();
    assert!(!check.stdout.contains("wal_level was minimal"), "{check}");
    assert!(!warned());
    let wal = watched.verified(0);
    assert_eq!(wal["findings"], serde_json::json!([]));
    let told = wal["past"][0]["what"].as_str().unwrap();
    assert!(told.contains(behind.id()), "{wal:#}");
    watched
        .stow
        .tool
        .command(&["verify", "--wal"])
        .ok()
        .stdout_contains("in the past: ");
    // Nothing of it is taken for a stray.
    watched
        .stow
        .tool
        .command(&["verify", "--all", "--wal"])
        .ok();
}

#[test]
fn what_monitor_saw_outlives_the_state_folder() {
    let mut watched = Watched::start(18);
    watched.begin_spell();
    watched.is("wal_level", &[], "critical", "minimal");
    watched.is("wal_level", &[], "critical", "minimal");
    watched.lose_state();
    watched.end_spell();
    watched.is_lost();
    // Said once, however often it was seen.
    let system = watched
        .stow
        .cluster
        .psql("select system_identifier from pg_control_system()");
    let notes = watched
        .stow
        .root()
        .join(format!("main/wal/{system}/minimal"));
    assert_eq!(fs::read_dir(&notes).unwrap().count(), 1);
    watched.stow.backup(&[]);
    watched.is_well();
    // Another one begins anew.
    watched.begin_spell();
    watched.is("wal_level", &[], "critical", "minimal");
    watched.lose_state();
    watched.end_spell();
    watched.is_lost();
    assert_eq!(fs::read_dir(&notes).unwrap().count(), 2);
}
