"""Incremental backups: nothing, one range, or rows at random have changed since the last."""

from bench import say
from data import change_range, change_rows, settled
from peers import BarmanRsync, PgBackRest, PgBackRestBlock
from rows import rounds
from tools import Pgstow

# One of so many pages or rows changes.
OF = 100


def incremental(bench):
    """Each tool keeps one chain; all back the same changes up, and in the end restore their newest backup."""
    cluster = bench.filled()
    tools = [tool(cluster, bench.place.below("incremental")) for tool in (Pgstow, PgBackRest, PgBackRestBlock, BarmanRsync)]
    begin(bench, cluster, tools)
    changes = {
        "nothing": lambda number: None,
        "one range": lambda number: change_range(cluster, number, OF),
        "rows at random": lambda number: change_rows(cluster, OF),
    }
    titles = {
        "nothing": f"Nothing changed, {cluster.files():,} files",
        "one range": f"{1 / OF:.0%} of the pages changed, in one range of each larger table",
        "rows at random": f"{1 / OF:.0%} of the rows of the larger tables changed, at random",
    }
    bench.text("## Incremental backup\n\nPostgreSQL " + cluster.major() + ", each on top of the one before.")
    chains(bench, cluster, tools, changes, titles)


def begin(bench, cluster, tools):
    """The full backups that all else builds on."""
    settled(cluster)
    for tool in tools:
        cluster.archive_with(tool.archive_command)
        say(f"full backup by {tool.name}: {tool.backup().wall:.2f} s")


def chains(bench, cluster, tools, changes, titles, of=""):
    """Makes the `changes`, round by round, has all tools back them up, and checks the last link of each chain. `titles`: of
    their tables; `of`: what stands behind the keys of the rows."""
    rows = {}
    for kind, title in titles.items():
        bench.text(f"{title}:")
        rows[kind] = bench.row(f"incremental, {kind}{of}", tools)
    expected = {}
    for number, turn in rounds(bench.options.runs, tools):
        for kind, change in changes.items():
            cluster.set_archive_command("true")
            change(number)
            counts = settled(cluster)
            for tool in turn:
                cluster.archive_with(tool.archive_command)
                measured = tool.incremental()
                bench.record(number, f"incremental ({kind}{of})", rows[kind], tool, measured, tool.stored())
                expected[tool.key] = counts
    bench.text("Restores of the newest backup, with all that it builds on, once:")
    restores = bench.row(f"restore of a chain{of}", tools, ("wall", "CPU", "peak memory"))
    for tool in tools:
        target = str(bench.place.below("restored") / tool.key)
        bench.record(1, "restore of a chain", restores, tool, tool.restore(target))
        tool.check(target, expected[tool.key])
        tool.remove(target)
