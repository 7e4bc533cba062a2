//! Repositories that WAL is pushed to, after one was away for a while: which of them leads further, and which numbers of
//! timelines are taken.

use std::fs;

use super::fallback::{fetch, filled, restored};
use crate::harness::{Cluster, Shutdown, user};

/// Two to which WAL went, of which one was away for a while, as its lost segments show.
#[test]
fn the_repository_whose_wal_leads_further_is_used() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    let reached = site.main().psql("select pg_current_wal_insert_lsn()");
    site.main().switch_wal();
    site.sync(0);
    for object in fs::read_dir(site.stow.wal_object(&segments[0]).parent().unwrap()).unwrap() {
        let path = object.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap() >= segments[2].as_str() {
            fs::remove_file(path).unwrap();
        }
    }
    // Who looks what there is reads it.
    let list = site.pgstow(&["list"]).ok();
    list.stdout_contains("REPOSITORY offsite LEADS FURTHER");
    let list = site.pgstow(&["--json", "list"]).ok().json();
    assert_eq!(list["further"][0]["repository"], "offsite");
    let list = site.pgstow(&["--repo", "local", "--json", "list"]).ok();
    assert_eq!(list.json()["further"], serde_json::json!([]));
    let further = "repository offsite is used instead: its WAL leads to";
    restored(&site, "furthest", &[further], &dump).stop(Shutdown::Fast);
    // A target that the first one's WAL doesn't reach.
    let to = site.scratch.join("target");
    let words = ["restore", "--target-lsn", &reached, "--data-dir"];
    let words = [&words[..], &[to.to_str().unwrap()]].concat();
    site.pgstow(&words)
        .expect_warning("repository offsite is used instead: LSN")
        .ok();
    // Who names a repository means it.
    let to = site.scratch.join("named");
    let words = [
        "--repo",
        "local",
        "restore",
        "--data-dir",
        to.to_str().unwrap(),
    ];
    let plan = site
        .pgstow(&[&words[..], &["--json", "--plan"]].concat())
        .ok();
    assert_eq!(plan.json()["last_segment"], segments[1]);

    // WAL alone leads nowhere.
    let plan = |warning: &str| {
        let to = site.scratch.join("planned");
        let words = [
            "--json",
            "restore",
            "--plan",
            "--data-dir",
            to.to_str().unwrap(),
        ];
        let plan = site.pgstow(&words).expect_warning(warning).ok();
        assert_eq!(plan.json()["last_segment"], segments[1]);
    };
    let base = site.offsite.join("main/base");
    let kept = site.scratch.join("base");
    fs::rename(&base, &kept).unwrap();
    plan("repository offsite has WAL up to");
    fs::rename(&kept, &base).unwrap();
    fs::rename(&site.offsite, site.scratch.join("away")).unwrap();
    plan("whether repository offsite leads further is not known");
}

/// The number of a timeline that began while the first repository was away isn't given again.
#[test]
fn a_timeline_that_another_repository_knows_is_taken() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    site.sync(0);
    let name = "00000002.history";
    let wal = site.stow.wal_object_in(&site.offsite, &segments[0]);
    let history = wal.parent().unwrap().parent().unwrap().join(name);
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n").unwrap();
    user::own(&history);
    fetch(&site, name, &[])
        .expect_warning("00000002.history comes from repository offsite")
        .ok();
    fetch(&site, name, &["--no-fallback"]).fails(1);
    // Where its WAL leads is no matter to who names another one, and gets no warning.
    let of_one = site.stow.wal_object_in(&site.offsite, &segments[3]);
    let name_of_two = of_one.file_name().unwrap().to_str().unwrap();
    let name_of_two = format!("00000002{}", &name_of_two[8..]);
    let folder = history.with_file_name("0000000200000000");
    fs::create_dir(&folder).unwrap();
    let last = folder.join(name_of_two);
    fs::copy(of_one, &last).unwrap();
    user::own(last.parent().unwrap());
    user::own(&last);
    let planned = site.scratch.join("planned");
    let words = ["restore", "--plan", "--data-dir", planned.to_str().unwrap()];
    let on_one = [&words[..], &["--target-timeline", "1"]].concat();
    site.pgstow(&on_one).ok();
    site.pgstow(&words)
        .expect_warning("repository offsite has WAL up to")
        .ok();
    fs::remove_file(&last).unwrap();
    let mut copy = restored(&site, "promoted", &[], &dump);
    assert_eq!(timeline(&copy), "00000003");
    copy.stop(Shutdown::Fast);
    // Nor where that one is away once the restored server ends its recovery.
    let to = site.scratch.join("noted");
    let words = ["--repo", "local", "--json", "restore", "--data-dir"];
    let words = [&words[..], &[to.to_str().unwrap()]].concat();
    let told = site.pgstow(&words).ok().json()["warnings"].to_string();
    assert!(!told.contains("which timelines"), "{told}");
    let away = site.scratch.join("away");
    fs::rename(&site.offsite, &away).unwrap();
    let pg = site.main().pg.clone();
    let mut copy = Cluster::existing(&site.scratch, pg, "noted-run", &to);
    copy.recover();
    assert_eq!(timeline(&copy), "00000003");
    copy.stop(Shutdown::Fast);
    // Who is away all the time is told of.
    let to = site.scratch.join("unknown");
    let words = ["--repo", "local", "--json", "restore", "--data-dir"];
    let words = [&words[..], &[to.to_str().unwrap()]].concat();
    let told = site.pgstow(&words).ok().json()["warnings"].to_string();
    assert!(
        told.contains("which timelines repository offsite knows can't be asked"),
        "{told}"
    );
    fs::rename(away, &site.offsite).unwrap();
}

/// The first eight digits of what the server writes.
fn timeline(server: &Cluster) -> String {
    server.psql("select left(pg_walfile_name(pg_current_wal_lsn()), 8)")
}

/// A server that was restored from one repository while the other was away takes a number that another server has given
/// its timeline there. Nobody but the operator knows which of the two is meant.
#[test]
fn two_servers_under_one_number_are_not_mixed() {
    let (site, _) = filled();
    site.main().switch_wal();
    site.sync(0);
    let roots = [site.stow.root().to_owned(), site.offsite.clone()];
    let names = ["local", "offsite"];
    let away = site.scratch.join("away");
    for (one, rows) in [(0, 1), (1, 2)] {
        let other = &roots[1 - one];
        let to = site.scratch.join(&format!("of-{}", names[one]));
        let words = ["--repo", names[one], "restore", "--data-dir"];
        site.pgstow(&[&words[..], &[to.to_str().unwrap()]].concat())
            .ok();
        let pg = site.main().pg.clone();
        // The other may not know of it, nor this one of the other's.
        fs::rename(other, &away).unwrap();
        let history = to.join("pg_wal/00000002.history");
        if history.exists() {
            fs::remove_file(history).unwrap();
        }
        let name = format!("{}-run", names[one]);
        let mut copy = Cluster::existing(&site.scratch, pg, &name, &to);
        let push = format!("--repo {} archive-wal %p", names[one]);
        let push = site.stow.tool.shell(&push);
        copy.argument("archive_mode=on");
        copy.argument(&format!("archive_command={push}"));
        copy.recover();
        assert_eq!(timeline(&copy), "00000002");
        for row in 0..rows {
            copy.psql(&format!("create table {}{row} ()", names[one]));
            copy.switch_wal();
        }
        copy.stop(Shutdown::Fast);
        fs::rename(&away, other).unwrap();
    }
    let plan = |words: &[&str]| {
        let to = site.scratch.join("planned");
        let fixed = ["restore", "--plan", "--data-dir", to.to_str().unwrap()];
        site.pgstow(&[words, &fixed].concat())
    };
    plan(&[])
        .fails(1)
        .stderr_contains("two servers used timeline 2");
    for name in names {
        plan(&["--repo", name]).ok().stdout_contains("timeline 2");
    }
    // Their histories tell it, too.
    let folder = roots[1].join("main/wal").read_dir().unwrap().next();
    let history = folder.unwrap().unwrap().path().join("00000002.history");
    let text = fs::read_to_string(&history).unwrap();
    fs::write(&history, format!("# another\n{text}")).unwrap();
    plan(&[])
        .fails(1)
        .stderr_contains("00000002.history has other bytes");
    fs::write(&history, text).unwrap();
    // Nor is the WAL of one put beside that of the other.
    let words = ["--repo", "local", "sync", "--from", "offsite"];
    site.pgstow(&words)
        .fails(3)
        .stdout_contains("WAL of two servers under timeline 2");
}
