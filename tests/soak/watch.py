"""What is measured while nodes work: samples of each process, and how long saves take to arrive."""

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.node import SoakNode

SAMPLE_SECONDS = 1.0
LOOK_SECONDS = 0.004
ARRIVE_SECONDS_MAX = 120.0
CALM_SECONDS = 15.0
"""So long after both ends were last started or woken a save counts as one between nodes at rest."""


class Rows:
    """A file of JSON lines, each there as soon as it is written: a run that is cut has its data."""

    def __init__(self, path: Path) -> None:
        """Begin the file anew."""
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def write(self, kind: str, **values: Any) -> None:
        """Add a row."""
        row = {"t": round(self.seconds, 3), "kind": kind, **values}
        with self._lock:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()


@dataclass
class _Awaited:
    copy: Path
    digest: bytes
    saved_at: float
    name: str
    size: int
    ends: tuple[SoakNode, SoakNode]
    states: tuple[float, float]
    seen: tuple[int, int, int] = (0, 0, 0)

    @property
    def disturbed(self) -> bool:
        return self.states != tuple(each.changed_at for each in self.ends) or not all(
            each.up for each in self.ends
        )


class Watch:
    """Two threads that look; nodes are asked nothing for it."""

    def __init__(self, nodes: Sequence[SoakNode], rows: Rows) -> None:
        """``rows`` gets what is seen."""
        self._nodes = nodes
        self._rows = rows
        self._awaited: list[_Awaited] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._sample, self._look)
        ]

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def saved(self, owner: SoakNode, mandate: str, name: str, content: bytes) -> None:
        """A file was saved just now: its content is awaited on every node that is up.

        What is awaited of the same file from before is not any more: it may never come to a disk.
        """
        now = time.monotonic()
        digest = hashlib.sha256(content).digest()
        added = [
            _Awaited(
                node.folder(mandate) / name,
                digest,
                now,
                name,
                len(content),
                (owner, node),
                (owner.changed_at, node.changed_at),
            )
            for node in self._nodes
            if node is not owner and node.up and owner.up
        ]
        with self._lock:
            copies = {node.folder(mandate) / name for node in self._nodes}
            before = len(self._awaited)
            self._awaited = [each for each in self._awaited if each.copy not in copies]
            overtaken = before - len(self._awaited)
            self._awaited += added
        if overtaken:
            self._rows.write("unmeasured", why="overtaken by the next save", count=overtaken)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            for index, node in enumerate(self._nodes):
                measured = node.measured()
                if measured is not None:
                    self._rows.write("sample", node=index, life=node.life, **measured)

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                awaited = list(self._awaited)
            done = [each for each in awaited if self._is_done(each)]
            if done:
                with self._lock:
                    gone = {id(each) for each in done}
                    self._awaited = [each for each in self._awaited if id(each) not in gone]

    def _is_done(self, each: _Awaited) -> bool:
        now = time.monotonic()
        if each.disturbed:
            self._rows.write("unmeasured", why="disturbed by a fault", count=1)
            return True
        if self._is_there(each):
            if not each.disturbed:
                self._rows.write(
                    "arrival",
                    file=each.name,
                    size=each.size,
                    ms=round((now - each.saved_at) * 1000, 2),
                    calm=each.saved_at - max(each.states) >= CALM_SECONDS,
                    **{"from": self._index(each.ends[0]), "to": self._index(each.ends[1])},
                )
            return True
        if now - each.saved_at > ARRIVE_SECONDS_MAX:
            self._rows.write("late", file=each.name, to=self._index(each.ends[1]))
            return True
        return False

    def _index(self, node: SoakNode) -> int:
        return self._nodes.index(node)

    def _is_there(self, each: _Awaited) -> bool:
        try:
            found = each.copy.stat()
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if state == each.seen:
                return False
            each.seen = state
            if found.st_size != each.size:
                return False
            return hashlib.sha256(each.copy.read_bytes()).digest() == each.digest
        except OSError:
            return False
