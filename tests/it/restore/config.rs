//! Configuration outside the data directory: restored beside, never over what is in use.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::copy::{copy, open, restore, rows};
use crate::harness::{Scratch, Shutdown, Stow, pg, user};

const FILES: [&str; 3] = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];

/// As Debian has it: all three files elsewhere, named on the command line.
fn move_outside(scratch: &Scratch, stow: &mut Stow) -> PathBuf {
    let folder = scratch.folder("etc");
    let data_dir = stow.cluster.data_dir().to_owned();
    stow.cluster.stop(Shutdown::Fast);
    for name in FILES {
        fs::rename(data_dir.join(name), folder.join(name)).unwrap();
    }
    let main = folder.join("postgresql.conf");
    let mut text = fs::read_to_string(&main).unwrap();
    for (name, path) in [
        ("data_directory", data_dir),
        ("hba_file", folder.join("pg_hba.conf")),
        ("ident_file", folder.join("pg_ident.conf")),
    ] {
        text += &format!("{name} = '{}'\n", path.display());
    }
    text += "work_mem = '5MB'\n";
    fs::write(&main, text).unwrap();
    user::own(&main);
    stow.cluster.argument(&setting("config_file", &main));
    stow.cluster.start();
    folder
}

fn setting(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

#[test]
fn files_outside_are_put_beside_and_the_server_starts_with_them() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(15));
    let live = move_outside(&scratch, &mut stow);
    stow.cluster.psql("create table t as select 1 as n");
    let backup = stow.backup(&[]);
    stow.cluster.switch_wal();
    // What is in use changes later.
    let main = live.join("postgresql.conf");
    let old = fs::read_to_string(&main).unwrap();
    let new = old.replace("5MB", "6MB");
    fs::write(&main, &new).unwrap();

    let (restore, to) = restore(&scratch, &stow, "copy", &[]);
    let beside = PathBuf::from(format!("{}.config-{}", to.display(), backup.id()));
    let restored = beside.join(live.strip_prefix("/").unwrap());
    let shown = setting("-c config_file", &restored.join("postgresql.conf"));
    restore
        .ok()
        .stdout_contains(&format!("are in {}", beside.display()))
        .stdout_contains(&shown);
    assert_eq!(fs::read_to_string(&main).unwrap(), new);
    assert_eq!(fs::read_to_string(restored.join(FILES[0])).unwrap(), old);
    stow.cluster.pg.verifybackup(&to).unwrap();
    let settings = fs::read_to_string(to.join("postgresql.auto.conf")).unwrap();
    assert!(!settings.contains("external_pid_file"), "{settings}");

    let mut copy = copy(&scratch, &stow, "copy");
    for (name, path) in [
        ("config_file", restored.join("postgresql.conf")),
        ("data_directory", to),
        ("hba_file", restored.join("pg_hba.conf")),
        ("ident_file", restored.join("pg_ident.conf")),
    ] {
        copy.argument(&setting(name, &path));
    }
    let copy = open(copy);
    assert_eq!(rows(&copy), "1");
    assert_eq!(copy.psql("show work_mem"), "5MB");
}

/// A base backup leaves links out, so that without its postgresql.conf no copy would start.
#[test]
fn links_in_the_data_directory_are_put_beside() {
    for major in [15, 18] {
        let scratch = Scratch::new();
        let mut stow = Stow::start(&scratch, pg(major));
        let elsewhere = scratch.folder("elsewhere");
        let data_dir = stow.cluster.data_dir().to_owned();
        stow.cluster.stop(Shutdown::Fast);
        let main = data_dir.join(FILES[0]);
        let text = fs::read_to_string(&main).unwrap();
        fs::write(&main, text + "work_mem = '5MB'\n").unwrap();
        fs::rename(&main, elsewhere.join("main.conf")).unwrap();
        symlink(elsewhere.join("main.conf"), &main).unwrap();
        // One leads to another name inside, which alone is in the backup.
        fs::rename(data_dir.join(FILES[1]), data_dir.join("hba")).unwrap();
        symlink("hba", data_dir.join(FILES[1])).unwrap();
        stow.cluster.start();
        stow.cluster.psql("create table t as select 1 as n");
        let backup = stow.backup(&[]);
        stow.cluster.switch_wal();
        let named = [FILES[1], FILES[0]].map(|name| data_dir.join(name).display().to_string());
        assert_eq!(backup.json()["config_files"], serde_json::json!(named));

        let (restore, to) = restore(&scratch, &stow, "copy", &[]);
        let beside = PathBuf::from(format!("{}.config-{}", to.display(), backup.id()));
        let beside = beside.join(data_dir.strip_prefix("/").unwrap());
        restore
            .ok()
            .stdout_contains(&setting("-c config_file", &beside.join(FILES[0])))
            .stdout_contains(&setting("-c hba_file", &beside.join(FILES[1])))
            .stdout_contains(&setting("-c ident_file", &to.join(FILES[2])));
        let mut copy = copy(&scratch, &stow, "copy");
        for (name, path) in [
            ("config_file", beside.join(FILES[0])),
            ("data_directory", to.clone()),
            ("hba_file", beside.join(FILES[1])),
            ("ident_file", to.join(FILES[2])),
        ] {
            copy.argument(&setting(name, &path));
        }
        let copy = open(copy);
        assert_eq!(rows(&copy), "1");
        assert_eq!(copy.psql("show work_mem"), "5MB");
    }
}

/// No standby streams from a copy: its commits would wait for one for ever.
#[test]
fn a_copy_waits_for_no_synchronous_standby() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(16));
    stow.cluster.psql("create table t as select 1 as n");
    stow.cluster
        .psql("alter system set synchronous_standby_names = 'pgstow'");
    stow.cluster.psql("select pg_reload_conf()");
    stow.cluster
        .wait_until("show synchronous_standby_names", "pgstow");
    stow.backup(&[]);
    stow.cluster.switch_wal();
    let (restore, _) = restore(&scratch, &stow, "copy", &["--json"]);
    let emptied = serde_json::json!(["synchronous_standby_names"]);
    assert_eq!(restore.ok().json()["emptied"], emptied);
    let copy = open(copy(&scratch, &stow, "copy"));
    copy.psql("create table written ()");

    // The cluster itself has its standbys again.
    stow.cluster.stop(Shutdown::Fast);
    let own = stow.cluster.data_dir().to_owned();
    let (restore, _) = self::restore(
        &scratch,
        &stow,
        own.to_str().unwrap(),
        &["--replace", "--json"],
    );
    let restored = restore.ok().json();
    assert_eq!(restored["emptied"], serde_json::json!([]));
    let mut warnings = restored["warnings"].as_array().unwrap().iter();
    let warning = "synchronous_standby_names is \"pgstow\": the restored server's commits wait";
    assert!(
        warnings.any(|one| one.as_str().unwrap().starts_with(warning)),
        "{restored:#}"
    );
    let settings = fs::read_to_string(own.join("postgresql.auto.conf")).unwrap();
    assert!(
        settings.contains("synchronous_standby_names = 'pgstow'"),
        "{settings}"
    );
}
