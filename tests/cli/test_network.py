"""B-NET-2: the proxy as a person sets it, and passwords that are in no list of processes."""

from pathlib import Path

import pytest

from p2psync.cli import inputs
from tests.cli.rig import CommandLine

URL = "http://office@proxy.example.ch:8080"


def test_the_password_is_read_from_a_file(acme: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("geheim\n")
    said = acme.json("network", "proxy", "set", URL, "--password-file", str(file))
    assert acme.service.calls[-1] == ("proxy_set", URL, "geheim")
    assert said["proxy"] == URL


def test_the_password_is_asked_for_where_there_is_a_user(
    acme: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(text: str, *, twice: bool = False) -> str:
        asked.append(text)
        return "geheim"

    monkeypatch.setattr(inputs, "ask_passphrase", ask)
    acme.json("network", "proxy", "set", URL)
    assert acme.service.calls[-1] == ("proxy_set", URL, "geheim")
    assert asked == ["the password of office at the proxy"]
    acme.json("network", "proxy", "set", "proxy.example.ch:8080")
    acme.json("network", "proxy", "set", "none")
    assert list(acme.service.calls[-1]) == ["proxy_set", "none", None]
    assert len(asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("network", "proxy", "set", "http://office:geheim@proxy:8080"),
        ("network", "proxy", "set", "office:geheim@proxy:8080"),
        ("node", "run", "--proxy", "http://office:geheim@proxy:8080"),
        ("node", "start", "--proxy", "http://office:geheim@proxy:8080"),
    ],
)
def test_a_password_on_the_command_line_is_refused(acme: CommandLine, words: list[str]) -> None:
    before = len(acme.service.calls)
    error = acme(*words, "--json").error
    assert error["code"] == "proxy-password-shown"
    assert "geheim" not in str(error)
    assert len(acme.service.calls) == before


def test_how_the_proxy_does_is_shown(acme: CommandLine) -> None:
    shown = acme("network", "proxy", "show").out
    for part in (URL, "password refused", "this node's setting", "does not take"):
        assert part in shown
    assert "no proxy is used" in acme("network", "proxy", "clear").out
    assert acme.service.calls[-1] == ("proxy_clear",)
