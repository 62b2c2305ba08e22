"""What a program does that only knows folders: watch_folder.py FOLDER [COUNT]

Prints the name of each file of a mandate folder, and again when it was changed; ends after COUNT
names. p2psync replaces a copy as a whole, so a file that is there is complete.
"""

import os
import sys
import time


def look(folder: str) -> dict[str, tuple[int, int]]:
    """The files of a folder, with what changes at each save."""
    with os.scandir(folder) as entries:
        return {
            entry.name: (entry.stat().st_mtime_ns, entry.inode())
            for entry in entries
            if entry.is_file() and not entry.name.startswith(".")
        }


def main(folder: str, count: int) -> None:
    """Print what is new or changed."""
    known: dict[str, tuple[int, int]] = {}
    while count > 0:
        now = look(folder)
        for name in sorted(name for name in now if now[name] != known.get(name)):
            print(name, flush=True)
            count -= 1
        known = now
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize)
