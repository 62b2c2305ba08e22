"""Targets for exchange files: every reader of the registry, and two people's edits of one file."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from p2psync.core.crdt import SegmentSet
from p2psync.core.diff import diff
from p2psync.core.files import apply_lines
from p2psync.core.ops import Lines
from p2psync.core.records import Document, Problem, Segment
from p2psync.errors import P2PSyncError
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.checks import check
from p2psync.formats.choice import chosen
from p2psync.formats.cresus_line import read_line
from p2psync.formats.cresus_list import read_list
from p2psync.formats.cresus_settings import Settings, read_settings
from p2psync.formats.definition import read_toml
from p2psync.limits import FILE_PROBLEMS_MAX, LISTED_FILES_MAX, RECORD_TEXT_CHARS_MAX
from tests.fuzz.feed import Feed
from tests.fuzz.target import Target

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
_FILE = b"f" * 16
_DEFINITION = (EXAMPLES / "kassenbuch.toml").read_text("utf-8")
_WORDS = (
    'key = ["date"]\n',
    'quote = ""\n',
    '"',
    "identity = ",
    "[side]\n",
    "more_columns = true\n",
)
_VARIANTS = ("datev-postings:20240701", read_toml(_DEFINITION).format_name)
ALL = (*registry.all_formats(), *map(registry.by_name, _VARIANTS))


@cache
def examples() -> dict[str, bytes]:
    """The files that ship, by name."""
    paths = [path for path in sorted(EXAMPLES.iterdir()) if path.is_file() and path.suffix != ".md"]
    return {path.name: path.read_bytes() for path in paths}


def edited(feed: Feed, lines: list[bytes], most: int = 6) -> list[bytes]:
    """The lines with some left out, repeated, moved, or changed in a field."""
    lines = list(lines)
    for _ in range(feed.number(most)):
        place = feed.number(len(lines) + 1)
        line = lines[place] if place < len(lines) else b""
        match feed.number(7):
            case 0:
                lines[place : place + 1] = []
            case 1:
                lines.insert(feed.number(len(lines) + 1), line)
            case 2:
                lines.insert(place, feed.chunk() + b"\r\n")
            case 3:
                lines[place : place + 1] = [line.replace(b"\r\n", feed.chunk())]
            case _:
                fields = line.split(b"\t")
                fields[feed.number(len(fields))] = feed.chunk()
                lines[place : place + 1] = [b"\t".join(fields)]
    return lines


def file_of(feed: Feed) -> bytes:
    """Any bytes, or an example with some edits."""
    if not feed.number(4):
        return feed.rest()
    data = feed.pick(list(examples().values()))
    return b"".join(edited(feed, data.splitlines(keepends=True)))


def _said(problem: Problem | None, most: int = 1 << 60) -> None:
    if problem is not None:
        assert problem.code
        assert problem.text.isprintable()
        assert 0 <= problem.line <= most


def _check_document(kind: Format, data: bytes) -> Document:
    document = kind.parse(data)
    assert b"".join(segment.raw for segment in document.segments) == data
    assert all(segment.raw for segment in document.segments)
    assert document.format == kind.name
    assert kind.merge == "records" or not document.mergeable
    assert len(document.problems) <= FILE_PROBLEMS_MAX + 1
    for problem in document.problems:
        _said(problem, data.count(b"\n") + 1)
    assert document.period is None or document.period[0] <= document.period[1]
    assert document.embedded_id is None or document.embedded_id.isprintable()
    for segment in document.segments:
        _check_segment(segment)
        if document.mergeable:  # the core reads each segment again, by itself
            alone = kind.read_segment(segment.raw)
            assert (alone.raw, alone.key, alone.money_key, alone.records) == (
                segment.raw,
                segment.key,
                segment.money_key,
                segment.records,
            )
            assert (alone.problem is None) == (segment.problem is None)
    assert kind.parse(data) == document
    return document


def _check_segment(segment: Segment) -> None:
    assert len(segment.key) == len(segment.money_key) == 16
    _said(segment.problem)
    for record in segment.records:
        assert len(record.key) == len(record.money_key) == 16
        assert record.text.isprintable()
        assert len(record.text) <= RECORD_TEXT_CHARS_MAX
        assert record.amount is None or record.amount.is_finite()
        for name, value in record.fields.items():
            assert name
            assert value.isprintable()


def run_reader(data: bytes) -> None:
    """Every reader."""
    feed = Feed(data)
    name = feed.text() if feed.chance() else feed.pick(list(examples()))
    content = file_of(feed)
    found = registry.find(name, content[:65536])
    assert registry.by_name(found.name) is found
    assert registry.find_again(feed.pick(ALL).name, name, content[:65536]).name
    for kind in ALL:
        kind.recognise(name, content[:65536])
        document = _check_document(kind, content)
        assert kind.read_segment(content).raw == content
        for year in _years(content):
            for problem in check(document, [year]):
                _said(problem)
    assert len(read_list(content)) <= LISTED_FILES_MAX
    for listed in read_list(content):
        assert listed.name.isprintable()
        assert not {"/", "\\", ":"} & set(listed.name)
        assert listed.name not in (".", "..")


@cache
def _example_year() -> Settings:
    return read_settings(examples()["atelier_2025.crp"])


def _years(content: bytes) -> Iterable[Settings]:
    found = read_settings(content)
    for text in (found.title, *found.accounts, *found.accounts.values(), *found.vat_codes):
        assert text.isprintable()
    yield found
    yield _example_year()


def run_line(data: bytes) -> None:
    """One line."""
    feed = Feed(data)
    raw = b"\t".join(feed.chunk() for _ in range(21)) if feed.chance() else feed.rest()
    line = read_line(raw, 7)
    assert line.segment.raw == raw
    _check_segment(line.segment)
    assert line.delta.is_finite()
    assert read_line(raw, 9).segment.key == line.segment.key
    for kind in ALL:
        _check_segment(kind.read_segment(raw))


def run_definition(data: bytes) -> None:
    """A definition of a delimited text, and the name that a peer sends for one."""
    feed = Feed(data)
    text = feed.pick((_DEFINITION, _DEFINITION, ""))
    place = feed.number(len(text) + 1)
    words = (feed.text(), feed.pick(_WORDS), text[place : place + feed.number(30)])
    text = text[:place] + feed.pick(words) + text[place + feed.number(30) :]
    with suppress(P2PSyncError):
        form = chosen(text)
        assert registry.by_name(form.name) is form
        _check_document(form, file_of(feed))
    name = f"delimited:{text}"
    assert registry.by_name(name).name in (name, "opaque")


def _definition_seeds() -> Iterable[bytes]:
    return (bytes([kind, 0, place]) + b"x" * 8 for kind in range(3) for place in range(0, 250, 50))


# -- two people's edits -------------------------------------------------------------------------


def _kind() -> Format:
    return registry.by_name("cresus-ecf")


class _Author:
    """Somebody who saves a file by the product's own difference, and learns what others saved."""

    def __init__(self, log: bytes) -> None:
        self.log = log
        self.state = SegmentSet(registry.read_segment, "cresus-ecf")
        self.known: list[tuple[bytes, int, Lines]] = []
        self.stamp = 0

    def save(self, segments: Sequence[Segment]) -> None:
        for operation in diff(_FILE, list(self.state.shown()), segments, self.log):
            self.stamp += 1
            entry = self.log[:24] + self.stamp.to_bytes(8, "big")
            self.known.append((entry, self.stamp, operation))
            apply_lines(self.state, self.known[-1:])

    def learn(self, other: "_Author") -> None:
        fresh = [change for change in other.known if change not in self.known]
        apply_lines(self.state, fresh)
        self.known += fresh
        self.stamp = max([self.stamp, *(stamp for _, stamp, _ in fresh)])


def run_merge(data: bytes) -> None:
    """Saves and merges."""
    feed = Feed(data)
    parse: Callable[[bytes], Document] = _kind().parse
    first = parse(file_of(feed))
    anna, ben = _Author(b"a" * 32), _Author(b"b" * 32)
    anna.save(first.segments)
    assert anna.state.emit() == b"".join(each.raw for each in first.segments)
    ben.learn(anna)
    for _ in range(1 + feed.number(3)):
        for author in (anna, ben):
            lines = author.state.emit().splitlines(keepends=True)
            wanted = parse(b"".join(edited(feed, lines)))
            author.save(wanted.segments)
            assert author.state.emit() == b"".join(each.raw for each in wanted.segments)
        before_anna, before_ben = anna.state.emit(), ben.state.emit()
        ben.learn(anna)
        anna.learn(ben)
        assert anna.state.emit() == ben.state.emit(), "the two see different files"
        if before_anna == before_ben and not feed.left:
            return
        fresh = SegmentSet(registry.read_segment, "cresus-ecf")
        apply_lines(fresh, sorted(anna.known, key=lambda change: (change[1], change[0])))
        assert fresh.emit() == anna.state.emit(), "another order gives another file"
        assert fresh.record_count() == anna.state.record_count()


def _seeds() -> Iterable[bytes]:
    for index, content in enumerate(examples().values()):
        yield bytes([0, index, 0]) + content
        yield bytes([0, index, 1, index])
        yield bytes([0, index, 1, index, 3, 2, 4, 5, 3, *b"abc", 1, 0, 2, 1, 5])


def _line_seeds() -> Iterable[bytes]:
    for content in examples().values():
        for line in content.splitlines(keepends=True)[:12]:
            yield b"\0" + line
    for amount in (b"1'000.00", b"-12.5", b"1,000.00", b"1e9", b"12.345.6", b"\x85"):
        fields = [b"01.02.2025", b"1000", b"3000", b"1", b"text", amount]
        yield b"\1" + b"".join(bytes([len(each)]) + each for each in fields)


def _merge_seeds() -> Iterable[bytes]:
    for index in range(len(examples())):
        yield bytes([1, index])
        yield bytes([1, index, 0, 2, 2, 1, 0, 3, 2, 6, 4, 1, *b"9", 1, 3, 0])
        yield bytes([1, index, 0, 1, 1, 3, 2, 0, 1, 3, 0, 1, 2, 1, 4, 0])


TARGETS = (
    Target(
        "reader",
        "every reader takes any bytes and gives them back, says printable things, and is stable",
        run_reader,
        _seeds,
        bytes_max=2048,
        short_runs=70,
    ),
    Target(
        "line",
        "any line is a segment of its own bytes, with a key that its number does not change",
        run_line,
        _line_seeds,
        bytes_max=1024,
        short_runs=500,
    ),
    Target(
        "definition",
        "any definition is refused, or reads files as every format does, under its one name",
        run_definition,
        _definition_seeds,
        bytes_max=1024,
        short_runs=130,
    ),
    Target(
        "merge",
        "a save gives the bytes that were saved; two who know the same see the same file",
        run_merge,
        _merge_seeds,
        bytes_max=1024,
        short_runs=50,
    ),
)
