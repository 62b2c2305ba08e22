"""Where the time goes: samples that py-spy takes of the nodes' threads while they work."""

import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from scripts.benchmarks.context import BenchmarkFailed
from scripts.benchmarks.processes import Processes

RATE = 200
"""Samples a second; those of threads that wait do not count."""
LINES = 20
_SECONDS_MAX = 3600


def record(processes: Processes, pid: int, folder: Path) -> None:
    """Samples a process until one of the two ends."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        raise BenchmarkFailed("py-spy is not there: it is in the bench group of pyproject.toml")
    processes.start(
        [
            *(program, "record", "--pid", str(pid), "--rate", str(RATE), "--format", "raw"),
            *("--output", str(folder / f"{pid}.raw"), "--duration", str(_SECONDS_MAX)),
            *("--threads", "--nonblocking"),
        ],
        folder=folder,
        environment={},
        ending=signal.SIGINT,
    )


def summary(folder: Path) -> str:
    """Returns the functions that most samples of all nodes were in, as a table."""
    return table(line for path in folder.glob("*.raw") for line in path.read_text().splitlines())


def table(samples: Iterable[str]) -> str:
    """Returns the same from samples, each a stack and how often it was seen.

    A stack is its frames from the outermost, with ``;`` between them, as flame graphs take it.
    """
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    count = 0
    for sample in samples:
        stack, _, number = sample.rpartition(" ")
        frames = [_plain(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(number)
        total.update({frame: int(number) for frame in set(frames)})
        count += int(number)
    if not count:
        return "no samples\n"
    lines = ["  own   all  function"]
    for frame, seen in own.most_common(LINES):
        lines.append(f"{seen / count:5.1%} {total[frame] / count:5.1%}  {frame}")
    return "\n".join(lines) + "\n"


def _plain(frame: str) -> str:
    """A frame without its line, and without folders of this machine."""
    name, _, place = frame.strip().partition(" (")
    path = place.rpartition(":")[0] or place.rstrip(")")
    for mark in ("p2psync/", "site-packages/"):
        if mark in path:
            path = (
                path.rpartition(mark)[2]
                if mark == "site-packages/"
                else mark + path.rpartition(mark)[2]
            )
            break
    else:
        path = path.rpartition("/")[2]
    return f"{name} ({path})" if path else name
