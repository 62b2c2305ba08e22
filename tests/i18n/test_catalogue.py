"""Every text that people read has a French entry with the same places."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2psync
from p2psync.cli.app import app
from p2psync.cli.tree import help_texts
from p2psync.formats import registry
from p2psync.i18n import catalogue, places

PACKAGE = Path(p2psync.__file__).parent
# Name of a function -> the positions of its arguments that are templates.
TRANSLATING_FUNCTIONS = {
    "_": (0,),
    "ngettext": (0, 1),
    "Problem": (1,),
    "message": (1,),
    "alert_text": (1,),
}
# Words of the API that stand for something, no texts.
UNTRANSLATED = {"", "{cause}", "{text}", "{hint}"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text("utf-8"))


def constants(node: ast.expr | None) -> Iterator[str]:
    """Every string that an expression may give, seen without running it."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from constants(one)
            yield from constants(other)
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            yield from constants(default)
        case _:
            return


def from_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                for position in TRANSLATING_FUNCTIONS.get(name, ()):
                    yield from constants(node.args[position] if position < len(node.args) else None)
                for keyword in node.keywords:
                    if keyword.arg in ("template", "hint_template"):
                        yield from constants(keyword.value)
            case ast.Dict():
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in ("template", "cause"):
                        yield from constants(value)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if name in ("template", "hint_template"):
                    yield from constants(node.value)
                if name.lower().endswith("texts") and isinstance(node.value, ast.Dict):
                    for value in node.value.values:
                        yield from constants(value)
            case _:
                continue


def from_help() -> Iterator[tuple[str, str]]:
    import typer

    waiting = [("p2psync", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        for text in help_texts(command):
            yield f"help of {name}", text
        for sub_name, sub in getattr(command, "commands", {}).items():
            waiting.append((f"{name} {sub_name}", sub))


def all_texts() -> dict[str, str]:
    """Text -> where it was first seen."""
    seen: dict[str, str] = {}
    for place, text in from_help():
        seen.setdefault(text, place)
    for form in registry.all_formats():
        seen.setdefault(form.title, f"title of {form.name}")
    for name, tree in modules():
        for text in from_calls(tree):
            seen.setdefault(text, name)
    return {text: place for text, place in seen.items() if text not in UNTRANSLATED}


def test_every_text_has_a_french_entry() -> None:
    french = catalogue("fr")
    missing = {text: place for text, place in all_texts().items() if text not in french}
    assert not missing, "add to p2psync/i18n/fr.json:\n" + json.dumps(
        missing, ensure_ascii=False, indent=1
    )


def test_every_translation_has_the_places_of_its_text() -> None:
    wrong = {
        text: translated
        for text, translated in catalogue("fr").items()
        if places(text) != places(translated)
    }
    assert not wrong


def test_no_entry_is_left_over() -> None:
    unused = set(catalogue("fr")) - set(all_texts())
    assert not unused, "remove from p2psync/i18n/fr.json: " + json.dumps(sorted(unused))


def test_the_file_is_sorted_and_has_no_double_entry() -> None:
    text = (PACKAGE / "i18n" / "fr.json").read_text("utf-8")
    pairs: list[tuple[str, str]] = json.loads(text, object_pairs_hook=list)
    keys = [key for key, _ in pairs]
    assert keys == sorted(set(keys))
    assert all(translated.strip() for _, translated in pairs)


@pytest.mark.parametrize(
    "text",
    [
        "_('a {b}')",
        "Problem('code', 'a {b}', 3)",
        "x.message('code', 'a {b}')",
        "{'template': 'a {b}'}",
        "class E:\n template: str = 'a {b}'",
        "TEXTS = {'x': 'a {b}'}",
    ],
)
def test_the_collector_sees(text: str) -> None:
    assert list(from_calls(ast.parse(text))) == ["a {b}"]
