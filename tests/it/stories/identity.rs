//! Whose WAL and whose backups these are: a stranger is refused, and two generations of one
//! cluster live side by side.

use std::{fs, path::Path};

use super::{Site, WITNESS, typed};
use crate::harness::{
    Cluster, PgBin, Shutdown, Witness, on_every_major, pg, stow::ROLE, user, witness::rows,
};

on_every_major!(a_second_cluster_is_refused_and_harms_nothing);

fn a_second_cluster_is_refused_and_harms_nothing(pg: PgBin) {
    let mut site = Site::start(pg.clone());
    site.stow.backup(&[]);
    let witness = Witness::start(site.main(), WITNESS);
    witness.wait_for(30);
    let truth = witness.stop();
    site.main().switch_wal();
    let before = files(site.stow.root());

    // Its owner copied archive_command from the first one.
    let command = site.main().psql("show archive_command");
    let stranger = Cluster::build(&site.scratch, pg)
        .name("stranger")
        .archiving(&command)
        .start();
    stranger.psql("create table t (n int)");
    stranger.psql("select pg_switch_wal()");
    stranger.wait_until("select failed_count > 0 from pg_stat_archiver", "t");
    let refused = "init --new-system";
    assert!(stranger.log().contains(refused), "{}", stranger.log());
    let archived = "select archived_count from pg_stat_archiver";
    assert_eq!(stranger.psql(archived), "0");
    // Nor is it backed up into this place, or given its WAL.
    site.pgstow(&["base", "--checkpoint", "fast"])
        .env("PGSTOW_CLUSTER_HOST", stranger.host())
        .env("PGSTOW_CLUSTER_USER", "postgres")
        .fails(1)
        .stderr_contains(refused);
    site.pgstow(&["restore-wal", "000000010000000000000001", "fetched"])
        .current_dir(stranger.data_dir())
        .fails(126)
        .stderr_contains("not registered");
    drop(stranger);
    assert_eq!(files(site.stow.root()), before);

    site.main().switch_wal();
    site.stow.cluster.stop(Shutdown::Fast);
    site.restores_to("copy", truth.at_end(), &[]);
}

/// Every file of the repository and its length.
fn files(root: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), entry.metadata().unwrap().len())),
        }
    }
    found.sort();
    found
}

#[test]
fn after_pg_upgrade_both_generations_restore() {
    let mut site = Site::start(pg(15));
    let witness = Witness::start(site.main(), WITNESS);
    witness.wait_for(10);
    let old_backup = site.stow.backup(&[]);
    witness.wait_for(60);
    let first_life = witness.stop();
    site.stow.cluster.stop(Shutdown::Fast);

    let command = site.stow.tool.shell("archive-wal %p");
    let mut upgraded = Cluster::build(&site.scratch, pg(18))
        .name("upgraded")
        .archiving(&command)
        .make();
    // The old server, which it starts, archives meanwhile.
    pg_upgrade(&site, &upgraded);
    let archived = site.stored_wal();
    upgraded.start();
    upgraded.psql("select pg_switch_wal()");
    upgraded.wait_until("select failed_count > 0 from pg_stat_archiver", "t");
    assert!(
        upgraded.log().contains("init --new-system"),
        "{}",
        upgraded.log()
    );
    assert_eq!(site.stored_wal(), archived);

    let (host, bindir) = (upgraded.host().to_owned(), upgraded.pg.bindir.clone());
    let pgstow = |arguments: &[&str], user: &str| {
        site.pgstow(arguments)
            .env("PGSTOW_CLUSTER_HOST", &host)
            .env("PGSTOW_CLUSTER_USER", user)
            .env("PGSTOW_CLUSTER_BINDIR", &bindir)
    };
    pgstow(&["init"], "postgres")
        .fails(1)
        .stderr_contains("--new-system");
    pgstow(&["init", "--new-system"], "postgres").ok();
    let witness = Witness::go_on(&upgraded, WITNESS);
    witness.wait_for(10);
    upgraded.switch_wal();
    pgstow(&["--json", "base", "--checkpoint", "fast"], ROLE).ok();
    witness.wait_for(60);
    let second_life = witness.stop();
    upgraded.stop(Shutdown::Fast);

    // The old generation by a time before the upgrade, the new one by default.
    let commit = first_life.commits[first_life.commits.len() - 20];
    let time = typed(commit.after_time);
    site.restores_to(
        "old",
        first_life.at_time(commit.after_time),
        &["--target-time", &time],
    );
    site.restores_to("old-end", first_life.at_end(), &[old_backup.id()]);
    let to = site.data_dir("new");
    pgstow(&["restore", "--data-dir", to.to_str().unwrap()], ROLE).ok();
    upgraded.pg.verifybackup(&to).unwrap();
    let mut copy = Cluster::existing(&site.scratch, upgraded.pg.clone(), "new", &to);
    copy.recover();
    second_life.at_end().check(rows(&copy, WITNESS));
    copy.amcheck();
}

fn pg_upgrade(site: &Site, new: &Cluster) {
    let folder = site.scratch.folder("upgrade");
    user::run_ok(
        new.pg
            .command("pg_upgrade")
            .current_dir(&folder)
            .arg("--old-bindir")
            .arg(&site.main().pg.bindir)
            .arg("--new-bindir")
            .arg(&new.pg.bindir)
            .arg("--old-datadir")
            .arg(site.main().data_dir())
            .arg("--new-datadir")
            .arg(new.data_dir())
            .args(["--username", "postgres", "--socketdir"])
            .arg(&folder),
    );
}
