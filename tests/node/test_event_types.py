"""The table of events: what the code raises, what docs/events.md lists, what people read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2psync
from p2psync.cli import output
from p2psync.errors import EventTypeUnknown
from p2psync.i18n import set_language
from p2psync.node.event_types import EVENT_TYPES, PASSING, expand, known

PACKAGE = Path(p2psync.__file__).parent
DOCS = PACKAGE.parent / "docs"
BY_NAME = {
    # Kinds that are no constants where they are raised: news.warn.
    *("forked-log", "log-behind", "peer-complains", "content-invalid", "peer-mistake"),
}
NOT_KEPT = {"hook-test"}


def raised() -> Iterator[tuple[str, str, str, ast.Call]]:
    """Give place, kind and severity of each call that raises an event."""
    severities = {"message": "message", "alert": "alert", "alert_text": "alert"}
    for path in sorted((PACKAGE / "node").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=holder, attr=("message" | "alert" | "alert_text") as name
                    ),
                    args=[kind, *_],
                ) if "notices" in f"{path.stem} {ast.unparse(holder)}":
                    for constant in ast.walk(kind):
                        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                            yield (
                                f"{path.name}:{node.lineno}",
                                constant.value,
                                severities[name],
                                node,
                            )
                case _:
                    continue


def test_every_event_that_is_raised_is_in_the_table_with_its_severity_and_action() -> None:
    wrong = []
    for place, kind, severity, call in raised():
        if kind not in EVENT_TYPES or EVENT_TYPES[kind].severity != severity:
            wrong.append(f"{place}: {kind} ({severity})")
            continue
        for keyword in call.keywords:
            action = EVENT_TYPES[kind].action
            match keyword:
                case ast.keyword(arg="action", value=ast.Constant(value=value)) if value != action:
                    wrong.append(f"{place}: {kind} has another action in the table")
                case _:
                    continue
    assert wrong == []


def test_every_type_of_the_table_is_raised() -> None:
    there = {kind for _, kind, _, _ in raised()} | BY_NAME | NOT_KEPT
    assert set(EVENT_TYPES) - there == set()


def test_every_alert_that_settles_is_settled_somewhere() -> None:
    """Its type stands in a call of ``settle``, or its key begins one of ``settle_all``."""
    settled: set[object] = set()
    for path in sorted((PACKAGE / "node").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="settle"), args=[kind, *_]):
                    settled |= {
                        each.value for each in ast.walk(kind) if isinstance(each, ast.Constant)
                    }
                case _:
                    continue
    elsewhere = {
        "double-posting",  # news.posted: by its receipts
        "save-held-back",  # shelf: both kinds of a held save in one loop
        "change-not-allowed",
        "deletion-held",  # holding: those of one device and file together
    }
    wanted = {name for name, each in EVENT_TYPES.items() if each.settled}
    assert wanted - settled - elsewhere == set()


def row(name: str) -> str:
    each = EVENT_TYPES[name]
    by = each.settled or ("a person closes it" if each.severity == "alert" else "")
    cells = (f"`{name}`", each.severity, each.when, f"`{each.action}`" if each.action else "", by)
    return f"| {' | '.join(cells)} |"


def test_the_page_lists_every_type_as_it_is() -> None:
    text = (DOCS / "events.md").read_text("utf-8")
    table = text.partition("|---|---|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [row(name) for name in EVENT_TYPES]
    shown = [f"`{name}`" for name, each in EVENT_TYPES.items() if each.shown]
    messages = [name for name in shown if EVENT_TYPES[name.strip("`")].severity == "message"]
    assert f"({', '.join(messages)})" in " ".join(text.split())


def test_the_specification_of_the_api_lists_what_passes() -> None:
    text = (DOCS / "spec" / "api.md").read_text("utf-8")
    for name in PASSING:
        assert f"| `{name}` |" in text


def test_every_action_is_said_to_people_in_both_languages() -> None:
    actions = {each.action for each in EVENT_TYPES.values() if each.action}
    try:
        for action in sorted(actions):
            set_language("en")
            english = output.action(action)
            set_language("fr")
            assert english != action or " " not in english
            assert output.action(action) != action, action
    finally:
        set_language("en")


def test_words_that_stand_for_many() -> None:
    assert expand(["all"]) == set(EVENT_TYPES)
    assert expand(["alerts"]) | expand(["messages"]) == expand(["all"])
    assert expand(["alerts"]) & expand(["messages"]) == set()
    assert expand(["posted", "posted"]) == {"posted"}
    with pytest.raises(EventTypeUnknown):
        expand(["posted", "all of them"])
    assert known(["posted", "of-another-version", "alerts"]) == ["posted", "alerts"]
