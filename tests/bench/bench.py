"""What the parts of the benchmark share: options, the filled cluster, and the page that they write."""

import sys
import time

from cluster import Cluster
from data import fill
from rows import LOCAL, Row

BEGUN = time.monotonic()


def say(text):
    print(f"{time.monotonic() - BEGUN:7.1f} s  {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options, place):
        self.options, self.place = options, place
        self.page = []  # paragraphs and rows, in order
        self.rows, self.curves = {}, []
        self.main = self.running = None

    def text(self, text):
        self.page.append(text)

    def row(self, key, tools, shown=LOCAL):
        """A new row, which is shown here on the page."""
        row = self.rows[key] = Row(tools, shown)
        self.page.append(row)
        return row

    def curve(self, curve):
        self.curves.append(curve)
        self.page.append(curve)

    def record(self, number, what, row, tool, measured, stored=0):
        row.add(tool, measured, stored)
        say(f"round {number}: {what} by {tool.name}: {measured.wall:.2f} s")

    def filled(self):
        """The cluster that most parts back up, made when the first of them asks for it."""
        if self.main is None:
            say(f"making a cluster of {self.options.size} MB")
            self.main = self.cluster("main")
            fill(self.main, self.options.size)
        return self.main

    def cluster(self, name, **more):
        """A new one. Only one runs at a time: the last one is stopped for good."""
        self.stop()
        bindir = more.pop("bindir", self.options.bindir)
        self.running = Cluster(bindir, self.place.below(name), self.options.port, **more)
        return self.running

    def stop(self):
        if self.running is not None:
            self.running.stop()
            self.running = None

    def render(self):
        return "\n\n".join(part if isinstance(part, str) else part.table() for part in self.page)
