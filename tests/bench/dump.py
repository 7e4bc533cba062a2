"""Dumps one database, beside pg_dump itself writing to a file on the same disk with the same compression."""

from dataclasses import dataclass, replace

from measure import call, measure, put_aside, remove, stored_bytes
from rows import rounds
from tools import Pgstow

FORMATS = {"custom": ["-Fc"], "plain, gzip": ["-Fp", "-Z6"]}


class DumpByPgstow(Pgstow):
    most_rounds = 1000

    def dump(self, name):
        measured = measure([*self.command, "dump", "postgres", "--no-globals", "--format", name.split(",")[0]],
                           self.cluster.postmaster())
        stored = stored_bytes(self.dumps())
        put_aside(self.dumps())
        return measured, stored

    def dumps(self):
        return self.folder / "repo/main/dumps"


@dataclass(frozen=True)
class PgDump:
    cluster: object
    folder: object
    name = "pg_dump"
    peer = True
    most_rounds = 1000

    def dump(self, name):
        target = self.folder / "pg_dump"
        call(["mkdir", "-p", target])
        command = [self.cluster.bindir / "pg_dump", *self.cluster.connection()[1:], *FORMATS[name], "-f", target / "file"]
        measured = measure(command, self.cluster.postmaster())
        stored = stored_bytes(target)
        put_aside(target)
        return measured, stored


def dump(bench):
    cluster = bench.filled()
    folder = bench.place.below("dump")
    tools = [DumpByPgstow(cluster, folder), PgDump(cluster, folder)]
    bench.text("## Dumps\n\nThe memory of pgstow is what it takes beside that of the pg_dump that it runs; its time has the rows counted and the dump read again, too.")
    rows = {name: bench.row(f"dump, {name}", tools) for name in FORMATS}
    for number, turn in rounds(bench.options.runs, tools):
        for name, row in rows.items():
            done = {tool: tool.dump(name) for tool in turn}
            peer = done[tools[1]][0]
            for tool, (measured, stored) in done.items():
                if tool is tools[0]:
                    measured = replace(measured, memory=max(0, measured.memory - peer.memory))
                bench.record(number, f"dump, {name}", row, tool, measured, stored)
    remove(folder)
