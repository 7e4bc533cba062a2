"""Archiving: the same segments, one after the other, as PostgreSQL's archiver hands them over."""

import shutil
from pathlib import Path

from measure import call, measure, stored_bytes
from tools import PgBackRest, Pgstow


class Push:
    """`command` archives "$segment"; `archived` is the folder where it puts segments."""

    def run(self, segments, count):
        # The archiver, too, starts a shell for each segment.
        loop = f'for segment in "{segments}"/*; do segment=$segment sh -c \'{self.command}\' || exit 1; done'
        measured = measure(["sh", "-c", loop])
        self.stored = stored_bytes(self.archived())
        objects = [file for file in self.archived().rglob("*") if file.is_file()]
        if len(objects) != count:
            raise SystemExit(f"{self.name} archived {len(objects)} of {count} segments")
        return measured

    def clear(self):
        shutil.rmtree(self.archived(), ignore_errors=True)


class PgstowPush(Push):
    name = "pgstow archive-wal"

    def __init__(self, cluster, folder):
        self.tool = Pgstow(cluster, folder)
        self.tool.set_up()
        self.command = self.tool.archive_command.replace("%p", '"$segment"')

    def archived(self):
        return self.tool.folder / "repo/main/wal"


class PgBackRestPush(Push):
    name = "pgBackRest archive-push"

    def __init__(self, cluster, folder):
        self.tool = PgBackRest(cluster, folder)
        self.tool.set_up()
        self.command = self.tool.archive_command.replace("%p", '"$segment"')

    def archived(self):
        # Beside it lies archive.info, which a push needs.
        return self.tool.folder / f"repo/archive/main/{self.tool.cluster.major()}-1"


class Copy(Push):
    name = "cp && sync"

    def __init__(self, cluster, folder):
        self.folder = Path(folder) / "cp"
        self.command = f'cp "$segment" "{self.folder}/" && sync "{self.folder}/${{segment##*/}}"'

    def archived(self):
        return self.folder

    def clear(self):
        super().clear()
        call(["mkdir", str(self.folder)])


PUSHES = [PgstowPush, PgBackRestPush, Copy]
