"""Restores into a folder that has most of what is wanted: a share of its pages differ."""

import random
from pathlib import Path

from data import settled
from peers import PgBackRest, PgBackRestBlock
from rows import rounds
from tools import Pgstow

# Of the pages of the larger files.
SHARE = 0.01
PAGE = 8192
SMALLEST = 1 << 20  # smaller files are left alone: their pages are few


def delta(bench):
    """Each tool restores once, then repairs that folder again and again."""
    cluster = bench.filled()
    tools = [tool(cluster, bench.place.below("delta")) for tool in (Pgstow, PgBackRest, PgBackRestBlock)]
    expected = settled(cluster)
    targets = {tool.key: str(bench.place.below("restored") / f"delta-{tool.key}") for tool in tools}
    for tool in tools:
        cluster.archive_with(tool.archive_command)
        tool.backup()
        tool.restore(targets[tool.key])
    bench.text("## Delta restore\n\nInto a folder of the right files, of which some pages were changed.")
    rows = {}
    for kind in ("in one range", "at random"):
        bench.text(f"{SHARE:.0%} of the pages of each larger file differ, {kind}:")
        rows[kind] = bench.row(f"delta restore, {kind}", tools, ("wall", "CPU", "peak memory"))
    for number, turn in rounds(bench.options.runs, tools):
        for kind, row in rows.items():
            for tool in turn:
                target = targets[tool.key]
                change([f"{target}/base", tool.tablespace_at(target)], kind == "in one range")
                bench.record(number, f"delta restore, {kind}", row, tool, tool.restore_delta(target))
    for tool in tools:
        tool.check(targets[tool.key], expected)
        tool.remove(targets[tool.key])


def change(folders, together):
    """Changes that share of the pages of each larger file, in one range or at random."""
    chance = random.Random(42)
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size < SMALLEST:
            continue
        pages = path.stat().st_size // PAGE
        count = max(1, round(pages * SHARE))
        first = chance.randrange(pages - count + 1)
        chosen = range(first, first + count) if together else chance.sample(range(pages), count)
        with open(path, "r+b") as file:
            for page in chosen:
                file.seek(page * PAGE + 100)
                file.write(b"changed!")
