"""What the pages name is there: linked pages, commands and their options, tests, files of code."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from p2psync.cli.app import app
from p2psync.cli.main import hoist

ROOT = Path(__file__).resolve().parent.parent
TOLD = (
    "README.md",
    "docs/guides/accountant.md",
    "docs/guides/fiduciary.md",
    "docs/guides/programs.md",
    "docs/guides/source.md",
)
PROMPT = re.compile(r"(\w*\$|>) +")
OPERATORS = {"|", "||", "&&", "&", ";", "<", ">", "done"}
"""Where a shell's command ends, or leaves the program's own words."""
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```\w*$")


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def numbered(page: Path) -> Iterator[tuple[str, bool, str]]:
    """Give ``(place, is in a fenced block, line)``."""
    fenced = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        else:
            yield f"{page.relative_to(ROOT)}:{number}", fenced, line


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    found = set()
    for _, fenced, line in numbered(page):
        if not fenced and line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


def broken(target: str, page: Path) -> bool:
    if re.match(r"[a-z]+:", target):
        return False
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    if not there.exists() or ROOT not in (there, *there.parents):
        return True
    return bool(anchor) and anchor not in anchors(there)


def commands() -> Iterator[tuple[str, str]]:
    """Every command line in the pages that tell people what to type, with its place."""
    for name in TOLD:
        for place, fenced, line in numbered(ROOT / name):
            if fenced:
                text = PROMPT.sub("", line.strip(), count=1)
                if text.startswith("p2psync "):
                    yield place, text
            else:
                yield from ((place, each) for each in re.findall(r"`(p2psync [^`]+)`", line))


def parse(text: str) -> None:
    """Parse a command line as the program does, without running it; raises for what is wrong."""
    typed = shlex.split(text)[1:]
    words = hoist(list(itertools.takewhile(lambda word: word not in OPERATORS, typed)))
    command: Any = typer.main.get_command(app)
    context = None
    while True:
        context = command.make_context("p2psync", words, parent=context)
        if not hasattr(command, "commands"):
            return
        words = [*context._protected_args, *context.args]
        _name, command, words = command.resolve_command(context, words)


def test_every_relative_link_leads_somewhere() -> None:
    wrong = [
        f"{place}: {target}"
        for page in pages()
        for place, fenced, line in numbered(page)
        if not fenced
        for target in LINK.findall(line)
        if broken(target, page)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", TOLD)
def test_pages_tell_what_to_type(name: str) -> None:
    assert [place for place, _ in commands() if place.startswith(name)]


def test_every_command_that_people_are_told_parses() -> None:
    wrong = []
    for place, text in commands():
        try:
            parse(text)
        except typer.TyperException as error:
            wrong.append(f"{place}: {text}: {error}")
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    ["p2psync mandate foun X", "p2psync post X --out Y", "p2psync invite X", "p2psync share X"],
)
def test_a_command_that_is_wrong_is_found(text: str) -> None:
    with pytest.raises(typer.TyperException):
        parse(text)


def test_every_test_that_a_page_names_is_there() -> None:
    names = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    wrong = [
        f"{place}: {name}"
        for page in pages()
        for place, _, line in numbered(page)
        for name in re.findall(r"`(test_\w+)`", line)
        if name not in names
    ]
    assert wrong == []


def test_every_file_that_a_page_names_is_there() -> None:
    wrong = [
        f"{place}: {path}"
        for page in pages()
        for place, _, line in numbered(page)
        for path in re.findall(r"`((?:p2psync|tests|scripts|docs)/[\w./-]*)`", line)
        if not (ROOT / path).exists()
    ]
    assert wrong == []
