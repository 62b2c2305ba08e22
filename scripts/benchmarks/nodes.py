"""Real nodes as their users run them: a process and a home each, asked over the local API."""

import json
import os
import select
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.benchmarks.context import BenchmarkFailed, Context, Tree
from scripts.benchmarks.processes import Processes
from scripts.benchmarks.profiles import record

Json = dict[str, Any]
READY_SECONDS_MAX = 120.0
MEET_SECONDS_MAX = 120.0
ANSWER_SECONDS_MAX = 1800.0
_LOG_LINES = 20
_KEPT = ("PATH", "HOME", "TMPDIR")


def environment(tree: Tree) -> dict[str, str]:
    """Returns the environment that makes a Python run one tree's p2psync."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(tree.root), "LANG": "C.UTF-8"}


@dataclass
class Node:
    """One node: its home, and its process while it runs."""

    root: Path
    tree: Tree
    processes: Processes
    profiles: Path | None = None
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def home(self) -> Path:
        """Where the node keeps its own."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """Where the user's files are."""
        folder = self.root / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def pid(self) -> int:
        """The process of the node."""
        assert self.process is not None
        return self.process.pid

    def folder(self, mandate: str) -> Path:
        """The mandate folder."""
        return self.home / "mandates" / mandate

    # -- the process

    def start(self) -> "Node":
        """Runs the node on loopback and waits until it says that it is ready."""
        self.launch()
        self.await_ready()
        return self

    def launch(self) -> None:
        """Runs the node; at the same port as before, so that others find it."""
        self.root.mkdir(parents=True, exist_ok=True)
        listen = f"/ip4/127.0.0.1/tcp/{self.port}"
        with (self.root / "node.err").open("ab") as log:
            self.process = self.processes.start(
                [
                    *(self.tree.python, "-m", "p2psync", "--home", str(self.home)),
                    *("--json", "node", "run", "--listen", listen, "--no-lan"),
                ],
                folder=self.root,
                environment=environment(self.tree),
                log=log,
                out=subprocess.PIPE,
            )

    def await_ready(self) -> None:
        """Returns when the node that was launched has said where it is."""
        assert self.process is not None and self.process.stdout is not None
        line, end = b"", time.monotonic() + READY_SECONDS_MAX
        while not line.endswith(b"\n"):
            found, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            more = os.read(self.process.stdout.fileno(), 65536) if found else b""
            if not more:
                raise BenchmarkFailed(f"the node did not become ready: {self.said()}")
            line += more
        self.port = int(json.loads(line)["listen"][0].rpartition("/")[2])
        if self.profiles is not None:
            record(self.processes, self.pid, self.profiles)

    def stop(self) -> None:
        """Ends the node in order."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(READY_SECONDS_MAX)

    def said(self) -> str:
        """The end of what the process wrote to standard error."""
        path = self.root / "node.err"
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        return "\n".join(lines[-_LOG_LINES:])

    # -- the local API

    def ask(self, method: str, *path: str, body: Json | None = None) -> Json:
        """Asks the local API; raises ``BenchmarkFailed`` with what it refuses."""
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        data = json.dumps(body).encode() if body is not None else None
        address = json.loads((self.home / "api.json").read_text("utf-8"))["address"]
        token = (self.home / "api.token").read_text("ascii").strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        host, _, port = address.removeprefix("http://").rpartition(":")
        # Not kept: a node with a reader is not idle.
        with closing(HTTPConnection(host, int(port), timeout=ANSWER_SECONDS_MAX)) as link:
            link.request(method, target, data, headers)
            answer = link.getresponse()
            value: Json = json.loads(answer.read())
        if answer.status >= 300:
            raise BenchmarkFailed(f"{method} {target}: {value}: {self.said()}")
        return value

    def found(self, mandate: str) -> None:
        """Creates a mandate and lets others subscribe to it."""
        self.ask("POST", "mandates", body={"name": mandate})
        self.ask("POST", "mandates", mandate, "share", body={})

    def invite(self, mandate: str, uses: int = 1) -> str:
        """Returns a ticket that needs no passphrase."""
        said = self.ask(
            *("POST", "mandates", mandate, "invitations"), body={"unsealed": True, "uses": uses}
        )
        return str(said["ticket"])

    def subscribe(self, ticket: str) -> None:
        """Takes up a ticket."""
        self.ask("POST", "subscriptions", body={"ticket": ticket})

    def attach(self, mandate: str, *paths: Path, kind: str = "other") -> None:
        """Attaches files; a mandate folder of another member will hold copies of them."""
        body = {"files": [str(path) for path in paths], "kind": kind}
        self.ask("POST", "mandates", mandate, "files", body=body)

    def wait_synced(self, mandate: str, seconds_max: float = MEET_SECONDS_MAX) -> None:
        """Returns when every connected member has what this node has."""
        body = {"synced": True, "timeout_seconds": seconds_max}
        self.ask("POST", "mandates", mandate, "wait", body=body)


def start_all(nodes: list[Node]) -> None:
    """Starts some nodes at once."""
    for node in nodes:
        node.launch()
    for node in nodes:
        node.await_ready()


def pair(context: Context, folder: Path, mandate: str) -> tuple[Node, Node]:
    """Returns two running nodes that share a mandate without files; both are idle."""
    nodes = [
        Node(folder / name, context.tree, context.processes, context.profiles)
        for name in ("a", "b")
    ]
    start_all(nodes)
    first, second = nodes
    first.found(mandate)
    second.subscribe(first.invite(mandate))
    meet(first, mandate, 2)
    for node in nodes:
        node.wait_synced(mandate)
    return first, second


def meet(node: Node, mandate: str, members: int) -> None:
    """Returns when a node sees so many members of a mandate, all on line."""
    end = time.monotonic() + MEET_SECONDS_MAX
    while True:
        seen = node.ask("GET", "mandates", mandate, "members")["members"]
        if len(seen) >= members and all(each["online"] is not False for each in seen):
            return
        if time.monotonic() > end:
            raise BenchmarkFailed(f"{mandate}: {seen}")
        time.sleep(0.02)
