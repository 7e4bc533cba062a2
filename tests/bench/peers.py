"""The tools that pgstow is compared with."""

import getpass
import re

from data import COUNTS
from measure import USER, call, measure, remove, stored_bytes
from tools import WORKERS, Tool, counted


def pg_basebackup(cluster):
    return [cluster.bindir / "pg_basebackup", *cluster.connection()[1:7], "-X", "fetch", "-c", "fast"]


class PgBasebackup(Tool):
    """tar archives, as its users keep them; the restore is `tar -x` for each of them.

    The WAL is in the backup: with `-X none` the server looks once a second whether it is archived.
    """

    key, name = "pg_basebackup", "pg_basebackup, client-zstd"
    archive_command = "true"

    def backup_command(self):
        return [*pg_basebackup(self.cluster), "-F", "tar", "--compress", f"client-zstd:level={self.codec.level},workers={WORKERS}",
                "-D", str(self.folder / "backup")]

    def stored(self):
        return stored_bytes(self.folder / "backup")

    def forget(self):
        remove(self.folder / "backup")

    def restore(self, target):
        oid, tablespace = self.cluster.tablespace_oid(), self.tablespace_at(target)
        script = (f'set -eu; cd "{self.folder}/backup"; mkdir -m 700 "{target}" "{tablespace}"; '
                  f'zstd -dcq base.tar.zst | tar -xf - -C "{target}"; '
                  f'zstd -dcq {oid}.tar.zst | tar -xf - -C "{tablespace}"; '
                  f'cp backup_manifest "{target}"; ln -s "{tablespace}" "{target}/pg_tblspc/{oid}"; sync')
        return measure(["bash", "-o", "pipefail", "-c", script])

    def check(self, target, expected):
        call([self.cluster.bindir / "pg_verifybackup", "-q", target])
        # Only now, since the manifest lists the map as it was.
        call(["sed", "-i", f"s|^\\([0-9]*\\) .*|\\1 {self.tablespace_at(target)}|", f"{target}/tablespace_map"])
        self.cluster.check_restored(target, COUNTS, expected)


class PgBackRest(Tool):
    key, name = "pgbackrest", "pgBackRest"
    settings = ""  # further lines of its configuration
    options = ()  # what only the command line may say
    checks_manifest = False  # it has a manifest of its own, and checks while it restores

    def repository(self):
        return f"repo1-path={self.repo}"

    def set_up(self):
        config = self.configure("pgbackrest.conf", f"""[global]
{self.repository()}
repo1-bundle=y
repo1-retention-full=1
expire-auto=n
process-max={WORKERS}
compress-type={"zst" if self.codec.name == "zstd" else self.codec.name}
compress-level={self.codec.level}
start-fast=y
lock-path={self.folder}/lock
spool-path={self.folder}/spool
log-path={self.folder}/log
log-level-console=warn
log-level-file=off
{self.settings}[main]
pg1-path={self.cluster.data}
pg1-socket-path={self.cluster.folder}
pg1-port={self.cluster.port}
pg1-user=postgres
""")
        call(["mkdir", "-p", self.folder / "lock", self.folder / "spool", self.folder / "log"])
        self.command = ["pgbackrest", f"--config={config}", "--stanza=main", *self.options]
        call([*self.command, "stanza-create"])
        self.archive_command = " ".join([*self.command, "archive-push", "%p"])

    def backup_command(self):
        return [*self.command, "--type=full", "backup"]

    def incremental_command(self):
        return [*self.command, "--type=incr", "backup"]

    def last_is_incremental(self):
        return self.backups()[-1].name.endswith("I")

    def backups(self):
        return sorted(path for path in (self.repo / "backup/main").iterdir()
                      if re.fullmatch(r"\d{8}-\d{6}F(_\d{8}-\d{6}I)?", path.name))

    def stored(self):
        return stored_bytes(self.backups()[-1])

    def forget(self):
        """But the newest, since its own catalog must agree with the folder."""
        if self.backups():
            call([*self.command, "expire"])

    def archive(self):
        # Beside it lies archive.info, which a push needs.
        return self.repo / f"archive/main/{self.cluster.major()}-1"

    def forget_archive(self):
        remove(self.archive())
        self.forget_fetched()

    def forget_fetched(self):
        remove(self.folder / "spool/archive")

    def fetch(self, data, segment, to):
        return " ".join([*self.command, f"--pg1-path={data}", "archive-get", segment, to])

    def restore(self, target):
        call(["mkdir", "-m", "700", self.tablespace_at(target)])
        return self.restore_there(target)

    def restore_there(self, target, *more):
        return counted(self, [*self.command, f"--pg1-path={target}", f"--tablespace-map-all={self.tablespace_at(target)}",
                              "--archive-mode=off", *more, "restore"])

    def restore_delta(self, target):
        return self.restore_there(target, "--delta")


class PgBackRestAsync(PgBackRest):
    key, name = "pgbackrest-async", "pgBackRest, asynchronous"
    settings = "archive-async=y\n"


class PgBackRestBlock(PgBackRest):
    """Block incremental was a beta feature of 2.45; from 2.46 on it is none, and needs no option."""

    key, name = "pgbackrest-block", "pgBackRest, block incremental"
    settings = "repo1-block=y\n"
    options = ("--beta",)


class Barman(Tool):
    """Through pg_basebackup, its only method that compresses."""

    key, name = "barman", "Barman, client-zstd"
    most_rounds = 2
    checks_manifest = False  # it keeps the manifest out of the restored folder
    method = """backup_method = postgres
backup_compression = zstd
backup_compression_location = client
backup_compression_level = {level}
backup_compression_workers = {workers}
"""

    def set_up(self):
        connection = f"host={self.cluster.folder} port={self.cluster.port} user=postgres dbname=postgres"
        config = self.configure("barman.conf", f"""[barman]
barman_home = {self.folder}/home
barman_user = {USER or getpass.getuser()}
barman_lock_directory = {self.folder}
log_file = {self.folder}/log
[main]
description = benchmark
conninfo = {connection}
streaming_conninfo = {connection}
path_prefix = {self.cluster.bindir}
archiver = on
immediate_checkpoint = true
parallel_jobs = {WORKERS}
recovery_staging_path = {self.folder}
{self.method.format(level=self.codec.level, workers=WORKERS)}""")
        incoming = self.folder / "home/main/incoming"
        call(["mkdir", "-p", incoming])
        self.command = ["barman", "-q", "-c", str(config)]
        # Through a name that Barman doesn't take up: it must not see a half of it.
        self.archive_command = f'cp %p "{incoming}/.%f" && sync "{incoming}/.%f" && mv "{incoming}/.%f" "{incoming}/%f"'

    def backup_command(self):
        call([*self.command, "archive-wal", "main"])
        return [*self.command, "backup", "main"]

    def stored(self):
        return stored_bytes(sorted((self.folder / "home/main/base").iterdir())[-1])

    def forget(self):
        remove(self.folder / "home/main/base")

    def restore(self, target):
        # What the backup needs came after it.
        call([*self.command, "archive-wal", "main"])
        call(["mkdir", "-m", "700", self.tablespace_at(target)])
        return measure([*self.command, "recover", "--tablespace", f"elsewhere:{self.tablespace_at(target)}", "main", "latest", target])


class BarmanRsync(Barman):
    """Incremental by hard links to the files of the backup before; it compresses nothing."""

    key, name = "barman-rsync", "Barman, local-rsync"
    most_rounds = 1
    method = """backup_method = local-rsync
reuse_backup = link
"""

    def incremental_command(self):
        return self.backup_command()

    def last_is_incremental(self):
        return self.stored() < self.whole()

    def stored(self):
        """What the last backup has for itself."""
        return sum(file.stat().st_size for file in self.last_files() if file.stat().st_nlink == 1)

    def whole(self):
        return sum(file.stat().st_size for file in self.last_files())

    def last_files(self):
        last = sorted((self.folder / "home/main/base").iterdir())[-1]
        return [file for file in last.rglob("*") if file.is_file() and not file.is_symlink()]
