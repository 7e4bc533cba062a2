//! The harness does what the other tests believe of it.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    process::Command,
    thread,
    time::Duration,
};

use crate::harness::{
    Cluster, FullDisk, Load, PgBin, Scratch, Shutdown, Witness, on_every_major, pg,
    pg::every_pg,
    user,
    witness::{self, Expected},
};

on_every_major!(a_cluster_lives);

fn a_cluster_lives(pg: PgBin) {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg).start();
    main.psql("create table t as select generate_series(1, 1000) as n");
    main.psql("create database other");
    assert_eq!(
        main.psql_in("other", "select 1, 'a' union all select 2, 'b'"),
        "1|a\n2|b"
    );
    main.stop(Shutdown::Kill);
    main.start();
    assert_eq!(main.psql("select sum(n) from t"), "500500");
    assert!(main.try_psql("postgres", "select 1 / 0").is_err());
    main.amcheck();
    assert!(main.dump("postgres").contains("CREATE TABLE public.t"));
    assert_eq!(main.dump("postgres"), main.dump("postgres"));

    let copy = scratch.join("copy");
    main.basebackup(&copy, &["--write-recovery-conf"]);
    main.pg.verifybackup(&copy).unwrap();
    let mut standby = Cluster::existing(&scratch, main.pg.clone(), "standby", &copy);
    standby.start();
    main.psql("insert into t values (1001)");
    standby.wait_until("select max(n) from t", "1001");
    standby.promote();
    assert_eq!(standby.psql("select pg_is_in_recovery()"), "f");
    standby.stop(Shutdown::Fast);
    standby.pg.checksums(&copy);

    fs::write(copy.join("PG_VERSION"), "14\n").unwrap();
    let difference = standby.pg.verifybackup(&copy).unwrap_err();
    assert!(difference.contains("PG_VERSION"), "{difference}");
    let log = standby.try_start().unwrap_err();
    assert!(log.contains("not compatible"), "{log}");
}

#[test]
fn each_cluster_is_a_system_of_its_own() {
    let scratch = Scratch::new();
    let systems = ["one", "two"].map(|name| {
        let cluster = Cluster::build(&scratch, pg(18)).name(name);
        let mut cluster = cluster.initdb("--wal-segsize=1").start();
        let system = cluster.psql("select system_identifier from pg_control_system()");
        cluster.stop(Shutdown::Fast);
        let mut control = cluster.pg.command("pg_controldata");
        let told = user::run_ok(control.arg(cluster.data_dir()));
        assert!(
            told.contains(&system) && !told.contains("WARNING"),
            "{told}"
        );
        cluster.pg.checksums(cluster.data_dir());
        system
    });
    assert_ne!(systems[0], systems[1]);
}

#[test]
fn every_installation_is_the_one_it_says() {
    for pg in every_pg() {
        let version = user::run_ok(pg.command("postgres").arg("--version"));
        assert!(
            version.contains(&format!(" {}.", pg.major)),
            "{pg}: {version}"
        );
    }
}

#[test]
fn a_cluster_takes_its_options() {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg(16))
        .name("with options")
        .initdb("--wal-segsize=1")
        .conf("archive_mode", "on")
        .conf("archive_command", "test '%f' != ''")
        .tcp()
        .start();
    assert_eq!(main.psql("show wal_segment_size"), "1MB");
    assert_eq!(main.psql("show archive_command"), "test '%f' != ''");
    let answer = user::run_ok(
        main.client("psql")
            .env("PGHOST", "127.0.0.1")
            .args(["-XAtc", "select inet_server_port()"]),
    );
    assert_eq!(answer, main.port().to_string());
    assert_eq!(main.switch_wal().len(), 24);
    main.set("log_line_prefix", "it's ");
    assert_eq!(main.psql("show log_line_prefix"), "it's ");
    main.restart();
    assert_eq!(main.psql("show log_line_prefix"), "it's ");
    user::run_ok(
        main.pg
            .command("pg_ctl")
            .args(["stop", "--no-wait", "-D"])
            .arg(main.data_dir()),
    );
    assert!(main.wait_for_end().success());
    assert!(
        main.log()
            .contains("it's LOG:  database system is shut down")
    );
}

#[test]
fn a_server_does_not_outlive_its_test() {
    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg(17)).make();
    let data_dir = main.data_dir().to_owned();
    // The same death as a killed test process has: the thread that started the server ends.
    let pid = thread::spawn(move || {
        let mut main = main;
        main.start();
        let pid = fs::read_to_string(main.data_dir().join("postmaster.pid")).unwrap();
        std::mem::forget(main);
        pid
    })
    .join()
    .unwrap();
    assert!(!pid.is_empty());
    for _ in 0..1000 {
        if !data_dir.join("postmaster.pid").exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("server {pid} still runs");
}

#[test]
fn the_witness_knows_what_is_committed() {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg(18)).start();
    let load = Load::start(&main, 1, 100);
    let witness = Witness::start(&main, "seen");
    witness.wait_for(20);
    let first = witness.stop();
    assert_eq!(first.at_end().perhaps, witness::rows(&main, "seen"));
    load.stop(&main);

    let load = Load::go_on(&main, 100);
    let witness = Witness::go_on(&main, "seen");
    witness.wait_for(20);
    main.stop(Shutdown::Immediate);
    let truth = witness.outlive();
    drop(load);
    assert!(truth.in_flight);
    main.start();
    truth.at_end().check(witness::rows(&main, "seen"));

    // The server's own record of the commits agrees with the notes.
    let (third, fourth) = (truth.commits[2], truth.commits[3]);
    let both = |n| Expected {
        surely: n,
        perhaps: n,
    };
    assert_eq!(truth.at_xid(third.xid), both(third.number));
    assert_eq!(truth.at_time(third.after_time), both(third.number));
    assert_eq!(truth.before_lsn(third.after_lsn), both(third.number));
    assert_eq!(truth.at_lsn(third.begin_lsn), both(third.number - 1));
    assert_eq!(
        truth.at_lsn(fourth.before_lsn),
        Expected {
            surely: third.number,
            perhaps: fourth.number
        }
    );
    let wal = user::run_ok(
        main.pg
            .command("pg_waldump")
            .args(["--path", main.data_dir().join("pg_wal").to_str().unwrap()])
            .args(["--start", &third.begin_lsn.to_string()])
            .args(["--end", &third.after_lsn.to_string()])
            .args(["--rmgr=Transaction", "--xid", &third.xid.to_string()]),
    );
    assert!(wal.contains("COMMIT"), "{wal}");
}

#[test]
fn wrong_rows_are_seen() {
    let expected = Expected {
        surely: 4,
        perhaps: 5,
    };
    expected.check(4);
    expected.check(5);
    assert!(panic::catch_unwind(|| expected.check(3)).is_err());
    assert!(panic::catch_unwind(|| expected.check(6)).is_err());

    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg(17)).start();
    main.psql("create table seen as select n as number from generate_series(1, 9) n");
    assert_eq!(witness::rows(&main, "seen"), 9);
    main.psql("delete from seen where number = 5");
    let rows = AssertUnwindSafe(|| witness::rows(&main, "seen"));
    assert!(panic::catch_unwind(rows).is_err());
}

#[test]
fn a_full_disk_is_full() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "small", 1 << 20);
    let write = |megabytes: u32| {
        let mut dd = user::command("dd", "KILL");
        dd.args(["if=/dev/zero", "bs=1M"])
            .arg(format!("count={megabytes}"))
            .arg(format!("of={}", disk.path().join("file").display()));
        user::run(&mut dd)
    };
    assert!(write(2).unwrap_err().contains("No space left"));
    disk.resize(3 << 20);
    write(2).unwrap();
    let path = disk.path().to_owned();
    drop(disk);
    let still = user::run_ok(Command::new("ls").arg(&path));
    assert_eq!(still, "");
}
