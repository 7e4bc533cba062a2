"""How time and memory grow with the files of a cluster, and with the backups and segments of a repository."""

import hashlib
import json
import os
import shutil

import report
from bench import say
from measure import USER, call, measure, remove
from peers import PgBackRest, PgBasebackup
from rows import middle
from tools import Pgstow

TIMES = (1, 10, 100)
FILES, BACKUPS, SEGMENTS = 1_000, 10, 128
# A single one; the rest is a median of so many calls.
CALLS = 21
SEGMENT_SIZE = 16 << 20
# Between two made-up backups, and between real segments and made-up ones.
APART, FAR = 10, 100_000
# One page of a table under many names: the server doesn't know of them, and every tool takes them for tables.
MAKE = """
import shutil, sys
page, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, last):
    shutil.copyfile(page, f"{page.rpartition('/')[0]}/{900000000 + number}")
"""


class Curve:
    """Lines of one kind of work each, at several sizes."""

    def __init__(self, heads):
        self.heads = heads
        self.lines = {}  # name -> for each size its runs

    def add(self, name, measured):
        self.lines.setdefault(name, []).append(measured)

    def grown(self, name, metric):
        """How many times as much it takes at the largest size as at the smallest."""
        sizes = self.lines[name]
        return middle(sizes[-1], metric) / middle(sizes[0], metric)

    def table(self):
        rows = []
        for name, sizes in self.lines.items():
            cells = [f"{report.seconds(middle(runs, 'wall'))}, {report.megabytes(middle(runs, 'peak memory'))}" for runs in sizes]
            rows.append([name, *cells, *(f"{self.grown(name, metric):.2f}" for metric in ("wall", "peak memory"))])
        return report.table(["", *self.heads, f"wall, {TIMES[-1]} times / once", "memory"], rows)


def growth(bench):
    cluster = bench.cluster("growth")
    bench.text("## Growth\n\nWall and peak memory, while what lies around the work grows.")
    repository(bench, cluster)
    files(bench, cluster)


def files(bench, cluster):
    """Tables of one page."""
    tools = [tool(cluster, bench.place.below("growth/files")) for tool in (Pgstow, PgBasebackup, PgBackRest)]
    cluster.sql("CREATE TABLE page AS SELECT 1 AS id")
    cluster.sql("VACUUM page")
    cluster.sql("CHECKPOINT")
    page = cluster.data / cluster.sql("SELECT pg_relation_filepath('page')")
    curve = Curve([f"{FILES * times:,} files" for times in TIMES])
    made = cluster.files()
    for times in TIMES:
        call(["python3", "-c", MAKE, page, str(made), str(FILES * times)])
        made = max(made, FILES * times)
        for tool in tools:
            tool.forget()
            cluster.archive_with(tool.archive_command)
            curve.add(f"full backup by {tool.name}", [tool.backup()])
            if hasattr(tool, "incremental_command"):
                curve.add(f"incremental, nothing changed, by {tool.name}", [tool.incremental() for _ in range(min(3, bench.options.runs))])
            say(f"{made:,} files: {tool.name}")
    bench.curve(curve)


def repository(bench, cluster):
    """Made-up backups and segments, as links to real ones under names and positions of their own."""
    tool = Pgstow(cluster, bench.place.below("growth/repository"))
    system = cluster.sql("SELECT system_identifier FROM pg_control_system()")
    folder = bench.place.below("growth/segments")
    cluster.archive_with(f'cp %p "{folder}/%f" && {tool.archive_command}')
    tool.backup()
    while len(names := segments_in(folder)) < CALLS:
        cluster.archive_the_last()
    names = names[:CALLS]
    [backup] = tool.backups()
    copies = bench.place.below("growth/real")
    shutil.move(backup, copies / "backup")
    wal = tool.archive() / system
    [stored] = [path for path in wal.glob(f"*/{names[0]}*") if path.name.count(".") == 1]
    shutil.move(stored, copies / "segment.zst")
    remove(stored.parent)
    curve = Curve([f"{BACKUPS * times:,} backups, {SEGMENTS * times:,} segments" for times in TIMES])
    have = 0
    for times in TIMES:
        for number in range(BACKUPS * have, BACKUPS * times):
            make_backup(copies / "backup", tool.folder / "repo/main/base", number)
        for number in range(SEGMENTS * have, SEGMENTS * times):
            make_segment(copies / "segment.zst", wal, FAR + number)
        have = times
        curve.add("list", [measure([*tool.command, "list"]) for _ in range(CALLS)])
        # It has a lot to say of what was made up.
        curve.add("monitor", [measure([*tool.command, "monitor"], codes=(0, 1, 2)) for _ in range(CALLS)])
        curve.add("archive-wal", [measure([*tool.command, "archive-wal", str(folder / name)]) for name in names])
        curve.add("restore-wal", [measure([*tool.command, "restore-wal", "--system-id", system, name, str(copies / name)])
                                  for name in names])
        for name in names:
            call(["cmp", folder / name, copies / name])
            os.remove(copies / name)
        remove(wal / names[0][:16])
        seen = json.loads(call([*tool.command, "--json", "list"]))
        complete = [each for each in seen["backups"] if each["state"] == "complete"]
        if len(complete) != BACKUPS * times or seen["wal"][0]["segments"] != SEGMENTS * times:
            raise SystemExit("pgstow list doesn't see what was made up for it")
        say(f"{BACKUPS * times:,} backups, {SEGMENTS * times:,} segments")
    bench.curve(curve)


def segments_in(folder):
    return sorted(name for name in os.listdir(folder) if len(name) == 24)


def make_segment(source, wal, number):
    name = segment_name(number)
    if not (wal / name[:16]).exists():
        own((wal / name[:16]), os.mkdir)
    os.link(source, wal / name[:16] / f"{name}.zst")


def make_backup(source, base, number):
    """The `number`th: all but its documents are links."""
    name = f"202001{1 + number // 1440:02}T{number // 60 % 24:02}{number % 60:02}00Z-full"
    own(base / name, os.mkdir)
    for path in source.iterdir():
        if path.suffix != ".json":
            os.link(path, base / name / path.name)
    shift = FAR + number * APART
    for document in ("started.json", "backup.json"):
        fields = json.loads((source / document).read_text())
        fields["id"] = name
        for field in ("start_segment", "stop_segment"):
            if field in fields:
                fields[field] = segment_name(shift)
        for field in ("lower_bound", "start_lsn", "stop_lsn"):
            if field in fields:
                fields[field] = moved(fields[field], shift)
        own(base / name / document, lambda path, fields=fields: path.write_text(sealed(fields)))


def own(path, make):
    make(path)
    if USER:
        shutil.chown(path, USER, USER)


def moved(lsn, number):
    """The same place in another segment."""
    place = number * SEGMENT_SIZE + int(lsn.partition("/")[2], 16) % SEGMENT_SIZE
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def segment_name(number):
    return f"{1:08X}{number // 256:08X}{number % 256:08X}"


def sealed(fields):
    """docs/repository-format.md: the last field is the hash of all bytes before its line."""
    del fields["sha256"]
    text = json.dumps(fields, indent=2)[:-2] + ",\n"
    return f'{text}  "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"\n}}\n'
