"""A real archiver that has fallen behind, and a recovery that asks for segment after segment."""

import os
import shutil
import time
from pathlib import Path
from statistics import median

import report
from cluster import ROWS, Cluster
from measure import Failed, call, measure
from tools import PgBackRest, Pgstow


class PgBackRestAsync(PgBackRest):
    key, name = "pgbackrest-async", "pgBackRest archive-push, asynchronous"
    more = "archive-async=y\n"

    def archived(self):
        return self.folder / f"repo/archive/main/{self.cluster.major()}-1"


class PgstowAhead(Pgstow):
    key, name = "pgstow-ahead", "pgstow archive-wal"

    def archived(self):
        return self.folder / "repo/main/wal"


def archiver_figures(options, folder, say):
    """The time from the moment when archive_command works until nothing waits."""
    cluster = Cluster(options.bindir, folder, options.port)
    cluster.create()
    cluster.start()
    try:
        tools = [tool(cluster, folder) for tool in (PgstowAhead, PgBackRestAsync)]
        for tool in tools:
            tool.set_up()
        cluster.sql("CREATE DATABASE load")
        cluster.pgbench("-i", "-q", "-s", "10", database="load")
        cluster.sql("CREATE TABLE events (id int, body text)", "load")
        figures = {tool.name: [] for tool in tools}
        for number in range(1, options.runs + 1):
            for tool in tools:
                count, wall = catch_up(cluster, tool, options.segments)
                figures[tool.name].append(wall / count)
                say(f"round {number}: {count} segments by {tool.name}: {wall:.2f} s")
    finally:
        cluster.stop()
    first = figures[tools[0].name]
    rows = [[name, report.seconds(median(each) * options.segments), report.seconds(median(each)),
             f"{median(one / other for one, other in zip(each, first)):.2f}"] for name, each in figures.items()]
    return (f"## An archiver that has fallen behind by {options.segments} segments\n\nFrom the moment when `archive_command` works until "
            "PostgreSQL 15 has nothing to archive, with two workers (processes).\n\n"
            + report.table(["", "wall", "a segment", f"wall / {tools[0].name}"], rows))


def catch_up(cluster, tool, wanted):
    """How many segments waited, and the seconds until none did."""
    set_command(cluster, "false")
    while len(waiting(cluster)) < wanted:
        # Behind a checkpoint the first change of each page writes the whole page.
        cluster.sql("CHECKPOINT", "load")
        cluster.pgbench("-c", "2", "-t", "5000", database="load")
        cluster.sql(f"INSERT INTO events {ROWS.format(rows=40000)}", "load")
    names = waiting(cluster)
    # Three failures, then the archiver sleeps, and a reload wakes it.
    time.sleep(4)
    os.sync()
    begun = time.monotonic()
    set_command(cluster, tool.archive_command)
    while waiting(cluster):
        if time.monotonic() - begun > 600:
            raise Failed(f"{tool.name} does not catch up; see {cluster.folder}/log")
        time.sleep(0.005)
    wall = time.monotonic() - begun
    stored = {file.name[:24] for file in tool.archived().rglob("*") if file.is_file()}
    if not stored.issuperset(names):
        raise Failed(f"{tool.name} lacks {sorted(set(names) - stored)}")
    return len(names), wall


def set_command(cluster, command):
    quoted = command.replace("'", "''")
    cluster.sql(f"ALTER SYSTEM SET archive_command = '{quoted}'")
    cluster.sql("SELECT pg_reload_conf()")


def waiting(cluster):
    names = os.listdir(cluster.data / "pg_wal/archive_status")
    return [name[:24] for name in names if name.endswith(".ready") and len(name) == 30]


class Get:
    """`command` fetches "$segment" to pg_wal/RECOVERYXLOG of the folder that it runs in."""

    def __init__(self, push):
        self.tool = push.tool
        self.data = Path(push.tool.folder) / "recovery"
        call(["sh", "-c", 'mkdir -p "$2/global" "$2/pg_wal"; cp "$1/global/pg_control" "$2/global/"', "sh",
              self.tool.cluster.data, self.data])

    def run(self, segments):
        # As the startup process does it: what is in the way goes first.
        loop = (f'cd "{self.data}"; for path in "{segments}"/*; do segment=${{path##*/}}; rm -f pg_wal/RECOVERYXLOG; '
                f'segment=$segment sh -c \'{self.command}\' || exit 1; cmp -n 8192 "$path" pg_wal/RECOVERYXLOG || exit 1; done')
        return measure(["sh", "-c", loop])


class PgstowGet(Get):
    name = "pgstow restore-wal"

    def __init__(self, push):
        super().__init__(push)
        self.command = push.tool.archive_command.replace("archive-wal %p", 'restore-wal "$segment" pg_wal/RECOVERYXLOG')

    def clear(self):
        shutil.rmtree(self.tool.folder / "state/main/spool", ignore_errors=True)


class PgBackRestGet(Get):
    name = "pgBackRest archive-get"

    def __init__(self, push):
        super().__init__(push)
        get = f'--pg1-path={self.data} archive-get "$segment" pg_wal/RECOVERYXLOG'
        self.command = push.tool.archive_command.replace("archive-push %p", get)

    def clear(self):
        pass
