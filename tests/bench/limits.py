"""What the machine can do without any tool: the bare loops of limits.rs, and the server that sends to nobody."""

from dataclasses import dataclass

from measure import Measured, call, measure
from peers import pg_basebackup
from tools import WORKERS, ZSTD


@dataclass(frozen=True)
class Loop:
    name: str
    peer: bool = False


READING = Loop("reading the files")
COMPRESSING = Loop(f"reading and compressing them ({ZSTD}, {WORKERS} threads)")
WRITING = Loop("writing and syncing as many bytes as they have")
STORING = Loop("writing and syncing as many bytes as pgstow stores")
SENDING = Loop("the server alone (pg_basebackup --target=blackhole)")


def start(bench, command, folder="/"):
    """A command that only starts and ends: no sampling, no sync."""
    nanoseconds = call([bench.place.folder / "bin/limits", "start", folder, *command])
    return Measured(int(nanoseconds) / 1e9, 0.0, 0)


class Limits:
    loops = (READING, COMPRESSING, WRITING, STORING, SENDING)

    def __init__(self, bench, cluster):
        self.program = str(bench.place.folder / "bin/limits")
        self.file = bench.place.below("limits") / "written"
        self.cluster = cluster
        # And the files are in memory for everybody.
        _, self.plain = self.loop("read", cluster.data)

    def loop(self, *what):
        measured = measure([self.program, *map(str, what)])
        return measured, int(measured.output or 0)

    def compress(self, folder, threads):
        """Measured, and the bytes that would be stored."""
        return self.loop("compress", ZSTD.level, threads, folder)

    def warm(self):
        """For what follows, which writes that much: see limits.rs."""
        self.loop("touch", self.plain * 3 // 2)

    def write(self, count):
        self.warm()
        measured, _ = self.loop("write", count, self.file)
        self.file.unlink()
        return measured

    def round(self, row, stored):
        row.add(READING, self.loop("read", self.cluster.data)[0])
        row.add(COMPRESSING, self.compress(self.cluster.data, WORKERS)[0])
        row.add(WRITING, self.write(self.plain))
        row.add(STORING, self.write(stored))
        row.add(SENDING, measure([*pg_basebackup(self.cluster), "--target", "blackhole"], self.cluster.postmaster()))
