//! Chains of backups of a standby.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    Chain, Kind,
    stopped::{
        BLOCK, COPY, PAGES, Process, SAFELY, is_half, is_stored_in_two_steps, make_original,
    },
    told_of,
};
use crate::harness::{Cluster, Shutdown, user};

told_of!(a_standby_lags: pg18_summaries = summarizing(18));
told_of!(a_standby_has_replayed_half_of_a_copy: pg16 = plain(16));

impl Chain {
    /// A standby that streams.
    fn standby(&self) -> Cluster {
        let main = self.site.main();
        let data_dir = self.site.scratch.join("standby-data");
        main.basebackup(&data_dir, &[]);
        let signal = data_dir.join("standby.signal");
        fs::write(&signal, "").unwrap();
        user::own(&signal);
        let pg = main.pg.clone();
        let mut standby = Cluster::existing(&self.site.scratch, pg, "standby", &data_dir);
        let primary = main.host().display();
        standby.argument(&format!("primary_conninfo=host={primary} user=postgres"));
        standby.start();
        standby
    }

    /// Backs up the standby, on the newest backup if that can be; what was said.
    #[track_caller]
    fn backup_of(&mut self, standby: &Cluster) -> String {
        let stow = &self.site.stow;
        let base = stow.base(&["-v", "--method", "local", "--incremental"]);
        let output = base
            .env("PGSTOW_CLUSTER_HOST", standby.host())
            .env("PGSTOW_CLUSTER_PRIMARY_HOST", stow.cluster.host())
            .ok();
        let backup = stow.stored(&output);
        self.note(backup);
        output.stderr
    }

    /// Until the standby has a restartpoint behind all that there is.
    #[track_caller]
    fn catch_up(&self, standby: &Cluster) {
        self.sql("checkpoint");
        let lsn = self.sql("select pg_current_wal_lsn()");
        standby.wait_until(&format!("select pg_last_wal_replay_lsn() >= '{lsn}'"), "t");
        standby.psql("checkpoint");
    }

    #[track_caller]
    fn newest_builds_on(&self, level: usize) {
        let parent = self.levels[level].backup.id();
        assert_eq!(self.newest().json()["parent"], parent);
    }
}

fn a_standby_lags(kind: Kind) {
    let mut chain = Chain::start(kind);
    let mut standby = chain.standby();
    chain.sql("create table t (n int, text text); create index on t (n)");
    let rows = "insert into t select n, repeat('x', 100) from generate_series(1, 1000) n";
    chain.sql(rows);
    chain.catch_up(&standby);
    let said = chain.backup_of(&standby);
    assert!(said.contains("there is no backup to build on"), "{said}");
    chain.sql(rows);
    chain.catch_up(&standby);
    chain.backup_of(&standby);
    chain.newest_builds_on(0);
    // The primary goes on, and the standby doesn't.
    standby.psql("select pg_wal_replay_pause()");
    chain.sql(rows);
    chain.sql("checkpoint");
    let said = chain.backup_of(&standby);
    assert!(said.contains("last restartpoint"), "{said}");
    assert_eq!(chain.newest().json()["kind"], "full");
    standby.psql("select pg_wal_replay_resume()");
    chain.sql(rows);
    chain.catch_up(&standby);
    chain.backup_of(&standby);
    chain.newest_builds_on(2);
    standby.stop(Shutdown::Fast);
    chain.prove();
}

fn a_standby_has_replayed_half_of_a_copy(kind: Kind) {
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| cluster.conf("autovacuum", "off"))
    });
    let mut standby = chain.standby();
    let path = make_original(chain.site.main());
    let copied = standby.data_dir().join(&path);
    let startup = "select pid from pg_stat_activity where backend_type = 'startup'";
    let mut startup = Process::of(&standby.psql(startup));
    loop {
        chain.catch_up(&standby);
        let mut create: Command = chain.site.main().client("psql");
        let mut create = create
            .args(["-Xqc", COPY])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let limit = Instant::now() + Duration::from_secs(20);
        let size = startup.stop_at(&copied, PAGES / 8, &mut || Instant::now() > limit);
        assert!(create.wait().unwrap().success());
        if size.is_some_and(is_half) {
            break;
        }
        startup.go_on();
        chain.sql("drop database copied");
    }
    thread::sleep(SAFELY);
    chain.backup_of(&standby);
    assert!(is_half(fs::metadata(&copied).unwrap().len() / BLOCK));
    startup.go_on();
    chain.catch_up(&standby);
    chain.backup_of(&standby);
    chain.newest_builds_on(0);
    is_stored_in_two_steps(&chain.levels[0].backup, &chain.levels[1].backup, &path);
    standby.stop(Shutdown::Fast);
    chain.prove();
}
