"""What happened, by the archived WAL: `find-target` beside bare pg_waldump on the same segments, which that is given unpacked."""

import json

from data import make_wal
from limits import Loop
from measure import call, measure
from replay import segment_number
from rows import rounds
from tools import Pgstow

SEGMENTS = 40
NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')"


def find(bench):
    cluster = bench.cluster("find")
    tool = Pgstow(cluster, bench.place.below("find-of"))
    cluster.archive_with(tool.archive_command)
    tool.backup()
    since, behind = cluster.sql(NOW), segment_number(cluster) + SEGMENTS
    make_wal(cluster, lambda: segment_number(cluster) >= behind)
    until = cluster.sql(NOW)
    cluster.archive_the_last()
    command = [*tool.command, "find-target", "--since", since, "--until", until]
    found = json.loads(call([*command, "--json"]))
    plain = bench.place.below("find-plain")
    first, last = found["first_segment"], found["last_segment"]
    call(["sh", "-c", 'for each in "$1"/*/*/*.zst; do zstd -dqf "$each" -o "$2/$(basename "$each" .zst)"; done', "sh", tool.archive(), plain])
    bare = ["sh", "-c", '"$@" >/dev/null', "sh", cluster.bindir / "pg_waldump", "--path", plain, first, last]
    bench.text(f"## What happened\n\n`find-target` over {found['segments']} segments, fetched and unpacked by it, beside PostgreSQL "
               f"{cluster.major()}'s bare `pg_waldump`, which prints the same segments, unpacked already, to `/dev/null`.")
    for cores, name in (("0", "one core"), ("0,1", "two cores")):
        pin = ["taskset", "-c", cores]
        commands = {Loop(f"pgstow find-target, {name}"): [*pin, *command],
                    Loop(f"pg_waldump, {name}", peer=True): [*pin, *bare]}
        row = bench.row(f"find-target, {name}", commands)
        for number, turn in rounds(bench.options.runs, list(commands)):
            for loop in turn:
                bench.record(number, "find-target", row, loop, measure(list(map(str, commands[loop]))))
