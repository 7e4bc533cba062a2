"""How memory grows with the number of files: base backups of a small cluster with many files."""

from cluster import Cluster
from measure import call, measure
from tools import PgBackRest, PgBasebackupZstd, Pgstow

FEW, MANY = 20_000, 100_000
# The server sends every file of its data directory, whatever made it.
MAKE = """
import os, sys
folder, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, last):
    os.makedirs(f"{folder}/{number // 1000}", exist_ok=True)
    with open(f"{folder}/{number // 1000}/{number}", "w") as file:
        file.write("x" * 100)
"""


def growth(bindir, folder, port, say):
    """For each tool: name, peak memory with few files, with many, bytes per file."""
    cluster = Cluster(bindir, folder, port)
    cluster.create()
    cluster.start()
    try:
        tools = [tool(cluster, folder) for tool in (Pgstow, PgBasebackupZstd, PgBackRest)]
        for tool in tools:
            tool.set_up()
        peaks = {tool.name: [] for tool in tools}
        made = 0
        for files in (FEW, MANY):
            call(["python3", "-c", MAKE, cluster.data / "many", str(made), str(files)])
            made = files
            for tool in tools:
                say(f"{files} files: {tool.name}")
                cluster.archive_with(tool.archive_command)
                tool.forget()
                peaks[tool.name].append(tool.backup().memory)
        return [(name, few, many, (many - few) / (MANY - FEW)) for name, (few, many) in peaks.items()]
    finally:
        cluster.stop()


def starts(pgstow, runs=50):
    """Seconds of `--version` of pgstow and of pgBackRest, interleaved; their medians."""
    commands = [[str(pgstow), "--version"], ["pgbackrest", "version"], ["true"]]
    times = [[], [], []]
    for _ in range(runs):
        for command, row in zip(commands, times):
            row.append(start_seconds(command))
    return [sorted(row)[len(row) // 2] for row in times]


def start_seconds(command):
    import subprocess
    import time

    begun = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begun
