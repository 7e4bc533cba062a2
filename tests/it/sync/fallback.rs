//! `restore-wal` looks into another repository for what the chosen one should have and can't give.

use std::fs;

use super::{Site, flip};
use crate::harness::{Cluster, Shutdown, pg, tool::Invocation};

/// A cluster whose WAL is in both repositories, and its last segments.
fn filled() -> (Site, Vec<String>) {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    site.fill();
    let segment = |number: u32| {
        site.main().psql(&format!("create table s{number} ()"));
        site.main().switch_wal()
    };
    let segments = (1..=4).map(segment).collect();
    site.scratch.folder("fetched");
    site.sync(0);
    (site, segments)
}

fn fetch(site: &Site, name: &str, words: &[&str]) -> Invocation {
    let system = site
        .main()
        .psql("select system_identifier from pg_control_system()");
    let to = site.scratch.join("fetched").join(name);
    let fixed = [
        "restore-wal",
        name,
        to.to_str().unwrap(),
        "--system-id",
        &system,
    ];
    site.pgstow(&[&fixed, words].concat())
}

#[test]
fn what_should_be_there_comes_from_elsewhere() {
    let (site, segments) = filled();
    let comes = |name: &str| {
        let found = "comes from repository offsite";
        fetch(&site, name, &[]).expect_warning(found).ok();
        let got = fs::read(site.scratch.join("fetched").join(name)).unwrap();
        let whole = got.len() == 1 << 20;
        assert!(whole, "{name} has {} bytes", got.len());
    };
    // Damaged, a hole, the whole store away.
    flip(&site.stow.wal_object(&segments[0]));
    comes(&segments[0]);
    fetch(&site, &segments[0], &["--no-fallback"]).fails(126);
    fs::remove_file(site.stow.wal_object(&segments[1])).unwrap();
    comes(&segments[1]);
    fetch(&site, &segments[1], &["--no-fallback"]).fails(126);
    // The end is where the chosen one says so, though the other has more.
    fs::remove_file(site.stow.wal_object(&segments[3])).unwrap();
    fetch(&site, &segments[3], &[]).fails(1);
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    comes(&segments[2]);
    // What neither has is a doubt and no end.
    fs::remove_file(site.stow.wal_object_in(&site.offsite, &segments[1])).unwrap();
    fetch(&site, &segments[1], &[]).fails(126);
}

#[test]
fn a_recovery_passes_a_damaged_segment() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    flip(&site.stow.wal_object(&segments[1]));
    let to = site.scratch.join("restored-data");
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    site.pgstow(&words).ok();
    let pg = site.main().pg.clone();
    let mut copy = Cluster::existing(&site.scratch, pg, "restored", &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "another database");
    let log = copy.log();
    let told = format!("{} comes from repository offsite", segments[1]);
    assert!(log.contains(&told), "{log}");
    copy.stop(Shutdown::Fast);
}
