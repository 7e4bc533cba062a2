//! PostgreSQL's own judges of a cluster or a data directory. Each panics with the judge's words.

use std::path::Path;

use super::{Cluster, PgBin, user};

impl Cluster {
    /// Every index of every database is sound and has an entry for each row.
    #[track_caller]
    pub fn amcheck(&self) {
        user::run_ok(self.client("pg_amcheck").args([
            "--all",
            "--install-missing",
            "--heapallindexed",
            "--parent-check",
            "--jobs=2",
        ]));
    }

    /// The database as SQL; equal for equal contents. Without the rows of unlogged tables, which
    /// no restore has.
    #[track_caller]
    pub fn dump(&self, database: &str) -> String {
        // Without a key of our own every dump has another one.
        user::run_ok(
            self.client("pg_dump")
                .args(["--restrict-key=pgstow", "--no-unlogged-table-data"])
                .args(["-d", database]),
        )
    }

    /// All databases and roles as SQL, as [`Self::dump`]; without where tablespaces lie.
    #[track_caller]
    pub fn dump_all(&self) -> String {
        user::run_ok(
            self.client("pg_dumpall")
                .args(["--restrict-key=pgstow", "--no-unlogged-table-data"])
                .arg("--no-tablespaces"),
        )
    }

    /// No visibility map says more than its table's pages: scans of indexes alone, and what a vacuum
    /// leaves out, are right.
    #[track_caller]
    pub fn visibility(&self) {
        let databases = self.psql("select datname from pg_database where datallowconn");
        for database in databases.lines() {
            self.psql_in(database, "create extension if not exists pg_visibility");
            let wrong = self.psql_in(
                database,
                "select oid::regclass, what, count(*) from pg_class,
                 lateral (select 'flag' as what from pg_visibility(oid)
                          where all_visible and not pd_all_visible
                          union all select 'frozen' from pg_check_frozen(oid)
                          union all select 'visible' from pg_check_visible(oid)) wrong
                 where relkind in ('r', 'm', 't') group by 1, 2",
            );
            assert_eq!(wrong, "", "in {database}");
        }
    }

    /// A base backup by PostgreSQL's own program, in plain format.
    #[track_caller]
    pub fn basebackup(&self, to: &Path, arguments: &[&str]) {
        user::run_ok(
            self.client("pg_basebackup")
                .args(["--checkpoint=fast", "--no-sync", "-D"])
                .arg(to)
                .args(arguments),
        );
    }
}

impl PgBin {
    /// Every page of a stopped cluster has its checksum.
    #[track_caller]
    pub fn checksums(&self, data_dir: &Path) {
        user::run_ok(
            self.command("pg_checksums")
                .args(["--check", "-D"])
                .arg(data_dir),
        );
    }

    /// The files are those of the folder's `backup_manifest`; to be asked before the first start.
    /// WAL is not looked at, since it comes from the archive.
    pub fn verifybackup(&self, data_dir: &Path) -> Result<String, String> {
        user::run(
            self.command("pg_verifybackup")
                .arg("--no-parse-wal")
                .arg(data_dir),
        )
    }
}
