"""The figures: a row is one kind of work, with what each tool took for it round by round."""

from dataclasses import replace
from statistics import median

import report

METRICS = {
    "wall": lambda one: one.wall,
    "CPU": lambda one: one.cpu + one.server_cpu,
    "peak memory": lambda one: one.memory,
    "stored": lambda one: one.stored,
    "requests": lambda one: one.requests,
}
LOCAL = ("wall", "CPU", "peak memory", "stored")


class Row:
    """`tools` in the order of the table; the first is held against the others.
    `shown`: the metrics that mean something for this work."""

    def __init__(self, tools, shown=LOCAL):
        self.shown = shown
        self.runs = {tool.name: [] for tool in tools}  # a Measured for each round
        self.peers = [tool.name for tool in tools if tool.peer]

    def add(self, tool, measured, stored=0):
        self.runs[tool.name].append(replace(measured, stored=stored))

    def ours(self):
        return next(iter(self.runs.values()))

    def best_peer(self, metric, named):
        """Of the peers whose name begins so, the one with the smallest median."""
        names = [name for name in self.peers if name.startswith(named)]
        return min(names, key=lambda name: middle(self.runs[name], metric))

    def table(self):
        first = next(iter(self.runs))
        against = [metric for metric in self.shown if metric in ("wall", "CPU")] if self.peers else []
        heads = ["", *self.shown] + (["wall from .. to"] if "wall" in self.shown else [])
        heads += ["CPU of the server"] if self.uses_server() else []
        heads += [f"{metric}: {first} / it" for metric in against]
        return report.table(heads, [self.line(name, runs, against) for name, runs in self.runs.items()])

    def line(self, name, runs, against):
        cells = [name, *(report.shown(metric, middle(runs, metric)) for metric in self.shown)]
        if "wall" in self.shown:
            walls = [one.wall for one in runs]
            cells.append(f"{report.seconds(min(walls))} to {report.seconds(max(walls))}")
        if self.uses_server():
            cells.append(report.seconds(median(one.server_cpu for one in runs)))
        return cells + [f"{ratio(metric, self.ours(), runs):.2f}" for metric in against]

    def uses_server(self):
        return "CPU" in self.shown and any(one.server_cpu for runs in self.runs.values() for one in runs)


def middle(runs, metric):
    """The median; of the peak memory the largest, since it is a peak."""
    return (max if metric == "peak memory" else median)(METRICS[metric](one) for one in runs)


def ratio(metric, some, others):
    """The median of the ratios of each round, so that a slow minute of the machine hits both sides."""
    value = METRICS[metric]
    return median(value(one) / value(other) for one, other in zip(some, others) if value(other))


def rounds(count, tools):
    """For each round its number and the tools, begun by another each time: who comes first pays for
    what the round before left to be written. A slow tool takes part in its `most_rounds` only."""
    for number in range(1, count + 1):
        first = number % len(tools)
        yield number, [tool for tool in tools[first:] + tools[:first] if number <= getattr(tool, "most_rounds", number)]
