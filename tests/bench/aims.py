"""The project's aims, each held against what was measured: on 2 cores, at the same codec, medians.

`peer` of a row is, for each metric, the one that is best at it. An aim is a share of that, of a bare loop, or a limit.
"""

from dataclasses import dataclass

import report
from limits import COMPRESSING, WRITING, Loop
from rows import middle, ratio

MIB = 1 << 20


@dataclass
class Aim:
    row: str  # key of the row
    metric: str
    at_most: float
    peer: str = ""  # how its name begins; any, unless the aim names one
    loop: Loop | None = None  # of the row "limits", instead of a peer
    alone: bool = False  # at_most is in the metric's own unit


def memory(row):
    return [Aim(row, "peak memory", 1.0, peer="pgBackRest"), Aim(row, "peak memory", 64 * MIB, alone=True)]


AIMS = [
    Aim("full", "wall", 0.65), Aim("full", "CPU", 0.7), Aim("full", "wall", 1.2, loop=COMPRESSING), *memory("full"),
    Aim("full zstd 1", "wall", 0.7), *memory("full zstd 1"),
    Aim("full lz4", "wall", 0.7), *memory("full lz4"),
    Aim("incremental, one range", "wall", 0.5, peer="pgBackRest"), Aim("incremental, one range", "stored", 1.0, peer="pgBackRest"), *memory("incremental, one range"),
    Aim("incremental, rows at random", "wall", 0.6, peer="pgBackRest"), Aim("incremental, rows at random", "stored", 1.0, peer="pgBackRest"), *memory("incremental, rows at random"),
    Aim("incremental, nothing", "wall", 0.4, peer="pgBackRest"), Aim("incremental, nothing", "stored", 0.1, peer="pgBackRest"), *memory("incremental, nothing"),
    Aim("restore", "wall", 0.8), Aim("restore", "CPU", 0.7), Aim("restore", "wall", 1.15, loop=WRITING), *memory("restore"),
    Aim("delta, in one range", "wall", 0.6), *memory("delta, in one range"),
    Aim("delta, at random", "wall", 0.6), *memory("delta, at random"),
    Aim("behind", "wall", 0.6), Aim("stored already", "wall", 0.003, alone=True), *memory("one by one"),
    Aim("fetch", "wall", 0.5), *memory("fetch"),
    Aim("replay", "wall", 0.8),
    Aim("start", "wall", 0.3),
]


def table(rows):
    """Of the aims whose work was measured."""
    lines = [line(aim, rows) for aim in AIMS if aim.row in rows and (not aim.loop or "limits" in rows)]
    met = sum(cells[-1] == "met" for cells in lines)
    heads = ["work", "", "pgstow", "against", "", "pgstow / it", "aim", ""]
    return f"## Aims\n\n{met} of {len(lines)} are met.\n\n" + report.table(heads, lines)


def line(aim, rows):
    row = rows[aim.row]
    ours = row.ours()
    own = middle(ours, aim.metric)
    if aim.alone:
        name, theirs, found, wanted = "", "", own, report.shown(aim.metric, aim.at_most)
    else:
        name = aim.loop.name if aim.loop else row.best_peer(aim.metric, aim.peer)
        runs = rows["limits"].runs[name] if aim.loop else row.runs[name]
        theirs, found, wanted = report.shown(aim.metric, middle(runs, aim.metric)), ratio(aim.metric, ours, runs), f"{aim.at_most:g}"
    return [aim.row, aim.metric, report.shown(aim.metric, own), name, theirs, "" if aim.alone else f"{found:.2f}", wanted,
            "met" if found <= aim.at_most else "missed"]
