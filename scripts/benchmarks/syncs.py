"""Counts how often processes wait for the disk, with strace where it is installed.

On a slow disk these waits are most of what a save takes, and how many there are does not depend on
the machine.
"""

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.processes import Processes

CALLS = "fsync,fdatasync,syncfs,sync_file_range"
_ATTACH_SECONDS = 1.0


class Counts:
    """How many there were, once the counting is over."""

    def __init__(self) -> None:
        self.by_process: list[int] = []


def installed() -> bool:
    """Tells whether it can be counted here."""
    return shutil.which("strace") is not None


@contextmanager
def counted(processes: Processes, pids: Sequence[int], folder: Path) -> Iterator[Counts]:
    """Counts what these processes do meanwhile; it slows them a little."""
    counts = Counts()
    mark = processes.mark()
    logs = [folder / f"{pid}.strace" for pid in pids]
    for pid, log in zip(pids, logs, strict=True):
        processes.start(
            [
                *("strace", "--follow-forks", "--quiet=all", "--attach", str(pid)),
                *("--trace", CALLS, "--output", str(log)),
            ],
            folder=folder,
            environment={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            ending=signal.SIGINT,
        )
    time.sleep(_ATTACH_SECONDS)
    try:
        yield counts
    finally:
        processes.end(mark)
        counts.by_process = [
            calls(log.read_text("utf-8", "replace")) if log.exists() else 0 for log in logs
        ]


def calls(log: str) -> int:
    """Returns how many calls ended in what strace wrote; one may be told in two lines."""
    return sum(" = 0" in line for line in log.splitlines())
