//! Chains over forks of the timeline.

use super::{Chain, Kind, told_of};
use crate::harness::Shutdown;

told_of!(combinebackup_003_timeline: pg17_summaries = summarizing(17));
told_of!(combinebackup_008_promote: pg16 = plain(16));
told_of!(combinebackup_007_wal_level_minimal: pg16 = plain(16));

impl Chain {
    /// The cluster goes back, in its own place, to the moment behind a backup; a new timeline begins.
    #[track_caller]
    fn go_back(&mut self, level: usize, how: &str) {
        self.site.main().switch_wal();
        let Self { site, levels } = self;
        site.stow.cluster.stop(Shutdown::Fast);
        let level = &levels[level];
        site.pgstow(&[
            "restore",
            how,
            level.backup.id(),
            "--target-name",
            &level.point,
        ])
        .ok();
        let main = &mut site.stow.cluster;
        main.recover();
        assert_eq!(main.dump_all(), level.dump);
    }

    fn rows(&self, text: &str) {
        self.sql(&format!(
            "insert into t select n, repeat('{text}', 100) from generate_series(1, 1000) n"
        ));
    }
}

/// A backup of the server that a backup was restored to builds on that backup.
fn combinebackup_003_timeline(kind: Kind) {
    let mut chain = Chain::start(kind);
    chain.sql("create table t (n int, text text); create index on t (n)");
    chain.rows("aardvark");
    chain.full();
    chain.rows("beetle");
    chain.incremental();
    chain.rows("crab");
    chain.go_back(1, "--replace");
    chain.rows("dingo");
    chain.incremental();
    assert_eq!(chain.newest().json()["timeline"], 2);
    chain.rows("elephant");
    chain.incremental();
    chain.prove_newest();
    // Files stay the same ones where only what differs is written.
    chain.rows("fox");
    chain.go_back(3, "--delta");
    chain.rows("gnu");
    chain.incremental();
    assert_eq!(chain.newest().json()["timeline"], 3);
    chain.prove_newest();
}

/// Behind a fork the newest backup of all may be one that was left behind.
fn combinebackup_008_promote(kind: Kind) {
    let mut chain = Chain::start(kind);
    chain.sql("create table t (n int, text text); create index on t (n)");
    chain.rows("avocado");
    chain.full();
    chain.rows("beetle");
    chain.sql("checkpoint");
    chain.rows("crab");
    let after = chain.sql("select pg_current_wal_insert_lsn()");
    chain.rows("dingo");
    let left = chain.site.stow.backup(&["--incremental"]);
    chain.site.main().switch_wal();
    let Chain { site, levels } = &mut chain;
    site.stow.cluster.stop(Shutdown::Fast);
    let id = levels[0].backup.id();
    let words = ["restore", "--delta", id, "--target-lsn", &after];
    site.pgstow(&words).ok();
    site.stow.cluster.recover();
    assert_eq!(chain.sql("select count(*) from t"), "3000");
    chain.rows("blackberry");
    chain.incremental();
    chain.rows("blueberry");
    chain.incremental();
    let newest = chain.newest().json();
    assert_eq!(newest["timeline"], 2);
    println!(
        "left at {}, now at {}",
        left.json()["stop_lsn"],
        newest["stop_lsn"]
    );
    chain.prove_newest();
}

/// What was written without WAL is in new files, and WAL from before is not needed.
fn combinebackup_007_wal_level_minimal(kind: Kind) {
    let mut chain = Chain::start(kind);
    chain.sql("create table t (n int, text text); create index on t (n)");
    chain.rows("finch");
    chain.full();
    let settings = [
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("archive_mode", "off"),
    ];
    for (name, value) in settings {
        chain.sql(&format!("alter system set {name} = '{value}'"));
    }
    chain.site.stow.cluster.restart();
    chain.rows("gerbil");
    chain.site.main().psql(
        "begin; create table unlogged as table t; create index on unlogged (n);
         truncate t; insert into t table unlogged; commit",
    );
    chain.sql("alter table unlogged set tablespace pg_default; vacuum full unlogged");
    for (name, _) in settings {
        chain.sql(&format!("alter system reset {name}"));
    }
    chain.site.stow.cluster.restart();
    chain.incremental();
    chain.prove_newest();
}
