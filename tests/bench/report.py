"""Figures to tables, and tables into docs/benchmarks.md, where each part of the benchmark has a chapter between two markers."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

BEGIN, END = "<!-- figures of {}: begin (written by tests/bench/run.py) -->", "<!-- figures of {}: end -->"


def table(heads, rows):
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def seconds(value):
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.1f} ms"


def megabytes(value):
    return f"{value / 1e6:.1f} MB"


def shown(metric, value):
    if metric == "requests":
        return f"{value:,.0f}"
    return seconds(value) if metric in ("wall", "CPU") else megabytes(value)


def machine(commands):
    """When it was measured, on what, and with which versions, which the commands tell."""
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    system = first_line(["sh", "-c", ". /etc/os-release; echo $PRETTY_NAME"])
    versions = ", ".join(first_line(command) for command in commands)
    return (f"Measured {now}: {(models or [platform.machine()])[0]}, {os.cpu_count()} processors, {memory:.0f} GB of memory, "
            f"{system}, Linux {platform.release()}; {versions}.")


def first_line(command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.splitlines()[0].strip()


def write(path, chapters):
    """Replaces the chapters of these parts; the others keep what an earlier run measured."""
    page = Path(path).read_text()
    for part, text in chapters.items():
        begin, end = BEGIN.format(part), END.format(part)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise SystemExit(f"{path} has no markers {begin} and {end}")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    Path(path).write_text(page)
