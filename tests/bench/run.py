#!/usr/bin/env python3
"""Compares pgstow with pg_basebackup, pgBackRest, Barman and `cp`, and with what the machine can do.

Needs tests/bench/setup.sh. As root it runs everything as user postgres. Figures are shown beside
the project's aims, and never fail a run. What is counted, and how, is told in docs/benchmarks.md.
"""

import argparse
import sys
from pathlib import Path

import aims
import report
from bench import Bench, say
from bucket import bucket, bucket_wal
from delta import delta
from dump import dump
from find import find
from forecast import forecast
from full import full
from growth import growth
from incremental import incremental
from measure import Failed
from program import program
from replay import replay
from summaries import summaries
from tools import Pgstow
from wal import wal
from workplace import Workplace

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/benchmarks.md"
# In this order: the first ones need the filled cluster, the later of those change it, and the rest makes others.
PARTS = {"full": full, "bucket": bucket, "dump": dump, "delta": delta, "incremental": incremental, "replay": replay, "summaries": summaries,
         "wal": wal, "bucket-wal": bucket_wal, "find": find, "forecast": forecast, "growth": growth, "program": program}

# An aim of the first is held against what the second measures.
BESIDE = {"summaries": "incremental"}

NEEDED = "What is needed: tests/bench/setup.sh"


def main():
    options = arguments()
    try:
        chapters, failed = run(options)
    except (Failed, OSError) as why:
        raise SystemExit(f"run.py: {why}\n{NEEDED}") from None
    print("\n\n".join(chapters.values()))
    say("done")
    if options.write:
        report.write(PAGE, chapters)
        say(f"written to {PAGE}")
    if failed:
        raise SystemExit(f"run.py: failed: {', '.join(failed)}\n{NEEDED}")


def run(options):
    """Runs what was asked for; the chapters for the page by their parts, and the parts that failed, whose chapters tell it."""
    failed = []
    with Workplace(options.work, options.keep) as place:
        Pgstow.program = place.program(options.pgstow)
        place.program(options.limits)
        bench = Bench(options, place)
        for name, part in PARTS.items():
            if name in options.parts:
                say(f"part {name}")
                bench.begin(name)
                try:
                    part(bench)
                except (Failed, OSError) as why:
                    # An hour of the others is not lost with it.
                    print(f"part {name}: {why}", file=sys.stderr)
                    failed.append(name)
        bench.stop()
        about = versions(options)
        return {name: chapter(name, bench, about, name in failed) for name in bench.chapters}, failed


def chapter(name, bench, about, failed):
    one = bench.chapters[name]
    told = f"**The part `{name}` failed: what it measured before is shown.**" if failed else ""
    return "\n\n".join(text for text in (one.render(), told, aims.table(one, bench.rows), about) if text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=300, help="megabytes of the cluster (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="rounds of which medians are taken (default: %(default)s)")
    parser.add_argument("--segments", type=int, default=128, help="WAL segments to archive (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--bindir", default="/usr/lib/postgresql/15/bin", help="PostgreSQL's programs (default: %(default)s)")
    parser.add_argument("--summaries-bindir", default="/var/cache/pgstow-tests/pg/17/bin",
                        help="PostgreSQL 17's programs, for the part summaries (default: %(default)s)")
    parser.add_argument("--pgstow", default=ROOT / "target/release/pgstow", help="the program (default: that of setup.sh)")
    parser.add_argument("--limits", default=ROOT / "target/release/examples/limits", help="the bare loops (default: those of setup.sh)")
    parser.add_argument("--work", default="/tmp/pgstow-bench", help="a folder that does not exist (default: %(default)s)")
    parser.add_argument("--port", type=int, default=54321, help="this and the next are used, in sockets, and the three behind them on loopback (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md, in place of those that these parts had there")
    options = parser.parse_args()
    for part, other in BESIDE.items():
        if options.write and part in options.parts and other not in options.parts:
            parser.error(f"an aim of {part} is held against a peer that {other} measures: --write takes both")
    return options


def versions(options):
    return report.machine([[Pgstow.program, "--version"], [f"{options.bindir}/postgres", "--version"],
                           ["pgbackrest", "version"], ["barman", "--version"], ["zstd", "--version"]])


if __name__ == "__main__":
    main()
