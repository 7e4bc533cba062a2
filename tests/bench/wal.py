"""The archive: segments one by one, an archiver that has fallen behind, segments that recovery asks for."""

import os
import shlex
import time
from pathlib import Path

import report
from data import make_wal
from limits import Limits, Loop, start
from measure import Failed, Measured, call, remove, stored_bytes
from peers import PgBackRest, PgBackRestAsync
from rows import LOCAL, rounds
from tools import Pgstow, counted

CATCH_UP_SECONDS = 600
# A call whose segment is stored already is timed so often: no more than either stores ahead at once.
CALLS = 60


class Copy:
    """No tool, but what many use: no compression, no check."""

    key, name, peer, most_rounds = "cp", "cp && sync", False, 1000

    def __init__(self, cluster, folder):
        self.folder = Path(folder) / self.key
        self.archive_command = f'cp %p "{self.folder}/" && sync "{self.folder}/$(basename %p)"'
        self.forget_archive()

    def archive(self):
        return self.folder

    def forget_archive(self):
        remove(self.folder)
        call(["mkdir", "-p", self.folder])


def wal(bench):
    cluster, names, segments = made(bench, "wal")
    one_by_one = [tool(cluster, bench.place.below("wal/one-by-one")) for tool in (Pgstow, PgBackRest, Copy)]
    behind = [tool(cluster, bench.place.below("wal/behind")) for tool in (Pgstow, PgBackRestAsync)]
    catching_up(bench, behind, names, segments)
    known_calls(bench, cluster, behind, names)
    pushes(bench, one_by_one, segments)
    fetches(bench, one_by_one[:2], segments)


def made(bench, place):
    """A cluster with segments that wait, their names, and a folder with copies of them."""
    wanted = bench.options.segments
    # The segments stay: all tools get the same.
    cluster = bench.cluster(place, kept=f"{wanted * 16 + 4096}MB")
    cluster.set_archive_command("")
    make_wal(cluster, lambda: len(waiting(cluster)) >= wanted)
    names = sorted(waiting(cluster))[:wanted]
    for name in set(waiting(cluster)) - set(names):
        mark(cluster, name, "ready", "done")
    segments = bench.place.below(f"{place}/segments")
    call(["cp", *(cluster.data / "pg_wal" / name for name in names), segments])
    return cluster, names, segments


def catching_up(bench, tools, names, segments, where=""):
    """The time from the moment when archive_command works until nothing waits."""
    cluster = tools[0].cluster
    bench.text(f"## An archiver that has fallen behind by {len(names)} segments{where}\n\nFrom the moment when `archive_command` works "
               f"until PostgreSQL {cluster.major()} has nothing to archive, with two workers (processes).")
    row = bench.row(f"archiver fallen behind{where}", tools, ("wall", "stored", *tools[0].further))
    for number, turn in rounds(bench.options.runs, tools):
        for tool in turn:
            fall_behind(cluster, tool, names)
            os.sync()
            requests = tool.requests()
            begun = time.monotonic()
            cluster.set_archive_command(tool.archive_command)
            while waiting(cluster):
                if time.monotonic() - begun > CATCH_UP_SECONDS:
                    raise Failed(f"{tool.name} does not catch up; see {cluster.folder}/log")
                time.sleep(0.005)
            wall = time.monotonic() - begun
            cluster.set_archive_command("")
            bench.record(number, f"{len(names)} segments", row, tool,
                         Measured(wall, 0.0, 0, requests=tool.requests() - requests), stored_bytes(tool.archive()))
    for tool in tools:
        Fetch(bench, tool).round(segments)  # all are there, byte for byte


def fall_behind(cluster, tool, names):
    """Its archive is empty, and all segments wait."""
    tool.forget_archive()
    for name in names:
        mark(cluster, name, "done", "ready")


def mark(cluster, name, old, new):
    status = cluster.data / "pg_wal/archive_status"
    if (status / f"{name}.{old}").exists():
        os.rename(status / f"{name}.{old}", status / f"{name}.{new}")


def waiting(cluster):
    names = os.listdir(cluster.data / "pg_wal/archive_status")
    return [name[:24] for name in names if name.endswith(".ready") and len(name) == 30]


def known_calls(bench, cluster, tools, names):
    bench.text("A single call whose segment was stored ahead by an earlier one, started without a shell, while nothing is left "
               "to be stored behind it:")
    nothing = Loop("true")
    row = bench.row("archive-wal, stored already", [*tools, nothing], ("wall",))
    # No others wait, which would be stored at the same time.
    names = names[:CALLS + 1]
    first, *later = names
    for tool in tools:
        fall_behind(cluster, tool, names)
        call_for(bench, cluster, tool, first)
        wait_until_stored(tool, later)
        for name in later:
            row.add(tool, call_for(bench, cluster, tool, name))
    for _ in later:
        row.add(nothing, start(bench, ["true"]))
    for name in names:
        mark(cluster, name, "ready", "done")


def call_for(bench, cluster, tool, name):
    return start(bench, shlex.split(tool.archive_command.replace("%p", f"pg_wal/{name}")), cluster.data)


def wait_until_stored(tool, names):
    """Both store in the background, and note what is stored."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while not all(is_noted(tool, name) for name in names):
        if time.monotonic() > deadline:
            raise Failed(f"{tool.name} does not store what waits")
        time.sleep(0.01)


def is_noted(tool, name):
    if isinstance(tool, PgBackRestAsync):
        return (tool.folder / f"spool/archive/main/out/{name}.ok").exists()
    notes = tool.folder / "state/main/stored-ahead.json"
    return notes.exists() and name in notes.read_text()


def pushes(bench, tools, segments, where=""):
    count = len(os.listdir(segments))
    bare, stored = Limits(bench, tools[0].cluster).compress(segments, 1)
    bench.text(f"## Archiving {count} WAL segments{where}\n\nOne after the other, {report.megabytes(count * 16 * 2**20)} in all, each by a "
               f"call of its own. Reading and compressing them without any tool, one thread: {report.seconds(bare.wall)}, "
               f"{report.megabytes(stored)}.")
    row = bench.row(f"archive-wal, one by one{where}", tools, (*LOCAL, *tools[0].further))
    for number, turn in rounds(bench.options.runs, tools):
        for tool in turn:
            tool.forget_archive()
            # The archiver, too, starts a shell for each segment.
            command = tool.archive_command.replace("%p", '"$segment"')
            measured = counted(tool, ["sh", "-c", f'for segment in "{segments}"/*; do segment=$segment sh -c \'{command}\' || exit 1; done'])
            bench.record(number, f"archiving {count} segments", row, tool, measured, stored_bytes(tool.archive()))


class Fetch:
    """A recovery that asks for segment after segment, without its replay."""

    def __init__(self, bench, tool):
        self.tool = tool
        self.data = bench.place.below("wal/recovery")
        self.got = self.data / "pg_wal/got"
        call(["sh", "-c", 'mkdir -p "$2/global" "$2/pg_wal"; cp "$1/global/pg_control" "$2/global/"', "sh", tool.cluster.data, self.data])

    def round(self, segments):
        self.tool.forget_fetched()
        call(["mkdir", self.got])
        command = self.tool.fetch(self.data, '"$segment"', "pg_wal/RECOVERYXLOG")
        # As the startup process does it: what was fetched gets its own name.
        measured = counted(self.tool, ["sh", "-c", f'cd "{self.data}"; for path in "{segments}"/*; do segment=${{path##*/}}; segment=$segment '
                                                   f"sh -c '{command}' || exit 1; mv pg_wal/RECOVERYXLOG \"pg_wal/got/$segment\" || exit 1; done"])
        call(["diff", "-rq", segments, self.got])
        remove(self.got)
        return measured


def fetches(bench, tools, segments, where=""):
    """Of what was stored last."""
    count = len(os.listdir(segments))
    bench.text(f"## Fetching {count} WAL segments{where}\n\nOne after the other, as recovery asks for them, but without its replay beside it. "
               "What was fetched is compared with what was archived.")
    row = bench.row(f"restore-wal, one by one{where}", tools, ("wall", "CPU", "peak memory", *tools[0].further))
    fetches_of = {tool.key: Fetch(bench, tool) for tool in tools}
    for number, turn in rounds(bench.options.runs, tools):
        for tool in turn:
            bench.record(number, f"fetching {count} segments", row, tool, fetches_of[tool.key].round(segments))
