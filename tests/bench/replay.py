"""A restore with the replay of many segments, until the server accepts connections."""

from data import COUNTS, make_wal
from peers import PgBackRestAsync
from rows import rounds
from tools import Pgstow

SEGMENTS = 100


def replay(bench):
    cluster = bench.filled()
    tools = [tool(cluster, bench.place.below("replay")) for tool in (Pgstow, PgBackRestAsync)]
    # All archive the same WAL.
    cluster.archive_with(" && ".join(tool.archive_command for tool in tools))
    for tool in tools:
        tool.backup()
    behind = segment_number(cluster) + SEGMENTS
    make_wal(cluster, lambda: segment_number(cluster) >= behind)
    cluster.archive_the_last()
    expected = cluster.sql(COUNTS)
    bench.text(f"## Restore and replay\n\nA restore, then a start, until {SEGMENTS} segments are replayed and the server accepts "
               "connections. Both tools fetch ahead.")
    row = bench.row("restore and replay", tools, ("wall",))
    for number, turn in rounds(bench.options.runs, tools):
        for tool in turn:
            tool.forget_fetched()
            target = str(bench.place.below("restored") / tool.key)
            measured = tool.restore(target).and_then(cluster.start_restored(target))
            cluster.check_running(target, COUNTS, expected)
            cluster.check_pages(target)
            bench.record(number, "restore and replay", row, tool, measured)
            tool.remove(target)


def segment_number(cluster):
    """Of the segment that is written now, counted from the first."""
    return int(cluster.sql("SELECT (pg_current_wal_insert_lsn() - '0/0') / (16 * 1024 * 1024)::numeric").split(".")[0])
