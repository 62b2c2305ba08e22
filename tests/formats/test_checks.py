"""Where a problem of a record is: the line that it stands in, or its entry begins in (B-POS-8)."""

import datetime

import pytest

from p2psync.formats import registry
from p2psync.formats.checks import check
from p2psync.formats.cresus_settings import Settings
from p2psync.formats.inspection.records import numbered
from tests.formats.files import EXAMPLES

_YEAR = Settings("", (datetime.date(1999, 1, 1), datetime.date(1999, 12, 31)))


def _lines(name: str, data: bytes) -> list[int]:
    """Lines of problems that every record of a file has."""
    document = registry.find(name, data).parse(data)
    problems = check(document, [_YEAR])
    line = 1
    shown: list[int] = []
    for segment in document.segments:
        shown += [at for at, record in numbered(segment, line) if record.date is not None]
        line += segment.raw.count(b"\n")
    found = [problem.line for problem in problems if problem.code == "no-period"]
    assert found == shown
    return found


def _starts(data: bytes, start: bytes) -> list[int]:
    return [at for at, line in enumerate(data.split(b"\n"), 1) if line.strip().startswith(start)]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("norrvik_2025.se", b"#VER"),
        ("rivage_2025-03_camt053.xml", b"<Ntry>"),
        ("rivage_2025-03.ofx", b"<STMTTRN>"),
    ],
)
def test_a_problem_is_in_the_line_where_its_entry_begins(name: str, start: bytes) -> None:
    data = (EXAMPLES / name).read_bytes()
    assert sorted(set(_lines(name, data))) == _starts(data, start)


def test_no_problem_is_in_a_line_that_the_file_has_not() -> None:
    name = "rivage_2025-03_camt053.xml"
    data = b"".join((EXAMPLES / name).read_bytes().splitlines())
    assert set(_lines(name, data)) == {1}


def test_records_that_are_one_a_line_have_their_own() -> None:
    data = (EXAMPLES / "librairie_FEC_20251231.txt").read_bytes()
    assert _lines("librairie_FEC_20251231.txt", data) == list(range(2, 18))
