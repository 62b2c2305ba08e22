"""rsync to its own daemon on loopback: no encryption, no history, nobody watches the files."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.context import BenchmarkFailed, Context
from scripts.benchmarks.pairs import Pair

_START_SECONDS_MAX = 10.0
_SENT = re.compile(r"^Total bytes sent: ([\d,]+)", re.MULTILINE)


def version() -> str:
    """Returns the version that is installed, or nothing."""
    if shutil.which("rsync") is None:
        return ""
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[2]


class Rsync:
    """Each taking up and each save is one run of ``rsync -a``."""

    subject = "rsync, no encryption"

    def __init__(self, source: Path, target: Path, port: int, pid: int, fsync: bool) -> None:
        self.source, self.target = source, target
        self._port, self._pid = port, pid
        self._options = ("--fsync",) if fsync else ()
        self._sent = 0
        if fsync:
            self.subject += ", --fsync"

    def take_up(self, paths: Sequence[Path]) -> None:
        """Copies the folder."""
        self._run()

    def saved(self) -> None:
        """Copies the blocks that have changed.

        Times are not looked at: rsync would lose a save of the same size within a second.
        """
        self._run("--ignore-times")

    def _run(self, *options: str) -> None:
        done = subprocess.run(
            [
                *("rsync", "-a", "--stats", *self._options, *options, f"{self.source}/"),
                f"rsync://127.0.0.1:{self._port}/target/",
            ],
            capture_output=True,
            text=True,
        )
        told = _SENT.search(done.stdout)
        if done.returncode or told is None:
            raise BenchmarkFailed(f"rsync: {done.stderr.strip()}")
        self._sent += int(told[1].replace(",", ""))

    def settle(self) -> None:
        """Does nothing: a run has ended when the copy is there."""

    def sent_bytes(self) -> int:
        """Adds up what rsync says about its runs."""
        return self._sent

    def pids(self) -> tuple[int, ...]:
        """Gives the daemon."""
        return (self._pid,)


@contextmanager
def rsync(context: Context, fsync: bool = False) -> Iterator[Pair]:
    """Opens a daemon on loopback and two empty folders."""
    with context.fresh("rsync") as folder:
        source, target = folder / "source", folder / "target"
        source.mkdir()
        target.mkdir()
        port = free_port()
        (folder / "daemon.conf").write_text(
            "use chroot = no\naddress = 127.0.0.1\n"
            f"pid file = {folder / 'pid'}\nlog file = {folder / 'log'}\n"
            f"[target]\npath = {target}\nread only = no\nuid = root\ngid = root\n"
        )
        daemon = context.processes.start(
            [
                *("rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}"),
                f"--config={folder / 'daemon.conf'}",
            ],
            folder=folder,
            environment={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
        end = time.monotonic() + _START_SECONDS_MAX
        while not _answers(port):
            if daemon.poll() is not None or time.monotonic() > end:
                raise BenchmarkFailed("the rsync daemon does not run")
            time.sleep(0.02)
        yield Rsync(source, target, port, daemon.pid, fsync)


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
