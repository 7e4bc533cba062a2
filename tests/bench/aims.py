"""The project's aims, each held against what was measured: on 2 cores, at the same codec, medians.

`peer` of a row is, for each metric, the one that is best at it. An aim is a share of that, or of a bare loop, or a limit.
"""

from dataclasses import dataclass

import report
from bucket import DELAYS
from dump import FORMATS
from growth import TIMES
from limits import COMPRESSING, WRITING, Loop
from rows import middle, ratio

MIB = 1 << 20
ROADS = [f", in a bucket, {delay} ms away" for delay in DELAYS]
IN_BUCKET = [work + road for road in ROADS for work in ("full backup", "restore", "archive-wal, one by one", "restore-wal, one by one")]


@dataclass
class Aim:
    row: str  # key of the row
    metric: str
    at_most: float
    peer: str = ""  # how its name begins; any, unless the aim names one
    loop: Loop | None = None  # of the row "limits", instead of a peer
    alone: bool = False  # at_most is in the metric's own unit
    beside: str = ""  # the row of the peer, if that could not take part in the same


def memory(row):
    return [Aim(row, "peak memory", 1.0, peer="pgBackRest"), Aim(row, "peak memory", 64 * MIB, alone=True)]


def work(row, peer="", **shares):
    """An aim for each metric, and those for memory."""
    return [Aim(row, metric, share, peer) for metric, share in shares.items()] + memory(row)


AIMS = [
    *work("full backup, zstd 3", wall=0.65, CPU=0.7),
    Aim("full backup, zstd 3", "wall", 1.2, loop=COMPRESSING),
    *work("full backup, zstd 1", wall=0.7),
    *work("full backup, lz4", wall=0.7),
    *work("incremental, one range", "pgBackRest", wall=0.5, stored=1.0),
    *work("incremental, rows at random", "pgBackRest", wall=0.6, stored=1.0),
    *work("incremental, nothing", "pgBackRest", wall=0.4, stored=0.1),
    Aim("incremental, one range, summaries", "wall", 0.25, "pgBackRest, block", beside="incremental, one range"),
    *work("restore", wall=0.8, CPU=0.7),
    Aim("restore", "wall", 1.15, loop=WRITING),
    *work("delta restore, in one range", wall=0.6),
    *work("delta restore, at random", wall=0.6),
    Aim("archiver fallen behind", "wall", 0.6),
    Aim("archive-wal, stored already", "wall", 0.003, alone=True),
    *memory("archive-wal, one by one"),
    *work("restore-wal, one by one", wall=0.5),
    Aim("restore and replay", "wall", 0.8),
    *(Aim(row, "wall", 0.8) for row in IN_BUCKET),
    *(Aim(f"archiver fallen behind{road}", "wall", 0.8) for road in ROADS),
    *(Aim(row, "peak memory", 200 * MIB, alone=True) for row in IN_BUCKET),
    Aim("find-target, one core", "wall", 1.2),
    *(Aim(f"dump, {name}", "wall", 1.03) for name in FORMATS),
    *(Aim(f"dump, {name}", "peak memory", 64 * MIB, alone=True) for name in FORMATS),
    Aim("start of the program", "wall", 0.3),
]
# At 100 times the size, at most so many times as much; what must not grow at all may differ as figures do.
GROWTH = {"archive-wal": 1.25, "restore-wal": 1.25, "list": TIMES[-1], "monitor": TIMES[-1], "incremental, nothing changed, by pgstow": TIMES[-1]}


def table(chapter, rows):
    """Of the aims whose work this part of the benchmark measured, if there are any."""
    lines = [line(aim, rows) for aim in AIMS if aim.row in chapter.keys and is_measured(aim, rows)]
    lines += [grown(curve, name, metric)
              for curve in chapter.curves for name in GROWTH if name in curve.lines for metric in ("wall", "peak memory")]
    met = sum(cells[-1] == "met" for cells in lines)
    heads = ["work", "", "pgstow", "against", "", "pgstow / it", "aim", ""]
    return f"{met} of {len(lines)} aims are met:\n\n" + report.table(heads, lines) if lines else ""


def is_measured(aim, rows):
    return all(name in rows for name in (aim.row, aim.beside or aim.row, "limits" if aim.loop else aim.row))


def line(aim, rows):
    ours = rows[aim.row].ours()
    row = rows[aim.beside or aim.row]
    own = middle(ours, aim.metric)
    if aim.alone:
        name, theirs, found, wanted = "a limit", "", own, report.shown(aim.metric, aim.at_most)
    else:
        name = aim.loop.name if aim.loop else row.best_peer(aim.metric, aim.peer)
        runs = rows["limits"].runs[name] if aim.loop else row.runs[name]
        theirs, found, wanted = report.shown(aim.metric, middle(runs, aim.metric)), ratio(aim.metric, ours, runs), f"{aim.at_most:g}"
    return [aim.row, aim.metric, report.shown(aim.metric, own), name, theirs, "" if aim.alone else f"{found:.2f}", wanted,
            "met" if found <= aim.at_most else "missed"]


def grown(curve, name, metric):
    sizes, found = curve.lines[name], curve.grown(name, metric)
    return [name, metric, report.shown(metric, middle(sizes[-1], metric)), f"itself, {TIMES[-1]} times less around it",
            report.shown(metric, middle(sizes[0], metric)), f"{found:.2f}", GROWTH[name], "met" if found <= GROWTH[name] else "missed"]
