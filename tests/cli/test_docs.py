"""``docs/cli.md`` and ``docs/spec/api.md`` name what there is: everything, and nothing else."""

import re
from pathlib import Path
from typing import Any

import trio
import typer

import p2psync
from p2psync.api.app import create_app
from p2psync.api.guard import Bounds
from p2psync.cli.app import app
from tests.fakes.service import FakeService

DOCS = Path(p2psync.__file__).parent.parent / "docs"


def commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("p2psync", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        children = getattr(command, "commands", {})
        waiting += [(f"{name} {child}", below) for child, below in children.items()]
        if not children:
            found[name] = command
    return found


def documented() -> dict[str, str]:
    """Command -> the rows of its table, joined."""
    text = (DOCS / "cli.md").read_text("utf-8")
    rows: dict[str, str] = {}
    for row in re.findall(r"^\| `p2psync .*$", text, flags=re.MULTILINE):
        for words in re.findall(r"`(p2psync [^`]*)`", row.partition(" | ")[0] + "`"):
            name = " ".join(re.match(r"(?:[a-z0-9]+ ?)+", words)[0].split())  # type: ignore[index]  # it begins with p2psync
            rows[name] = rows.get(name, "") + words
    return rows


def test_every_command_is_documented_and_no_other() -> None:
    assert set(documented()) == set(commands()) | {"p2psync invite"}


def test_every_option_is_documented() -> None:
    rows = documented()
    rows["p2psync invite create"] += rows["p2psync invite"]
    for name, command in commands().items():
        for param in command.params:
            if param.param_type_name == "option":
                option = "-o" if "-o" in param.opts else param.opts[-1]
                assert re.search(rf"{option}\b", rows[name]), (name, option)


def test_every_command_has_an_example() -> None:
    for name, command in commands().items():
        assert command.help, name
        example = " ".join(command.epilog.split())
        assert name.replace(" invite create", " invite") in example.replace(" --json", ""), name


def test_every_endpoint_is_documented_and_no_other() -> None:
    described = create_app(FakeService(), Bounds(), trio.Event()).openapi()["paths"]
    there = {
        f"{method.upper()} {path}" for path, methods in described.items() for method in methods
    }
    text = (DOCS / "spec" / "api.md").read_text("utf-8")
    written = set(re.findall(r"^\| `((?:GET|PUT|POST|DELETE) /v1/[^`]*)`", text, re.MULTILINE))
    assert written == there | {"GET /v1/openapi.json"}
