//! A restore that is killed, or whose disk is full, leaves a folder that no server starts, and
//! that the next restore puts right.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Site, WITNESS};
use crate::harness::{
    FullDisk, PgBin, Shutdown, Witness, pg,
    random::{Random, rounds},
    stand,
    tool::Running,
    user,
    witness::{Truth, rows},
};

/// A backup of some 50 MB and rows behind it.
fn site(pg: PgBin) -> (Site, Truth) {
    let mut site = Site::start(pg);
    site.main().psql(
        "create table filler as select n, repeat('x', 1000) from generate_series(1, 40000) n",
    );
    site.stow.backup(&[]);
    let witness = Witness::start(site.main(), WITNESS);
    witness.wait_for(30);
    let truth = witness.stop();
    site.stow.cluster.stop(Shutdown::Fast);
    (site, truth)
}

/// Whether it has the name that makes the folder startable.
fn is_whole(site: &Site) -> bool {
    site.data_dir("copy").join("global/pg_control").exists()
}

/// What an operator would try.
#[track_caller]
fn cant_be_started(site: &Site) {
    let data_dir = site.data_dir("copy");
    let socket = format!("-k {} -h ''", site.scratch.join("main").display());
    let started = user::run(
        site.main()
            .pg
            .command("pg_ctl")
            .args(["start", "--wait", "--timeout=20", "--options", &socket])
            .arg("--log")
            .arg(site.scratch.join("half.log"))
            .arg("--pgdata")
            .arg(&data_dir),
    );
    assert!(started.is_err(), "{started:?}");
    assert!(!data_dir.join("postmaster.pid").exists());
}

#[track_caller]
fn is_right(site: &Site, truth: &Truth) {
    let mut copy = site.existing("copy");
    copy.pg.verifybackup(copy.data_dir()).unwrap();
    copy.recover();
    truth.at_end().check(rows(&copy, WITNESS));
    copy.stop(Shutdown::Fast);
    copy.pg.checksums(copy.data_dir());
    fs::remove_dir_all(copy.data_dir()).unwrap();
}

#[test]
fn killed_at_any_moment() {
    let mut random = Random::new("killed_at_any_moment");
    let (site, truth) = site(pg(16));
    let begun = Instant::now();
    site.restore("copy", &[]).ok();
    // How long one takes at most: the first is slower than those that follow, at times by far.
    let mut whole = begun.elapsed().as_micros() as u64;
    is_right(&site, &truth);
    let (mut half, mut none) = (0, 0);
    let rounds = rounds(6, 50);
    for round in 0..10 * rounds {
        if round >= rounds && half > 0 {
            break;
        }
        let moment = Duration::from_micros(random.below(whole));
        let mut running = site.restore("copy", &[]).spawn();
        thread::sleep(moment);
        if running.is_running() {
            running.signal(Signal::KILL);
        } else {
            whole = moment.as_micros() as u64;
        }
        // Its end, whatever it says.
        drop(running);
        let there = site.data_dir("copy").exists();
        println!("{round}: killed after {moment:?}; something is there: {there}");
        match (there, is_whole(&site)) {
            (true, false) => {
                half += 1;
                cant_be_started(&site);
            }
            (true, true) => {
                // Its last step may be what was killed: a stray file, which is no harm.
                let _ = fs::remove_file(site.data_dir("copy").join("pgstow-restore.json"));
                is_right(&site, &truth);
            }
            (false, _) => none += 1,
        }
        // Now and then the next one is killed too.
        if round % 3 != 0 && !is_whole(&site) {
            site.restore("copy", &[]).ok();
            is_right(&site, &truth);
        }
    }
    if !is_whole(&site) {
        site.restore("copy", &[]).ok();
    }
    is_right(&site, &truth);
    println!("killed: {half} half-way, {none} before anything was there");
    assert!(half > 0, "no restore was killed half-way");
}

#[test]
fn on_a_disk_that_is_full() {
    let (site, truth) = site(pg(17));
    let disk = FullDisk::mount(&site.scratch, "disk", 16 << 20);
    let data_dir = disk.path().join("copy");
    std::os::unix::fs::symlink(&data_dir, site.data_dir("copy")).unwrap();
    let to = data_dir.to_str().unwrap();
    let restore = || site.pgstow(&["restore", "--data-dir", to]);

    // Known before: not a byte is written.
    restore().fails(1).stderr_contains("not enough space");
    assert!(!data_dir.exists());
    // Not known before: somebody else fills the disk meanwhile.
    disk.resize(400 << 20);
    let running = restore().spawn();
    stopped_at_work(&running, || data_dir.join("base").exists());
    fs::write(disk.path().join("filler"), vec![0; 1 << 20]).unwrap();
    let used = used(&disk);
    disk.resize(used + (1 << 20));
    running.signal(Signal::CONT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    assert!(
        output.stderr.contains("No space left on device"),
        "{output}"
    );
    assert!(output.stderr.contains("can't be started"), "{output}");
    assert!(!is_whole(&site));
    cant_be_started(&site);

    disk.resize(400 << 20);
    restore().ok();
    fs::remove_file(site.data_dir("copy")).unwrap();
    let mut copy =
        crate::harness::Cluster::existing(&site.scratch, site.main().pg.clone(), "copy", &data_dir);
    copy.pg.verifybackup(&data_dir).unwrap();
    copy.recover();
    truth.at_end().check(rows(&copy, WITNESS));
}

/// Stops the process as soon as `begun`, long before it is done.
#[track_caller]
fn stopped_at_work(running: &Running, begun: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !begun() {
        assert!(Instant::now() < limit, "it never began");
    }
    stand(running.process());
}

fn used(disk: &FullDisk) -> u64 {
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    (room.f_blocks - room.f_bfree) * room.f_frsize
}
