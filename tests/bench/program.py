"""The program itself: its size, and how long it takes to start."""

import os

import report
from limits import Loop, start

STARTS = 50


def program(bench):
    pgstow = str(bench.place.folder / "bin/pgstow")
    bench.text(f"## The program\n\nIt has {report.megabytes(os.path.getsize(pgstow))}. {STARTS} starts of each:")
    commands = {Loop("pgstow --version"): [pgstow, "--version"], Loop("pgbackrest version", peer=True): ["pgbackrest", "version"],
                Loop("true"): ["true"]}
    row = bench.row("start of the program", commands, ("wall",))
    for _ in range(STARTS):
        for loop, command in commands.items():
            row.add(loop, start(bench, command))
