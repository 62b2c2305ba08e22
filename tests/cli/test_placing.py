"""``relink``, ``migrate``, ``replace``: what they ask of the node, and what people read."""

import io
import os
import sys

import pytest

from tests.cli.rig import CommandLine


def last(acme: CommandLine) -> tuple[object, ...]:
    """What the node was asked for last."""
    return acme.service.calls[-1]


def test_relink_takes_a_path_a_name_or_what_is_offered(acme: CommandLine) -> None:
    assert acme.json("relink", "Acme", "sales.ecf")["path"] == "/desk/moved.ecf"
    assert last(acme) == ("relink", "Acme", "sales.ecf", None)
    acme.json("relink", "Acme", "sales.ecf", "moved.ecf")
    assert last(acme) == ("relink", "Acme", "sales.ecf", "moved.ecf")
    acme.json("relink", "Acme", "./sales.ecf", "2025/sales.ecf")
    assert last(acme) == (
        *("relink", "Acme", os.path.abspath("sales.ecf")),
        os.path.abspath("2025/sales.ecf"),
    )


def test_relink_says_what_it_was_and_what_it_is(acme: CommandLine) -> None:
    said = acme("relink", "Acme", "sales.ecf").out
    assert said == "/desk/sales.ecf is /desk/moved.ecf now\n"


def test_relink_lists_what_the_file_may_be(acme: CommandLine) -> None:
    said = acme.json("relink", "Acme", "sales.ecf", "--list")
    assert set(said) == {"file", "broken", "path", "offered", "candidates"}
    assert not [call for call in acme.service.calls if call[0] == "relink"]
    text = acme("relink", "Acme", "sales.ecf", "--list").out
    assert "/desk/moved.ecf" in text
    assert "the same file, the same content" in text


def test_migrate_makes_the_new_place_absolute(acme: CommandLine) -> None:
    said = acme.json("migrate", "Acme", "sales.ecf", "new.ecf")
    assert set(said) >= {"id", "file", "path", "before", "pending", "cancelled", "advice"}
    assert last(acme) == (*("migrate", "Acme", "sales.ecf", os.path.abspath("new.ecf"), False),)
    text = acme("migrate", "Acme", "sales.ecf", "new.ecf", "--cancel-pending").out
    assert last(acme)[-1] is True
    assert "/desk/sales.ecf" in text


def test_replace_shows_what_changes_and_the_advice(acme: CommandLine) -> None:
    said = acme.json("replace", "Acme", "sales.ecf", "new.ecf")
    assert said["done"]
    assert last(acme) == (*("replace", "Acme", "sales.ecf", os.path.abspath("new.ecf"), False),)
    text = acme("replace", "Acme", "sales.ecf", "new.ecf", "--dry-run").out
    assert last(acme)[-1] is True
    assert "against the 5 that are posted: 3 new, 1 gone" in text
    assert "3 new" in text.splitlines()[-1]


class Typed(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "done"), [("y", [True, False]), ("n", [True])])
def test_replace_asks_at_a_terminal(
    acme: CommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, done: list[bool]
) -> None:
    monkeypatch.setattr("sys.stdin", Typed(f"{answer}\n"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    acme("replace", "Acme", "sales.ecf", "new.ecf")
    assert [call[-1] for call in acme.service.calls if call[0] == "replace"] == done


def test_replace_asks_nobody_who_is_not_there(acme: CommandLine) -> None:
    acme("replace", "Acme", "sales.ecf", "new.ecf")
    assert [call[-1] for call in acme.service.calls if call[0] == "replace"] == [False]
