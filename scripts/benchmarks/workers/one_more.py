"""``one_more FOLDER LENGTH…``: what one more entry costs when so many are there.

One author writes records, one entry each; another node takes them in and keeps them. At each of
the lengths a few entries are written, taken in and committed one by one, and timed.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from authors import (  # type: ignore[import-not-found] # beside this file
    WALL_MS,
    Author,
    Books,
    commit,
    raws_of,
)

from p2psync.storage.database import Database
from p2psync.storage.rows import MandateRow

SINGLE = 100
"""Entries that are timed at each length."""
TOGETHER = 1000
"""Entries that are taken in at once in between."""
RECORDS_A_FILE = 50_000


def main(folder: Path, lengths: list[int]) -> None:
    """Grows a log from length to length, and prints what was measured at each."""
    books = Books()
    author: Author = books.author()
    reader = books.replica(books.device)
    with Database.open(folder / "p2psync.db") as database:
        with database.batch() as batch:
            batch.add_mandate(MandateRow(books.id, (books.epoch_key,), "Books", WALL_MS))
        commit(database, reader.receive(books.begin, WALL_MS, more=False).effects)
        count = 0
        for length in lengths:
            while count < length:
                step = min(TOGETHER, length - count)
                raws = [raw for _ in range(step) for raw in raws_of(author.save(1))]
                commit(database, reader.receive(raws, WALL_MS, more=False).effects)
                count += step
                if author.count >= RECORDS_A_FILE:
                    raws = raws_of(author.begin_file())
                    commit(database, reader.receive(raws, WALL_MS, more=False).effects)
            writing, taking, cpu = [], [], []
            for _ in range(SINGLE):
                began = time.perf_counter()
                raws = raws_of(author.save(1))
                written, used = time.perf_counter(), time.process_time()
                commit(database, reader.receive(raws, WALL_MS, more=False).effects)
                taking.append((time.perf_counter() - written) * 1000)
                cpu.append((time.process_time() - used) * 1000)
                writing.append((written - began) * 1000)
            count += SINGLE
            told = {
                "length": length,
                "write_ms": statistics.median(writing),
                "take_ms": statistics.median(taking),
                "take_cpu_ms": statistics.median(cpu),
                "database_mb": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
            }
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(length) for length in sys.argv[2:]])
