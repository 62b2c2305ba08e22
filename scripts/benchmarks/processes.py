"""The processes of a run: each is known by its id, measured by it, and ended by it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

END_SECONDS_MAX = 20.0
_SCHEDULER = 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Processes:
    """Every child of the run, so that none outlives it."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._ending: dict[int, signal.Signals] = {}

    def start(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: IO[bytes] | int = subprocess.DEVNULL,
        out: IO[bytes] | int = subprocess.DEVNULL,
        ending: signal.Signals = signal.SIGTERM,
    ) -> "subprocess.Popen[bytes]":
        """Starts a child in a session of its own: Ctrl-C reaches us, and we end it in order.

        ``ending`` is the signal that asks it to end.
        """
        with _deferred():  # nobody would end a child that is there and not known yet
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
            self._running.append(child)
            self._ending[child.pid] = ending
        return child

    def mark(self) -> int:
        """Returns where ``end`` may stop: before all that is started from now on."""
        return len(self._running)

    def end(self, mark: int = 0) -> None:
        """Ends every child since the mark, by force where asking does not help."""
        with undisturbed():
            ending, self._running = self._running[mark:], self._running[:mark]
            for child in ending:
                if child.poll() is None:
                    child.send_signal(self._ending[child.pid])
            for child in ending:
                try:
                    child.wait(END_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    _kill_session(child)
                    child.wait()
                if child.stdout is not None:
                    child.stdout.close()


class undisturbed:  # noqa: N801 - used like a keyword
    """Lets cleaning up not be cut short by a second Ctrl-C."""

    def __enter__(self) -> None:
        self._before = {each: signal.signal(each, signal.SIG_IGN) for each in _ENDING}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def _deferred() -> Iterator[None]:
    """Takes a Ctrl-C that comes meanwhile afterwards."""
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for each in came:
        signal.raise_signal(each)


def _kill_session(child: "subprocess.Popen[bytes]") -> None:
    """Kills a child and its own children: it leads the session that we made for it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        child.kill()


# -- what a process used ---------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """Returns a process and all that descend from it."""
    found, todo = [], [pid]
    while todo:
        each = todo.pop()
        found.append(each)
        for task in Path(f"/proc/{each}/task").glob("*"):
            try:
                todo += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the processor time that a process and its descendants used, to the nanosecond.

    Threads that have ended count, too: that is why it is not added up from those in ``/proc``.
    """
    total = 0.0
    for each in family(pid):
        # The clock of another process, as clock_getcpuclockid(3) makes its number.
        with suppress(OSError):
            total += time.clock_gettime((~each << 3) | _SCHEDULER)
    return total


def resident_mb(pid: int) -> float:
    """Returns the resident memory of a process and its descendants, in 10⁶ bytes."""
    total = 0
    for each in family(pid):
        for line in Path(f"/proc/{each}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6


def peak_mb(pid: int) -> float:
    """Returns the largest resident memory that one process ever had, in 10⁶ bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
