//! Chains of incremental backups: whatever happens to files between two backups, and while one is
//! taken, each backup of a chain comes back as the server was.

mod checksums;
mod combined;
mod comparison;
mod random;
mod reused;
mod rounds;
mod sizes;
mod standby;
mod stopped;
mod timelines;

use super::{Site, judge_and_end};
use crate::harness::{PgBin, Stored, pg, random::rounds, stow::Builder};

/// What a story is told of: a major, with summaries of its WAL or without.
#[derive(Clone)]
struct Kind {
    pg: PgBin,
    summaries: bool,
}

fn plain(major: u32) -> Kind {
    Kind {
        pg: pg(major),
        summaries: false,
    }
}

fn summarizing(major: u32) -> Kind {
    assert!(major >= 17, "there are no summaries before");
    Kind {
        pg: pg(major),
        summaries: true,
    }
}

/// Makes of `fn story(kind: Kind)` the tests `story::name`, each with a kind of server.
macro_rules! told_of {
    ($story:ident: $($name:ident = $kind:expr),+) => {
        mod $story {
            #[allow(unused_imports)]
            use super::super::{plain, summarizing};
            $(#[test] fn $name() { super::$story($kind); })+
        }
    };
}
use told_of;

/// A cluster, and backups that each build on the one before.
struct Chain {
    site: Site,
    levels: Vec<Level>,
}

/// A backup, and what a restore of it to the moment behind it must bring back.
struct Level {
    backup: Stored,
    /// The restore point of that moment.
    point: String,
    dump: String,
}

impl Chain {
    fn start(kind: Kind) -> Self {
        Self::build(kind, |stow| stow)
    }

    fn build(kind: Kind, change: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Self {
        let site = Site::build(kind.pg, |stow| {
            let stow = stow.cluster(|cluster| match kind.summaries {
                true => cluster.conf("summarize_wal", "on"),
                false => cluster,
            });
            change(stow)
        });
        Self {
            site,
            levels: Vec::new(),
        }
    }

    /// Runs each of the statements by itself; the last one's answer.
    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    #[track_caller]
    fn sql_in(&self, database: &str, sql: &str) -> String {
        let main = self.site.main();
        let mut answer = String::new();
        for statement in sql.split(';') {
            answer = main.psql_in(database, statement);
        }
        answer
    }

    fn newest(&self) -> &Stored {
        &self.levels.last().unwrap().backup
    }

    #[track_caller]
    fn full(&mut self) {
        let backup = self.full_backup();
        self.note(backup);
    }

    #[track_caller]
    fn full_backup(&self) -> Stored {
        let base = self.site.stow.base(&["--method", "local", "--full"]);
        // A database that is being copied lets nobody in.
        let output = base.env("PGCONNECT_TIMEOUT", "1").ok();
        let backup = self.site.stow.stored(&output);
        assert_eq!(backup.json()["kind"], "full");
        backup
    }

    /// A backup that builds on the one before.
    #[track_caller]
    fn incremental(&mut self) {
        let backup = self.site.stow.backup(&["--incremental"]);
        assert_eq!(backup.json()["parent"], self.newest().id());
        self.note(backup);
    }

    /// A full backup, though an incremental one was asked for.
    #[track_caller]
    fn full_because(&mut self, why: &str) {
        let output = self.site.stow.base(&["-v", "--incremental"]).ok();
        assert!(output.stderr.contains(why), "{output}");
        let backup = self.site.stow.stored(&output);
        assert_eq!(backup.json()["kind"], "full");
        self.note(backup);
    }

    fn note(&mut self, backup: Stored) {
        let dump = self.site.main().dump_all();
        self.note_as(backup, dump);
    }

    fn note_as(&mut self, backup: Stored, dump: String) {
        let point = format!("after_{}", self.levels.len());
        self.sql(&format!("select pg_create_restore_point('{point}')"));
        self.levels.push(Level {
            backup,
            point,
            dump,
        });
    }

    /// The newest backup comes back, in the long form every one of the chain, and PostgreSQL's own
    /// programs find nothing wrong.
    #[track_caller]
    fn prove(&self) {
        self.site.main().switch_wal();
        let newest = self.levels.len() - 1;
        for level in &self.levels[rounds(newest as u64, 0) as usize..] {
            self.prove_level(level);
        }
    }

    /// The newest backup comes back.
    #[track_caller]
    fn prove_newest(&self) {
        self.site.main().switch_wal();
        self.prove_level(self.levels.last().unwrap());
    }

    #[track_caller]
    fn prove_level(&self, level: &Level) {
        let id = level.backup.id();
        let mut words = vec![id.to_owned(), "--target-name".into(), level.point.clone()];
        for space in level.backup.json()["tablespaces"].as_array().unwrap() {
            let oid = space["oid"].as_u64().unwrap();
            let place = self.site.scratch.join(&format!("{id}-{oid}"));
            words.extend(["--tablespace".into(), format!("{oid}={}", place.display())]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut copy = self.site.copy(id, &words);
        // It would mend what is to be judged.
        copy.argument("autovacuum=off");
        copy.recover();
        assert!(copy.dump_all() == level.dump, "{id} has another content");
        copy.visibility();
        judge_and_end(copy);
    }
}
