"""``member remove`` and ``member readmit``: what they send, and what they say (B-ID-3)."""

import io
import sys

import pytest

from tests.cli.rig import CommandLine


def test_remove_says_what_follows_and_what_cannot_be_undone(acme: CommandLine) -> None:
    said = acme("member", "remove", "Acme", "Bruno", "--yes")
    assert acme.service.calls[-2] == ("member_remove", "Acme", "Bruno")
    assert "Bruno (desk," in said.out
    assert "is removed from Acme" in said.out
    assert "sealed with a new key, which 2 devices get" in said.out
    assert "cannot be undone: it keeps all that it has read until now" in said.out
    assert "no change of them comes any more: sales.ecf" in said.out
    assert "it has the accounting seat" in said.out
    assert "1 ticket that it knows lets nobody in any more" in said.out
    assert "p2psync member readmit Acme" in said.out
    assert set(acme.json("member", "remove", "Acme", "Bruno")) == {
        *("mandate", "device", "name", "machine", "role", "seat", "files", "tickets"),
        "remaining",
    }


def test_a_dry_run_removes_nobody(acme: CommandLine) -> None:
    said = acme("member", "remove", "Acme", "Bruno", "--dry-run")
    assert "Bruno (desk," in said.out
    assert "what it writes later does not count" in said.out
    assert [call[0] for call in acme.service.calls if call[0] == "member_remove"] == []


class Typed(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "removed"), [("n", 0), ("y", 1)])
def test_at_a_terminal_it_asks(
    acme: CommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, removed: int
) -> None:
    monkeypatch.setattr("sys.stdin", Typed(f"{answer}\n"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    acme("member", "remove", "Acme", "Bruno")
    calls = [call for call in acme.service.calls if call[0] == "member_remove"]
    assert len(calls) == removed


def test_readmit_says_what_counts_again(acme: CommandLine) -> None:
    said = acme("member", "readmit", "Acme", "Bruno")
    assert acme.service.calls[-1] == ("member_readmit", "Acme", "Bruno")
    assert "is a member of Acme again" in said.out
    assert "3 entries of it that did not count do now" in said.out


def test_the_list_shows_who_was_removed(acme: CommandLine) -> None:
    acme.service.removed_members = [
        {
            "device": "ab" * 32,
            "name": "Bruno",
            "machine": "laptop",
            "role": "writer",
            "phrase": "a b c d e",
            "by": "Anna",
            "removed": "2026-01-02T03:04:05Z",
            "quarantined": 7,
            "may_readmit": True,
        }
    ]
    said = acme("member", "list", "Acme")
    assert "removed:" in said.out
    line = next(line for line in said.out.splitlines() if line.startswith("Bruno"))
    assert "laptop" in line
    assert "Anna" in line
    assert "7" in line
    assert acme.json("member", "list", "Acme")["removed"] == acme.service.removed_members
