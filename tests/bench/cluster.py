"""The database cluster that is backed up, and the quick start of a restored copy."""

import os
import time
from pathlib import Path

from measure import Failed, call

# What a page-sized heap of each part is made of; the figures are shares of the wanted size.
PGBENCH, JSON, TABLESPACE = 0.5, 0.3, 0.2
PGBENCH_SCALE_MB = 15.0
ROW_MB = 0.00040  # a JSON-like row of about 390 bytes and its header
SMALL_TABLES = 2000

ROWS = """
SELECT n AS id, jsonb_build_object('id', n, 'user', md5((n % 50000)::text), 'at', to_timestamp(1700000000 + n),
       'event', (ARRAY['login','view','click','buy','logout'])[1 + n % 5], 'amount', round((random() * 1000)::numeric, 2),
       'session', md5(random()::text),
       'request', md5(random()::text), 'path', '/shop/item/' || n % 9973 || '/view', 'agent', 'Mozilla/5.0 (X11; Linux x86_64)',
       'address', '10.' || n % 250 || '.' || n / 250 % 250 || '.' || n / 62500 % 250)::text AS body FROM generate_series(1, {rows}) n
"""
COUNTS = """
SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts), (SELECT count(*) FROM events),
       (SELECT count(*) FROM log), (SELECT sum(length(body)) FROM log), (SELECT count(*) FROM pg_class WHERE relname LIKE 'small_%' AND relkind = 'r')
"""
SMALL = """
DO $$ BEGIN FOR n IN {first}..{last} LOOP
    EXECUTE format('CREATE TABLE small_%s AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 20) n', n);
END LOOP; END $$
"""


class Cluster:
    """A running server in a folder of its own, reached through a socket there."""

    def __init__(self, bindir, folder, port):
        self.bindir, self.folder, self.port = Path(bindir), Path(folder), port
        self.data = self.folder / "data"
        self.tablespace = self.folder / "tablespace"

    def create(self):
        call(["mkdir", "-p", str(self.tablespace)])
        # Data checksums: every tool checks them while it copies.
        call([self.bindir / "initdb", "--no-sync", "-k", "-U", "postgres", "--locale=C", "-E", "UTF8", "-D", self.data])
        settings = f"""
listen_addresses = ''
port = {self.port}
unix_socket_directories = '{self.folder}'
shared_buffers = 512MB
max_wal_size = 4GB
archive_mode = on
archive_command = 'true'
autovacuum = off
synchronous_commit = off
log_min_messages = warning
"""
        call(["sh", "-c", 'cat >>"$1"/postgresql.conf <<E\n' + settings + "\nE", "sh", self.data])

    def start(self, *options, data=None):
        data = data or self.data
        # Its log must not be our pipe: the server keeps it open.
        call([self.bindir / "pg_ctl", "start", "-w", "-t", "600", "-s", "-D", data, "-l", self.folder / "log",
              "-o", " ".join(options)])

    def stop(self, data=None):
        call([self.bindir / "pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", data or self.data])

    def major(self):
        return (self.data / "PG_VERSION").read_text().strip()

    def postmaster(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def connection(self, database="postgres", port=None):
        return ["-X", "-h", str(self.folder), "-p", str(port or self.port), "-U", "postgres", "-d", database]

    def sql(self, statement, database="postgres", port=None):
        return call([self.bindir / "psql", *self.connection(database, port), "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]).strip()

    def pgbench(self, *options, database="postgres"):
        call([self.bindir / "pgbench", *self.connection(database)[1:7], *options, database])

    def fill(self, megabytes):
        """pgbench's tables, JSON-like rows, a tablespace with more of them, many small tables."""
        self.pgbench("-i", "-q", "-s", str(max(1, round(megabytes * PGBENCH / PGBENCH_SCALE_MB))))
        rows = round(megabytes * JSON / ROW_MB)
        self.sql(f"SELECT setseed(0.42); CREATE TABLE events AS {ROWS.format(rows=rows)}")
        self.sql(f"CREATE TABLESPACE elsewhere LOCATION '{self.tablespace}'")
        rows = round(megabytes * TABLESPACE / ROW_MB)
        self.sql("CREATE TABLE log (id int, body text) TABLESPACE elsewhere")
        self.sql(f"SELECT setseed(0.43); INSERT INTO log {ROWS.format(rows=rows)}")
        for first in range(1, SMALL_TABLES, 500):
            self.sql(SMALL.format(first=first, last=first + 499))
        self.sql("VACUUM ANALYZE")
        # Pages with the history of updates, as real tables have them.
        self.pgbench("-N", "-c", "2", "-t", str(max(100, round(megabytes))))
        self.sql("CHECKPOINT")

    def tablespace_oid(self):
        return self.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'")

    def counts(self, port=None):
        return self.sql(COUNTS, port=port)

    def archive_with(self, command):
        """From now on a segment goes to this command; returns when it took one."""
        quoted = command.replace("'", "''")
        self.sql(f"ALTER SYSTEM SET archive_command = '{quoted}'")
        self.sql("SELECT pg_reload_conf()")
        self.sql("SELECT pg_stat_reset_shared('archiver')")
        # An archiver that is asleep reads its settings when it wakes.
        for _ in range(2):
            last = self.sql("SELECT pg_walfile_name(pg_switch_wal()) FROM (SELECT pg_create_restore_point('next')) x")
            self.wait_for_archived(last)

    def wait_for_archived(self, segment):
        for _ in range(600):
            archived, failed = self.sql("SELECT coalesce(last_archived_wal, ''), failed_count FROM pg_stat_archiver").split("|")
            if archived[:24] >= segment:
                return
            if int(failed) > 3:
                break
            time.sleep(0.1)
        raise Failed(f"segment {segment} was not archived; see {self.folder}/log")

    def check_restored(self, data, expected):
        """Starts a restored copy, lets it recover and promote, and counts its rows."""
        port = self.port + 1
        data = Path(data)
        self.start(f"-c port={port} -c archive_mode=off -c shared_buffers=128MB -c fsync=off -c config_file={data}/postgresql.conf", data=data)
        try:
            for _ in range(600):
                if self.sql("SELECT pg_is_in_recovery()", port=port) == "f":
                    break
                time.sleep(0.1)
            found = self.counts(port=port)
        finally:
            self.stop(data)
        if found != expected:
            raise Failed(f"{data} has {found} instead of {expected}")


def make_segments(cluster, folder, wanted):
    """Real WAL of pgbench and of inserts, `wanted` segments of it, in `folder`."""
    call(["mkdir", "-p", str(folder)])
    cluster.archive_with(f'cp %p "{folder}/%f"')
    cluster.sql("CREATE DATABASE load")
    cluster.pgbench("-i", "-q", "-s", "10", database="load")
    cluster.sql("CREATE TABLE events (id int, body text)", "load")
    while len(os.listdir(folder)) < wanted:
        cluster.pgbench("-c", "2", "-t", "5000", database="load")
        cluster.sql(f"INSERT INTO events {ROWS.format(rows=40000)}", "load")
        cluster.sql("CHECKPOINT", "load")
    cluster.archive_with("true")
    cluster.sql("DROP DATABASE load")
    for name in sorted(os.listdir(folder))[wanted:]:
        os.remove(Path(folder) / name)
    return sorted(os.listdir(folder))
