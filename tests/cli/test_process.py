"""The command line as a process: start-up, pipes, and the node in the background."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2psync
from tests.cli.rig import CommandLine

ROOT = Path(p2psync.__file__).parent.parent
SITE = """
import sys, types
module = types.ModuleType("p2psync.cli.daemon")
def run(*args, **kwargs):
    from tests.fakes.daemon import run
    return run(*args, **kwargs)
module.run = run
sys.modules["p2psync.cli.daemon"] = module
"""


def environment(site: Path | None = None) -> dict[str, str]:
    path = os.pathsep.join(str(part) for part in (site, ROOT) if part)
    return {**os.environ, "PYTHONPATH": path}


def command(home: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "p2psync", "--home", str(home), *args]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder on the path of our processes that puts the fake node in the real one's place."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE, "utf-8")
    return folder


@pytest.fixture
def home(tmp_path: Path, site: Path) -> Iterator[Path]:
    home = tmp_path / "background"
    yield home
    subprocess.run(command(home, "node", "stop"), env=environment(site), check=True, timeout=60)


def call(home: Path, site: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(home, *args), env=environment(site), capture_output=True, text=True, timeout=60
    )


def test_the_node_starts_once_and_stops(home: Path, site: Path) -> None:
    first = json.loads(call(home, site, "node", "start", "--json").stdout)
    assert (first["running"], first["started"]) == (True, True)
    again = json.loads(call(home, site, "node", "start", "--json").stdout)
    assert (again["started"], again["pid"]) == (False, first["pid"])
    assert json.loads(call(home, site, "node", "status", "--json").stdout)["pid"] == first["pid"]
    assert (home / "api.token").stat().st_mode & 0o777 == 0o600
    assert (home / "node.log").stat().st_mode & 0o777 == 0o600
    stopped = call(home, site, "node", "stop", "--json")
    assert json.loads(stopped.stdout) == {"running": False, "stopped": True}
    assert call(home, site, "node", "status", "--json").returncode == 4


def test_a_node_that_does_not_start_shows_its_last_words(home: Path, site: Path) -> None:
    ended = call(home, site, "node", "start", "--listen", "broken", "--json")
    assert ended.returncode == 4
    error = json.loads(ended.stderr)["error"]
    assert error["code"] == "node-start-failed"
    assert "another program already listens there" in error["text"]
    assert "node.log" in error["hint"]


def test_the_node_in_the_foreground_prints_one_line_when_ready(home: Path, site: Path) -> None:
    with subprocess.Popen(
        command(home, "node", "run", "--json"), env=environment(site), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["pid"] == process.pid
        assert call(home, site, "node", "stop").returncode == 0
        assert process.wait(30) == 0
        assert process.stdout.read() == b""


def test_watch_prints_one_event_a_line_and_resumes(acme: CommandLine) -> None:
    for number in range(3):
        acme.service.raise_event(f"event {number + 1}")
    with subprocess.Popen(
        command(acme.home, "watch", "--since", "1", "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        events = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [event["id"] for event in events] == [2, 3]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_closed_pipe_is_quiet(acme: CommandLine) -> None:
    for number in range(20):
        acme.service.raise_event(f"event {number + 1} " + "x" * 10_000)
    with subprocess.Popen(
        command(acme.home, "watch", "--since", "0"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(30)


def test_watch_ends_with_its_reader_though_nothing_happens(acme: CommandLine) -> None:
    acme.service.raise_event("event 1")
    with subprocess.Popen(
        command(acme.home, "watch", "--since", "0"),
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert b"event 1" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0


def test_a_command_loads_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom p2psync.cli.main import run\nrun(['--home', 'nobody', 'status'])\n"
        "print(*sorted(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in ended.stdout.split()}
    heavy = {"libp2p", "trio", "fastapi", "hypercorn", "httpx", "pydantic", "rich", "nacl"}
    assert "typer" in loaded
    assert not loaded & heavy


def test_completion_is_offered(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "p2psync"],
        env={
            **environment(),
            "_P2PSYNC_COMPLETE": "complete_bash",
            "COMP_WORDS": "p2psync man",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.split() == ["mandate"]
