"""Runs a command as the server's user and measures it: wall, CPU, peak memory."""

import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# PostgreSQL refuses to run as root.
USER = "postgres" if os.geteuid() == 0 else None
# Between two samples of memory, each of which costs about 0.1 ms for a process: a tenth of the time that the
# command has run so far, so that short ones are seen too, within these bounds.
SAMPLE_SECONDS = (0.001, 0.02)
TICKS = os.sysconf("SC_CLK_TCK")
LIBRARIES = {}  # further variables; see libraries()


@dataclass
class Measured:
    """CPU and memory are those of the command's whole process tree, without the server."""

    wall: float
    cpu: float
    memory: int  # the largest sum of resident bytes that a sample saw, each shared page shared out
    server_cpu: float = 0.0
    output: str = ""
    stored: int = 0  # bytes that a tool keeps of it
    requests: int = 0  # of a store

    def and_then(self, next_one):
        """Both as one: times add up, the larger memory counts."""
        return Measured(self.wall + next_one.wall, self.cpu + next_one.cpu, max(self.memory, next_one.memory),
                        self.server_cpu + next_one.server_cpu, requests=self.requests + next_one.requests)


class Failed(Exception):
    """A command failed, or its result is wrong."""


def call(command, **options):
    """Runs a command (a list, or a line for the shell) unmeasured; returns what it printed."""
    done = subprocess.run(command, shell=isinstance(command, str), text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **as_user(), **options)
    if done.returncode != 0:
        raise Failed(f"{command} failed with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def measure(command, server=None, codes=(0,), **options):
    """Runs a command and measures it; `server`: the process id of a postmaster to watch too; `codes`: exit codes that
    are no failure."""
    # What others wrote is not this command's to wait for.
    os.sync()
    server_before = server_cpu(server)
    begun = time.monotonic()
    child = subprocess.Popen(command, shell=isinstance(command, str), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **as_user(), **options)
    memory = Memory(child.pid)
    output = child.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = memory.stop()
    if child.returncode not in codes:
        raise Failed(f"{command} failed with {child.returncode}:\n{output[-4000:]}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, peak, server_cpu(server) - server_before, output)


def as_user():
    return {"user": USER, "group": USER, "extra_groups": [], "cwd": "/", "env": environment()} if USER else {"env": {**os.environ, **LIBRARIES}}


def environment():
    """A clean one: no PG* variable of the caller leads a tool elsewhere."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", "TZ": "UTC", **LIBRARIES}


@contextlib.contextmanager
def libraries(folder):
    """For PostgreSQL's programs that find theirs only there."""
    LIBRARIES["LD_LIBRARY_PATH"] = str(folder)
    try:
        yield
    finally:
        LIBRARIES.clear()


class Memory:
    """Samples the resident memory of a process tree on a thread of its own."""

    def __init__(self, root):
        self.root, self.peak, self.ended = root, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        shortest, longest = SAMPLE_SECONDS
        begun = time.monotonic()
        while True:
            self.peak = max(self.peak, sum(resident(process) for process in tree(self.root)))
            if self.ended.wait(min(longest, max(shortest, (time.monotonic() - begun) / 10))):
                return

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.peak


def children(process):
    try:
        tasks = os.listdir(f"/proc/{process}/task")
        lists = [Path(f"/proc/{process}/task/{task}/children").read_text() for task in tasks]
    except OSError:
        return []
    return [int(child) for line in lists for child in line.split()]


def tree(root):
    found = [root]
    for process in found:
        found.extend(children(process))
    return found


def resident(process):
    """Bytes; a page that several processes share counts for each by its part, so that no page counts twice
    (the kernel's "proportional set size")."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended meanwhile
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def server_cpu(postmaster):
    """Seconds of all processes that the server has and had, archive_command's among them."""
    if postmaster is None:
        return 0.0
    total = 0
    for process in tree(postmaster):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            continue
        # proc(5): utime, stime, and those of children that were waited for.
        total += sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
    return total / TICKS


def stored_bytes(folder):
    return sum(file.lstat().st_size for file in Path(folder).rglob("*") if file.is_file() and not file.is_symlink())


def put_aside(*folders):
    """Frees names and bytes, and keeps the inodes: for minutes after many were deleted, ext4 makes each new file
    slower than anything that is measured here (recently_deleted in its ialloc.c)."""
    for number, folder in enumerate(folders):
        aside = Path(folder).parent / f"aside-{time.monotonic_ns()}-{number}"
        subprocess.run(["sh", "-c", 'mv "$1" "$2"; find "$2" -type f -print0 | xargs -0 -r -P 8 -n 100 truncate -s 0',
                        "sh", folder, aside], check=True)


def remove(*folders):
    """By several processes: an ext4 that discards takes milliseconds for each synced file, but for many at once."""
    for folder in folders:
        subprocess.run(["sh", "-c", 'find "$1" -type f -print0 | xargs -0 -r -P 8 -n 100 rm -f; rm -rf "$1"', "sh", folder],
                       stderr=subprocess.DEVNULL, check=True)
