//! Restores of a server under load to times, LSNs, transactions, names and ends: the rows are
//! exactly those that were committed before the target.

use std::{fs::OpenOptions, io::Write};

use pgstow::postgres::lsn::Lsn;

use super::{
    Site, WITNESS, file, joined, judge_and_end, no_recovery_settings, stop_lsn, stop_time, typed,
};
use crate::harness::{
    Cluster, Load, PgBin, Shutdown, Stored, Witness, on_every_major,
    random::{Random, rounds},
    witness::{Expected, Truth, rows},
};

on_every_major!(every_target_is_exact);

/// Every codec has its major.
fn compression(pg: &PgBin) -> &'static str {
    match pg.major {
        15 => "zstd:3",
        16 => "gzip:1",
        17 => "lz4",
        _ => "none",
    }
}

fn every_target_is_exact(pg: PgBin) {
    let random = Random::new("every_target_is_exact");
    let codec = compression(&pg);
    // Small segments: targets lie in many of them.
    let site = Site::build(pg, |stow| {
        stow.compression(codec).cluster(|cluster| {
            cluster
                .initdb("--wal-segsize=2")
                .conf("track_commit_timestamp", "on")
        })
    });
    let mut story = Story::tell(site, random);
    for round in 0..rounds(2, 10) {
        let exclusive = round % 2 == 1;
        story.reach_a_time(round, exclusive);
        story.reach_an_lsn(round, exclusive);
        story.reach_an_xid(round, exclusive);
    }
    story.reach_where_no_record_begins();
    story.reach_a_name();
    story.reach_the_end_of_a_backup();
    story.reach_the_end();
}

struct Story {
    site: Site,
    random: Random,
    truth: Truth,
    /// The time in each commit record, in microseconds since 1970.
    commit_times: Vec<i64>,
    /// Both taken under load.
    backups: [Stored; 2],
    /// Within a record that is longer than a segment.
    long_record: Lsn,
    /// What a dump said at the restore point `rest`, between the backups, and at the end.
    dump_at_rest: String,
    dump_at_end: String,
}

impl Story {
    /// Load, backup, load, rest, load, backup, load, rest. Each backup is read in another way.
    fn tell(mut site: Site, random: Random) -> Self {
        let load = Load::start(site.main(), 1, 300);
        let witness = Witness::start(site.main(), WITNESS);
        witness.wait_for(30);
        let first = site.stow.backup(&["--method", "stream"]);
        witness.wait_for(150);
        load.stop(site.main());
        let truth = witness.stop();
        site.main().psql("select pg_create_restore_point('rest')");
        let dump_at_rest = site.main().dump("postgres");
        let message =
            "select pg_logical_emit_message(false, 'long', repeat('x', 5 << 20)) - 2500000";
        let long_record = site.main().psql(message).parse().unwrap();

        let load = Load::go_on(site.main(), 300);
        let witness = Witness::go_on(site.main(), WITNESS);
        witness.wait_for(100);
        let second = site.stow.backup(&["--method", "local"]);
        witness.wait_for(150);
        load.stop(site.main());
        let truth = joined(truth, witness.stop());
        let dump_at_end = site.main().dump("postgres");
        let times = site.main().psql(&format!(
            "select (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint
             from {WITNESS} order by number"
        ));
        let commit_times = times.lines().map(|time| time.parse().unwrap()).collect();
        // A server that stops archives its last segment too.
        site.stow.cluster.stop(Shutdown::Fast);
        Self {
            site,
            random,
            truth,
            commit_times,
            backups: [first, second],
            long_record,
            dump_at_rest,
            dump_at_end,
        }
    }

    /// One of the numbers from `from` to before `to`.
    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.random.below((to - from) as u64) as i64
    }

    /// In even rounds behind the first backup, in odd ones behind the second.
    fn backup(&self, round: u64) -> &Stored {
        &self.backups[(round % 2) as usize]
    }

    /// By turns any time and the very time of a commit.
    fn reach_a_time(&mut self, round: u64, exclusive: bool) {
        let from = stop_time(self.backup(round)) + 1;
        let last = self.truth.commits.last().unwrap().before_time;
        let (time, expected) = match round % 4 {
            0 | 3 => {
                let time = self.between(from, last);
                (time, self.truth.at_time(time))
            }
            _ => {
                let behind = self.commit_times.partition_point(|time| *time < from);
                let end = self.commit_times.len() as i64 - 1;
                let chosen = self.between(behind as i64, end) as usize;
                let rows = (chosen + usize::from(!exclusive)) as u64;
                let expected = Expected {
                    surely: rows,
                    perhaps: rows,
                };
                (self.commit_times[chosen], expected)
            }
        };
        let (time, exclusively) = (typed(time), exclusively(exclusive));
        let wish = [&["--target-time", &time][..], exclusively].concat();
        match round {
            0 => self.pauses(expected, &wish),
            _ => self.promotes(&format!("time{round}"), expected, &wish),
        }
    }

    fn reach_an_lsn(&mut self, round: u64, exclusive: bool) {
        let last = self.truth.commits.last().unwrap().before_lsn;
        let from = stop_lsn(self.backup(round)).0;
        let lsn = Lsn(self.between(from as i64, last.0 as i64) as u64);
        let expected = match exclusive {
            true => self.truth.before_lsn(lsn),
            false => self.truth.at_lsn(lsn),
        };
        let (lsn, exclusively) = (lsn.to_string(), exclusively(exclusive));
        let wish = [&["--target-lsn", &lsn][..], exclusively].concat();
        match round {
            0 => self.shuts_down(expected, &wish),
            _ => self.promotes(&format!("lsn{round}"), expected, &wish),
        }
    }

    /// By turns with the backup said and with one that is found in the WAL.
    fn reach_an_xid(&mut self, round: u64, exclusive: bool) {
        let stop = stop_lsn(self.backup(round));
        let commits = &self.truth.commits;
        let behind = commits.partition_point(|commit| commit.begin_lsn <= stop);
        let chosen = self.between(behind as i64, self.truth.commits.len() as i64) as usize;
        let xid = self.truth.commits[chosen].xid;
        let expected = self.truth.at_xid(xid - u64::from(exclusive));
        let (xid, exclusively) = (xid.to_string(), exclusively(exclusive));
        let how = match round % 2 {
            0 => "--prove",
            _ => self.backup(round).id(),
        };
        let wish = [&["--target-xid", &xid, how][..], exclusively].concat();
        self.promotes(&format!("xid{round}"), expected, &wish);
    }

    /// The first record behind the target begins segments later.
    fn reach_where_no_record_begins(&self) {
        // A backup's end switches to the next segment: the rest of its last one is empty.
        let switched = Lsn(stop_lsn(&self.backups[0]).0 + 64);
        for (name, lsn) in [("switched", switched), ("long", self.long_record)] {
            let expected = self.truth.at_lsn(lsn);
            self.promotes(name, expected, &["--target-lsn", &lsn.to_string()]);
        }
    }

    /// A dump of the restored server is the one taken at that point.
    fn reach_a_name(&self) {
        let wish = ["--target-name", "rest", "--prove"];
        let mut copy = self.site.copy("name", &wish);
        copy.recover();
        assert!(copy.dump("postgres") == self.dump_at_rest, "another dump");
        self.judge(copy);
    }

    fn reach_the_end_of_a_backup(&self) {
        let backup = &self.backups[0];
        let stop = stop_lsn(backup);
        // Nothing is said of what was committed while the backup ended.
        let expected = Expected {
            surely: self.truth.before_lsn(stop).surely,
            perhaps: self.truth.at_lsn(stop).perhaps,
        };
        self.promotes("end", expected, &["--target-immediate", backup.id()]);
    }

    fn reach_the_end(&self) {
        let mut copy = self.site.copy("latest", &[]);
        copy.recover();
        assert!(copy.dump("postgres") == self.dump_at_end, "another dump");
        self.truth.at_end().check(rows(&copy, WITNESS));
        self.judge(copy);
    }

    #[track_caller]
    fn promotes(&self, name: &str, expected: Expected, wish: &[&str]) {
        println!("{name}: {wish:?}, {expected:?}");
        let mut copy = self.site.copy(name, wish);
        copy.recover();
        expected.check(rows(&copy, WITNESS));
        self.judge(copy);
    }

    /// The server stays at the target until it is told to go on.
    fn pauses(&self, expected: Expected, wish: &[&str]) {
        println!("pause: {wish:?}, {expected:?}");
        let wish = [wish, &["--target-action", "pause"]].concat();
        let mut copy = self.site.copy("pause", &wish);
        copy.start();
        copy.wait_until("select pg_get_wal_replay_pause_state()", "paused");
        expected.check(rows(&copy, WITNESS));
        copy.psql("select pg_wal_replay_resume()");
        copy.wait_until("select pg_is_in_recovery()", "f");
        expected.check(rows(&copy, WITNESS));
        self.judge(copy);
    }

    /// The server ends at the target; started without that action, it is just there.
    fn shuts_down(&self, expected: Expected, wish: &[&str]) {
        println!("shutdown: {wish:?}, {expected:?}");
        let wish = [wish, &["--target-action", "shutdown"]].concat();
        let mut copy = self.site.copy("shutdown", &wish);
        // It may end before it ever lets anybody in.
        if copy.try_start().is_ok() {
            copy.wait_for_end();
        }
        assert!(
            copy.log().contains("shutdown at recovery target"),
            "{}",
            copy.log()
        );
        copy.pg.checksums(copy.data_dir());
        let mut settings = OpenOptions::new()
            .append(true)
            .open(file(&copy, "postgresql.auto.conf"))
            .unwrap();
        writeln!(settings, "recovery_target_action = 'promote'").unwrap();
        copy.recover();
        expected.check(rows(&copy, WITNESS));
        self.judge(copy);
    }

    /// All that pgbench did is there in whole transactions; a copy doesn't archive.
    #[track_caller]
    fn judge(&self, copy: Cluster) {
        let sums = copy.psql(
            "select (select sum(abalance) from pgbench_accounts),
                    (select sum(tbalance) from pgbench_tellers),
                    (select sum(bbalance) from pgbench_branches),
                    (select coalesce(sum(delta), 0) from pgbench_history)",
        );
        let mut sums = sums.split('|');
        let first = sums.next();
        assert!(sums.all(|sum| Some(sum) == first), "{first:?}");
        assert_eq!(copy.psql("show archive_mode"), "off");
        no_recovery_settings(&copy);
        judge_and_end(copy);
    }
}

fn exclusively(exclusive: bool) -> &'static [&'static str] {
    match exclusive {
        true => &["--target-exclusive"],
        false => &[],
    }
}
