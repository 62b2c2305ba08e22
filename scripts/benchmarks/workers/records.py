"""``records FOLDER COUNT EACH``: four authors write, one node takes in what they wrote.

``COUNT`` records in saves of ``EACH``, one entry each: signed, sealed, and carried in the frames
that a link would carry, the four logs in turn. The node decodes, checks, opens and folds them in
one thread and commits them in another, all that waits in one transaction, as nodes do.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread

from authors import WALL_MS, Books, commit  # type: ignore[import-not-found] # beside this file

from p2psync.engine import wire
from p2psync.engine.effects import Effect
from p2psync.storage.database import Database
from p2psync.storage.rows import MandateRow

AUTHORS = 4
FRAMES_WAITING_MAX = 8
"""Frames that were folded and wait for the disk, as on a link."""


class Disk(Thread):
    """Commits what is handed to it, all that waits at once."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._queue: SimpleQueue[Sequence[Effect] | None] = SimpleQueue()
        self._room = Semaphore(FRAMES_WAITING_MAX)
        self.commits = 0

    def keep(self, effects: Sequence[Effect]) -> None:
        """Waits for room, and hands in what is to be durable."""
        self._room.acquire()
        self._queue.put(effects)

    def finish(self) -> None:
        """Returns when all of it is durable."""
        self._queue.put(None)
        self.join()

    def run(self) -> None:
        """Commits until it is finished."""
        more = True
        while more:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            more = batch[-1] is not None
            work = [each for part in batch if part is not None for each in part]
            if work:
                commit(self._database, work)
                self.commits += 1
            for part in batch:
                if part is not None:
                    self._room.release()


def main(folder: Path, count: int, each: int) -> None:
    """Measures, checks the outcome, and prints it."""
    books = Books()
    authors = [books.author() for _ in range(AUTHORS)]
    began = time.perf_counter()
    logs = [list(author.saves(count // AUTHORS, each)) for author in authors]
    written = time.perf_counter() - began
    frames = [list(wire.entries_frames(0, raws)) for raws in logs]
    longest = max(map(len, frames))
    in_turn = [own[place] for place in range(longest) for own in frames if place < len(own)]

    reader = books.replica(books.device)
    with Database.open(folder / "p2psync.db") as database:
        with database.batch() as batch:
            batch.add_mandate(MandateRow(books.id, (books.epoch_key,), "Books", WALL_MS))
        commit(database, reader.receive(books.begin, WALL_MS, more=False).effects)
        disk = Disk(database)
        disk.start()
        began, used = time.perf_counter(), time.process_time()
        for frame in in_turn:
            message = wire.decode(frame)
            assert isinstance(message, wire.Entries)
            received = reader.receive(message.raws, WALL_MS, more=message.more)
            disk.keep(received.effects)
        folded = time.perf_counter() - began
        disk.finish()
        seconds, used = time.perf_counter() - began, time.process_time() - used
        kept = sum(1 for _ in database.raws(books.id))
    merged = sum(file.pending()[0] for file in reader.state.files.values())
    if merged != count or kept != len(books.begin) + sum(map(len, logs)):
        raise SystemExit(f"{merged} records of {count}, {kept} entries were kept")
    told = {
        "written_seconds": written,
        "folded_seconds": folded,
        "seconds": seconds,
        "cpu": used,
        "commits": disk.commits,
        "bytes": sum(map(len, in_turn)),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
