//! Chains of which a backup is damaged, can't be read or has lost its description: nothing new is built on
//! it, and nothing that others need is deleted.

use std::{fs, os::unix::fs::FileExt, path::Path};

use crate::harness::{Scratch, Stored, Stow, pg};

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

/// Another byte in the middle of a stored object.
fn flip(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
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
