"""The stage of a story: one folder with the example files, a node's home and a terminal for each
person, and the end of whatever they started."""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.docs_stories.terminal import Terminal
from tests.docs_stories.walk import Step, Walk

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
START = "p2psync node start"
PORT = "8787"
END_SECONDS_MAX = 20.0


@contextmanager
def stage(
    folder: Path, programs: Path, people: list[str], language: str = "C.UTF-8"
) -> Iterator[Walk]:
    """Set the stage as the guides tell: ``examples`` in a folder, a home for each person in it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(EXAMPLES, folder / "examples")
    kept = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
    common = {
        **kept,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "HOME": str(folder),
        "LANG": language,
        "TZ": "UTC",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }
    homes = {person: folder / person for person in people}
    terminals = {
        person: Terminal(folder, {**common, "P2PSYNC_HOME": str(home)})
        for person, home in homes.items()
    }
    try:
        yield Walk(terminals)
    finally:
        for home in homes.values():
            end_node(home)
        for process in processes_in(folder):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)


def on_this_machine(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps, but nodes listen on this machine alone, each always at the same port, for
    they look for nobody; and what a page calls the port 8787 is one that nobody uses."""
    listen = {
        person: f"{START} --listen /ip4/127.0.0.1/tcp/{free_port()} --no-lan"
        for person in {each.person for each in steps}
    }
    port = str(free_port())
    return tuple(
        Step(
            each.place,
            each.person,
            each.command.replace(START, listen[each.person]).replace(PORT, port),
            each.shown,
        )
        for each in steps
    )


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def end_node(home: Path) -> None:
    """End the node of a home, by the id that it wrote there, and wait for it."""
    with suppress(OSError, ValueError, KeyError):
        pid = int(json.loads((home / "api.json").read_text("utf-8"))["pid"])
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS_MAX
        while running(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def processes_in(folder: Path) -> list[int]:
    """What works in a folder: what was started in the background of a terminal there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found


def running(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] not in ("Z", "X")
