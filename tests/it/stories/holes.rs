//! Missing WAL never opens a database that has only a part of its rows, and WAL that isn't
//! needed need not be there.

use std::{fs, path::PathBuf};

use super::{Site, typed};
use crate::harness::{Cluster, PgBin, Shutdown, on_every_major};

on_every_major!(
    what_is_missing_in_the_middle_never_opens_the_database,
    an_old_backup_whose_next_wal_has_expired_is_restored,
);

#[test]
fn before_a_fork_too_but_the_old_timeline_is_whole() {
    a_hole_before_a_fork(crate::harness::pg(15));
}

/// A backup and, behind it, a row for each archived segment.
struct Story {
    site: Site,
    backup: String,
    segments: Vec<String>,
}

impl Story {
    fn begin(pg: PgBin) -> Self {
        let site = Site::build(pg, |stow| {
            stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        });
        site.main().psql("create table t (n int)");
        let backup = site.stow.backup(&[]).id().to_owned();
        let mut story = Self {
            site,
            backup,
            segments: Vec::new(),
        };
        story.write(6);
        story
    }

    fn write(&mut self, segments: usize) {
        for _ in 0..segments {
            self.site
                .main()
                .psql("insert into t select coalesce(max(n), 0) + 1 from t");
            self.segments.push(self.site.main().switch_wal());
        }
    }

    /// Takes a segment out of the repository; gives where it was and where it is now.
    fn lose(&self, segment: &str) -> [PathBuf; 2] {
        let places = [
            self.site.stow.wal_object(segment),
            self.site.scratch.join(segment),
        ];
        fs::rename(&places[0], &places[1]).unwrap();
        places
    }

    /// Starts what was restored while all was there: it must end itself.
    #[track_caller]
    fn never_opens(&self, mut copy: Cluster, missing: &str) {
        let log = copy.try_recover().unwrap_err();
        assert!(log.contains(missing), "{log}");
        assert!(log.contains("FATAL"), "{log}");
        for opened in ["archive recovery complete", "selected new timeline"] {
            assert!(!log.contains(opened), "{log}");
        }
        fs::remove_dir_all(copy.data_dir()).unwrap();
    }

    #[track_caller]
    fn opens(&self, mut copy: Cluster, rows: &str) {
        copy.recover();
        assert_eq!(copy.psql("select count(*) from t"), rows);
        copy.stop(Shutdown::Fast);
        fs::remove_dir_all(copy.data_dir()).unwrap();
    }
}

fn what_is_missing_in_the_middle_never_opens_the_database(pg: PgBin) {
    let mut story = Story::begin(pg);
    let main = story.site.main();
    let end = typed(now(main));
    let lsn = main.psql("select pg_current_wal_insert_lsn()");
    story.write(2);
    // Planned while all was there.
    let copies = [
        story.site.copy("latest", &[]),
        story.site.copy("time", &["--target-time", &end]),
    ];
    let missing = story.segments[3].clone();
    let [stored, lost] = story.lose(&missing);
    for copy in copies {
        story.never_opens(copy, &missing);
    }
    for wish in [
        &[][..],
        &["--target-time", &end],
        &["--target-lsn", &lsn],
        &["--target-name", "nowhere", "--prove"],
    ] {
        let refused = story.site.restore("refused", wish).fails(1);
        assert!(refused.stderr.contains(&missing), "{refused}");
        assert!(!story.site.data_dir("refused").exists());
    }
    // Up to the hole all is well.
    let before = story.segments[2].clone();
    let switched = story.site.main().psql(&format!(
        "select '0/0'::pg_lsn + (('x' || substr('{before}', 17))::bit(32)::bigint << 20) + 40"
    ));
    let copy = story.site.copy("before", &["--target-lsn", &switched]);
    story.opens(copy, "2");
    fs::rename(lost, stored).unwrap();
    let copy = story.site.copy("found", &[]);
    story.opens(copy, "8");
}

/// In microseconds since 1970, by the server's clock, with a commit before and one after it.
fn now(server: &Cluster) -> i64 {
    server
        .psql("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
        .parse()
        .unwrap()
}

fn a_hole_before_a_fork(pg: PgBin) {
    let mut story = Story::begin(pg);
    let site = &mut story.site;
    let lsn = site.main().psql("select pg_current_wal_insert_lsn()");
    site.main().psql("insert into t values (7)");
    site.main().switch_wal();
    site.stow.cluster.stop(Shutdown::Fast);
    site.pgstow(&[
        "restore",
        "--replace",
        "--target-lsn",
        &lsn,
        "--target-exclusive",
    ])
    .ok();
    site.stow.cluster.recover();
    assert_eq!(site.main().psql("select count(*) from t"), "6");
    story.write(2);

    let copy = story.site.copy("old", &["--target-timeline", "1"]);
    story.opens(copy, "7");
    let planned = story.site.copy("planned", &[]);
    // The last whole segment that the two timelines share.
    let missing = story.segments[5].clone();
    let [stored, lost] = story.lose(&missing);
    story.never_opens(planned, &missing);
    for wish in [&[][..], &["--target-timeline", "1"]] {
        let refused = story.site.restore("refused", wish).fails(1);
        assert!(refused.stderr.contains(&missing), "{refused}");
        assert!(!story.site.data_dir("refused").exists());
    }
    fs::rename(lost, stored).unwrap();
    let copy = story.site.copy("new", &[]);
    story.opens(copy, "8");
    let copy = story.site.copy("old-again", &["--target-timeline", "1"]);
    story.opens(copy, "7");
}

/// Rule 72: recovery reads ahead of its target, and asks for WAL that is gone.
fn an_old_backup_whose_next_wal_has_expired_is_restored(pg: PgBin) {
    let mut story = Story::begin(pg);
    let main = story.site.main();
    let next = typed(now(main));
    let target = main.psql("select pg_create_restore_point('kept')");
    story.write(4);
    story.site.stow.backup(&[]);
    story.write(2);
    // What retention leaves of the time between the backups: what leads up to the point.
    let (kept, later) = story.segments.split_at(7);
    for expired in &later[..2] {
        fs::remove_file(story.site.stow.wal_object(expired)).unwrap();
    }
    let old = story.backup.as_str();
    for (name, wish) in [
        ("lsn", &["--target-lsn", &target][..]),
        ("time", &["--target-time", &next]),
        ("name", &["--target-name", "kept", "--prove"]),
    ] {
        let copy = story.site.copy(name, &[&[old], wish].concat());
        story.opens(copy, "6");
    }
    // And if only the backup itself is kept.
    for expired in kept {
        fs::remove_file(story.site.stow.wal_object(expired)).unwrap();
    }
    let copy = story.site.copy("immediate", &["--target-immediate", old]);
    story.opens(copy, "0");
    let copy = story.site.copy("newest", &[]);
    story.opens(copy, "12");
}
