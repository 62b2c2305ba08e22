"""B-NET-5: what ``p2psync doctor`` says of homes whose node does not run, and how it ends."""

import fcntl
import json
import os
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from p2psync.api.address import write_address
from p2psync.cli.commands import doctor as doctor_module
from p2psync.errors import DiskFull, DiskReadOnly
from p2psync.node.faults import FAULTS
from p2psync.storage import schema, sqlite
from p2psync.storage.database import Database
from p2psync.storage.home import Home
from p2psync.storage.keys import PlainKey, create_device_key
from tests.cli.rig import CommandLine
from tests.cli.test_process import ROOT, command

WRONG = 7


@pytest.fixture
def alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A command line without a node."""
    return CommandLine(tmp_path / "home", None, capsys)  # type: ignore[arg-type]  # none is asked


@pytest.fixture
def stopped(alone: CommandLine) -> CommandLine:
    """The same, in a home in which a node has run."""
    with Home.open(alone.home) as home:
        Database.open(home.database).close()
        create_device_key(home.device_key, PlainKey(bytes(32)))
    return alone


def found(cli: CommandLine, code: str) -> dict[str, Any]:
    """What doctor says of one thing, when it says that something is wrong."""
    ended = cli("doctor", "--json")
    assert ended.code == WRONG
    said = ended.json
    assert said["healthy"] is False
    for each in said["findings"]:
        assert each["text"] and each["hint"] and each["code"] in FAULTS
    [one] = [each for each in said["findings"] if each["code"] == code] or [None]
    assert one is not None, said
    return dict(one)


# -- the node ---------------------------------------------------------------------------------


def test_doctor_names_node_not_running(stopped: CommandLine) -> None:
    assert codes(stopped) == ["node-not-running"]
    assert "p2psync node start" in found(stopped, "node-not-running")["hint"]
    assert stopped("doctor").out.splitlines()[0].startswith("wrong: node")
    assert "n'est pas en marche" in stopped("doctor", "--lang", "fr").out


def test_doctor_names_answer_invalid(stopped: CommandLine) -> None:
    class Junk(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Junk) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        write_address(stopped.home, url, 1, "0", "token")
        assert "makes no sense" in found(stopped, "answer-invalid")["text"]
        server.shutdown()
        thread.join()


@contextmanager
def held(cli: CommandLine) -> Iterator[None]:
    """Have a process hold the home."""
    with (cli.home / "lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def codes(cli: CommandLine) -> list[str]:
    return [each["code"] for each in cli("doctor", "--json").json["findings"]]


def test_doctor_names_node_silent(stopped: CommandLine) -> None:
    """The process is there, and is not to be reached: it starts, or hangs."""
    with held(stopped):
        assert "process 4711" in found(stopped, "node-silent")["text"]
        assert codes(stopped) == ["node-silent"]
    assert codes(stopped) == ["node-not-running"]


def test_doctor_names_node_silent__that_takes_the_question(
    stopped: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs takes the connection, and no answer ever comes."""
    monkeypatch.setattr(doctor_module, "PATIENCE_SECONDS", 0.1)
    with held(stopped), socket.create_server(("127.0.0.1", 0)) as hangs:
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        write_address(stopped.home, url, 4711, "0", "token")
        assert codes(stopped) == ["answer-invalid", "node-silent"]


def test_doctor_names_node_start_failed__with_its_port_taken(tmp_path: Path) -> None:
    """A real node that cannot have its port: doctor says so afterwards."""
    home = tmp_path / "home"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C", "LC_ALL": "C"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        words = ("node", "start", "--no-lan", "--listen", address, "--json")
        started = subprocess.run(
            command(home, *words), env=env, capture_output=True, text=True, timeout=120
        )
        assert started.returncode == 4, started.stderr
    ended = subprocess.run(
        command(home, "doctor", "--json"), env=env, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == WRONG, ended.stderr
    findings = {each["code"]: each for each in json.loads(ended.stdout)["findings"]}
    assert list(findings) == ["node-not-running", "node-start-failed"]
    assert f"another program already listens on {address}" in findings["node-start-failed"]["text"]
    assert findings["node-start-failed"]["since"]


# -- the home ---------------------------------------------------------------------------------


def test_doctor_names_home_absent(alone: CommandLine) -> None:
    assert "--home" in found(alone, "home-absent")["hint"]
    assert not alone.home.exists()  # it made nothing


def test_doctor_names_not_a_folder(alone: CommandLine) -> None:
    alone.home.write_text("a file")
    assert found(alone, "not-a-folder")["about"] == "home"


def test_doctor_names_home_unsuitable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "Dropbox" / "home"
    home.mkdir(parents=True)
    cli = CommandLine(home, None, capsys)  # type: ignore[arg-type]  # none is asked
    assert "cloud-synchronised" in found(cli, "home-unsuitable")["text"]


def test_doctor_names_home_exposed(stopped: CommandLine) -> None:
    stopped.home.chmod(0o777)
    assert "chmod 700" in found(stopped, "home-exposed")["hint"]


def test_doctor_names_access_denied__to_where_the_home_is(
    stopped: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = os.lstat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if str(path) == str(stopped.home):
            raise PermissionError(13, "Permission denied")
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", refused)
    assert codes(stopped) == ["node-not-running", "access-denied"]


def test_doctor_names_access_denied__to_the_home(
    stopped: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who runs the tests may be allowed everything.
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(stopped.home))
    assert str(stopped.home) in found(stopped, "access-denied")["text"]


@contextmanager
def disk(monkeypatch: pytest.MonkeyPatch, **changed: int) -> Iterator[None]:
    """Have the disk say something else of itself."""
    statvfs = os.statvfs

    def said(path: str) -> Any:
        real = statvfs(path)
        names = ("f_bavail", "f_frsize", "f_blocks", "f_flag")
        values = {name: getattr(real, name) for name in names} | changed
        return type("Said", (), values)

    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", said)
        yield


def test_doctor_names_disk_full__of_the_home(
    stopped: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(monkeypatch, f_bavail=0):
        assert found(stopped, DiskFull.code)["about"] == "disk"


def test_doctor_names_disk_read_only__of_the_home(
    stopped: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(monkeypatch, f_flag=os.ST_RDONLY):
        assert "mount it writable" in found(stopped, DiskReadOnly.code)["hint"]


def test_doctor_names_key_missing(stopped: CommandLine) -> None:
    (stopped.home / "device.key").unlink()
    assert "backup" in found(stopped, "key-missing")["hint"]


def test_doctor_names_key_exposed(stopped: CommandLine) -> None:
    (stopped.home / "device.key").chmod(0o644)
    assert "chmod 600" in found(stopped, "key-exposed")["hint"]


def test_doctor_names_key_damaged(stopped: CommandLine) -> None:
    (stopped.home / "device.key").write_bytes(b"p2psync device key 1\nplain\nAAAA\n0\n")
    assert "device.key" in found(stopped, "key-damaged")["text"]


def test_doctor_names_database_damaged(stopped: CommandLine) -> None:
    path = stopped.home / "p2psync.db"
    damaged = bytearray(path.read_bytes())
    damaged[4096:12288] = b"\xff" * 8192
    path.write_bytes(bytes(damaged))
    assert "backup" in found(stopped, "database-damaged")["hint"]
    assert path.read_bytes() == damaged  # it changed nothing


def test_doctor_names_database_foreign(stopped: CommandLine) -> None:
    path = stopped.home / "p2psync.db"
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE shop (item)")
        other.commit()
    assert "another program" in found(stopped, "database-foreign")["text"]


def test_doctor_names_database_newer(stopped: CommandLine) -> None:
    with closing(sqlite3.connect(stopped.home / "p2psync.db")) as other:
        other.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    assert "up to date" in found(stopped, "database-newer")["hint"]


def test_doctor_names_database_busy(stopped: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program, such as one that copies it, keeps the whole file to itself."""
    monkeypatch.setattr(sqlite, "DATABASE_BUSY_SECONDS_MAX", 0.1)
    with closing(sqlite3.connect(stopped.home / "p2psync.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert "end the program" in found(stopped, "database-busy")["hint"]


# -- the command ------------------------------------------------------------------------------

WRONG_FINDING = {
    "code": "file-absent",
    "severity": "fault",
    "about": "file",
    "where": "a.ecf",
    "mandate": "Acme",
    "since": "2026-01-02T03:04:00+00:00",
    "template": "{path} is not there",
    "hint_template": "see p2psync status",
    "params": {"path": "/x/a.ecf"},
}


def test_all_is_well_ends_with_0(acme: CommandLine) -> None:
    said = acme.json("doctor")
    assert set(said) == {"healthy", "version", "at", "checks", "findings"}
    assert said["healthy"] is True
    ended = acme("doctor", "Acme")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "all is well")
    assert acme.service.calls[-1] == ("doctor", "Acme")


def test_what_is_wrong_ends_with_7_and_a_note_does_not(acme: CommandLine) -> None:
    acme.service.findings = [{**WRONG_FINDING, "severity": "note"}]
    assert acme.json("doctor")["healthy"] is True
    acme.service.findings = [WRONG_FINDING]
    ended = acme("doctor")
    assert ended.code == WRONG
    assert ended.out.splitlines()[:4] == [
        "wrong: files a.ecf in Acme since 2026-01-02 03:04",
        "  /x/a.ecf is not there",
        "  → see p2psync status",
        "1 thing is wrong",
    ]
    assert "est introuvable" in acme("doctor", "--lang", "fr").out


def test_the_report_is_the_owners_alone_and_overwrites_nothing(
    acme: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    assert acme.json("doctor", "--report", str(path))["report"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text("utf-8"))["report"] == "p2psync doctor"
    assert acme("doctor", "--report", str(path), "--json").error["code"] == "not-overwritten"
    ended = acme("doctor", "--report", str(tmp_path / "no" / "r"), "--json")
    assert (ended.code, ended.error["code"]) == (6, "output-unwritable")


def test_the_report_of_a_home_holds_no_path(stopped: CommandLine, tmp_path: Path) -> None:
    (stopped.home / "device.key").unlink()
    path = tmp_path / "report.json"
    assert stopped("doctor", "--report", str(path)).code == WRONG
    text = path.read_text("utf-8")
    assert "key-missing" in text and str(tmp_path) not in text
