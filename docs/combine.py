#!/usr/bin/env python3
"""Combines a full backup and the incremental ones behind it, each unpacked into a folder of its own.

    combine.py --output NEW [--tablespace OID=FOLDER ...] FULL INCREMENTAL ...

For PostgreSQL 15 and 16, which have no pg_combinebackup; from 17 on take the server's own. Needs
Python 3.9 and nothing else. The folders are given oldest first. Nothing in them is changed.

What it does is what pg_combinebackup does: each file is that of the newest folder; of one that is
named INCREMENTAL.<name> each block comes from the newest folder that has it. The manifest is written
anew, so that pg_verifybackup can judge the result; files that were put together are listed with a
SHA-256, since a CRC-32C would take Python hours.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import struct
import sys
from pathlib import Path

PREFIX = b"INCREMENTAL."
MAGIC = 0xD3AE1F0D
LABEL, MANIFEST = b"backup_label", b"backup_manifest"


class Broken(Exception):
    """The folders are no chain, or damaged."""


class Incremental:
    """A file of changed blocks: a magic, the number of blocks, the length of the whole file in
    blocks, the numbers of the blocks, zeros up to a whole block, the blocks."""

    def __init__(self, path, block_size):
        self.block_size = block_size
        self.file = open(path, "rb")
        head = self.file.read(12)
        if len(head) != 12 or struct.unpack("<I", head[:4])[0] != MAGIC:
            raise Broken(f"{os.fsdecode(path)} is no incremental file")
        count, self.length = struct.unpack("<II", head[4:])
        numbers = self.file.read(4 * count)
        if len(numbers) != 4 * count:
            raise Broken(f"{os.fsdecode(path)} ends in its header")
        self.blocks = {number: at for at, number in enumerate(struct.unpack(f"<{count}I", numbers))}
        size = 12 + 4 * count
        self.first = size if count == 0 else -(-size // block_size) * block_size
        if os.path.getsize(path) != self.first + count * block_size:
            raise Broken(f"{os.fsdecode(path)} has another length than its header tells")

    def read(self, number):
        """The block, or None if it is not here."""
        at = self.blocks.get(number)
        if at is None:
            return None
        self.file.seek(self.first + at * self.block_size)
        return self.file.read(self.block_size)


class Whole:
    """A file as it was, in an older backup."""

    def __init__(self, path, block_size):
        self.block_size = block_size
        self.file = open(path, "rb")
        self.length = os.path.getsize(path) // block_size

    def read(self, number):
        if number >= self.length:
            return None
        self.file.seek(number * self.block_size)
        return self.file.read(self.block_size)


def combine_file(relative, folders, target, block_size):
    """Writes the file that `relative`, an incremental one of the newest folder, stands for."""
    plain = relative.parent / os.fsdecode(os.fsencode(relative.name)[len(PREFIX):])
    sources = []
    for folder in reversed(folders):
        changed = folder / relative
        if changed.exists():
            sources.append(Incremental(changed, block_size))
            continue
        whole = folder / plain
        if not whole.exists():
            raise Broken(f"{folder} has neither {plain} nor its changed blocks")
        sources.append(Whole(whole, block_size))
        break
    else:
        raise Broken(f"no folder has the whole of {plain}")
    length = max([sources[0].length] + [number + 1 for number in sources[0].blocks])
    empty, sum = bytes(block_size), hashlib.sha256()
    with open(target / plain, "xb") as out:
        for number in range(length):
            block = next((block for block in (source.read(number) for source in sources) if block), empty)
            if len(block) != block_size:
                raise Broken(f"a block of {plain} is cut off")
            sum.update(block)
            out.write(block)
    for source in sources:
        source.file.close()
    shutil.copystat(folders[-1] / relative, target / plain)
    return plain, length * block_size, sum.hexdigest()


def label_fields(folder):
    fields = {}
    for line in (folder / os.fsdecode(LABEL)).read_bytes().splitlines():
        key, _, value = line.decode("utf-8", "replace").partition(": ")
        fields[key] = value
    start = re.match(r"[0-9A-F]+/[0-9A-F]+", fields.get("START WAL LOCATION", ""))
    if not start:
        raise Broken(f"{folder} has a backup_label that says nothing")
    parent = fields.get("INCREMENTAL FROM LSN"), fields.get("INCREMENTAL FROM TLI")
    return (start.group(), fields.get("START TIMELINE")), parent


def system_of(folder):
    """pg_control begins with the system's identifier."""
    return (folder / "global/pg_control").read_bytes()[:8]


def check_chain(folders):
    before = None
    for folder in folders:
        if system_of(folder) != system_of(folders[0]):
            raise Broken(f"{folder} is of another system than {folders[0]}")
        start, parent = label_fields(folder)
        if parent != (before or (None, None)):
            raise Broken(
                f"{folder} builds on the backup that starts at {parent[0]}, and the one before it starts at {before and before[0]}"
                if parent[0] else f"{folder} is a full backup: it must be the first")
        before = start


def owner_of(found):
    return (found.st_uid, found.st_gid)


def make(folder):
    """A folder of ours: missing, or there and empty."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    folder.mkdir(mode=0o700)


def place(path, source):
    """Mode and owner of what was copied; the owner only where we may."""
    found = os.stat(source)
    os.chmod(path, found.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.chown(path, *owner_of(found))


def walk(folder):
    """All that is in a folder, by its path relative to it; links in pg_tblspc are followed."""
    pending = [Path()]
    while pending:
        inner = pending.pop()
        for entry in sorted(os.scandir(folder / inner), key=lambda entry: entry.name):
            relative = inner / entry.name
            link = entry.is_symlink() and inner == Path("pg_tblspc")
            if entry.is_dir(follow_symlinks=link):
                yield relative, "link" if link else "folder"
                pending.append(relative)
            elif entry.is_file(follow_symlinks=False):
                yield relative, "file"


def write_manifest(newest, target, made):
    """The newest manifest with the files that were made anew: path to (size, SHA-256)."""
    text = (newest / os.fsdecode(MANIFEST)).read_text()
    manifest = json.loads(text)
    lines = []
    for file in manifest["Files"]:
        key = "Path" if "Path" in file else "Encoded-Path"
        path = os.fsencode(file["Path"]) if key == "Path" else bytes.fromhex(file["Encoded-Path"])
        folder, slash, name = path.rpartition(b"/")
        if name.startswith(PREFIX):
            path = folder + slash + name[len(PREFIX):]
        if path in made:
            file["Size"], file["Checksum"] = made[path]
            file["Checksum-Algorithm"] = "SHA256"
            file[key] = os.fsdecode(path) if key == "Path" else path.hex()
        lines.append(json.dumps(file, ensure_ascii=False))
    version = manifest["PostgreSQL-Backup-Manifest-Version"]
    system = f'"System-Identifier": {manifest["System-Identifier"]},\n' if version > 1 else ""
    ranges = ",\n".join(json.dumps(wal) for wal in manifest["WAL-Ranges"])
    body = (f'{{ "PostgreSQL-Backup-Manifest-Version": {version},\n{system}"Files": [\n' + ",\n".join(lines)
            + f'\n],\n"WAL-Ranges": [\n{ranges}\n],\n').encode()
    sum = hashlib.sha256(body).hexdigest()
    (target / os.fsdecode(MANIFEST)).write_bytes(body + f'"Manifest-Checksum": "{sum}"}}\n'.encode())


def combine(folders, target, tablespaces, block_size):
    check_chain(folders)
    newest, made = folders[-1], {}
    make(target)
    place(target, newest)
    for relative, kind in walk(newest):
        path = target / relative
        if kind == "link":
            if relative.name not in tablespaces:
                raise Broken(f"say where tablespace {relative.name} is to lie: --tablespace {relative.name}=FOLDER")
            space = Path(tablespaces[relative.name])
            make(space)
            place(space, newest / relative)
            path.symlink_to(space)
        elif kind == "folder":
            path.mkdir()
            place(path, newest / relative)
        elif os.fsencode(relative.name).startswith(PREFIX):
            plain, size, sum = combine_file(relative, folders, target, block_size)
            place(target / plain, newest / relative)
            made[os.fsencode(plain)] = (size, sum)
        elif os.fsencode(relative) == LABEL:
            lines = (newest / relative).read_bytes().splitlines(keepends=True)
            label = b"".join(line for line in lines if not line.startswith(b"INCREMENTAL FROM "))
            path.write_bytes(label)
            place(path, newest / relative)
            made[LABEL] = (len(label), hashlib.sha256(label).hexdigest())
        elif os.fsencode(relative) != MANIFEST:
            shutil.copy2(newest / relative, path, follow_symlinks=False)
            place(path, newest / relative)
    write_manifest(newest, target, made)
    os.sync()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", "-o", required=True, type=Path, help="a folder that is missing or empty")
    parser.add_argument("--tablespace", "-t", action="append", default=[], metavar="OID=FOLDER",
                        help="where a tablespace is to lie: a folder that is missing or empty")
    parser.add_argument("--block-size", type=int, default=8192, help="of the server (default: %(default)s)")
    parser.add_argument("folders", nargs="+", type=Path, help="the full backup, then its incremental ones")
    options = parser.parse_args()
    tablespaces = dict(space.split("=", 1) for space in options.tablespace)
    try:
        combine(options.folders, options.output, tablespaces, options.block_size)
    except (Broken, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
