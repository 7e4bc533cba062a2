//! Two repositories that WAL is pushed to.

use super::{Watched, has};
use crate::harness::{Scratch, Stow, pg};

#[test]
fn each_repository_needs_a_backup_of_its_own() {
    let scratch = Scratch::new();
    let second = scratch.folder("second");
    let section = format!("[repo.second]\nurl = \"{}\"", second.display());
    let stow = Stow::build(&scratch, pg(16)).repo(&section).start();
    let watched = Watched::of(scratch, stow);
    let lacks = watched.verdict("backup_here", &[]);
    has(&lacks, "critical", "its WAL alone restores nothing");
    assert_eq!(lacks["object"], "second");
    let hint = lacks["hint"].as_str().unwrap();
    assert!(hint.contains("`pgstow --repo second base`"), "{hint}");
    // Of all together there is a young one.
    watched.is("backup_age", &[], "ok", "in repository local");

    let base = ["--repo", "second", "base"];
    drop(watched.stow.tool.command(&base).ok());
    watched.is_well();
    for (shift, state) in [("+7d", "ok"), ("+9d", "warning"), ("+16d", "critical")] {
        let verdict = watched.shifted(shift, "backup_here");
        has(&verdict, state, "the newest good backup ended");
    }
    // The one that goes is missed where it was.
    let first = watched.stow.folders().remove(0);
    let folder = watched.stow.root().join("main/base").join(first);
    std::fs::remove_dir_all(folder).unwrap();
    let lacks = watched.verdict("backup_here", &[]);
    has(&lacks, "critical", "its WAL alone restores nothing");
    assert_eq!(lacks["object"], "local");
    watched.is("backup_age", &[], "ok", "in repository second");
    watched.stow.backup(&[]);
    watched.is_well();
}
