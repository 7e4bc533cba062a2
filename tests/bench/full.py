"""Full backups with several codecs, and restores of them to an empty folder."""

import report
from bench import say
from data import settled
from limits import Limits
from peers import Barman, PgBackRest, PgBasebackup
from rows import rounds
from tools import WORKERS, ZSTD, Codec, Pgstow

OTHER_CODECS = [Codec("zstd", 1), Codec("lz4", 1)]


def full(bench):
    cluster = bench.filled()
    tools = [tool(cluster, bench.place.below("full")) for tool in (Pgstow, PgBasebackup, PgBackRest, Barman)]
    limits = Limits(bench, cluster)
    expected = settled(cluster)
    bench.text(f"## Full backup\n\n{report.megabytes(limits.plain)} in {cluster.files():,} files, {WORKERS} workers.\n\n"
               f"{ZSTD}, {bench.options.runs} rounds (Barman: {Barman.most_rounds} at most):")
    backups = bench.row(f"full backup, {ZSTD}", tools)
    other_codecs(bench, cluster, expected)
    bench.text("## Restore to an empty folder\n\nOf the backups above.")
    restores = bench.row("restore", tools, ("wall", "CPU", "peak memory"))
    bench.text("## What the machine can do\n\nIn the same rounds, without any tool:")
    machine = bench.row("limits", limits.loops, ("wall", "CPU"))
    for number, turn in rounds(bench.options.runs, tools):
        for tool in turn:
            take(bench, number, backups, tool)
        for tool in turn:
            target = str(bench.place.below("restored") / tool.key)
            limits.warm()
            bench.record(number, "restore", restores, tool, tool.restore(target))
            tool.check(target, expected)
            tool.remove(target)
        limits.round(machine, int(backups.ours()[-1].stored))


def other_codecs(bench, cluster, expected):
    for codec in OTHER_CODECS:
        tools = [tool(cluster, bench.place.below(f"full-{codec.name}-{codec.level}"), codec) for tool in (Pgstow, PgBackRest)]
        bench.text(f"{codec}:")
        row = bench.row(f"full backup, {codec}", tools)
        for number, turn in rounds(bench.options.runs, tools):
            for tool in turn:
                take(bench, number, row, tool)
        for tool in tools:
            target = str(bench.place.below("restored") / tool.key)
            tool.restore(target)
            tool.check(target, expected)
            tool.remove(target)
        say(f"checked what was stored with {codec}")


def take(bench, number, row, tool):
    tool.forget()
    tool.cluster.archive_with(tool.archive_command)
    measured = tool.backup()
    bench.record(number, f"backup ({tool.codec})", row, tool, measured, tool.stored())
