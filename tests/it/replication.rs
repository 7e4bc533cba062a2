//! The walsender's commands, and BASE_BACKUP above all, on every major.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pgstow::{
    error::{Error, Kind, Result},
    postgres::{
        base_backup::{BackupEnd, BackupSink, BackupStart, BaseBackupOptions, Begun},
        conninfo::{ConnInfo, ConnParams},
        file_checksum::Algorithm,
        lsn::TimelineId,
        page_failures::PageFailure,
        replication::Replication,
        server_error::ServerError,
    },
    util::cancel::Cancel,
};

use crate::harness::{Cluster, PgBin, Scratch, Shutdown, on_every_major, pg};

fn connect(server: &Cluster, cancel: &Cancel) -> Replication {
    let params = ConnParams {
        host: Some(server.host().to_str().unwrap().to_owned()),
        port: Some(server.port()),
        user: Some("postgres".to_owned()),
        ..ConnParams::default()
    };
    let info = ConnInfo::resolve(&params, &|_| None).unwrap();
    Replication::connect(&info, cancel).unwrap()
}

fn options() -> BaseBackupOptions {
    BaseBackupOptions {
        label: "it's \\ a test".to_owned(),
        checkpoint_fast: true,
        max_rate_kb: None,
        wal: true,
        manifest_checksums: Algorithm::Sha256,
        verify_checksums: true,
        incremental: false,
    }
}

/// A whole base backup.
fn base_backup(
    session: &mut Replication,
    options: &BaseBackupOptions,
    sink: &mut dyn BackupSink,
) -> Result<BackupEnd> {
    match session.begin_base_backup(options)? {
        Begun::Started(start) => session.receive(&start, sink),
        Begun::Refused(error) => panic!("{error}"),
    }
}

/// Keeps each archive in a file.
struct Folder {
    path: PathBuf,
    start: Option<BackupStart>,
    archives: Vec<(String, PathBuf)>,
    manifest: Option<Vec<u8>>,
    open: Option<File>,
    /// Called as each archive begins.
    hook: Box<dyn FnMut() -> Result<()>>,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            start: None,
            archives: Vec::new(),
            manifest: None,
            open: None,
            hook: Box::new(|| Ok(())),
        }
    }

    fn unpack(&self, archive: &str, to: &Path) {
        let mut archive = tar::Archive::new(File::open(self.path.join(archive)).unwrap());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            // Links to tablespaces come as members, and lead to the live ones.
            if !entry.header().entry_type().is_symlink() {
                entry.unpack_in(to).unwrap();
            }
        }
    }
}

impl BackupSink for Folder {
    fn start(&mut self, start: &BackupStart) -> Result<()> {
        self.start = Some(start.clone());
        Ok(())
    }

    fn archive(&mut self, name: &str, location: &Path) -> Result<()> {
        self.archives.push((name.to_owned(), location.to_owned()));
        self.open = Some(File::create(self.path.join(name)).unwrap());
        (self.hook)()
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(self.manifest.is_none());
        self.open.as_mut().unwrap().write_all(bytes).unwrap();
        Ok(())
    }

    fn manifest(&mut self, bytes: &[u8]) -> Result<()> {
        self.manifest.get_or_insert_default().extend(bytes);
        Ok(())
    }
}

on_every_major!(a_base_backup_is_whole);

fn a_base_backup_is_whole(pg: PgBin) {
    let scratch = Scratch::new();
    let server = Cluster::build(&scratch, pg).start();
    let location = scratch.folder("table space");
    server.psql(&format!(
        "create tablespace ts location '{}'",
        location.display()
    ));
    server.psql(
        "create table t tablespace ts as select g, repeat('x', 200) from generate_series(1, 50000) g",
    );
    let oid = server.psql("select oid from pg_tablespace where spcname = 'ts'");

    let mut session = connect(&server, &Cancel::default());
    let system = session.identify_system().unwrap();
    let mut folder = Folder::new(scratch.folder("archives"));
    let end = base_backup(&mut session, &options(), &mut folder).unwrap();

    let start = folder.start.clone().unwrap();
    assert!(system.xlogpos <= start.lsn && start.lsn < end.stop_lsn);
    assert_eq!(
        (start.timeline, end.timeline),
        (TimelineId::FIRST, TimelineId::FIRST)
    );
    assert!(!end.checksum_failures && end.page_failures.is_empty());
    let places: Vec<_> = start
        .tablespaces
        .iter()
        .map(|ts| (ts.oid, ts.location.clone()))
        .collect();
    assert_eq!(
        places,
        [(oid.parse().ok(), Some(location.clone())), (None, None)]
    );
    let estimate: u64 = start.tablespaces.iter().filter_map(|ts| ts.size_kb).sum();
    assert!(estimate > 10_000, "{estimate}");
    assert_eq!(
        folder.archives,
        [
            (format!("{oid}.tar"), location),
            ("base.tar".to_owned(), PathBuf::new())
        ]
    );

    let data = scratch.folder("copy");
    folder.unpack("base.tar", &data);
    let space = scratch.folder("space");
    folder.unpack(&format!("{oid}.tar"), &space);
    symlink(&space, data.join("pg_tblspc").join(&oid)).unwrap();
    fs::write(
        data.join("backup_manifest"),
        folder.manifest.as_ref().unwrap(),
    )
    .unwrap();
    own_all(&scratch, &["copy", "space"]);
    server.pg.verifybackup(&data).unwrap();
    let label = fs::read_to_string(data.join("backup_label")).unwrap();
    assert!(label.contains("LABEL: it's \\ a test\n"), "{label}");
    let mut copy = Cluster::existing(&scratch, server.pg.clone(), "restored", &data);
    copy.start();
    assert_eq!(
        copy.psql("select count(*), sum(g) from t"),
        "50000|1250025000"
    );

    // The session goes on; a backup without WAL and fast checkpoint works too.
    server.psql("checkpoint");
    let bare = BaseBackupOptions {
        max_rate_kb: Some(1_048_576),
        wal: false,
        manifest_checksums: Algorithm::Crc32c,
        checkpoint_fast: false,
        ..options()
    };
    let mut folder = Folder::new(scratch.folder("bare"));
    base_backup(&mut session, &bare, &mut folder).unwrap();
    assert!(folder.manifest.is_some());
    assert!(
        session
            .show("server_version")
            .unwrap()
            .starts_with(&copy.pg.major.to_string())
    );
}

fn own_all(scratch: &Scratch, names: &[&str]) {
    if crate::harness::user::is_root() {
        for name in names {
            let (uid, gid) = crate::harness::user::ids();
            let status = std::process::Command::new("chown")
                .args(["-R", &format!("{uid}:{gid}")])
                .arg(scratch.join(name))
                .status();
            assert!(status.unwrap().success());
        }
    }
}

on_every_major!(damaged_pages_are_a_finding);

fn damaged_pages_are_a_finding(pg: PgBin) {
    let scratch = Scratch::new();
    let mut server = Cluster::build(&scratch, pg).start();
    let mut paths = Vec::new();
    for (table, damaged) in [("few", 2), ("many", 7)] {
        server.psql(&format!(
            "create table {table} as select repeat('x', 1000) from generate_series(1, 100)"
        ));
        let path = server.psql(&format!("select pg_relation_filepath('{table}')"));
        paths.push((path, damaged));
    }
    server.stop(Shutdown::Fast);
    for (path, damaged) in &paths {
        let mut file = File::options()
            .write(true)
            .open(server.data_dir().join(path))
            .unwrap();
        for block in 0..*damaged {
            file.seek(SeekFrom::Start((block + 1) * 8192 + 4000))
                .unwrap();
            file.write_all(b"damage").unwrap();
        }
    }
    server.start();
    let mut session = connect(&server, &Cancel::default());
    let heard = Arc::new(Mutex::new(Vec::<ServerError>::new()));
    let listener = Arc::clone(&heard);
    session.on_notice(move |notice| listener.lock().unwrap().push(notice.clone()));
    let mut folder = Folder::new(scratch.folder("archives"));
    let end = base_backup(&mut session, &options(), &mut folder).unwrap();
    assert!(end.checksum_failures);
    assert_eq!(*heard.lock().unwrap(), end.notices);
    let failure = |file: &str, block| PageFailure {
        file: file.to_owned(),
        block,
    };
    let mut expected = vec![failure(&paths[1].0, None)];
    expected.extend((1..=2).map(|block| failure(&paths[0].0, Some(block))));
    expected.extend((1..=5).map(|block| failure(&paths[1].0, Some(block))));
    expected.sort();
    assert_eq!(end.page_failures, expected);
    assert!(folder.manifest.is_some());

    let unchecked = BaseBackupOptions {
        verify_checksums: false,
        ..options()
    };
    let mut folder = Folder::new(scratch.folder("unchecked"));
    let end = base_backup(&mut session, &unchecked, &mut folder).unwrap();
    assert!(!end.checksum_failures && end.page_failures.is_empty());
}

on_every_major!(slots_and_timelines);

fn slots_and_timelines(pg: PgBin) {
    let scratch = Scratch::new();
    let mut server = Cluster::build(&scratch, pg).start();
    let mut session = connect(&server, &Cancel::default());
    let missing = session.timeline_history(TimelineId::FIRST).unwrap_err();
    assert!(ServerError::of(&missing).is_some(), "{missing}");

    session.create_physical_slot("kept", false, true).unwrap();
    session
        .create_physical_slot("passing", true, false)
        .unwrap();
    let slots =
        "select slot_name, temporary, restart_lsn is not null from pg_replication_slots order by 1";
    assert_eq!(server.psql(slots), "kept|f|t\npassing|t|f");
    let twice = session
        .create_physical_slot("kept", false, true)
        .unwrap_err();
    assert_eq!(ServerError::of(&twice).unwrap().code, "42710");
    session.drop_slot("kept").unwrap();
    drop(session);
    server.wait_until("select count(*) from pg_replication_slots", "0");
    assert!(!server.log().contains("unexpected EOF"), "{}", server.log());

    server.stop(Shutdown::Fast);
    File::create(server.data_dir().join("standby.signal")).unwrap();
    server.start();
    server.promote();
    let mut session = connect(&server, &Cancel::default());
    let system = session.identify_system().unwrap();
    assert_eq!(system.timeline.get(), 2);
    assert_eq!(
        system.system_id.to_string(),
        server.psql("select system_identifier from pg_control_system()")
    );
    let (name, content) = session.timeline_history(system.timeline).unwrap();
    assert_eq!(name, "00000002.history");
    assert!(content.starts_with(b"1\t0/"));
    assert_eq!(session.show("wal_segment_size").unwrap(), "16MB");
    assert_eq!(session.show("x'").unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_backup_is_left_at_once_when_told_to_stop_or_when_the_sink_fails() {
    let scratch = Scratch::new();
    let server = Cluster::build(&scratch, pg(15)).start();
    let cancel = Cancel::default();
    let mut session = connect(&server, &cancel);
    let mut folder = Folder::new(scratch.folder("stopped"));
    folder.hook = Box::new(move || {
        cancel.set();
        Ok(())
    });
    let slow = BaseBackupOptions {
        max_rate_kb: Some(32),
        ..options()
    };
    let begin = Instant::now();
    let stopped = base_backup(&mut session, &slow, &mut folder).unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    drop(session);
    assert!(begin.elapsed() < Duration::from_secs(10));

    let mut session = connect(&server, &Cancel::default());
    let mut folder = Folder::new(scratch.folder("full"));
    folder.hook = Box::new(|| Err(Error::failed("full")));
    let full = base_backup(&mut session, &options(), &mut folder).unwrap_err();
    assert_eq!(full.message(), "full");
    drop(session);
    // The server ends the backups of clients that have gone.
    server.wait_until("select count(*) from pg_stat_progress_basebackup", "0");
}

#[test]
fn a_server_that_dies_in_the_middle_is_an_error() {
    let scratch = Scratch::new();
    let mut server = Cluster::build(&scratch, pg(18)).start();
    server.psql("create table t as select repeat('x', 1000) from generate_series(1, 100000)");
    let mut session = connect(&server, &Cancel::default());
    let mut folder = Folder::new(scratch.folder("archives"));
    folder.hook = Box::new(move || {
        server.stop(Shutdown::Immediate);
        Ok(())
    });
    let error = base_backup(&mut session, &options(), &mut folder).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{}", error.in_one_line());
}
