"""An S3 server on loopback, s3s-fs, behind haproxy: with TLS, requests counted, and on a second road each held up."""

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from measure import Failed, as_user, call

PROGRAM = "/var/cache/pgstow-tests/s3s-fs/bin/s3s-fs"
BUCKET, REGION = "backups", "us-east-1"
ACCESS_KEY, SECRET_KEY = "bench", "bench-secret"
READY_SECONDS = 20

PROXY = """
global
    lua-load {folder}/hold.lua
    stats socket {folder}/stats
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
{frontends}
backend store
    http-reuse always
    server one 127.0.0.1:{port}
"""
FRONTEND = """
frontend {name}
    bind 127.0.0.1:{port} ssl crt {folder}/server.pem
    {hold}
    default_backend store
"""
HOLD = 'core.register_action("hold", {{"http-req"}}, function(txn) core.msleep({milliseconds}) end)\n'


@dataclass(frozen=True)
class Road:
    """A way to the store, on which each request is held up so long."""

    store: "Store"
    milliseconds: int
    port: int

    def __str__(self):
        return f"in a bucket, {self.milliseconds} ms away"

    @property
    def name(self):
        return f"road-{self.milliseconds}"

    def requests(self):
        """That have come so far."""
        return self.store.requests(self.name)


class Store:
    """Its objects are files below `folder`/objects. It ends with this process."""

    def __init__(self, folder, port, delays):
        self.folder = Path(folder)
        self.objects = self.folder / "objects" / BUCKET
        self.roads = [Road(self, delay, port + number) for number, delay in enumerate(delays, 1)]
        call(["mkdir", "-p", self.objects])
        self.ca = self.make_keys()
        frontends = "".join(FRONTEND.format(name=road.name, port=road.port, folder=self.folder,
                                            hold="http-request lua.hold" if road.milliseconds else "") for road in self.roads)
        self.write("hold.lua", HOLD.format(milliseconds=max(delays)))
        self.write("haproxy.cfg", PROXY.format(folder=self.folder, frontends=frontends, port=port))
        self.start("s3s-fs", [PROGRAM, "--host", "127.0.0.1", "--port", str(port), "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY,
                              self.objects.parent], port)
        self.start("haproxy", ["/usr/sbin/haproxy", "-db", "-f", self.folder / "haproxy.cfg"], self.roads[-1].port)

    def make_keys(self):
        """A certificate for localhost that is its own authority."""
        certificate = self.folder / "ca.pem"
        call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=bench",
              "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.folder / "key.pem", "-out", certificate])
        call(["sh", "-c", 'cat "$1"/ca.pem "$1"/key.pem >"$1"/server.pem', "sh", self.folder])
        return certificate

    def write(self, name, text):
        call(["sh", "-c", 'printf %s "$2" >"$1"', "sh", self.folder / name, text])

    def start(self, name, command, port):
        with open(self.folder / f"{name}.log", "wb") as log:
            subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user())
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
        raise Failed(f"{name} does not answer; see {self.folder}/{name}.log")

    def requests(self, frontend):
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.folder / "stats"))
            stats.sendall(b"show stat\n")
            lines = stats.makefile().read().lstrip("# ").splitlines()
        heads = lines[0].split(",")
        cells = next(dict(zip(heads, line.split(","))) for line in lines if line.startswith(f"{frontend},FRONTEND,"))
        return int(cells["req_tot"])
