//! Chains of which a backup is damaged, can't be read or has lost its description: nothing new is built on
//! it, and nothing that others need is deleted.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::harness::{Scratch, Stored, Stow, damage::flip, pg, user};

/// A full backup and incremental ones, each on the one before.
struct Chain {
    stow: Stow,
    backups: Vec<Stored>,
}

impl Chain {
    fn of(scratch: &Scratch, length: usize) -> Self {
        Self::on(Stow::start(scratch, pg(15)), length)
    }

    fn on(stow: Stow, length: usize) -> Self {
        let mut backups = vec![stow.backup(&["--full"])];
        while backups.len() < length {
            stow.cluster
                .psql("create table if not exists t as select 1 as n");
            let backup = stow.backup(&["--incremental"]);
            assert_eq!(backup.json()["parent"], backups.last().unwrap().id());
            backups.push(backup);
        }
        Self { stow, backups }
    }

    /// `pgstow base --incremental` makes a full backup and says why.
    #[track_caller]
    fn full_because(&self, why: &str) -> Stored {
        let base = self.stow.base(&["--incremental"]);
        let backup = self.stow.stored(&base.expect_warning(why).ok());
        assert_eq!(backup.json()["kind"], "full");
        backup
    }
}

#[test]
fn nothing_is_built_on_a_chain_that_verify_found_damaged() {
    let scratch = Scratch::new();
    let mut chain = Chain::of(&scratch, 3);
    let middle = &chain.backups[1];
    flip(&middle.parts()[0]);
    let verify = ["verify", middle.id()];
    chain.stow.tool.command(&verify).fails(3);
    let why = format!(
        "{} isn't good: what it builds on isn't: {}: `pgstow verify` found it damaged",
        chain.backups[2].id(),
        middle.id()
    );
    let full = chain.full_because(&why);
    // From the new one on there are incremental ones again.
    let next = chain.stow.backup(&["--incremental"]);
    assert_eq!(next.json()["parent"], full.id());
    chain.backups.push(next);
}

#[test]
fn nothing_is_built_on_damaged_pages() {
    let scratch = Scratch::new();
    let chain = Chain::of(&scratch, 2);
    let mut full = chain.backups[0].json();
    full["page_failures"] = serde_json::json!([{"file": "base/5/1259", "block": 3}]);
    chain.backups[0].rewrite_json(full);
    chain.full_because("it has 1 damaged page");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// As root wrote it, or as a disk that is failing gives it back.
#[test]
fn a_description_that_cannot_be_read_is_said_and_harms_no_other_backup() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .repo("retention = { full = 1, min = 1 }")
        .start();
    let chain = Chain::on(stow, 2);
    let (stow, full, child) = (&chain.stow, &chain.backups[0], &chain.backups[1]);
    mode(&full.object("backup.json"), 0o000);
    let pins = stow.root().join("main/pins");
    stow.tool.command(&["pin", child.id()]).ok();
    stow.tool.command(&["unpin", child.id()]).ok();
    let pin = fs::read_dir(&pins).unwrap().next().unwrap().unwrap().path();
    stow.cluster.psql("select pg_switch_wal()");

    // Others can be made, listed and restored.
    let good = stow.backup(&["--full"]);
    let unread = format!("{} can't be used: can't read", full.id());
    let lost = format!(
        "{} can't be used: it builds on backup {}",
        child.id(),
        full.id()
    );
    let data_dir = scratch.join("copy").display().to_string();
    let restore = |words: &[&str]| {
        let fixed = ["restore", "--plan", "--data-dir", &data_dir];
        stow.tool.command(&[&fixed, words].concat())
    };
    restore(&[])
        .expect_warning(&unread)
        .expect_warning(&lost)
        .ok()
        .stdout_contains(good.id());
    restore(&[full.id()])
        .fails(1)
        .stderr_contains("can't be restored: can't read")
        .stderr_contains("hint: check owner and mode");
    let list = stow.list();
    assert_eq!(list["backups"][0]["state"], "unreadable");
    assert_eq!(list["backups"][1]["state"], "damaged");
    assert_eq!(list["backups"][2]["state"], "complete");
    stow.tool
        .command(&["list"])
        .ok()
        .stdout_contains("UNREADABLE")
        .stdout_contains("Permission denied")
        .stdout_contains("check owner and mode");
    stow.tool
        .command(&["check"])
        .fails(3)
        .stdout_contains(&format!("{} in repository local is unreadable", full.id()))
        .stdout_contains("check owner and mode");
    stow.tool
        .command(&["monitor", "--only", "damaged"])
        .fails(1)
        .stdout_contains(full.id());
    // What could not be read was not judged: no word on it outlasts the trouble.
    stow.tool
        .command(&["verify", child.id()])
        .fails(3)
        .stdout_contains("Permission denied");

    // Neither it nor its child, nor their WAL, goes for a rule that doesn't see them.
    let wal = |backup: &Stored| backup.json()["start_segment"].as_str().unwrap().to_owned();
    let needed = [stow.wal_object(&wal(full)), stow.wal_object(&wal(child))];
    mode(&pin, 0o000);
    stow.tool
        .command(&["cleanup"])
        .fails(3)
        .stdout_contains("warning: ");
    assert_eq!(stow.folders(), [full.id(), child.id(), good.id()]);
    assert!(needed.iter().all(|object| object.exists()), "{needed:?}");

    mode(&full.object("backup.json"), 0o640);
    mode(&pin, 0o640);
    for number in 0..3 {
        assert_eq!(stow.backups()[number]["state"], "complete");
    }
    restore(&[child.id()]).ok();
    let next = stow
        .tool
        .command(&["--json", "monitor", "--only", "damaged"])
        .ok();
    assert_eq!(next.json()["state"], "ok");
    // With both read again, the rule has its way.
    stow.tool.command(&["cleanup"]).ok();
    assert_eq!(stow.folders(), [good.id()]);
}

#[test]
fn a_folder_that_lost_its_description_stays_as_long_as_others_build_on_it() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17))
        .repo("retention = { full = 1, min = 1 }")
        .start();
    let chain = Chain::on(stow, 2);
    let (stow, full, child) = (&chain.stow, &chain.backups[0], &chain.backups[1]);
    let description = fs::read(full.object("backup.json")).unwrap();
    fs::remove_file(full.object("backup.json")).unwrap();
    let warning = format!(
        "{} has lost its backup.json, and {} builds on it",
        full.id(),
        child.id()
    );
    let base = stow.base(&["--incremental"]);
    let good = stow.stored(&base.expect_warning(&warning).ok());
    assert_eq!(good.json()["kind"], "full");
    assert_eq!(stow.folders(), [full.id(), child.id(), good.id()]);
    stow.tool
        .command(&["monitor", "--only", "damaged"])
        .fails(1)
        .stdout_contains(&format!("it builds on backup {}", full.id()));
    stow.tool
        .command(&["verify", child.id()])
        .fails(3)
        .stdout_contains(&format!("backup {}", full.id()));
    stow.tool
        .command(&["cleanup"])
        .fails(3)
        .stdout_contains(&warning);
    assert_eq!(stow.folders(), [full.id(), child.id(), good.id()]);

    // Found again in a copy of the repository.
    fs::write(full.object("backup.json"), description).unwrap();
    user::own(&full.object("backup.json"));
    assert_eq!(stow.backups()[1]["state"], "complete");
}

#[test]
fn what_several_build_on_is_verified_once() {
    let scratch = Scratch::new();
    let chain = Chain::of(&scratch, 4);
    let ids: Vec<&str> = chain.backups.iter().map(Stored::id).collect();
    for words in [&["--all"][..], &[ids[3]]] {
        let verify = [&["--json", "verify"], words].concat();
        let report = chain.stow.tool.command(&verify).ok().json();
        let read = report["backups"].as_array().unwrap().iter();
        let read: Vec<&str> = read.map(|one| one["backup"].as_str().unwrap()).collect();
        assert_eq!(read, ids, "{words:?}");
    }
}
