"""``audit export FOLDER COUNT``, ``audit verify|report|small FILE``: audit files, without a node.

``export`` makes a mandate of four authors with ``COUNT`` entries of one record each, and writes its
audit file; ``small`` runs the verifier that stands in the documentation.
"""

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path

from authors import WALL_MS, Books, commit  # type: ignore[import-not-found] # beside this file

from p2psync.audit.account import account
from p2psync.audit.verify import Wanted, verify
from p2psync.audit.writer import Source, Writer
from p2psync.core import entry, ops
from p2psync.core.audit import Head, Log
from p2psync.storage.database import Database
from p2psync.storage.rows import MandateRow

AUTHORS = 4
AT_ONCE = 1_000
"""Entries that are taken in together."""
SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "audit" / "verify.py"


def mandate(database: Database, count: int) -> Books:
    """Fills a database, and returns whose mandate it is."""
    books = Books()
    authors = [books.author() for _ in range(AUTHORS)]
    logs = [list(author.saves(count // AUTHORS, 1)) for author in authors]
    reader = books.replica(books.device)
    with database.batch() as batch:
        batch.add_mandate(MandateRow(books.id, (books.epoch_key,), "Books", WALL_MS))
    commit(database, reader.receive(books.begin, WALL_MS, more=False).effects)
    for start in range(0, len(logs[0]), AT_ONCE):
        raws = [raw for log in logs for raw in log[start : start + AT_ONCE]]
        commit(database, reader.receive(raws, WALL_MS, more=False).effects)
    return books


def export(folder: Path, count: int) -> dict[str, float]:
    """Makes a mandate and its audit file ``folder/file.p2psync-audit``."""
    with Database.open(folder / "p2psync.db") as database:
        books = mandate(database, count)
        began = time.perf_counter()
        entries = database.ordered(books.id)
        assert entries is not None
        logs = []
        for raw in entries.openings:
            item = entry.decode(raw)
            opening = ops.decode(entry.open_payload(item, books.epoch_key))[0]
            assert isinstance(opening, ops.OpenLog)
            logs.append(Log(item.log, opening.device, opening.incarnation, opening.certificate))
        head = Head(books.id, books.device.public, books.salt)
        source = Source(head, logs, (books.epoch_key,), entries.raws())
        writer = Writer(source, books.device, WALL_MS, entries.waiting, "bench")
        path = folder / "file.p2psync-audit"
        with path.open("wb") as file:
            for block in writer.blocks():
                file.write(block)
        seconds = time.perf_counter() - began
    return {"entries": len(entries), "seconds": seconds, "bytes": path.stat().st_size}


def small(path: Path) -> dict[str, float]:
    """Runs the verifier of the documentation."""
    spec = importlib.util.spec_from_file_location("small", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    began = time.perf_counter()
    wrong = module.verify(path)
    seconds = time.perf_counter() - began
    if wrong:
        raise SystemExit("\n".join(wrong))
    return {"seconds": seconds}


def look(path: Path, *, records: bool) -> dict[str, float]:
    """Verifies the file; with ``records`` does what a report takes."""
    began = time.perf_counter()
    found = verify(path, Wanted(), records=records)
    if not found.verified:
        raise SystemExit("; ".join(each.text for each in found.check.problems))
    if records:
        account(found)
    return {"seconds": time.perf_counter() - began, "entries": found.check.entries}


def main(what: str, where: str, *more: str) -> None:
    """Measures, and prints what it took."""
    match what:
        case "export":
            told = export(Path(where), int(more[0]))
        case "small":
            told = small(Path(where))
        case _:
            told = look(Path(where), records=what == "report")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    sys.stdout.write(json.dumps(told | {"peak_mb": peak}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
