"""A node of a soak: a process as its user runs it, ended, stopped and paused as life does it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from scripts.benchmarks.processes import cpu_seconds
from tests.e2e.homes import ROOT
from tests.kills.hosts import Host, free_port

START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0


class SoakNode(Host):
    """One home, and ``p2psync node run`` on it."""

    def __init__(self, root: Path) -> None:
        """``root`` gets the home and a folder for the user's own files."""
        super().__init__(root)
        self.life = 0
        """How often it was started."""
        self.paused = False
        self.changed_at = time.monotonic()
        """When it was last started, ended, paused or woken."""

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def up(self) -> bool:
        """Whether it can do its work."""
        return self.running and not self.paused

    def launch(self) -> None:
        """Run the node; Ctrl-C does not reach it, for we end it in order."""
        assert not self.running
        listen = ("--listen", f"/ip4/127.0.0.1/tcp/{self.port}", "--no-lan")
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        home = ("--home", str(self.home), "--json")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "p2psync", *home, "node", "run", *listen],
                cwd=self.root,
                env={**kept, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.life += 1

    def await_ready(self) -> bool:
        """Return true when it is ready; raises ``AssertionError`` when it does not become so."""
        out = self._process.stdout
        line, end = b"", time.monotonic() + START_SECONDS_MAX
        while not line.endswith(b"\n"):
            found, _, _ = select.select([out], [], [], max(0, end - time.monotonic()))
            more = os.read(out.fileno(), 65536) if found else b""
            assert more, f"the node did not become ready: {self.said()}"
            line += more
        self.device = json.loads(line)["device"]
        self.changed_at = time.monotonic()
        return True

    def kill(self, wait_seconds: float = 0.0) -> bool:
        """End the process as it stands."""
        self._leave(signal.SIGKILL, (-signal.SIGKILL,), wait_seconds)
        return False

    def stop(self) -> None:
        """End the node in order."""
        self._leave(signal.SIGTERM, (0,), 0.0)

    def _leave(self, number: signal.Signals, codes: tuple[int, ...], wait_seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_seconds)
        self._process.send_signal(number)
        self.wake()
        code = self._process.wait(STOP_SECONDS_MAX)
        self._process.stdout.close()
        self.changed_at = time.monotonic()
        assert code in codes, f"the node ended with {code}: {self.said()}"

    def pause(self) -> None:
        """Let it stand still, as a machine that sleeps."""
        self._process.send_signal(signal.SIGSTOP)
        self.paused = True
        self.changed_at = time.monotonic()

    def wake(self) -> None:
        """Let it go on."""
        if self.paused:
            self._process.send_signal(signal.SIGCONT)
            self.paused = False
            self.changed_at = time.monotonic()

    def move(self) -> None:
        """Let it listen elsewhere from its next start on: all links to it are cut."""
        self.port = free_port()

    def end(self) -> None:
        """Let nothing run on, whatever happened."""
        if self.running:
            self.wake()
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def folder(self, mandate: str) -> Path:
        """The mandate folder."""
        return self.home / "mandates" / mandate

    def measured(self) -> dict[str, float] | None:
        """What the process uses now: memory and database in bytes; nothing when it does not run."""
        if not self.running:
            return None
        proc = Path("/proc") / str(self._process.pid)
        try:
            status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
            if "VmRSS" not in status:
                return None
            database = sum(
                path.stat().st_size
                for path in (self.home / "p2psync.db", self.home / "p2psync.db-wal")
                if path.exists()
            )
            return {
                "rss": int(status["VmRSS"].split()[0]) * 1024,
                "fds": len(os.listdir(proc / "fd")),
                "threads": int(status["Threads"]),
                "cpu": round(cpu_seconds(self._process.pid), 3),
                "db": database,
            }
        except OSError:
            return None
