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
