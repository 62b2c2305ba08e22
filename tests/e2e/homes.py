"""Nodes as their users meet them: processes, homes, the command line, files.

A ``Home`` is one node. Its process is a child in the foreground, so that a kill hits the right one;
commands are processes of their own, forked from one that has imported them. Waiting is polling with
a deadline, never a sleep that hopes.
"""

import http.client
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from p2psync import errors
from p2psync.api.address import read_address
from tests import forked

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
SAMPLES = ROOT.parent / "shared" / "samples" / "cresus-synthetic"
LOOPBACK = ("--listen", "/ip4/127.0.0.1/tcp/0", "--no-lan")
COMMAND_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 120.0
"""For a node that hangs: one that ends is noticed at once."""
STOP_SECONDS_MAX = 20.0
MEET_SECONDS_MAX = 60.0
"""How long two nodes may take to agree before a test gives up."""
POLL_SECONDS = 0.03

EXIT_CODES = {
    each.code: each.exit_code
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.P2PSyncError)
}

Json = dict[str, Any]
T = TypeVar("T")


def example(name: str) -> bytes:
    """One of the invented example files."""
    return (EXAMPLES / name).read_bytes()


def eventually(condition: Callable[[], T], deadline: float = MEET_SECONDS_MAX, what: str = "") -> T:
    """Return the condition's first true value; raises ``AssertionError`` after the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(
                f"not within {deadline:.0f} s: {what or condition}; last {value!r}"
            )
        time.sleep(POLL_SECONDS)


@dataclass
class Ended:
    """A command that has ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        """The one JSON object that it printed."""
        assert self.code == 0, f"{self.arguments}: exit code {self.code}: {self.err}"
        value: Json = json.loads(self.out)
        return value

    @property
    def error(self) -> Json:
        """The error that it ended with."""
        assert self.code != 0, f"{self.arguments}: no error, but {self.out}"
        value: Json = json.loads(self.err)["error"]
        return value

    def refused(self, code: str) -> Json:
        """Check which error it was; its exit code is that of its class (docs/cli.md)."""
        error = self.error
        assert (error["code"], self.code) == (code, EXIT_CODES[code]), error
        assert error["text"]
        return error


@dataclass
class Home:
    """One node: its home, its process, and a work folder with the user's own files."""

    root: Path
    options: tuple[str, ...] = LOOPBACK
    prefix: tuple[str, ...] = ()
    """Put before each command, such as what enters a network namespace."""
    process: "subprocess.Popen[bytes] | None" = None
    ready: Json = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Where the node keeps its own."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """Where the user keeps files."""
        folder = self.root / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def log(self) -> Path:
        """What the process said on standard error."""
        return self.root / "node.err"

    def folder(self, mandate: str) -> Path:
        """The mandate folder."""
        return self.home / "mandates" / mandate

    # -- the process ------------------------------------------------------------------------------

    def _command(self, *arguments: str) -> list[str]:
        program = (sys.executable, "-m", "p2psync", "--home", str(self.home), "--json")
        return [*self.prefix, *program, *arguments]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {**kept, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}

    def start(self, *options: str) -> "Home":
        """Run the node and wait until it says that it is ready; ``options`` replace the usual."""
        self.launch(*options)
        self.await_ready()
        return self

    def launch(self, *options: str) -> None:
        """Run the node."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self.root.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command("node", "run", *(options or self.options)),
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def await_ready(self) -> None:
        """Return when the node that was launched says that it is ready."""
        self.ready = json.loads(self._ready_line())
        assert self.process is not None and self.ready["pid"] == self.process.pid
        # The same port at the next start, or nobody would find it without discovery.
        for address in self.ready["listen"][:1]:
            port = address.rpartition("/")[2]
            self.options = tuple(
                f"{option[:-1]}{port}" if option.endswith("/tcp/0") else option
                for option in self.options
            )

    def _ready_line(self) -> bytes:
        assert self.process is not None and self.process.stdout is not None
        line, end = b"", time.monotonic() + READY_SECONDS_MAX
        while not line.endswith(b"\n"):
            found, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            more = os.read(self.process.stdout.fileno(), 65536) if found else b""
            assert more, f"the node did not become ready: {self.said()}"
            line += more
        return line

    def stop(self) -> None:
        """End the node in order."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        code = self.process.wait(STOP_SECONDS_MAX)
        assert code == 0, f"the node ended with {code}: {self.said()}"
        self._close()

    def kill(self) -> None:
        """End the node in the middle of whatever it does."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(STOP_SECONDS_MAX)
        self._close()

    def restart(self, *options: str) -> None:
        """Stop, and start again."""
        self.stop()
        self.start(*options)

    def revive(self) -> None:
        """Start it unless it runs."""
        if self.process is None or self.process.poll() is not None:
            self._close()
            self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None and self.process.poll() is None, "it does not run"
        self.process.send_signal(number)

    def end(self) -> None:
        """Let nothing run on, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_SECONDS_MAX)
        self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    def said(self) -> str:
        """What the process wrote to standard error."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    # -- commands ---------------------------------------------------------------------------------

    def run(self, *arguments: str | Path, timeout: float = COMMAND_SECONDS_MAX) -> Ended:
        """Run one command to its end."""
        words = tuple(str(each) for each in arguments)
        if not self.prefix:
            line = ("--home", str(self.home), "--json", *words)
            code, out, err = forked.run(line, self.work, self._environment(), timeout)
            return Ended(words, code, out.decode(), err.decode())
        done = subprocess.run(
            self._command(*words),
            cwd=self.work,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )
        return Ended(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    def __call__(self, *arguments: str | Path, timeout: float = COMMAND_SECONDS_MAX) -> Json:
        """Run one command that succeeds; return its JSON."""
        return self.run(*arguments, timeout=timeout).json

    def begin(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        """Begin one command, and let it run."""
        return subprocess.Popen(
            self._command(*(str(each) for each in arguments)),
            cwd=self.work,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ask(self, *path: str) -> Json:
        """Read from the local API, as the command line does but without a process: for polling."""
        if self.prefix:
            command = {"pending": ("pending",), "receipts": ("receipts",), "": ("mandate", "show")}
            return self(*command[path[2] if len(path) > 2 else ""], path[1])
        address = read_address(self.home)
        assert address is not None, "the node does not run"
        with closing(http.client.HTTPConnection(address.host, address.port, timeout=30)) as link:
            target = "/v1/" + "/".join(quote(part, safe="") for part in path)
            link.request("GET", target, headers={"Authorization": f"Bearer {address.token}"})
            answer = link.getresponse()
            value: Json = json.loads(answer.read())
            assert answer.status == 200, value
            return value

    def show(self, mandate: str) -> Json:
        """All about a mandate."""
        return self.ask("mandates", mandate)

    def pending(self, mandate: str) -> tuple[int, int]:
        """Records added and deleted that wait to be posted."""
        said = self.ask("mandates", mandate, "pending")
        return said["added"], said["deleted"]

    def file(self, mandate: str, name: str) -> Json:
        """One attached file; empty when there is none of that name."""
        found: list[Json] = [each for each in self.show(mandate)["files"] if each["name"] == name]
        return found[0] if found else {}

    def alerts(self, kind: str, *mandate: str) -> list[Json]:
        """The open alerts of one type."""
        said = self("alerts", *mandate)["alerts"]
        return [each for each in said if each["type"] == kind]

    @contextmanager
    def listening(self) -> Iterator[list[Json]]:
        """Collect what the event stream tells meanwhile, also what it does not keep."""
        address = read_address(self.home)
        assert address is not None, "the node does not run"
        link = http.client.HTTPConnection(address.host, address.port, timeout=60)
        link.request("GET", "/v1/events", headers={"Authorization": f"Bearer {address.token}"})
        answer = link.getresponse()
        heard: list[Json] = []

        def hear() -> None:
            with suppress(OSError, http.client.HTTPException):
                for line in iter(answer.readline, b""):
                    if line.startswith(b"data: "):
                        heard.append(json.loads(line[len(b"data: ") :]))

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            yield heard
        finally:
            assert link.sock is not None
            link.sock.shutdown(socket.SHUT_RDWR)
            thread.join()
            link.close()

    # -- what is on the disk ----------------------------------------------------------------------

    def put(self, name: str, content: bytes) -> Path:
        """Save a file in the work folder as programs do: whole, by renaming."""
        return save(self.work / name, content)

    def entries(self) -> list[tuple[int, int, bytes]]:
        """(log, seq, id) of every entry in the database; also while the node runs."""
        with closing(
            sqlite3.connect(f"file:{self.home / 'p2psync.db'}?mode=ro", uri=True)
        ) as found:
            rows = found.execute("SELECT log, seq, id FROM entry ORDER BY log, seq").fetchall()
        return [(int(log), int(seq), bytes(entry)) for log, seq, entry in rows]

    def check_logs(self) -> None:
        """No log has two entries in one place, nor a gap, and every entry is there once."""
        entries = self.entries()
        places = [(log, seq) for log, seq, _ in entries]
        assert places and len(places) == len(set(places)), "a log has two entries in one place"
        assert len({entry for _, _, entry in entries}) == len(entries)
        for log in {log for log, _ in places}:
            seqs = sorted(seq for each, seq in places if each == log)
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"log {log} has a gap"


def save(path: Path, content: bytes) -> Path:
    """Save whole: beside it, then renamed over it."""
    beside = path.with_name(f".{path.name}.saving")
    beside.write_bytes(content)
    os.replace(beside, path)
    return path


def held(path: Path) -> bytes | None:
    """What a file holds; ``None`` when it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def same(path: Path, content: bytes) -> Callable[[], bool]:
    """Ask whether a file holds exactly this."""
    return lambda: held(path) == content


def start_all(made: Sequence[Home]) -> None:
    """Start some nodes at once."""
    for home in made:
        home.launch()
    for home in made:
        home.await_ready()


@contextmanager
def homes(root: Path, *names: str, options: Sequence[str] = LOOPBACK) -> Iterator[list[Home]]:
    """Some nodes, started; ended and their homes removed afterwards."""
    made = [Home(root / name, tuple(options)) for name in names]
    try:
        start_all(made)
        yield made
    finally:
        for home in made:
            home.end()
        for home in made:
            shutil.rmtree(home.home / "chunks", ignore_errors=True)


CRP = "atelier_2025.crp"
SALES = "ventes.ecf"


@dataclass
class Pair:
    """The accountant and the invoicing clerk, and a mandate that they share."""

    accountant: Home
    clerk: Home
    mandate: str
    sales: Path
    """The file that the clerk attached."""

    def __iter__(self) -> Iterator[Home]:
        return iter((self.accountant, self.clerk))

    @property
    def copy(self) -> Path:
        """The copy of the clerk's file that the accountant has."""
        return self.accountant.folder(self.mandate) / self.sales.name

    def arrives(self, content: bytes) -> None:
        """Wait until the accountant's copy holds this."""
        try:
            eventually(same(self.copy, content))
        except AssertionError as error:
            for home in self:
                for told in (home.file(self.mandate, self.sales.name), home("alerts"), home.said()):
                    error.add_note(f"{home.root.name}: {told}")
                error.add_note(f"members: {home.show(self.mandate)['members']}")
            raise

    def in_step(self) -> None:
        """Wait until both say that they have the same."""
        for home in self:
            home("wait", self.mandate, "--synced", "--timeout", "30")

    def check_logs(self) -> None:
        """No log of either is forked or has gaps."""
        for home in self:
            home.check_logs()


def found_mandate(home: Home, name: str) -> None:
    """Create and share a mandate with its accounting."""
    folder = home.work / name
    folder.mkdir()
    home("mandate", "create", name, "--accounting", save(folder / CRP, example(CRP)))
    home("mandate", "share", name)


def invite(home: Home, guest: Home, mandate: str, *options: str) -> Path:
    """Make a ticket that needs no passphrase; return it in the guest's hands."""
    ticket = guest.work / f"{mandate}.crsync"
    home("invite", mandate, "-o", ticket, "--unsealed", "--force", *options)
    return ticket


def share(accountant: Home, clerk: Home, mandate: str, content: bytes, name: str = SALES) -> Pair:
    """Let the two share a new mandate; the clerk attaches a file with this content."""
    found_mandate(accountant, mandate)
    folder = clerk.work / mandate
    folder.mkdir()
    sales = save(folder / name, content)
    ticket = invite(accountant, clerk, mandate)
    clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
    both = Pair(accountant, clerk, mandate, sales)
    both.arrives(content)
    eventually(same(clerk.folder(mandate) / CRP, example(CRP)))
    return both
