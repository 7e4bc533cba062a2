//! `restore --replace` that was killed between two of its steps: the next one finds the old
//! cluster, its last WAL and its tablespaces, whatever the state. The states are made by hand.

use std::{
    fs,
    os::unix::fs::{MetadataExt, lchown, symlink},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::Story;
use crate::harness::{Shutdown, pg, user::own};

const TIME: &str = "20261121T020000Z";

/// The old cluster's folders.
struct Old {
    data_dir: PathBuf,
    tablespace: PathBuf,
    /// Its link, as it is found in the data directory.
    link: PathBuf,
}

impl Old {
    fn aside(path: &Path) -> PathBuf {
        PathBuf::from(format!("{}.old-{TIME}", path.display()))
    }

    /// What a restore has made beside the data directory.
    fn mark(&self, folder: &Path) {
        fs::create_dir(folder).unwrap();
        own(folder);
        let notes = json!({
            "cluster": "main",
            "backup": "20261121T020000Z-full",
            "replaced": Self::aside(&self.data_dir),
        });
        let marker = folder.join("pgstow-restore.json");
        fs::write(&marker, notes.to_string()).unwrap();
        own(&marker);
    }

    fn exchanged(&self) {
        fs::rename(&self.data_dir, Self::aside(&self.data_dir)).unwrap();
        self.mark(&self.data_dir);
    }

    fn point(&self, data_dir: &Path, to: &Path) {
        let link = data_dir.join(&self.link);
        fs::remove_file(&link).unwrap();
        symlink(to, &link).unwrap();
        let owner = fs::metadata(data_dir).unwrap();
        lchown(&link, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// The one folder beside `path` that has what was there.
    #[track_caller]
    fn found(path: &Path) -> PathBuf {
        let stem = format!("{}.old-", path.file_name().unwrap().to_str().unwrap());
        let entries = fs::read_dir(path.parent().unwrap()).unwrap();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().contains(&stem));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

#[test]
fn a_kill_at_any_step_loses_neither_wal_nor_tablespaces() {
    let mut story = Story::begin(pg(15));
    let tablespace = story.scratch.folder("ts");
    own(&tablespace);
    let place = tablespace.display();
    story
        .main
        .psql(&format!("create tablespace ts location '{place}'"));
    story
        .main
        .psql("create table far tablespace ts as select 1 as n");
    story.insert(1);
    story.base();
    story
        .main
        .psql("alter system set archive_command = 'false'");
    story.main.reload();
    story.insert(2);
    story.main.psql("select pg_switch_wal()");
    story.insert(3);
    let oid = story
        .main
        .psql("select oid from pg_tablespace where spcname = 'ts'");
    story.main.stop(Shutdown::Immediate);
    let old = Old {
        data_dir: story.main.data_dir().to_owned(),
        link: Path::new("pg_tblspc").join(oid),
        tablespace,
    };
    let bindir = story.main.pg.bindir.display().to_string();
    let restore = |more: &[&str]| {
        let fixed = ["restore", "--bindir", &bindir];
        story.archive.tool.command(&[&fixed, more].concat())
    };

    let beside = Old::aside(&old.data_dir);
    let states: [(&str, &dyn Fn()); 4] = [
        ("before the exchange", &|| old.mark(&beside)),
        ("before tablespaces", &|| old.exchanged()),
        ("before a tablespace's name", &|| {
            old.exchanged();
            old.point(&beside, &Old::aside(&old.tablespace));
        }),
        ("without exchange", &|| {
            fs::rename(&old.data_dir, &beside).unwrap();
            old.mark(&PathBuf::from(format!("{}.new", beside.display())));
        }),
    ];
    for (name, make) in states {
        println!("{name}");
        make();
        restore(&[]).fails(1).stderr_contains("--replace");
        restore(&["--replace"])
            .ok()
            .stdout_contains("are taken from this host")
            .stdout_contains("old cluster");
        // The old cluster is whole, and has its tablespace.
        let (data_dir, tablespace) = (Old::found(&old.data_dir), Old::found(&old.tablespace));
        assert!(data_dir.join("global/pg_control").exists());
        assert_eq!(fs::read_link(data_dir.join(&old.link)).unwrap(), tablespace);
        assert!(fs::read_dir(&tablespace).unwrap().next().is_some());
        let new = fs::read_link(old.data_dir.join(&old.link)).unwrap();
        assert_eq!(new, old.tablespace);
        // Back to the beginning, but for the last.
        if name != "without exchange" {
            fs::remove_dir_all(&old.data_dir).unwrap();
            fs::remove_dir_all(&old.tablespace).unwrap();
            fs::rename(&tablespace, &old.tablespace).unwrap();
            old.point(&data_dir, &old.tablespace);
            fs::rename(&data_dir, &old.data_dir).unwrap();
        }
    }
    story.main.start();
    story.main.wait_until("select pg_is_in_recovery()", "f");
    let rows = "select string_agg(n::text, ',' order by n) from t";
    assert_eq!(story.main.psql(rows), "1,2,3");
    assert_eq!(story.main.psql("select n from far"), "1");
}
