#!/usr/bin/env python3
"""Compares pgstow with pg_basebackup, pgBackRest and `cp`, and with what the machine can do.

Needs tests/bench/setup.sh. As root it runs everything as user postgres. Figures are only ever
shown, never judged. What is counted, and how, is told in docs/benchmarks.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import report
from archiver import PgBackRestGet, PgstowGet, archiver_figures
from cluster import Cluster, make_segments
from delta import change
from growth import FEW, MANY, growth, starts
from measure import USER, call, measure
from tools import LEVEL, TOOLS, WORKERS, Pgstow, server_alone
from wal import PUSHES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/benchmarks.md"
BEGUN = time.monotonic()
# Of the pages of the larger files, for a delta restore.
SHARE = 0.01


def main():
    options = arguments()
    work = Path(options.work)
    if work.exists():
        raise SystemExit(f"{work} exists; remove it, or name another with --work")
    prepare(work, options)
    try:
        text = figures(work, options)
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    print(text)
    if options.write:
        report.write(PAGE, text)
        say(f"written to {PAGE}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=300, help="megabytes of the cluster (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="rounds of which medians are taken (default: %(default)s)")
    parser.add_argument("--segments", type=int, default=128, help="WAL segments to archive (default: %(default)s)")
    parser.add_argument("--tools", nargs="+", choices=[tool.key for tool in TOOLS], default=[tool.key for tool in TOOLS])
    parser.add_argument("--parts", nargs="+", choices=["base", "delta", "wal", "archiver", "growth"],
                        default=["base", "delta", "wal", "archiver", "growth"])
    parser.add_argument("--bindir", default="/usr/lib/postgresql/15/bin", help="PostgreSQL's programs (default: %(default)s)")
    parser.add_argument("--pgstow", default=ROOT / "target/release/pgstow", help="the program (default: that of setup.sh)")
    parser.add_argument("--work", default="/tmp/pgstow-bench", help="a folder that does not exist (default: %(default)s)")
    parser.add_argument("--port", type=int, default=54321, help="this and the next are used, in sockets (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    return parser.parse_args()


def say(text):
    print(f"{time.monotonic() - BEGUN:7.1f} s  {text}", file=sys.stderr, flush=True)


def prepare(work, options):
    """The folder, of the server's user, with the programs: that user may not enter the checkout."""
    (work / "bin").mkdir(parents=True, mode=0o755)
    for program in (options.pgstow, ROOT / "target/release/examples/limits"):
        shutil.copy(program, work / "bin")
    Pgstow.program = str(work / "bin/pgstow")
    for folder in ("main", "archiver", "growth", "push", "restored"):
        (work / folder).mkdir(mode=0o755)
    if USER:
        subprocess.run(["chown", "-R", f"{USER}:", work], check=True)


def figures(work, options):
    """Runs what was asked for; the text for the page."""
    pgstow = work / "bin/pgstow"
    versions = {"PostgreSQL": [f"{options.bindir}/postgres", "--version"], "pgstow": [pgstow, "--version"],
                "pgBackRest": ["pgbackrest", "version"], "zstd": ["zstd", "--version"]}
    sections = [report.machine(versions), program_figures(pgstow)]
    if {"base", "delta", "wal"} & set(options.parts):
        say(f"making a cluster of {options.size} MB")
        cluster = Cluster(options.bindir, work / "main", options.port)
        cluster.create()
        cluster.start()
        try:
            if "wal" in options.parts:
                sections.append(wal_figures(cluster, work, options))
            if {"base", "delta"} & set(options.parts):
                cluster.fill(options.size)
            if "base" in options.parts:
                sections.insert(2, base_figures(cluster, work, options))
            if "delta" in options.parts:
                sections.append(delta_figures(cluster, work, options))
        finally:
            cluster.stop()
    if "archiver" in options.parts:
        sections.append(archiver_figures(options, work / "archiver", say))
    if "growth" in options.parts:
        rows = [[name, report.megabytes(few), report.megabytes(many), f"{each:.0f}"]
                for name, few, many, each in growth(options.bindir, work / "growth", options.port, say)]
        heads = ["", f"{FEW:,} files", f"{MANY:,} files", "bytes for each further file"]
        sections.append("## Memory and the number of files\n\nPeak memory of a base backup of nearly empty files.\n\n"
                        + report.table(heads, rows))
    return "\n\n".join(sections)


def program_figures(pgstow):
    ours, theirs, nothing = starts(pgstow)
    size = os.path.getsize(pgstow)
    return (f"The program has {report.megabytes(size)}. Medians of 50: `pgstow --version` takes {report.seconds(ours)}, "
            f"`pgbackrest version` {report.seconds(theirs)}, `true` {report.seconds(nothing)}.")


def base_figures(cluster, work, options):
    tools = [tool(cluster, work / "main") for tool in TOOLS if tool.key in options.tools]
    for tool in tools:
        tool.set_up()
    expected = cluster.counts()
    limits = Limits(work)
    _, plain = limits.loop("read", cluster.data)  # and the files are in memory for everybody
    backups, restores = ({tool.name: [] for tool in tools} for _ in range(2))
    for number in range(1, options.runs + 1):
        # Who comes first pays for what the round before left to be written: each in its turn.
        first = number % len(tools)
        turn = tools[first:] + tools[:first]
        for tool in turn:
            tool.forget()
            cluster.archive_with(tool.archive_command)
            backup = tool.backup()
            backups[tool.name].append((backup, tool.stored()))
            say(f"round {number}: backup by {tool.name}: {backup.wall:.2f} s")
        for tool in turn:
            target = str(work / "restored" / tool.key)
            restore = tool.restore(target)
            restores[tool.name].append((restore, tool.stored()))
            say(f"round {number}: restore by {tool.name}: {restore.wall:.2f} s")
            tool.check(target, expected)
            shutil.rmtree(target)
            shutil.rmtree(tool.tablespace_at(target))
        limits.round(cluster, plain)
    return (f"## Base backup\n\n{report.megabytes(plain)} of files, zstd level {LEVEL} (gzip: level 6), {WORKERS} workers, "
            f"{options.runs} rounds.\n\n{report.compared(backups)}\n\n## Restore\n\n{report.compared(restores)}\n\n"
            f"## What the machine can do\n\nIn the same rounds, without any tool:\n\n{limits.table()}")


def delta_figures(cluster, work, options):
    """Those tools that can: each restores once, then repairs that folder again and again."""
    tools = [tool(cluster, work / "main") for tool in TOOLS if tool.key in options.tools and hasattr(tool, "restore_delta")]
    expected = cluster.counts()
    runs = {kind: {tool.name: [] for tool in tools} for kind in ("in one range", "at random")}
    targets = {}
    for tool in tools:
        tool.set_up()
        cluster.archive_with(tool.archive_command)
        tool.forget()
        tool.backup()
        targets[tool.key] = str(work / "restored" / f"delta-{tool.key}")
        tool.restore(targets[tool.key])
    for number in range(1, options.runs + 1):
        for kind, rounds in runs.items():
            first = number % len(tools)
            for tool in tools[first:] + tools[:first]:
                target = targets[tool.key]
                change([f"{target}/base", tool.tablespace_at(target)], SHARE, kind == "in one range")
                measured = tool.restore_delta(target)
                rounds[tool.name].append((measured, tool.stored()))
                say(f"round {number}: delta restore {kind} by {tool.name}: {measured.wall:.2f} s")
    for tool in tools:
        tool.check(targets[tool.key], expected)
    tables = "\n\n".join(f"{SHARE:.0%} of the pages differ, {kind}:\n\n{report.compared(rounds)}" for kind, rounds in runs.items())
    return f"## Delta restore\n\nInto a folder of the right files, of which some pages were changed.\n\n{tables}"


class Limits:
    """The bare loops of limits.rs, and the server when it sends a backup to nobody."""

    def __init__(self, work):
        self.program, self.file = work / "bin/limits", work / "restored/written"
        self.rows = {}

    def loop(self, *what):
        measured = measure([str(self.program), *map(str, what)])
        return measured, int(measured.output or 0)

    def round(self, cluster, plain):
        self.keep("reading the files", self.loop("read", cluster.data)[0])
        bare, stored = self.loop("compress", LEVEL, WORKERS, cluster.data)
        self.keep(f"reading and compressing them with {WORKERS} threads", bare)
        for name, count in (("compressed", stored), ("plain", plain)):
            written, _ = self.loop("write", count, self.file)
            self.keep(f"writing and syncing {report.megabytes(count)} (as {name})", written)
            self.file.unlink()
        self.keep("the server alone (pg_basebackup --target=blackhole)", server_alone(cluster))

    def keep(self, name, measured):
        self.rows.setdefault(name, []).append(measured)

    def table(self):
        def middle(values):
            return report.seconds(report.median(values))

        rows = [[name, middle(one.wall for one in row), middle(one.cpu + one.server_cpu for one in row)]
                for name, row in self.rows.items()]
        return report.table(["", "wall", "CPU"], rows)


def wal_figures(cluster, work, options):
    segments = work / "push/segments"
    count = len(make_segments(cluster, segments, options.segments))
    pushes = [push(cluster, work / "push") for push in PUSHES]
    runs = {push.name: [] for push in pushes}
    for number in range(1, options.runs + 1):
        for push in pushes:
            push.clear()
            measured = push.run(segments, count)
            runs[push.name].append((measured, push.stored))
            say(f"round {number}: {push.name}: {measured.wall:.2f} s")
    # The last round's segments are there.
    gets = [PgstowGet(pushes[0]), PgBackRestGet(pushes[1])]
    fetched = {get.name: [] for get in gets}
    for number in range(1, options.runs + 1):
        for get in gets:
            get.clear()
            measured = get.run(segments)
            fetched[get.name].append((measured, 0))
            say(f"round {number}: {get.name}: {measured.wall:.2f} s")
    bare, stored = Limits(work).loop("compress", LEVEL, 1, segments)
    return (f"## Archiving {count} WAL segments\n\nOne after the other, {report.megabytes(count * 16 * 2**20)} in all.\n\n"
            f"{report.compared(runs)}\n\nReading and compressing them without any tool, one thread: {report.seconds(bare.wall)}, "
            f"{report.megabytes(stored)}.\n\n## Fetching {count} WAL segments\n\nOne after the other, as recovery asks for them, "
            f"but without its replay beside it.\n\n{report.compared(fetched)}")


if __name__ == "__main__":
    main()
