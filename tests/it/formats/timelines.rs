//! Headers of archived segments and histories, over promotions.

use std::fs::{self, File};

use pgstow::postgres::{
    control::Control,
    lsn::{Lsn, TimelineId},
    timeline::TimelineHistory,
    version::Major,
    wal_header::WalHeader,
    wal_name::WalName,
};

use crate::harness::{Cluster, PgBin, Scratch, on_every_major, user};

on_every_major!(segments_and_histories_of_three_timelines);

fn segments_and_histories_of_three_timelines(pg: PgBin) {
    let scratch = Scratch::new();
    let archive = scratch.folder("archive");
    let main = Cluster::build(&scratch, pg.clone())
        .initdb("--wal-segsize=1")
        .conf("archive_mode", "on")
        .conf(
            "archive_command",
            &format!("cp %p {}/%f", archive.display()),
        )
        .start();
    let backup = scratch.join("backup");
    main.basebackup(&backup, &["--wal-method=none"]);
    main.psql("create table t (n int)");
    main.psql("select pg_create_restore_point('early')");
    main.switch_wal();
    main.psql("insert into t values (1)");
    main.switch_wal();

    // To the end, which makes timeline 2; then, told to follow 2, to before 2 began.
    let restore = |name: &str, settings: &str| {
        let copy = scratch.join(name);
        user::run_ok(
            user::command("cp", "KILL")
                .arg("-a")
                .arg(&backup)
                .arg(&copy),
        );
        let conf = format!(
            "restore_command = 'cp {}/%f %p'\nrecovery_target_action = promote\n{settings}",
            archive.display()
        );
        fs::write(copy.join("postgresql.auto.conf"), conf).unwrap();
        fs::write(copy.join("recovery.signal"), "").unwrap();
        let mut cluster = Cluster::existing(&scratch, pg.clone(), &format!("at-{name}"), &copy);
        cluster.start();
        cluster.wait_until("select pg_is_in_recovery()", "f");
        cluster.switch_wal();
        cluster
    };
    let second = restore("second", "");
    let third = restore(
        "third",
        "recovery_target_timeline = 2\nrecovery_target_name = 'early'\n",
    );

    let history = |timeline| {
        let timeline = TimelineId::new(timeline).unwrap();
        let name = WalName::History(timeline).to_string();
        TimelineHistory::parse(timeline, &fs::read(archive.join(name)).unwrap()).unwrap()
    };
    let (of_two, of_three) = (history(2), history(3));
    let forks: Vec<Lsn> = of_three
        .ancestors
        .iter()
        .map(|ancestor| ancestor.switch)
        .collect();
    assert!(forks[1] < forks[0], "{of_three:?}");
    assert_eq!(of_three.path().len(), 2, "{of_three:?}");
    assert_eq!(of_three.fork(TimelineId::FIRST), Some(forks[1]));
    assert!(of_three.ancestors[1].reason.contains("early"));
    assert_eq!(of_two.fork(TimelineId::FIRST), Some(forks[0]));
    assert_eq!(third.psql("select count(*) from t"), "0");
    assert_eq!(second.psql("select count(*) from t"), "1");

    let system = Control::read(main.data_dir()).unwrap().system;
    let mut of_older_timeline = 0;
    for entry in fs::read_dir(&archive).unwrap() {
        let path = entry.unwrap().path();
        let name: WalName = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let (WalName::Segment(segment) | WalName::Partial(segment)) = name else {
            continue;
        };
        let mut file = File::open(&path).unwrap();
        let header = WalHeader::read(&mut file, &path).unwrap();
        header
            .check(segment, file.metadata().unwrap().len())
            .unwrap();
        assert_eq!(header.major, Major::new(pg.major).unwrap());
        assert_eq!(header.system, system);
        of_older_timeline += usize::from(header.timeline < segment.timeline);
    }
    assert!(of_older_timeline >= 1);
}
