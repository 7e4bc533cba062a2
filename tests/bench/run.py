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

NEEDED = "What is needed: tests/bench/setup.sh"


def main():
    options = arguments()
    try:
        text, failed = run(options)
    except (Failed, OSError) as why:
        raise SystemExit(f"run.py: {why}\n{NEEDED}") from None
    print(text)
    say("done")
    if options.write:
        report.write(PAGE, text)
        say(f"written to {PAGE}")
    if failed:
        raise SystemExit(f"run.py: failed: {', '.join(failed)}\n{NEEDED}")


def run(options):
    """Runs what was asked for; the text for the page, and the parts that failed, which the text tells."""
    failed = []
    with Workplace(options.work, options.keep) as place:
        Pgstow.program = place.program(options.pgstow)
        place.program(options.limits)
        bench = Bench(options, place)
        for name, part in PARTS.items():
            if name in options.parts:
                say(f"part {name}")
                try:
                    part(bench)
                except (Failed, OSError) as why:
                    # An hour of the others is not lost with it.
                    print(f"part {name}: {why}", file=sys.stderr)
                    failed.append(name)
        bench.stop()
        told = [f"**The part `{name}` failed: what it measured before is shown.**" for name in failed]
        return "\n\n".join([versions(options), *told, aims.table(bench.rows, bench.curves), bench.render()]), failed


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
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    if options.write and set(options.parts) != set(PARTS):
        parser.error("--write is for all parts: the page would lose the others")
    return options


def versions(options):
    return report.machine({"PostgreSQL": [f"{options.bindir}/postgres", "--version"], "pgstow": [Pgstow.program, "--version"],
                           "pgBackRest": ["pgbackrest", "version"], "Barman": ["barman", "--version"], "zstd": ["zstd", "--version"]})


if __name__ == "__main__":
    main()
