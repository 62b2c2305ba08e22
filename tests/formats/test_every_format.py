"""What every format keeps to, whatever the bytes."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.records import SegmentReader
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.opaque import OPAQUE
from tests.formats.files import EVERY_FILE, EXAMPLES, POSTINGS, emit, without_line

FORMATS = registry.all_formats()
WHOLE_FILES = [path.read_bytes() for path in sorted(EXAMPLES.iterdir()) if path.is_file()]

_PIECES = st.one_of(
    st.sampled_from(
        [
            b"\t",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"...",
            b"#ECC",
            b"\xff\xfe",
            b"\x85",
            b'"',
            b"|",
            b";",
            b"'",
            b",",
        ]
    ),
    st.binary(max_size=8),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draws an example in which some places were cut, doubled or overwritten."""
    data = draw(st.sampled_from(WHOLE_FILES))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 200)))
        piece = draw(st.one_of(_PIECES, st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


_LINES = st.lists(st.lists(_PIECES, max_size=24).map(b"\t".join), max_size=12).map(b"\r\n".join)


def _holds(form: Format, data: bytes) -> None:
    document = form.parse(data)
    assert emit(document) == data
    assert document.format == form.name
    assert document.mergeable <= (form.merge == "records")
    for segment in document.segments:
        assert segment.raw
        assert len(segment.key) == len(segment.money_key) == 16
        assert without_line(form.read_segment(segment.raw)) == without_line(segment)
    for problem in document.problems:
        assert problem.text
        assert 0 <= problem.line <= data.count(b"\n") + 1


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.one_of(st.binary(max_size=400), _LINES, mutated()))
def test_any_bytes_round_trip_and_segments_read_alone(form: Format, data: bytes) -> None:
    _holds(form, data)
    form.read_segment(data)
    assert form.recognise("x", data) in (True, False)


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_each_file_at_hand_round_trips_in_every_format(path: Path) -> None:
    data = path.read_bytes()
    for form in FORMATS:
        _holds(form, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\r",
        b"\r\n" * 3,
        b"\0" * 100,
        b"\t" * 200 + b"\r\n",
        b"x" * 70_000,
        b"01.01.2025\t1\t2\t3\t" + b"x" * 70_000 + b"\t1.00\r\n",
        b"#" + b"x" * 70_000 + b"\r\n",
        b"\xff\xfe#\0F\0S\0C\0\r\0\n\0",
        b"\xef\xbb\xbf#FSC\t9.5.0\tECF\r\n",
        b"\n".join(POSTINGS["atelier_2025_v1.ecf"].split(b"\r\n")),
        b"\r".join(POSTINGS["atelier_2025_v1.ecf"].split(b"\r\n")),
        b"\t".join([b"1"] * 200) + b"\r\n",
        POSTINGS["atelier_2025_v1.ecf"] * 50,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_odd_files_round_trip_in_every_format(data: bytes) -> None:
    for form in FORMATS:
        _holds(form, data)


def test_formats_are_asked_in_the_order_of_their_modules_and_opaque_last() -> None:
    names = [form.name for form in FORMATS]
    cresus = ["cresus-ecc", "cresus-ecf", "cresus-ecs", "cresus-crp"]
    assert [name for name in names if name in cresus] == cresus
    assert names[-1] == "opaque"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.ecf", b"", "cresus-ecf"),
        ("A.ECF", b"anything", "cresus-ecf"),
        ("a.ecs", b"#FSC\t9.5.0\tNEW\r\n", "cresus-ecs"),
        ("a.bak", b"#FSC\t9.5.0\tECF\r\n", "cresus-ecf"),
        ("a.ecf", b"#FSC\t9.5.0\tECS\r\n", "cresus-ecs"),
        ("a.ecf", b"#FSC\t9.3\tECC\n", "cresus-ecc"),
        ("a.ecc", b"", "cresus-ecc"),
        ("a.crp", b"", "cresus-crp"),
        ("a", b"MAJREV=8\r\n", "cresus-crp"),
        ("a.cre", b"\0\1", "opaque"),
        ("ecf", b"", "opaque"),
        ("", b"", "opaque"),
    ],
)
def test_a_file_is_recognised_by_its_first_line_then_by_its_suffix(
    name: str, head: bytes, expected: str
) -> None:
    assert registry.find(name, head).name == expected


def test_content_tells_more_than_any_name() -> None:
    """Also in a format that is asked later than the one whose suffix the file has."""
    found = {data[:65536]: registry.find("", data[:65536]) for data in WHOLE_FILES}
    told = {head: form for head, form in found.items() if form is not OPAQUE}
    assert len({form.name for form in told.values()}) >= 12
    for (head, expected), form in product(told.items(), FORMATS):
        for suffix in form.suffixes:
            assert registry.find(f"x{suffix}", head) is expected


def test_an_unknown_format_name_reads_as_opaque() -> None:
    assert registry.by_name("from-the-future") is OPAQUE
    assert registry.by_name("opaque") is OPAQUE
    reader: SegmentReader = registry.read_segment
    assert reader("from-the-future", b"x") == OPAQUE.read_segment(b"x")
    assert reader("cresus-ecf", b"#END\r\n").records == ()
