"""Names, suggestions, programs: what programs rely on, and what people read."""

import os

import pytest

from tests.cli.rig import CommandLine


def test_mandate_rename(acme: CommandLine) -> None:
    assert acme.json("mandate", "rename", "Acme", "Acme Ltd")["name"] == "Acme Ltd"
    assert acme.json("mandate", "show", "Acme Ltd")["name"] == "Acme Ltd"


def test_suggestion_list_and_dismiss(acme: CommandLine) -> None:
    (suggested,) = acme.json("suggestion", "list", "Acme")["suggestions"]
    assert set(suggested) == {"file", "kind", "reason", "follows", "command"}
    assert suggested["command"] in acme("suggestion", "list", "Acme").out
    acme.json("suggestion", "dismiss", "Acme", "sales_2026.ecf")
    assert acme.service.calls[-1] == ("suggestion_dismiss", "Acme", "sales_2026.ecf")
    acme.json("suggestion", "dismiss", "Acme", "./sales_2026.ecf")
    assert acme.service.calls[-1][2] == os.path.abspath("sales_2026.ecf")


def test_attach_takes_promises_and_what_is_offered(acme: CommandLine) -> None:
    acme.json("attach", "Acme", "a.ecf", "--kind", "invoicing", "--expect-every", "7d")
    assert acme.service.calls[-1] == ("attach also", 7 * 86400, False, None)
    assert acme.json("attach", "Acme", "--offered")["skipped"] == []
    assert list(acme.service.calls[-1]) == ["attach also", None, True, None]
    assert acme.service.calls[-2] == ("attach", "Acme", [], None, None, None)
    for wrong in (["a.ecf"], [], ["a.ecf", "--kind", "x"]):
        assert acme("attach", "Acme", *wrong).code == 2
    assert acme("attach", "Acme", "a", "--kind", "other", "--expect-every", "soon").code == 2


def test_program_register(acme: CommandLine) -> None:
    words = ("--name", "Billing", "--version", "16.2", "--licence", "trial")
    said = acme.json("program", "register", "Acme", "sales.ecf", *words)
    assert set(said) == {"file", "name", "version", "licence", "refused"}
    assert acme.service.calls[-1] == (
        *("program_register", "Acme", "sales.ecf"),
        *("Billing", "16.2", "trial"),
    )
    assert acme("program", "register", "Acme", "sales.ecf").code == 2


def test_program_list_says_what_is_wrong(acme: CommandLine) -> None:
    shown = acme.json("program", "list", "Acme")
    assert set(shown) == {"programs", "policy"}
    text = acme("program", "list", "Acme").out
    assert "Billing is a trial version" in text and "16.2" in text


def test_program_policy(acme: CommandLine) -> None:
    assert acme.json("program", "policy", "Acme") == {"refuse": [], "minimums": {}}
    words = ("--refuse", "trial", "--refuse", "unknown", "--minimum", "A=B=16.2")
    assert acme.json("program", "policy", "Acme", *words) == {
        "refuse": ["trial", "unknown"],
        "minimums": {"A=B": "16.2"},
    }
    assert "A=B before 16.2" in acme("program", "policy", "Acme").out
    assert acme.json("program", "policy", "Acme", "--none") == {"refuse": [], "minimums": {}}
    for wrong in (["--none", "--refuse", "trial"], ["--minimum", "Billing"], ["--minimum", "=1"]):
        assert acme("program", "policy", "Acme", *wrong).code == 2


@pytest.mark.parametrize("words", [("program", "list"), ("suggestion", "list")])
def test_a_mandate_that_is_not_there_is_told(acme: CommandLine, words: tuple[str, ...]) -> None:
    assert acme(*words, "Nobody").code != 0
