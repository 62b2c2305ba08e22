"""``detach``, ``mandate remove`` and ``mandate close``: what they send, and what they say."""

import io
import sys

import pytest

from tests.cli.rig import CommandLine


def test_detach_says_what_happens_and_how_to_undo_it(acme: CommandLine) -> None:
    said = acme("detach", "Acme", "my sales.ecf")
    assert acme.service.calls[-1] == ("detach", "Acme", "my sales.ecf")
    assert "its copies leave the mandate folders, history keeps them" in said.out
    assert "the file itself stays where it is: /desk/my sales.ecf" in said.out
    assert "p2psync detach Acme 'my sales.ecf' --undo" in said.out
    assert set(acme.json("detach", "Acme", "a.ecf")) == {"id", "file", "mandate", "path"}


def test_detach_undo(acme: CommandLine) -> None:
    assert "a.ecf is attached to Acme again" in acme("detach", "Acme", "a.ecf", "--undo").out
    assert acme.service.calls[-1] == ("reattach", "Acme", "a.ecf")


def test_remove_lists_it_among_the_removed_and_undo_brings_it_back(acme: CommandLine) -> None:
    said = acme("mandate", "remove", "Acme")
    assert "Acme is closed for everyone and left this device's list" in said.out
    assert "2 other devices are told" in said.out
    assert "no file is touched" in said.out
    assert "p2psync mandate remove 010101010101 --undo" in said.out
    assert acme.json("mandate", "list") == {"mandates": []}
    [removed] = acme.json("mandate", "list", "--removed")["mandates"]
    assert set(removed) == {"id", "name", "kind", "state", "how", "removed", "undo_until"}
    assert "Acme" in acme("mandate", "list", "--removed").out
    assert "Acme is back" in acme("mandate", "remove", "Acme", "--undo").out
    assert "no mandate was removed" in acme("mandate", "list", "--removed").out


def test_a_dry_run_changes_nothing(acme: CommandLine) -> None:
    said = acme("mandate", "remove", "Acme", "--dry-run")
    assert "Acme will be closed for everyone" in said.out
    plan = acme.json("mandate", "remove", "Acme", "--dry-run")
    assert {"case", "how", "told", "detaches", "blocking", "undo_until"} <= set(plan)
    assert [each["name"] for each in acme.json("mandate", "list")["mandates"]] == ["Acme"]


class Typed(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "left"), [("n", ["Acme"]), ("y", [])])
def test_at_a_terminal_it_asks(
    acme: CommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Typed(f"{answer}\n"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    said = acme("mandate", "remove", "Acme")
    assert said.code == 0 and "Acme will be closed for everyone" in said.out
    assert said.out.count("no file is touched") == 1
    assert ("p2psync mandate remove 010101010101 --undo" in said.out) is (answer == "y")
    monkeypatch.undo()
    assert [each["name"] for each in acme.json("mandate", "list")["mandates"]] == left


def test_close_and_reopen(acme: CommandLine) -> None:
    said = acme("mandate", "close", "Acme")
    assert "Acme is closed for everyone" in said.out
    assert "p2psync mandate close 010101010101 --undo" in said.out
    assert acme.json("mandate", "list")["mandates"][0]["state"] == "closed"
    assert "Acme is open again" in acme("mandate", "close", "Acme", "--undo").out
    assert acme.json("mandate", "list")["mandates"][0]["state"] == "ok"
