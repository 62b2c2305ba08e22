"""Nodes as processes that start in no time and can be killed at any moment, and their local API."""

import http.client
import json
import multiprocessing
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from p2psync.api.address import read_address
from tests.kills.faults import Faults
from tests.kills.meter import Meter

READY_SECONDS_MAX = 180.0
"""For a node that hangs: one that ends is noticed at once, and the first of all waits until the
process that it is forked from has imported everything, a minute on a machine with much to do."""
ASK_SECONDS_MAX = 60.0
MEET_SECONDS_MAX = 90.0
POLL_SECONDS = 0.01
PORTS = range(20_000, 32_000)
"""Below those that the system gives to others."""
Json = dict[str, Any]
T = TypeVar("T")


class CutOff(Exception):
    """The node ended before it answered: what was asked has happened once, or not at all."""


class NotThere(CutOff):
    """The node did not run when it was asked: nothing has happened."""


class Refused(Exception):
    """The node's own answer to what was asked."""

    def __init__(self, error: Json) -> None:
        super().__init__(error)
        self.error = error


def eventually(condition: Callable[[], T], deadline: float = MEET_SECONDS_MAX, what: str = "") -> T:
    """Return the condition's first true value; raises ``AssertionError`` after the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what or condition}; {value!r}")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    """A port that nobody listens on, and that is given to nobody who does not ask for it."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


_context = multiprocessing.get_context("forkserver")
# Imported once: what is forked from there starts in a tenth of a second.
_context.set_forkserver_preload(["tests.kills.hosted", "pytest"])


_ENDS = threading.Lock()
"""Whoever starts a process looks at the ends of all others, and an end can be read only once: of
two threads that read one at a time, one would take it for an exit with 255."""


class Host:
    """One home, and the process that has it."""

    def __init__(self, root: Path, mutant: str = "") -> None:
        """``root`` gets the home and a folder for the user's own files."""
        self.root = root
        self.home = root / "home"
        self.work = root / "work"
        self.log = root / "node.err"
        self.work.mkdir(parents=True)
        self.meter = Meter(root / "meter")
        self.faults = Faults(root / "faults")
        self.port = free_port()
        self.device = ""
        self.mutant = mutant
        self._process: Any = None
        self._ready: Any = None

    # -- the process ------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        with _ENDS:
            return self._process is not None and self._process.is_alive()

    def launch(self) -> None:
        """Run the node."""
        assert not self.running
        from tests.kills.hosted import host

        self._ready, theirs = _context.Pipe(duplex=False)
        listen = [f"/ip4/127.0.0.1/tcp/{self.port}"]
        paths = (str(self.root / "meter"), str(self.log))
        self._process = _context.Process(
            target=host, args=(str(self.home), listen, *paths, theirs, self.mutant)
        )
        with _ENDS:
            self._process.start()
        theirs.close()

    def await_ready(self) -> bool:
        """Return whether it became ready; false when it was killed before."""
        found = connection.wait([self._ready, self._process.sentinel], READY_SECONDS_MAX)
        assert found, f"the node did not become ready: {self.said()}"
        try:
            self.device = self._ready.recv()["device"]
        except EOFError:
            self._check_killed()
            return False
        return True

    def start(self) -> "Host":
        """Run the node and wait until it is ready."""
        self.launch()
        assert self.await_ready()
        return self

    def kill(self, wait_seconds: float = 0.0) -> bool:
        """End the process as it stands; tell whether it was dead by itself within the time."""
        assert self._process is not None
        by_itself = bool(connection.wait([self._process.sentinel], wait_seconds))
        if not by_itself:
            self._kill()
        self._check_killed()
        self._ready.close()
        return by_itself

    def end(self) -> None:
        """Let nothing run on."""
        if self.running:
            self._kill()
            self._check_killed()

    def _kill(self) -> None:
        with _ENDS:
            self._process.kill()

    def _check_killed(self) -> None:
        connection.wait([self._process.sentinel])
        with _ENDS:
            self._process.join()
            ended = self._process.exitcode
        assert ended == -9, f"{ended}: {self.said()}"

    def said(self) -> str:
        """What the process wrote to standard error."""
        return self.log.read_text("utf-8", "replace")[-4000:] if self.log.exists() else ""

    # -- the local API ----------------------------------------------------------------------------

    def __call__(self, method: str, *path: str, body: Json | None = None) -> Json:
        """Ask the node; raises ``CutOff``, ``NotThere`` and ``Refused``."""
        address = read_address(self.home) if self.running else None
        if address is None:
            raise NotThere
        link = http.client.HTTPConnection(address.host, address.port, timeout=ASK_SECONDS_MAX)
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        headers = {"Authorization": f"Bearer {address.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with closing(link):
            try:
                text = None if body is None else json.dumps(body)
                link.request(method, target, text, headers)
                answer = link.getresponse()
                said: Json = json.loads(answer.read())
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise CutOff from error
        if answer.status >= 400:
            raise Refused(said["error"])
        return said

    def ask(self, *path: str) -> Json:
        """Read from the API."""
        return self("GET", *path)

    def alerts(self) -> list[Json]:
        """The open alerts."""
        found: list[Json] = self.ask("alerts")["alerts"]
        return found

    # -- the disk ---------------------------------------------------------------------------------

    def entries(self) -> list[tuple[int, int, bytes]]:
        """(log, seq, id) of every entry in the database; also while the node runs."""
        with closing(
            sqlite3.connect(f"file:{self.home / 'p2psync.db'}?mode=ro", uri=True)
        ) as found:
            rows = found.execute("SELECT log, seq, id FROM entry ORDER BY log, seq").fetchall()
        return [(int(log), int(seq), bytes(entry)) for log, seq, entry in rows]
