//! What a backup holds by our rules and its manifest, held against what `pg_basebackup` made.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::BufReader,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use pgstow::postgres::{
    backup_label::BackupLabel,
    control::{self, Control},
    file_checksum::Hasher,
    manifest,
    pgdata::{self, Treatment},
    relation_file::{Fork, RelationPath},
    version::tablespace_version_folder,
};

use super::walk;
use crate::harness::{Cluster, PgBin, Scratch, on_every_major, user};

on_every_major!(a_backup_holds_what_we_say_belongs_into_it);

fn a_backup_holds_what_we_say_belongs_into_it(pg: PgBin) {
    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg.clone()).start();
    let space = scratch.folder("space");
    main.psql(&format!(
        "create tablespace space location '{}'",
        space.display()
    ));
    main.psql("create table spread (n int) tablespace space");
    main.psql("create unlogged table unlogged as select generate_series(1, 1000) as n");
    main.psql("create table odd (n int)");
    main.psql("select pg_create_physical_replication_slot('slot', true)");
    for name in [
        &b"latin\xE9"[..],
        b"quo\"te\n\\",
        b"postgresql.auto.conf.tmp",
    ] {
        let path = main.data_dir().join(OsString::from_vec(name.to_vec()));
        fs::write(&path, "x").unwrap();
        user::own(&path);
    }
    fs::create_dir(main.data_dir().join("base/pgsql_tmp")).unwrap();
    user::own(&main.data_dir().join("base/pgsql_tmp"));
    // A temporary table's files are there as long as its session.
    let mut session = main
        .client("psql")
        .args([
            "-qc",
            "create temp table gone as select generate_series(1, 1000)",
        ])
        .args(["-c", "select pg_sleep(600)"])
        .spawn()
        .unwrap();
    main.wait_until("select count(*) from pg_class where relname = 'gone'", "1");
    main.psql("checkpoint");

    let copy = scratch.join("copy");
    let mapping = format!(
        "--tablespace-mapping={}={}",
        space.display(),
        scratch.join("to").display()
    );
    main.basebackup(&copy, &[&mapping, "--wal-method=none"]);
    let mut expected = BTreeSet::new();
    let mut left_out = 0;
    for (path, folder) in walk(main.data_dir()) {
        let text = String::from_utf8_lossy(&path).into_owned();
        let unlogged = RelationPath::parse(&path).is_some_and(|relation| {
            let folder = main.data_dir().join(&text);
            relation.file.fork != Fork::Init
                && folder.with_file_name(relation.file.init_fork()).exists()
        });
        match pgdata::treatment(&path) {
            Treatment::Keep if !folder && !unlogged => {
                expected.insert(path);
            }
            Treatment::KeepEmpty => assert!(copy.join(&text).is_dir(), "{text}"),
            // The files of the backup itself stand under these names.
            Treatment::LeaveOut if !text.starts_with("backup_") => {
                assert!(!copy.join(&text).exists(), "{text}");
                left_out += 1;
            }
            _ => {}
        }
    }
    session.kill().unwrap();
    session.wait().unwrap();
    assert!(left_out > 5, "{left_out}");

    let mut listed = BTreeSet::new();
    let file = BufReader::new(File::open(copy.join(manifest::NAME)).unwrap());
    let summary = manifest::read(file, |file| {
        let path = copy.join(OsStr::from_bytes(&file.path));
        let bytes = fs::read(&path).unwrap();
        let checksum = file.checksum.as_ref().unwrap();
        let mut hasher = Hasher::new(checksum.algorithm());
        hasher.update(&bytes);
        assert_eq!(
            (&hasher.finish(), bytes.len() as u64),
            (checksum, file.size),
            "{path:?}"
        );
        listed.insert(file.path);
        Ok(())
    })
    .unwrap();
    for own in [&b"backup_label"[..], b"tablespace_map"] {
        listed.remove(own);
    }
    let printed = |paths: &BTreeSet<Vec<u8>>, but: &BTreeSet<Vec<u8>>| -> Vec<String> {
        let difference = paths.difference(but);
        difference
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect()
    };
    // The server writes these anew whenever it likes.
    listed.retain(|path| !path.ends_with(b"pg_internal.init"));
    assert_eq!(printed(&expected, &listed), [""; 0], "not in the backup");
    assert_eq!(printed(&listed, &expected), [""; 0], "in the backup");

    let control = Control::read(main.data_dir()).unwrap();
    assert_eq!(summary.version, control.major.manifest_version());
    assert_eq!(
        summary.system,
        (summary.version > 1).then_some(control.system)
    );
    let version = tablespace_version_folder(control.major, control.catalog_version);
    assert!(space.join(version).is_dir());
    let label = BackupLabel::parse(&fs::read(copy.join("backup_label")).unwrap()).unwrap();
    assert_eq!(label.start, summary.wal_ranges[0].start);
    assert_eq!(
        (label.method.as_str(), label.from_standby),
        ("streamed", false)
    );
    let copied = Control::read_file(&copy.join(control::PATH)).unwrap();
    assert_eq!(
        (copied.checkpoint, copied.redo),
        (label.checkpoint, label.start)
    );
}
