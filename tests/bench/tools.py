"""The tools that are compared: each backs the same server up and restores what it stored.

All copy to the same disk with a fast checkpoint, two workers, zstd level 3 (but for gzip), and
page and file checksums as they come.
"""

import shutil
from pathlib import Path

from measure import call, measure, stored_bytes

LEVEL = 3
WORKERS = 2


class Tool:
    """Has a folder of its own for what it stores; `archive_command` keeps the WAL that it needs."""

    checks_manifest = True

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, Path(folder) / self.key
        call(["mkdir", "-p", str(self.folder)])

    def set_up(self):
        pass

    def backup(self):
        """Takes a backup, measured."""
        return measure(self.backup_command(), self.cluster.postmaster())

    def tablespace_at(self, target):
        return f"{target}-tablespace"

    def check(self, target, expected):
        """The restored files against the server's manifest, then a start and its rows."""
        if self.checks_manifest:
            # The copy has the WAL that is needed only in the archive.
            call([self.cluster.bindir / "pg_verifybackup", "-q", "-n", target])
        self.cluster.check_restored(target, expected)


class Pgstow(Tool):
    key, name = "pgstow", "pgstow"
    program = None  # set by run.py

    def set_up(self):
        config = self.folder / "pgstow.toml"
        text = f"""state_dir = "{self.folder}/state"
[repo.local]
url = "{self.folder}/repo"
compression = "zstd:{LEVEL}"
[cluster.main]
host = "{self.cluster.folder}"
port = {self.cluster.port}
user = "postgres"
data_dir = "{self.cluster.data}"
bindir = "{self.cluster.bindir}"
jobs = {WORKERS}
checkpoint = "fast"
"""
        call(["sh", "-c", 'printf %s "$2" >"$1"', "sh", config, text])
        self.command = [self.program, "--config", str(config), "--no-progress"]
        call([*self.command, "init"])
        self.archive_command = f'"{self.program}" --config "{config}" archive-wal %p'

    def backup_command(self):
        return [*self.command, "base"]

    def backups(self):
        return sorted((self.folder / "repo/main/base").glob("*"))

    def stored(self):
        return stored_bytes(self.backups()[-1])

    def forget(self):
        for backup in self.backups():
            shutil.rmtree(backup)

    def restore(self, target, *more):
        oid = self.cluster.tablespace_oid()
        return measure([*self.command, "restore", "--data-dir", target, "--archive", "off",
                        "--tablespace", f"{oid}={self.tablespace_at(target)}", *more])

    def restore_delta(self, target):
        return self.restore(target, "--delta")


def pg_basebackup(cluster):
    return [cluster.bindir / "pg_basebackup", *cluster.connection()[1:7], "-X", "fetch", "-c", "fast"]


def server_alone(cluster):
    """The server reads and checks all files and sends them to nobody."""
    return measure([*pg_basebackup(cluster), "--target", "blackhole"], cluster.postmaster())


class PgBasebackup(Tool):
    """tar archives, as its users keep them; the restore is `tar -x` for each of them.

    The WAL is in the backup: with `-X none` the server looks once a second whether it is archived.
    """

    archive_command = "true"

    def backup_command(self):
        return [*pg_basebackup(self.cluster), "-F", "tar", "--compress", self.compress, "-D", str(self.folder / "backup")]

    def stored(self):
        return stored_bytes(self.folder / "backup")

    def forget(self):
        shutil.rmtree(self.folder / "backup", ignore_errors=True)

    def restore(self, target):
        oid, tablespace = self.cluster.tablespace_oid(), self.tablespace_at(target)
        script = (f'set -eu; cd "{self.folder}/backup"; mkdir -m 700 "{target}" "{tablespace}"; '
                  f'{self.unpack} base.tar{self.ending} | tar -xf - -C "{target}"; '
                  f'{self.unpack} {oid}.tar{self.ending} | tar -xf - -C "{tablespace}"; '
                  f'cp backup_manifest "{target}"; ln -s "{tablespace}" "{target}/pg_tblspc/{oid}"; sync')
        return measure(["bash", "-o", "pipefail", "-c", script])

    def check(self, target, expected):
        call([self.cluster.bindir / "pg_verifybackup", "-q", target])
        # Only now, since the manifest lists the map as it was.
        call(["sed", "-i", f"s|^\\([0-9]*\\) .*|\\1 {self.tablespace_at(target)}|", f"{target}/tablespace_map"])
        self.cluster.check_restored(target, expected)


class PgBasebackupZstd(PgBasebackup):
    key, name = "pg_basebackup-zstd", "pg_basebackup, client-zstd"
    compress, unpack, ending = f"client-zstd:level={LEVEL},workers={WORKERS}", "zstd -dcq", ".zst"


class PgBasebackupGzip(PgBasebackup):
    key, name = "pg_basebackup-gzip", "pg_basebackup, client-gzip"
    compress, unpack, ending = "client-gzip:level=6", "gzip -dc", ".gz"


class PgBackRest(Tool):
    key, name = "pgbackrest", "pgBackRest"
    more = ""  # further lines of its configuration
    checks_manifest = False  # it has a manifest of its own, and checks while it restores

    def set_up(self):
        config = self.folder / "pgbackrest.conf"
        text = f"""[global]
repo1-path={self.folder}/repo
repo1-bundle=y
repo1-retention-full=2
process-max={WORKERS}
compress-type=zst
compress-level={LEVEL}
start-fast=y
lock-path={self.folder}/lock
spool-path={self.folder}/spool
log-path={self.folder}/log
log-level-console=warn
log-level-file=off
{self.more}[main]
pg1-path={self.cluster.data}
pg1-socket-path={self.cluster.folder}
pg1-port={self.cluster.port}
pg1-user=postgres
"""
        call(["sh", "-c", 'mkdir -p "$1/lock" "$1/spool" "$1/log"; printf %s "$3" >"$2"', "sh", self.folder, config, text])
        self.command = ["pgbackrest", f"--config={config}", "--stanza=main"]
        call([*self.command, "stanza-create"])
        self.archive_command = f'pgbackrest --config={config} --stanza=main archive-push %p'

    def backup_command(self):
        return [*self.command, "--type=full", "backup"]

    def backups(self):
        return sorted(path for path in (self.folder / "repo/backup/main").iterdir() if path.name.endswith("F"))

    def stored(self):
        return stored_bytes(self.backups()[-1])

    def forget(self):
        """Its own catalog must agree with the folder, so `expire` does it (retention: 2)."""

    def restore(self, target):
        call(["mkdir", "-m", "700", self.tablespace_at(target)])
        return self.restore_there(target)

    def restore_there(self, target, *more):
        return measure([*self.command, f"--pg1-path={target}", f"--tablespace-map-all={self.tablespace_at(target)}",
                        "--archive-mode=off", *more, "restore"])

    def restore_delta(self, target):
        return self.restore_there(target, "--delta")


TOOLS = [Pgstow, PgBasebackupZstd, PgBasebackupGzip, PgBackRest]
