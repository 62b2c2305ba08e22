"""The short way to ``node run`` understands what the tree of commands would."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from p2psync.cli import daemon, foreground
from p2psync.cli.app import app
from p2psync.cli.commands import node
from p2psync.cli.foreground import NodeRun, plain_node_run
from p2psync.cli.main import hoist, run
from tests.cli.rig import CommandLine

ADDRESS = st.sampled_from(
    ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/4001", "4001", "--no-lan", "--no-upnp", "-h", ""]
)
WORD = st.one_of(
    st.sampled_from(
        ["--no-lan", "--no-upnp", "--listen", "--help", "--", "-x", "more", "--listen="]
    ),
    ADDRESS,
    ADDRESS.map("--listen={}".format),
)


@given(st.lists(WORD, max_size=6))
def test_the_short_way_reads_what_the_tree_of_commands_reads(words: list[str]) -> None:
    plain = plain_node_run(["node", "run", *words])
    if plain is None:
        return  # the tree of commands reads it
    seen: list[NodeRun] = []

    def record(wanted: NodeRun) -> int:
        seen.append(wanted)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "run_node", record)
        typer.main.get_command(app).main(
            ["node", "run", *words], prog_name="p2psync", standalone_mode=False
        )
    assert seen == [plain]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["node"],
        ["node", "start"],
        ["run"],
        ["node", "run", "--help"],
        ["node", "run", "--listen"],
    ],
    ids=" ".join,
)
def test_anything_else_goes_the_long_way(words: list[str]) -> None:
    assert plain_node_run(words) is None


def test_shared_options_may_stand_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[Path, list[str], bool, bool]] = []

    def record(home: Path, listen: list[str], lan: bool, on_ready: Any, **more: Any) -> int:
        seen.append((home, listen, lan, more["upnp"]))
        ready: Mapping[str, Any] = {"running": True, "address": "http://127.0.0.1:1"}
        on_ready(ready)
        return 0

    monkeypatch.setattr(daemon, "run", record)
    words = ["node", "run", "--no-lan", "--json", "--home", str(tmp_path)]
    assert hoist(words) == ["--json", f"--home={tmp_path}", "node", "run", "--no-lan"]
    assert run(words) == 0
    assert seen == [(tmp_path, [], False, True)]
    assert capsys.readouterr().out == '{"running": true, "address": "http://127.0.0.1:1"}\n'


def test_a_wrong_option_is_a_usage_error(cli: CommandLine) -> None:
    ended = cli("node", "run", "--lisen", "/ip4/127.0.0.1/tcp/1", "--json")
    assert ended.code == 2
    assert foreground.plain_node_run(["node", "run", "--lisen"]) is None
