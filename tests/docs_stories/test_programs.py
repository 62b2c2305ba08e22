"""What the example programs do beside what the guides show: when there is no node, when somebody
forges a call, when the node says no."""

import importlib.util
import subprocess
import sys
from email.message import Message
from pathlib import Path
from types import ModuleType

import pytest

from p2psync.cli.settings import default_home
from p2psync.formats import registry
from p2psync.node import calling
from tests.docs_stories.rig import EXAMPLES, on_this_machine, stage
from tests.docs_stories.walk import Step

PROGRAMS = EXAMPLES / "programs"
SECRET = b"0123456789abcdef0123456789abcdef"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", PROGRAMS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signed(body: bytes, at: int, secret: bytes = SECRET) -> Message:
    headers = Message()
    headers["webhook-id"] = "msg_1"
    headers["webhook-timestamp"] = str(at)
    headers["webhook-signature"] = calling.sign(secret, "msg_1", at, body)
    return headers


def test_the_receiver_takes_what_the_node_signs_and_nothing_else() -> None:
    genuine = load("webhook").is_genuine
    body, now = b'{"type": "posted"}', 1_800_000_000.0
    assert genuine(signed(body, 1_800_000_000), body, SECRET, now)
    assert genuine(signed(body, 1_799_999_800), body, SECRET, now)
    assert not genuine(signed(body, 1_800_000_000), body + b" ", SECRET, now)
    assert not genuine(signed(body, 1_800_000_000, b"x" * 32), body, SECRET, now)
    assert not genuine(signed(body, 1_799_999_000), body, SECRET, now), "it may be a repetition"
    assert not genuine(Message(), body, SECRET, now)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        headers = signed(body, 1_800_000_000)
        headers.replace_header(name, "é")
        assert not genuine(headers, body, SECRET, now)


def test_programs_look_for_the_node_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    api = load("local_api")
    for name, value in (
        ("P2PSYNC_HOME", "here"),
        ("XDG_DATA_HOME", "/there"),
        ("HOME", "/home/me"),
    ):
        monkeypatch.setenv(name, value)
    assert api.home() == default_home()
    monkeypatch.delenv("P2PSYNC_HOME")
    assert api.home() == default_home()
    monkeypatch.delenv("XDG_DATA_HOME")
    assert api.home() == default_home()


def test_what_is_exported_is_read(tmp_path: Path) -> None:
    add, file = load("export").add, tmp_path / "sales.ecf"
    fields = ("28.03.2025", "1100", "3400", "R-1", "Étagères, dœuvre", "1'200.50")
    assert [add(file, *fields), add(file, *fields)] == [1, 2]
    content = file.read_bytes()
    document = registry.find(file.name, content).parse(content)
    assert document.problems == ()
    records = [record for segment in document.segments for record in segment.records]
    assert [str(record.amount) for record in records] == ["1200.50", "1200.50"]


@pytest.mark.parametrize(
    "command",
    [["sh", "import.sh", "Atelier", "."], [sys.executable, "pending.py"]],
    ids=["command line", "API"],
)
def test_without_a_node_a_program_ends_with_the_code_of_that(
    command: list[str], tmp_path: Path, programs: Path
) -> None:
    done = subprocess.run(
        [*command[:1], str(PROGRAMS / command[1]), *command[2:]],
        cwd=tmp_path,
        env={"PATH": f"{programs}:/usr/bin:/bin", "P2PSYNC_HOME": str(tmp_path / "none")},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 4, done
    assert done.stderr


def test_what_the_node_refuses_is_told(tmp_path: Path, programs: Path) -> None:
    with stage(tmp_path / "try", programs, ["office"]) as walk:
        steps = [
            ("p2psync node start", ()),
            ("p2psync mandate create Atelier", ()),
            ("! python3 examples/programs/register.py Atelier no.ecf", ("file-not-attached: …",)),
            ("! sh examples/programs/import.sh Nobody .", ("{…mandate-unknown…",)),
        ]
        walk.run(on_this_machine(tuple(Step("", "office", *each) for each in steps)))
