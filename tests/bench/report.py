"""Figures to tables, and tables into docs/benchmarks.md between its two markers."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

BEGIN, END = "<!-- figures: begin (written by tests/bench/run.py) -->", "<!-- figures: end -->"


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


def machine(programs):
    """What it ran on, and with which versions."""
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    rows = [["date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")],
            ["processor", f"{(models or [platform.machine()])[0]}, {os.cpu_count()} processors"], ["memory", f"{memory:.0f} GB"],
            ["system", f"{first_line(['sh', '-c', '. /etc/os-release; echo $PRETTY_NAME'])}, Linux {platform.release()}"]]
    rows += [[name, first_line(command)] for name, command in programs.items()]
    return table(["", ""], rows)


def first_line(command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.splitlines()[0].strip()


def write(path, text):
    """Replaces what is between the markers."""
    page = Path(path).read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no markers {BEGIN} and {END}")
    Path(path).write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
