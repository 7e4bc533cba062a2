//! A standby that lives on the repository alone.

use std::{fs, thread, time::Duration};

use super::{Site, WITNESS};
use crate::harness::{PgBin, Witness, pg, witness::rows};

#[test]
fn it_outlives_an_outage_of_the_repository_15() {
    it_outlives_an_outage_of_the_repository(pg(15));
}

#[test]
fn it_outlives_an_outage_of_the_repository_18() {
    it_outlives_an_outage_of_the_repository(pg(18));
}

fn it_outlives_an_outage_of_the_repository(pg: PgBin) {
    let site = Site::build(pg, |stow| {
        stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"))
    });
    site.stow.backup(&[]);
    let write = || {
        let witness = match site.main().psql("select to_regclass('witness') is null") == "t" {
            true => Witness::start(site.main(), WITNESS),
            false => Witness::go_on(site.main(), WITNESS),
        };
        witness.wait_for(30);
        witness.stop();
        rows(site.main(), WITNESS).to_string()
    };
    let count = format!("select count(*) from {WITNESS}");
    let written = write();
    site.main().switch_wal();

    let mut standby = site.copy("standby", &["--standby"]);
    standby.start();
    standby.wait_until(&count, &written);
    assert_eq!(standby.psql("show archive_mode"), "off");
    let (here, away) = (site.stow.root().to_owned(), site.scratch.join("away"));
    fs::rename(&here, &away).unwrap();
    // The primary's archiver fails meanwhile, and the standby's sessions live on.
    let later = write();
    let segment = site.main().psql("select pg_walfile_name(pg_switch_wal())");
    let begun = standby.log().len();
    let sleeping = "select pg_sleep(4), pg_is_in_recovery()";
    assert_eq!(standby.psql(sleeping), "|t");
    for _ in 0..600 {
        if standby.log()[begun..].contains("WARN in doubt") {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let log = standby.log()[begun..].to_owned();
    assert!(log.contains("WARN in doubt"), "{log}");
    assert_eq!(standby.psql(&count), written);

    fs::rename(&away, &here).unwrap();
    // The archiver comes back to it by itself within a minute, or with the next segment.
    let archived = format!("select last_archived_wal >= '{segment}' from pg_stat_archiver");
    site.main().switch_wal();
    site.main().wait_until(&archived, "t");
    standby.wait_until(&count, &later);
    // And it can take over.
    standby.promote();
    standby.psql(&format!("insert into {WITNESS} values (0)"));
}
