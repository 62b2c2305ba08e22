"""Each format between two nodes: byte for byte, a changed record, what both add while apart."""

from collections import Counter
from pathlib import Path

import pytest

from p2psync.core.records import Segment
from p2psync.formats.base import Format
from tests.formats.files import EXAMPLES
from tests.formats.test_samples import EXPECTED, PRESENT, edits_of, form_of
from tests.node.rig import Machine, founded, in_step, invited, linked, running

DEFINITION = (EXAMPLES / "kassenbuch.toml").read_text("utf-8")
PATHS = [path for path in PRESENT if EXPECTED[path.name][0] != "cresus-crp"]
"""The accounting settings are the mandate's accounting in each of these tests."""
each_file = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def keys(form: Format, data: bytes) -> Counter[bytes]:
    return Counter(record.key for each in form.parse(data).segments for record in each.records)


def merges(form: Format, data: bytes) -> bool:
    return form.parse(data).mergeable


def with_one_changed(form: Format, data: bytes) -> bytes:
    """The file with one record's text or amount changed; a letter more where it has no records."""
    segments = form.parse(data).segments
    before = keys(form, data)
    for index, segment in enumerate(segments):
        for edited in edits_of(segment) if segment.records else ():
            raws = [each.raw for each in segments]
            raws[index] = edited
            changed = b"".join(raws)
            if keys(form, changed) != before and merges(form, changed) == merges(form, data):
                return changed
    return data + b"\r\n"


def without(segments: tuple[Segment, ...], *left_out: int) -> bytes:
    return b"".join(each.raw for at, each in enumerate(segments) if at not in left_out)


async def attached(anna: Machine, ben: Machine, name: str, data: bytes) -> None:
    """Ben, the source, attaches a file to the mandate in which Anna has the accounting."""
    await founded(anna)
    ticket = await invited(anna)
    await ben.service.subscribe(ticket, None, None, None)
    await in_step(anna, ben)
    path = ben.file(name, data)
    chosen = DEFINITION if name == "kassenbuch_2025-01.txt" else None
    await ben.service.attach("Books", [path], "invoicing", None, None, format=chosen)
    await in_step(anna, ben)


@each_file
async def test_it_arrives_byte_for_byte_and_is_counted_also_when_a_record_changed(
    path: Path, tmp_path: Path
) -> None:
    """B-POS-2: a changed record is one to add; nothing was posted yet."""
    name, data = path.name, content_of(path)
    form = form_of(path, data)
    records = EXPECTED[name][1] if form.merge == "records" else 0
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await attached(anna, ben, name, data)
        assert anna.copy(name).read_bytes() == data
        assert await anna.pending() == await ben.pending() == (records, 0)
        assert (await anna.shown(name))["records"] == records
        changed = with_one_changed(form, data)
        ben.file(name, changed)
        await ben.look()
        await in_step(anna, ben)
        assert anna.copy(name).read_bytes() == changed
        assert await anna.pending() == await ben.pending() == (records, 0)
        if records:
            await anna.service.post("Books", [], None)
            assert await anna.pending() == (0, 0)
            ben.file(name, data)
            await ben.look()
            await in_step(anna, ben)
            back = keys(form, data) - keys(form, changed)
            assert await anna.pending() == (back.total(), back.total())


@each_file
async def test_what_both_add_while_apart_is_there_on_both(path: Path, tmp_path: Path) -> None:
    """A format that merges has both records; any other keeps both files."""
    name, data = path.name, content_of(path)
    form = form_of(path, data)
    segments = form.parse(data).segments
    holding = [at for at, each in enumerate(segments) if each.record_count]
    two = (holding[0], holding[-1]) if len(holding) > 1 else ()
    merged = bool(two) and merges(form, without(segments, *two))
    start = without(segments, *two) if merged else data
    sides = [without(segments, at) for at in two] if merged else [data + b" ", data + b"\r\n "]
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await attached(anna, ben, name, start)
        anna.copy(name).write_bytes(sides[0])
        ben.file(name, sides[1])
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
        shown = anna.copy(name).read_bytes()
        if all(merges(form, side) for side in sides):
            assert shown == (ben.desk / name).read_bytes()
            assert keys(form, shown) == keys(form, data)
            assert await anna.pending() == await ben.pending() == (EXPECTED[name][1], 0)
        else:
            there = [path.read_bytes() for path in anna.copy(name).parent.iterdir()]
            assert Counter(there) >= Counter(sides)
