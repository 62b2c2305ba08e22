"""What every benchmark is given: where to work, what to measure, how much of it."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scripts.benchmarks.processes import Processes

ROOT = Path(__file__).resolve().parents[2]


class BenchmarkFailed(Exception):
    """Something did not come out as it must, so its time means nothing."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work the benchmarks do; the goals are for the full sizes."""

    name: str = "full"
    saves: int = 100
    slow_saves: int = 5
    """Of programs that take seconds for each."""
    large_bytes: int = 1 << 30
    files: int = 10_000
    file_bytes: int = 20_000
    scattered_bytes: int = 100 << 20
    changes: int = 256
    change_bytes: int = 4096
    records: int = 100_000
    log_entries: int = 1_000_000
    reopened_records: int = 1_000_000
    pending_records: int = 200_000
    read_records: int = 1_000_000
    mandates: int = 500
    starts: int = 10
    idle_seconds: float = 60.0
    transport_bytes: int = 512 << 20
    relay_devices: int = 1_000
    relay_idle_seconds: float = 20.0
    repeats: int = 3
    limit_seconds: float = 1.0

    @classmethod
    def quick(cls) -> Self:
        """A tenth or less: to see a trend in a few minutes."""
        return cls(
            name="quick",
            saves=30,
            slow_saves=2,
            large_bytes=128 << 20,
            files=1_000,
            scattered_bytes=32 << 20,
            changes=64,
            records=10_000,
            log_entries=20_000,
            reopened_records=50_000,
            pending_records=20_000,
            read_records=50_000,
            mandates=25,
            starts=3,
            idle_seconds=10.0,
            transport_bytes=128 << 20,
            relay_devices=20,
            relay_idle_seconds=1.0,
            repeats=2,
            limit_seconds=0.3,
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkout of p2psync, and the Python that has what it needs."""

    root: Path = ROOT
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one benchmark."""

    folder: Path
    processes: Processes
    sizes: Sizes = Sizes()
    tree: Tree = Tree()
    peers: bool = True
    """Whether other programs are measured, too."""
    profiles: Path | None = None
    """Where each node leaves what took its time, if it is to be recorded."""

    @contextmanager
    def fresh(self, name: str) -> Iterator[Path]:
        """Gives an empty folder; ends afterwards what was started meanwhile, and removes it."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        mark = self.processes.mark()
        try:
            yield folder
        finally:
            self.processes.end(mark)
            shutil.rmtree(folder, ignore_errors=True)


def tell(text: str) -> None:
    """Writes a line about the progress, for the person who waits."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
