"""How long a drill takes, beside what was foreseen: ten drills of a growing cluster."""

import json
from statistics import mean, median

import report
from measure import call
from tools import Pgstow

DRILLS = 10
# Of each four, one is of a backup that is new.
BACKUP_EVERY = 4
GROWS = "INSERT INTO grows SELECT n, md5(n::text) FROM generate_series(1, 300000) n"
# What a restore does, too; the rest is checks.
PHASES = ("fetch", "unpack", "replay")


def forecast(bench):
    cluster = bench.cluster("forecast")
    tool = Pgstow(cluster, bench.place.below("forecast-of"))
    scratch = bench.place.below("forecast-scratch")
    cluster.archive_with(tool.archive_command)
    cluster.sql("CREATE TABLE grows (n int, word text)")
    lines, errors = [], []
    for number in range(DRILLS):
        cluster.sql(GROWS)
        if number % BACKUP_EVERY == 0:
            tool.backup()
        cluster.archive_the_last()
        drill = json.loads(call([*tool.command, "--json", "drill", "--scratch", scratch]))
        phases = {phase["name"]: phase for phase in drill["phases"]}
        took = sum(phases[name]["seconds"] for name in PHASES)
        sizes = [report.megabytes(phases[name]["bytes"]) for name in ("unpack", "replay")]
        foreseen = drill["forecast"]
        if foreseen is None:
            lines.append([*sizes, "", report.seconds(took), ""])
            continue
        error = (foreseen["seconds"] - took) / took
        errors.append(abs(error))
        lines.append([*sizes, report.seconds(foreseen["seconds"]), report.seconds(took), f"{error:+.0%}"])
    bench.text(f"## Forecasts\n\n{DRILLS} drills of a growing cluster, one after the other. The aim is within 20 % from the third on: the mean is "
               f"{mean(errors[1:]):.0%}, the median {median(errors[1:]):.0%}.\n\n"
               + report.table(["files", "WAL", "foreseen", "took", "error"], lines))
