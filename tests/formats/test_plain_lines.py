"""Lines that are recognised at a glance are what reading them field by field says."""

from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2psync.formats.cresus_line import (
    FIELD_COUNT,
    PlainLine,
    _read_fields,
    plain_line,
    read_line,
)
from p2psync.formats.registry import by_name, read_segment
from tests.formats.files import posting

_dates = st.sampled_from(
    b"03.02.2025|31.12.1999|30.02.2025|29.02.2024|29.02.2025|31.04.2025|3.2.2025|03/02/2025|"
    b"00.01.2025|01.13.2025|01.01.2125| 01.01.2025|".split(b"|")
)
_accounts = st.sampled_from(
    [b"1100", b"", b"...", b" ... ", b"\x85", b"\x85 ", b"....", b"\r", b"#", b"\x0b...\x0c"]
)
_amounts = st.sampled_from(
    [b"1850.00", b"-1", b"1'000.00", b"12,50", b"", b"x", b"1.", b"1.123456789", b"9" * 19, b"+1"]
)
_groups = st.sampled_from([b"", b"0", b"1", b"00", b" 0"])
_any = st.sampled_from([b"", b"x", b"0", b"\xe9", b"\0", b"\r", b" "]) | st.binary(max_size=3).map(
    lambda data: data.replace(b"\t", b"").replace(b"\n", b"")
)
_ends = st.sampled_from([b"\r\n", b"\n", b"", b"\r", b"\n\n", b"\r\n\r\n"])


@st.composite
def _lines(draw: st.DrawFn) -> bytes:
    fields = [draw(_dates), draw(_accounts), draw(_accounts), draw(_any), draw(_any)]
    fields += [draw(_amounts), draw(_any), draw(_any), draw(_groups)]
    count = draw(st.sampled_from([FIELD_COUNT, FIELD_COUNT, FIELD_COUNT, 20, 22, 9]))
    fields += [draw(_any) for _ in range(count - len(fields))]
    return b"\t".join(fields[:count]) + draw(_ends)


@settings(max_examples=500)
@given(_lines() | st.binary(max_size=60))
@example(posting())
@example(posting(text="\u00e9"))
def test_a_plain_line_is_what_its_fields_say(raw: bytes) -> None:
    plain = plain_line(raw)
    if plain is None:
        return
    assert type(plain) is PlainLine
    assert raw.count(b"\n") == raw.endswith(b"\n")
    segment, group, delta, idno = _read_fields(raw, 1)
    assert (group, delta) == (None, Decimal(0))
    assert read_line(raw, 1).id == idno
    assert plain.record_count == len(segment.records) == 1
    assert plain.dates == segment.dates
    assert [(day, dict(fields)) for day, fields in plain.rows] == [
        (record.date, dict(record.fields)) for record in segment.records
    ]
    assert plain.problem is segment.problem is None
    assert (plain.raw, plain.key, plain.money_key) == (segment.raw, segment.key, segment.money_key)
    assert [
        (record.key, record.money_key, record.text, record.date, record.amount, dict(record.fields))
        for record in plain.records
    ] == [
        (record.key, record.money_key, record.text, record.date, record.amount, dict(record.fields))
        for record in segment.records
    ]


def test_the_usual_line_is_plain_wherever_it_is_read() -> None:
    raw = posting()
    assert plain_line(raw) is not None
    assert type(read_segment("cresus-ecf", raw)) is PlainLine
    head = b"#FSC\t9.5.0\tECF\r\n"
    assert type(by_name("cresus-ecf").parse(head + raw).segments[1]) is PlainLine
