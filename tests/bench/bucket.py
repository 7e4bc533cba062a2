"""Repositories in a bucket, of a store beside and of one that is some way off: backups, restores, WAL both ways."""

from data import settled
from peers import PgBackRest, PgBackRestAsync
from rows import LOCAL, rounds
from store import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Store
from tools import Pgstow
from wal import catching_up, fetches, made, pushes

DELAYS = (0, 20)  # milliseconds, of each request


class InBucket:
    """`road`: the way to the store."""

    further = ("requests",)

    def __init__(self, cluster, folder, road):
        self.road = road
        super().__init__(cluster, folder)

    @property
    def prefix(self):
        return "/".join(self.folder.parts[-3:])

    @property
    def repo(self):
        return self.road.store.objects / self.prefix

    def requests(self):
        return self.road.requests()


class PgstowInBucket(InBucket, Pgstow):
    def repository(self):
        return f"""url = "s3://{BUCKET}/{self.prefix}"
endpoint = "https://localhost:{self.road.port}"
region = "{REGION}"
ca_file = "{self.road.store.ca}"
access_key = "{ACCESS_KEY}"
secret_key = "{SECRET_KEY}\""""

    def configure(self, name, text):
        path = super().configure(name, text)
        path.chmod(0o600)  # it holds a secret
        return path


class PgBackRestInBucket(InBucket, PgBackRest):
    def repository(self):
        return f"""repo1-path=/{self.prefix}
repo1-type=s3
repo1-s3-bucket={BUCKET}
repo1-s3-endpoint=localhost
repo1-storage-port={self.road.port}
repo1-storage-ca-file={self.road.store.ca}
repo1-s3-uri-style=path
repo1-s3-region={REGION}
repo1-s3-key={ACCESS_KEY}
repo1-s3-key-secret={SECRET_KEY}"""


class PgBackRestAsyncInBucket(PgBackRestInBucket, PgBackRestAsync):
    pass


def bucket(bench):
    cluster = bench.filled()
    expected = settled(cluster)
    for road in store(bench, "bucket").roads:
        tools = [tool(cluster, bench.place.below(f"bucket/{road.name}"), road) for tool in (PgstowInBucket, PgBackRestInBucket)]
        bench.text(f"## Full backup and restore, {road}\n\nFull backups:")
        backups = bench.row(f"full backup, {road}", tools, (*LOCAL, "requests"))
        bench.text("Restores to an empty folder:")
        restores = bench.row(f"restore, {road}", tools, ("wall", "CPU", "peak memory", "requests"))
        for number, turn in rounds(bench.options.runs, tools):
            for tool in turn:
                tool.forget()
                cluster.archive_with(tool.archive_command)
                measured = tool.backup()
                bench.record(number, f"backup, {road}", backups, tool, measured, tool.stored())
            for tool in turn:
                target = str(bench.place.below("restored") / tool.key)
                bench.record(number, f"restore, {road}", restores, tool, tool.restore(target))
                tool.check(target, expected)
                tool.remove(target)


def bucket_wal(bench):
    cluster, names, segments = made(bench, "bucket-wal")
    for road in store(bench, "bucket-wal-store").roads:
        place, where = bench.place.below(f"bucket-wal/{road.name}"), f", {road}"
        behind = [tool(cluster, place / "behind", road) for tool in (PgstowInBucket, PgBackRestAsyncInBucket)]
        catching_up(bench, behind, names, segments, where)
        tools = [tool(cluster, place / "one-by-one", road) for tool in (PgstowInBucket, PgBackRestInBucket)]
        pushes(bench, tools, segments, where)
        fetches(bench, [*tools, behind[1]], segments, where)


def store(bench, name):
    # Behind the ports of the cluster and of its restored copy.
    return Store(bench.place.below(name), bench.options.port + 2, DELAYS)
