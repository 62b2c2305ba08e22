"""Which language is spoken, and how templates are filled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import i18n


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_CH.UTF-8"}, "fr"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "de_CH.UTF-8"}, "en"),
        ({"LANG": "fr_CH", "LC_MESSAGES": "en_GB"}, "en"),
        ({"LC_MESSAGES": "en_GB", "LC_ALL": "fr"}, "fr"),
        ({"LC_ALL": "fr", "P2PSYNC_LANG": "en"}, "en"),
        ({"LC_ALL": "", "LANG": "fr"}, "fr"),
    ],
)
def test_the_environment_chooses(environment: dict[str, str], language: str) -> None:
    assert i18n.environment_language(environment) == language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("de, fr;q=0.4, en;q=0.3", "fr"),
        ("fr;q=0.2, en;q=0.3", "en"),
        ("fr;q=0", "en"),
        ("fr;q=x", "en"),
        (",;,;q=,", "en"),
    ],
)
def test_the_header_chooses(header: str, language: str) -> None:
    assert i18n.accepted_language(header) == language


@given(st.text())
def test_any_header_gives_a_language(header: str) -> None:
    assert i18n.accepted_language(header) in i18n.LANGUAGES


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_filling_never_raises(template: str, params: dict[str, str]) -> None:
    assert isinstance(i18n.fill(template, params), str)


def test_what_fills_a_place_is_not_filled_again() -> None:
    assert i18n.fill("{a} {b}", {"a": "{b}", "b": "x"}) == "{b} x"


def test_a_text_with_a_template_is_localised_wherever_it_stands() -> None:
    text = {"text": "t", "template": "the ticket was revoked", "params": {}, "line": 3}
    assert i18n.localise({"problems": [text]}, "fr") == {
        "problems": [{"text": "le ticket a été révoqué", "line": 3}]
    }
    assert i18n.localise({"text": "t", "params": 3}, "fr") == {"text": "t", "params": 3}


def test_french_takes_the_singular_for_zero() -> None:
    one, many = "synced with {count} member", "synced with {count} members"
    try:
        i18n.set_language("fr")
        assert i18n.ngettext(one, many, 0) == "synchronisé avec 0 membre"
        assert i18n.ngettext(one, many, 2) == "synchronisé avec 2 membres"
    finally:
        i18n.set_language("en")
    assert i18n.ngettext(one, many, 0) == "synced with 0 members"
