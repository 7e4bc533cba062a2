"""What all tools have in common, and pgstow: each backs the same server up and restores what it stored.

All copy to the same disk with a fast checkpoint, the same codec and two workers, and page and
file checksums as they come. The other tools: peers.py.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from data import COUNTS
from measure import Failed, call, measure, put_aside, remove, stored_bytes

WORKERS = 2


@dataclass(frozen=True)
class Codec:
    name: str
    level: int  # lz4 has but one that is fast, the peers' 1

    def __str__(self):
        return self.name if self.name == "lz4" else f"{self.name} {self.level}"


ZSTD = Codec("zstd", 3)


def counted(tool, command, server=None):
    """Runs one of its commands, measured, with the requests that it sends."""
    before = tool.requests()
    measured = measure(command, server)
    return replace(measured, requests=tool.requests() - before)


class Tool:
    """Has a folder of its own for what it stores; `archive_command` keeps the WAL that it needs."""

    peer = True
    further = ()  # metrics that mean something beside the usual ones
    most_rounds = 1000  # of a slow one: fewer
    checks_manifest = True  # a restored copy has the server's backup_manifest

    def __init__(self, cluster, folder, codec=ZSTD):
        self.cluster, self.folder, self.codec = cluster, Path(folder) / self.key, codec
        call(["mkdir", "-p", str(self.folder)])
        self.set_up()

    def set_up(self):
        pass

    @property
    def repo(self):
        """Where what it stores lies."""
        return self.folder / "repo"

    def requests(self):
        """How many it has sent to a store so far."""
        return 0

    def configure(self, name, text):
        """Writes its configuration file, as the server's user."""
        path = self.folder / name
        call(["sh", "-c", 'printf %s "$2" >"$1"', "sh", path, text])
        return path

    def backup(self):
        """Takes a full backup, measured."""
        return self.run_backup(self.backup_command())

    def incremental(self):
        """Takes a backup of what changed since the last, measured."""
        measured = self.run_backup(self.incremental_command())
        if not self.last_is_incremental():
            raise Failed(f"{self.name} made no incremental backup:\n{measured.output}")
        return measured

    def run_backup(self, command):
        return counted(self, command, self.cluster.postmaster())

    def tablespace_at(self, target):
        return f"{target}-tablespace"

    def check(self, target, expected):
        """The restored files against the server's manifest, or else its pages; a start and its rows."""
        if self.checks_manifest:
            # The WAL that is needed is in the archive, not in the copy.
            call([self.cluster.bindir / "pg_verifybackup", "-q", "-n", target])
        self.cluster.check_restored(target, COUNTS, expected)
        if not self.checks_manifest:
            self.cluster.check_pages(target)

    def remove(self, target):
        """What a restore made, and what was kept for it."""
        put_aside(target, self.tablespace_at(target))


class Pgstow(Tool):
    key, name, peer = "pgstow", "pgstow", False
    program = None  # set by run.py

    def repository(self):
        """The part of its configuration that says where that is."""
        return f'url = "{self.repo}"'

    def set_up(self):
        compression = self.codec.name if self.codec.name == "lz4" else f"{self.codec.name}:{self.codec.level}"
        config = self.configure("pgstow.toml", f"""state_dir = "{self.folder}/state"
[repo.local]
{self.repository()}
compression = "{compression}"
[cluster.main]
host = "{self.cluster.folder}"
port = {self.cluster.port}
user = "postgres"
data_dir = "{self.cluster.data}"
bindir = "{self.cluster.bindir}"
jobs = {WORKERS}
checkpoint = "fast"
""")
        self.command = [self.program, "--config", str(config), "--no-progress"]
        call([*self.command, "init"])
        self.archive_command = f'"{self.program}" --config "{config}" archive-wal %p'
        self.fetch_command = f'"{self.program}" --config "{config}" restore-wal'

    def backup_command(self):
        return [*self.command, "base"]

    def incremental_command(self):
        return [*self.command, "base", "--incremental"]

    def last_is_incremental(self):
        return self.backups()[-1].name.endswith("-incr")

    def backups(self):
        return sorted((self.repo / "main/base").glob("*"))

    def stored(self):
        return stored_bytes(self.backups()[-1])

    def forget(self):
        for backup in self.backups():
            remove(backup)

    def archive(self):
        """Where its segments lie."""
        return self.repo / "main/wal"

    def forget_archive(self):
        for folder in self.archive().glob("*/*"):
            remove(folder)
        self.forget_fetched()

    def forget_fetched(self):
        """What it has noted, and fetched ahead, of its archive."""
        remove(self.folder / "state")

    def fetch(self, data, segment, to):
        """The command line that fetches a segment, for a recovery in `data`."""
        return f"{self.fetch_command} {segment} {to}"

    def restore(self, target, *more):
        oid = self.cluster.tablespace_oid()
        return counted(self, [*self.command, "restore", "--data-dir", target, "--archive", "off",
                              "--tablespace", f"{oid}={self.tablespace_at(target)}", *more])

    def restore_delta(self, target):
        return self.restore(target, "--delta")
