"""A target for what people are shown of two files: every format, block by block and at once."""

from collections import Counter
from collections.abc import Iterable

from p2psync.core.records import Document, Segment
from p2psync.formats.base import Format
from p2psync.formats.inspection.compare import Comparison, Segments, compare
from p2psync.formats.inspection.plain import compare_lines
from p2psync.formats.inspection.survey import recognise, survey
from p2psync.formats.inspection.text import shown_lines
from tests.fuzz.feed import Feed
from tests.fuzz.format_targets import ALL, edited, examples, file_of
from tests.fuzz.target import Target


def _blocks(feed: Feed, data: bytes) -> list[bytes]:
    size = 1 + feed.number(200)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _streamed(form: Format, blocks: list[bytes]) -> tuple[list[Segment], Document | None]:
    segments = form.stream(blocks)
    out: list[Segment] = []
    while True:
        try:
            out.append(next(segments))
        except StopIteration as end:
            return out, end.value


def _reading(document: Document) -> Segments:
    return lambda: document.segments


def _keys(segments: Iterable[Segment]) -> Counter[bytes]:
    return Counter(record.key for segment in segments for record in segment.records)


def _check_stream(feed: Feed, form: Format, data: bytes, document: Document) -> None:
    streamed, said = _streamed(form, _blocks(feed, data))
    if document.mergeable:
        assert streamed == list(document.segments)
    if said is not None:
        assert (said.mergeable, said.segments) == (document.mergeable, ())


def _check_comparison(old: Document, new: Document, found: Comparison) -> None:
    reached = _keys(old.segments)
    reached.subtract(change.old[1].key for change in found.changes if change.old)
    reached.update(change.new[1].key for change in found.changes if change.new)
    assert all(count >= 0 for count in reached.values())
    assert +reached == _keys(new.segments)
    assert len(found.changes) == found.added + found.deleted + found.changed
    assert found.unchanged + found.renumbered <= min(len(old.segments), len(new.segments))


def run_inspect(data: bytes) -> None:
    """Surveys a file, and compares it with an edited one."""
    feed = Feed(data)
    old = file_of(feed)
    new = b"".join(edited(feed, old.splitlines(keepends=True)))
    name = feed.pick(list(examples()))
    seen = survey(recognise(name, old), len(old), lambda: [old], 5)
    assert seen.text.size_bytes == len(old)
    assert len(seen.sample) <= 5
    for form in ALL:
        one, other = form.parse(old), form.parse(new)
        _check_stream(feed, form, old, one)
        found = compare(_reading(one), _reading(other))
        _check_comparison(one, other, found)
        for hunk in found.hunks:
            for placed in (*hunk.old, *hunk.new):
                lines = shown_lines(form.name, placed.segment.raw)
                assert all(line.isprintable() for line in lines)
        lines_found = compare_lines(form.name, old, new)
        assert lines_found is None or all(line.isprintable() for line in lines_found.diff)


def _seeds() -> Iterable[bytes]:
    for index in range(len(examples())):
        yield bytes([1, index, 0, 2, 2, 1, 0, 3, 2, 6, 4, 1, *b"9", 1, 3, 0])
        yield bytes([1, index, 0, 1, 1, 3, 2, 0, 1, 3, 0, 1, 2, 1, 4, 0])


TARGETS = (
    Target(
        "inspect",
        "a file reads the same in blocks; what two files differ by leads from one to the other",
        run_inspect,
        _seeds,
        bytes_max=1024,
        short_runs=30,
    ),
)
