"""The folder in which all happens, and the guard that stops its servers and removes it, however the run ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from measure import USER, remove

STOP_SECONDS = 30


class Workplace:
    def __init__(self, folder, keep):
        self.folder, self.keep = Path(folder), keep
        if self.folder.exists():
            raise SystemExit(f"{folder} exists; remove it, or name another with --work")
        self.folder.mkdir(parents=True, mode=0o755)
        self.guard, self.alive = None, None

    def below(self, name):
        """A folder of the server's user."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        if USER:
            shutil.chown(folder, USER, USER)
        return folder

    def program(self, path):
        """A copy of a program that the server's user can run: that user may not enter the checkout."""
        return shutil.copy(path, self.below("bin"))

    def __enter__(self):
        """Starts the guard: a process that waits for the end of this one, even by SIGKILL."""
        watched, self.alive = os.pipe()
        self.guard = os.fork()
        if self.guard == 0:
            os.setsid()  # an interrupt of the terminal is not for it
            os.close(self.alive)
            os.read(watched, 1)  # returns when nobody holds the other end
            stop_servers(self.folder)
            if not self.keep:
                remove(self.folder)
            os._exit(0)
        os.close(watched)
        # Else a server that is just being started would outlive the guard's look.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *_):
        os.close(self.alive)
        os.waitpid(self.guard, 0)


def stop_servers(folder):
    """Those whose postmaster.pid lies in a data directory below the folder."""
    deadline = time.monotonic() + STOP_SECONDS
    asked, looks_without = set(), 0
    # Two looks a second apart: one may be starting.
    while looks_without < 2 and time.monotonic() < deadline:
        running = servers(folder)
        for process in running - asked:
            os.kill(process, signal.SIGQUIT)
        asked |= running
        looks_without = 0 if running else looks_without + 1
        time.sleep(1)


def servers(folder):
    found = subprocess.run(["find", folder, "-name", "postmaster.pid", "-exec", "head", "-n1", "{}", ";"],
                           text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return {int(line) for line in found.stdout.split() if is_server(line)}


def is_server(process):
    try:
        return os.path.basename(os.readlink(f"/proc/{int(process)}/exe")) == "postgres"
    except (OSError, ValueError):
        return False
