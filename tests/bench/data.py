"""What is in the cluster: its tables, how they change, and the WAL of more changes."""

# Shares of the wanted size.
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
# Keys and toast tables: each small table is five files.
SMALL = """
DO $$ BEGIN FOR n IN {first}..{last} LOOP
    EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, name text)', n);
    EXECUTE format('INSERT INTO small_%s SELECT n, md5(n::text) FROM generate_series(1, 20) n', n);
END LOOP; END $$
"""
# The larger tables, by a column that follows the order of their rows.
KEYS = {"pgbench_accounts": "aid", "events": "id", "log": "id"}
# A restored copy is asked this.
COUNTS = """
SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts), (SELECT count(*) FROM events),
       (SELECT sum(length(body)) FROM events), (SELECT count(*) FROM log), (SELECT sum(length(body)) FROM log),
       (SELECT count(*) FROM pg_class WHERE relname LIKE 'small_%' AND relkind = 'r'),
       (SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname LIKE 'small_%')
"""


def fill(cluster, megabytes):
    """pgbench's tables, JSON-like rows, a tablespace with more of them, many small tables."""
    cluster.pgbench("-i", "-q", "-s", str(max(1, round(megabytes * PGBENCH / PGBENCH_SCALE_MB))))
    rows = round(megabytes * JSON / ROW_MB)
    cluster.sql(f"SELECT setseed(0.42); CREATE TABLE events AS {ROWS.format(rows=rows)}")
    cluster.sql(f"CREATE TABLESPACE elsewhere LOCATION '{cluster.tablespace}'")
    rows = round(megabytes * TABLESPACE / ROW_MB)
    cluster.sql("CREATE TABLE log (id int, body text) TABLESPACE elsewhere")
    cluster.sql(f"SELECT setseed(0.43); INSERT INTO log {ROWS.format(rows=rows)}")
    for first in range(1, SMALL_TABLES, 500):
        cluster.sql(SMALL.format(first=first, last=first + 499))
    cluster.sql("VACUUM ANALYZE")
    # Pages with the history of updates, as real tables have them.
    cluster.pgbench("-N", "-c", "2", "-t", str(max(100, round(megabytes))))
    cluster.sql("CHECKPOINT")


def settled(cluster):
    """The counts, with all pages written and not to be touched again by a reader."""
    # The first who reads a changed page leaves hints in it.
    counts = cluster.sql(COUNTS)
    cluster.sql("CHECKPOINT")
    return counts


def change_range(cluster, number, of):
    """Deletes the rows of the `number`th of `of` equal ranges of each larger table: their pages change, no other."""
    for table, key in KEYS.items():
        cluster.sql(f"DELETE FROM {table} USING (SELECT max({key})::float / {of} AS share FROM {table}) m "
                    f"WHERE {key} > share * {number} AND {key} <= share * {number + 1}")


def change_rows(cluster, of):
    """Updates one of `of` rows of each larger table, chosen at random."""
    cluster.sql(f"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE random() < 1.0 / {of}")
    for table in ("events", "log"):
        cluster.sql(f"UPDATE {table} SET body = body || ' ' WHERE random() < 1.0 / {of}")


def make_wal(cluster, enough):
    """Full segments of WAL, of pgbench and of inserts, until `enough()`."""
    if not cluster.sql("SELECT 1 FROM pg_database WHERE datname = 'load'"):
        cluster.sql("CREATE DATABASE load")
        cluster.pgbench("-i", "-q", "-s", "10", database="load")
        cluster.sql("CREATE TABLE events (id int, body text)", "load")
    while not enough():
        # Behind a checkpoint the first change of each page writes the whole page.
        cluster.sql("CHECKPOINT", "load")
        cluster.pgbench("-c", "2", "-t", "5000", database="load")
        cluster.sql(f"INSERT INTO events {ROWS.format(rows=40000)}", "load")
