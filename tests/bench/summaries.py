"""Incremental backups of a server that summarizes its WAL (PostgreSQL 17), beside pg_basebackup's own."""

from pathlib import Path

import measure
from bench import say
from data import COUNTS, change_range, change_rows, fill
from incremental import OF, begin, chains
from measure import call
from peers import PgBasebackup, pg_basebackup
from tools import WORKERS, Pgstow


class PgBasebackupIncremental(PgBasebackup):
    """tar archives of each; a restore unpacks the whole chain and runs pg_combinebackup."""

    key, name = "pg_basebackup-incremental", "pg_basebackup --incremental"

    def set_up(self):
        self.chain = []

    def backup_command(self, *more):
        self.chain.append(self.folder / str(len(self.chain)))
        return [*pg_basebackup(self.cluster), "-F", "tar", "--compress", f"client-zstd:level={self.codec.level},workers={WORKERS}",
                "-D", str(self.chain[-1]), *more]

    def incremental_command(self):
        return self.backup_command("--incremental", str(self.chain[-1] / "backup_manifest"))

    def last_is_incremental(self):
        return self.stored() < measure.stored_bytes(self.chain[0])

    def stored(self):
        return measure.stored_bytes(self.chain[-1])

    def restore(self, target):
        oid, tablespaces = self.cluster.tablespace_oid(), f"{self.folder}/tablespaces"
        script = (f'set -eu; mkdir -p "{tablespaces}"; for each in "$@"; do number=${{each##*/}}; cd "$each"; '
                  f'to="{self.folder}/plain-$number" space="{tablespaces}/$number"; mkdir -m 700 "$to" "$space"; '
                  'zstd -dcq base.tar.zst | tar -xf - -C "$to"; '
                  f'zstd -dcq {oid}.tar.zst | tar -xf - -C "$space"; '
                  f'cp backup_manifest "$to"; rm -f "$to/tablespace_map"; ln -s "$space" "$to/pg_tblspc/{oid}"; done; '
                  f'"{self.cluster.bindir}/pg_combinebackup" -o "{target}" -T "$space={self.tablespace_at(target)}" $(ls -dv {self.folder}/plain-*); sync')
        return measure.measure(["bash", "-o", "pipefail", "-c", script, "bash", *map(str, self.chain)])

    def check(self, target, expected):
        call([self.cluster.bindir / "pg_verifybackup", "-q", target])
        self.cluster.check_restored(target, COUNTS, expected)


def summaries(bench):
    if not (Path(bench.options.summaries_bindir) / "postgres").exists():
        raise measure.Failed(f"there is no PostgreSQL 17 in {bench.options.summaries_bindir}")
    with measure.libraries(Path(bench.options.summaries_bindir).parent / "lib"):
        summarizing(bench)
        bench.stop()


def summarizing(bench):
    cluster = bench.cluster("summaries", bindir=bench.options.summaries_bindir)
    cluster.sql("ALTER SYSTEM SET summarize_wal = on")
    cluster.sql("SELECT pg_reload_conf()")
    say(f"filling a cluster of PostgreSQL {cluster.major()}")
    fill(cluster, bench.options.size)
    tools = [tool(cluster, bench.place.below("summaries-of")) for tool in (Pgstow, PgBasebackupIncremental)]
    begin(bench, cluster, tools)
    bench.text(f"## Incremental backup with WAL summaries\n\nPostgreSQL {cluster.major()} with `summarize_wal`, the same data and changes, "
               "each on top of the one before. The server knows which blocks changed; neither pgBackRest nor Barman can ask it.")
    changes = {"one range": lambda number: change_range(cluster, number, OF), "rows at random": lambda _: change_rows(cluster, OF)}
    chains(bench, cluster, tools, changes, {kind: kind.capitalize() for kind in changes}, of=", summaries")
