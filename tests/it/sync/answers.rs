//! Repositories that know nothing of the system, or that don't answer.

use std::fs;

use super::{
    Site,
    fallback::{fetch, filled},
    files,
};
use crate::harness::{pg, user};

/// What says which systems a repository knows.
fn system_file(root: &std::path::Path) -> std::path::PathBuf {
    let systems = root.join("main/systems");
    let [own] = files(&systems).try_into().unwrap();
    systems.join(own)
}

#[test]
fn one_that_does_not_know_the_system_is_replaced_by_the_next() {
    let site = Site::start(pg(16), "compression = \"zstd:1\"");
    site.fill();
    site.sync(0);
    fs::remove_file(system_file(site.stow.root())).unwrap();
    let to = site.scratch.join("planned");
    let plan = ["restore", "--plan", "--data-dir", to.to_str().unwrap()];
    let look = ["find-target", "--since", "2020-01-01 00:00:00+00"];
    let [_, found] = [&plan[..], &look].map(|words| {
        // Who names a repository means it.
        let named = site.pgstow(&[&["--repo", "local"], words].concat());
        drop(named.fails(1).stderr_contains("is not registered"));
        let found = site.pgstow(&[&["--json"], words].concat());
        let instead = "repository offsite is used instead: system ";
        let found = found.expect_warning(instead).ok();
        found.stderr_contains("is not registered").json()
    });
    assert_eq!(found["repository"], site.offsite.display().to_string());
}

/// The number of a new timeline is asked of all, as long as recovery can wait.
#[test]
fn one_that_does_not_answer_is_not_waited_for_where_histories_are_asked_for() {
    let (site, segments) = filled();
    let name = "00000002.history";
    let wal = site.stow.wal_object_in(&site.offsite, &segments[0]);
    let history = wal.parent().unwrap().parent().unwrap().join(name);
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n").unwrap();
    user::own(&history);
    let ask = || fetch(&site, name, &[]).env("PGSTOW_RESTORE_WAL_TIME_LIMIT", "20s");
    ask()
        .expect_warning("00000002.history comes from repository offsite")
        .ok();
    // As a dead NFS server does it. The limit itself would end all with 126, which keeps the server from going on.
    let system = system_file(&site.offsite);
    fs::remove_file(&system).unwrap();
    user::run_ok(user::command("mkfifo", "KILL").arg(&system));
    ask()
        .expect_warning("whether 00000002.history is in another repository is not known: asking the other repositories: no answer after 5.0 s")
        .fails(1);
}
