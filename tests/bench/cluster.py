"""A database server in a folder of its own, reached through a socket there, and restored copies beside it."""

import time
from pathlib import Path

from measure import Failed, call, measure

SETTINGS = """
listen_addresses = ''
port = {port}
unix_socket_directories = '{folder}'
shared_buffers = 512MB
max_wal_size = 4GB
wal_keep_size = {kept}
archive_mode = on
archive_command = 'true'
autovacuum = off
synchronous_commit = off
log_min_messages = warning
"""


class Cluster:
    """`kept`: how much WAL stays in pg_wal behind a checkpoint."""

    def __init__(self, bindir, folder, port, kept="0"):
        self.bindir, self.folder, self.port = Path(bindir), Path(folder), port
        self.data = self.folder / "data"
        self.tablespace = self.folder / "tablespace"
        call(["mkdir", "-p", str(self.tablespace)])
        # Data checksums: every tool checks them while it copies.
        call([self.bindir / "initdb", "--no-sync", "-k", "-U", "postgres", "--locale=C", "-E", "UTF8", "-D", self.data])
        settings = SETTINGS.format(port=port, folder=folder, kept=kept)
        call(["sh", "-c", 'printf %s "$2" >>"$1"/postgresql.conf', "sh", self.data, settings])
        # Its log must not be our pipe: the server keeps it open.
        call([self.bindir / "pg_ctl", "start", "-w", "-t", "600", "-s", "-D", self.data, "-l", self.folder / "log"])

    def stop(self, data=None):
        call([self.bindir / "pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", data or self.data])

    def major(self):
        return (self.data / "PG_VERSION").read_text().strip()

    def postmaster(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def files(self):
        """How many there are, with those of the tablespace and without the WAL."""
        return sum(path.is_file() and "pg_wal" not in path.parts
                   for folder in (self.data, self.tablespace) for path in folder.rglob("*"))

    def connection(self, database="postgres", port=None):
        return ["-X", "-h", str(self.folder), "-p", str(port or self.port), "-U", "postgres", "-d", database]

    def sql(self, statement, database="postgres", port=None):
        return call([self.bindir / "psql", *self.connection(database, port), "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]).strip()

    def pgbench(self, *options, database="postgres"):
        call([self.bindir / "pgbench", *self.connection(database)[1:7], *options, database])

    def tablespace_oid(self):
        return self.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'")

    def set_archive_command(self, command):
        quoted = command.replace("'", "''")
        self.sql(f"ALTER SYSTEM SET archive_command = '{quoted}'")
        self.sql("SELECT pg_reload_conf()")

    def archive_with(self, command):
        """From now on a segment goes to this command; returns when it took one."""
        self.set_archive_command(command)
        self.sql("SELECT pg_stat_reset_shared('archiver')")
        # An archiver that is asleep reads its settings when it wakes.
        for _ in range(2):
            self.archive_the_last()

    def archive_the_last(self):
        """Closes the current segment; returns when it is archived."""
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal()) FROM (SELECT pg_create_restore_point('next')) x")
        for _ in range(600):
            archived, failed = self.sql("SELECT coalesce(last_archived_wal, ''), failed_count FROM pg_stat_archiver").split("|")
            if archived[:24] >= segment:
                return
            if int(failed) > 3:
                break
            time.sleep(0.1)
        raise Failed(f"segment {segment} was not archived; see {self.folder}/log")

    def start_restored(self, data, *options):
        """Starts a restored copy beside this server; measured until it has recovered and takes writes."""
        settings = " ".join(f"-c {option}" for option in (
            f"port={self.port + 1}", "shared_buffers=128MB", f"config_file={data}/postgresql.conf", *options))
        # pg_ctl waits for a hot standby only.
        script = ('log=$1 data=$2 settings=$3; shift 3; pg_ctl start -w -t 600 -s -D "$data" -l "$log" -o "$settings" || exit 1; '
                  'for try in $(seq 12000); do [ "$(psql "$@" -qAtc "SELECT pg_is_in_recovery()")" != f ] || exit 0; sleep 0.05; done; exit 1')
        return measure(["sh", "-c", f'PATH="{self.bindir}:$PATH"; {script}', "sh", self.folder / "log-restored", data, settings,
                        *self.connection(port=self.port + 1)])

    def check_running(self, data, question, expected):
        """Asks a restored copy that runs, and stops it."""
        try:
            found = self.sql(question, port=self.port + 1)
        finally:
            self.stop(data)
        if found != expected:
            raise Failed(f"{data} has {found} instead of {expected}")

    def check_restored(self, data, question, expected):
        """Starts a restored copy, lets it recover and promote, and asks it."""
        self.start_restored(data, "archive_mode=off", "fsync=off")
        self.check_running(data, question, expected)

    def check_pages(self, data):
        """The checksums of all pages of a copy that is stopped."""
        call([self.bindir / "pg_checksums", "--check", "-D", data])
