"""Walks through the ``console`` blocks of a page: types what it tells to type, at one terminal for
each person, and compares what is said with what the page shows.

A line ``clerk$ command`` is typed by the clerk; lines that begin with ``> `` continue it; what
follows is what the page shows of the answer. Each line shown must be among those said, in any
order; more may be said. ``…`` stands for anything, blanks may be more or fewer. Ids, times, ports
and passphrases differ each time: what a page shows of them stands for what was really said, also in
later commands. A page shows ``error:`` for a command that is refused; every other command must
succeed. A question of the terminal is shown with what is typed after it.

What only looks (``pending``, ``receipts``, ...) is asked again until it says what the page shows: a
person, too, looks a moment later.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs_stories.terminal import Terminal

ARRIVAL_SECONDS_MAX = 60.0
LOOKS = re.compile(
    # What changes nothing, so that it can be asked again.
    r"p2psync (--\w+ )*(pending|receipts|alerts|messages|status|history|wait|mandate (show|list)|"
    r"member list|seat show|hook (list|test)|program list|invite list|identity show)\b"
    r"|(ls|cat|head|tail|wc|cmp|diff|grep|python3 examples/programs/pending\.py)\b"
)
PROMPT = re.compile(r"(\w+)\$ (.*)")
FENCE = re.compile(r"```(\w*)$")

HEX = r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}"
WORDS = r"(?:[a-z]{4} ){5}[a-z]{4}"
DIFFERS = re.compile(
    rf"(?P<anything>…)|(?P<time>\d{{4}}-\d\d-\d\d \d\d:\d\d)|(?P<words>\b{WORDS}\b)"
    rf"|(?P<id>\b{HEX}\b)|(?P<port>(?<=127\.0\.0\.1:)\d+)|(?P<machine>\b(?:desk|workshop)\b)"
    r"|(?P<number>^\d+(?= \d{4}-\d\d-\d\d))"
)
REALLY = {
    "anything": r".*",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d",
    "words": rf"({WORDS})",
    "id": r"([0-9a-f]{8,64})",
    "port": r"\d+",
    "machine": r"[\w.-]+",
    "number": r"(\d+)",
}


class PageIsWrong(AssertionError):
    """What the page tells is not what happens."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page, and what the page shows of its answer."""

    place: str
    person: str
    command: str
    shown: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether the page says that the command is refused."""
        return any(line.startswith(("error:", "erreur")) for line in self.shown)


@dataclass(frozen=True, slots=True)
class Page:
    """The steps of a page, and where it has blocks that nobody walks through."""

    steps: tuple[Step, ...]
    others: tuple[str, ...]


def read_page(path: Path) -> Page:
    """Read the steps of a page; raises ``PageIsWrong`` for a block that begins without a prompt."""
    steps: list[Step] = []
    others: list[str] = []
    for place, language, lines in _blocks(path):
        if language != "console":
            others.append(place)
            continue
        steps += _steps(path.name, int(place.rpartition(":")[2]), lines)
    return Page(tuple(steps), tuple(others))


def _blocks(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    language: str | None = None
    began, lines = 0, list[str]()
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif language is None:
            language, began, lines = fence[1], number, []
        else:
            yield f"{path.name}:{began}", language, lines
            language = None


def _steps(name: str, began: int, lines: list[str]) -> Iterator[Step]:
    place, person, command, shown = "", "", "", list[str]()
    for number, line in enumerate(lines, began + 1):
        prompt = PROMPT.match(line)
        if prompt is not None:
            if person:
                yield Step(place, person, command, tuple(shown))
            place, person, command, shown = f"{name}:{number}", prompt[1], prompt[2], []
        elif not person:
            raise PageIsWrong(f"{name}:{number}: a block begins with a prompt: {line}")
        elif line.startswith("> ") and not shown:
            command += "\n" + line[2:]
        elif line.strip():
            shown.append(" ".join(line.split()))
    yield Step(place, person, command, tuple(shown))


@dataclass
class Walk:
    """Walks through steps; remembers what stands for what."""

    terminals: dict[str, Terminal]
    told: dict[str, str] = field(default_factory=dict)
    """What really was said, by what the page shows instead."""
    transcript: list[str] = field(default_factory=list)

    def run(self, steps: tuple[Step, ...]) -> None:
        """Take every step; raises ``PageIsWrong`` at the first that is not as the page tells."""
        for step in steps:
            self.take(step)

    def take(self, step: Step) -> None:
        """Take one step, again and again for a while if it only looks."""
        command = self._filled(step.command)
        questions = [self._filled(line) for line in step.shown]
        deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
        while True:
            code, said = self.terminals[step.person].run(command, questions)
            wrong = self._compare(step, code, said)
            if not wrong or not LOOKS.match(command) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.transcript += [f"{step.person}$ {command}", *said]
        if wrong:
            raise PageIsWrong("\n".join([f"{step.place}: {wrong}", f"$ {command}", *said]))

    def _filled(self, text: str) -> str:
        """What the page shows with what was really said in its place."""

        def really(found: re.Match[str]) -> str:
            for shown, said in self.told.items():
                if shown.startswith(found[0]):
                    return said if shown == found[0] else said[: len(found[0])]
            return found[0]

        text = re.sub(r"(?<=--close )\d+", lambda found: self.told.get(found[0], found[0]), text)
        return re.sub(rf"\b{WORDS}\b|\b(?=[0-9a-f]*[0-9])[0-9a-f]{{4,64}}\b", really, text)

    def _compare(self, step: Step, code: int, said: list[str]) -> str:
        """Tell what is wrong with an answer; empty when nothing is."""
        if step.refused != (code != 0):
            return f"exit code {code}"
        rest = [" ".join(line.split()) for line in said]
        heard: dict[str, str] = {}
        for line in step.shown:
            found = next((each for each in rest if self._same(line, each, heard)), None)
            if found is None:
                return f"it does not say: {line}"
            rest.remove(found)
        self.told.update(heard)
        return ""

    def _same(self, shown: str, said: str, heard: dict[str, str]) -> bool:
        if said.endswith(":") and shown.startswith(said):
            return True  # a question; what was typed is not shown
        pattern, at, kept = "", 0, list[str]()
        for found in DIFFERS.finditer(shown):
            kind = found.lastgroup or ""
            known = self.told.get(found[0], heard.get(found[0]))
            pattern += re.escape(shown[at : found.start()])
            if kind == "id" and known is not None:
                pattern += f"({known[:8]}[0-9a-f]*)"
            else:
                pattern += REALLY[kind]
            if kind in ("id", "words", "number"):
                kept.append(found[0])
            at = found.end()
        match = re.fullmatch(pattern + re.escape(shown[at:]), said)
        if match is None:
            return False
        for name, value in zip(kept, match.groups(), strict=True):
            longer = self.told.get(name, "")
            heard[name] = longer if longer.startswith(value) else value
        return True
