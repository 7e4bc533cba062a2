"""What the parts of the benchmark share: options, the filled cluster, and the chapters that they write."""

import sys
import time

from cluster import Cluster
from data import fill
from rows import LOCAL, Row

BEGUN = time.monotonic()


def say(text):
    print(f"{time.monotonic() - BEGUN:7.1f} s  {text}", file=sys.stderr, flush=True)


class Chapter:
    """What one part puts on the page."""

    def __init__(self):
        self.page = []  # paragraphs, rows and curves, in order
        self.keys, self.curves = [], []

    def render(self):
        return "\n\n".join(one if isinstance(one, str) else one.table() for one in self.page)


class Bench:
    def __init__(self, options, place):
        self.options, self.place = options, place
        self.chapters = {}  # by part, what it puts on the page
        self.rows = {}  # of all parts: one part's aim may be held against another's peer
        self.main = self.running = None

    def begin(self, part):
        self.chapter = self.chapters[part] = Chapter()

    def text(self, text):
        self.chapter.page.append(text)

    def row(self, key, tools, shown=LOCAL):
        """A new row, which is shown here on the page."""
        row = self.rows[key] = Row(tools, shown)
        self.chapter.keys.append(key)
        self.chapter.page.append(row)
        return row

    def curve(self, curve):
        self.chapter.curves.append(curve)
        self.chapter.page.append(curve)

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
