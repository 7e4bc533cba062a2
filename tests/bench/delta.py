"""Restores into a folder that has most of what is wanted: a share of its pages differ."""

import random
from pathlib import Path

PAGE = 8192
SMALLEST = 1 << 20  # smaller files are left alone: their pages are few


def change(folders, share, together):
    """Changes that share of the pages of each larger file, in one range or at random; how many."""
    changed = 0
    chance = random.Random(42)
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size < SMALLEST or "pg_wal" in path.parts:
            continue
        pages = path.stat().st_size // PAGE
        count = max(1, round(pages * share))
        first = chance.randrange(pages - count + 1)
        chosen = range(first, first + count) if together else chance.sample(range(pages), count)
        with open(path, "r+b") as file:
            for page in chosen:
                file.seek(page * PAGE + 100)
                file.write(b"changed!")
        changed += count
    return changed
