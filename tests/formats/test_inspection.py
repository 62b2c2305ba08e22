"""What p2psync sees in a file, and how two files differ, as an accountant reads it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import limits
from p2psync.core.records import Record, Segment
from p2psync.formats import registry
from p2psync.formats.cresus_settings import without_private
from p2psync.formats.inspection import compare as comparing
from p2psync.formats.inspection.compare import Comparison, compare
from p2psync.formats.inspection.plain import compare_lines
from p2psync.formats.inspection.records import numbered
from p2psync.formats.inspection.survey import Survey, listed, recognise, segments_of, survey
from p2psync.formats.inspection.text import TextLook, shown_lines
from tests.formats.files import CRP, EVERY_FILE, HEADER, POSTINGS, V1, V2, posting

ECF = registry.by_name("cresus-ecf")


def surveyed(name: str, data: bytes, most: int = 5) -> Survey:
    return survey(recognise(name, data), len(data), lambda: [data], most)


def compared(old: bytes, new: bytes) -> Comparison:
    sides = (old, new), (lambda: [old], lambda: [new])
    return compare(
        *[segments_of(ECF, len(data), blocks) for data, blocks in zip(*sides, strict=True)]
    )


# -- one file --------------------------------------------------------------------------------------


def test_a_file_is_surveyed() -> None:
    found = surveyed("a.ecf", V1)
    assert (found.recognised.form.name, found.recognised.evidence) == (
        "cresus-ecf",
        ("content", "name"),
    )
    counts = found.counts
    assert (counts.records, counts.groups, counts.bare, counts.segments) == (7, 1, 2, 7)
    assert (str(counts.first), str(counts.last)) == ("2025-03-05", "2025-03-21")
    assert counts.totals()[""].debit == counts.totals()[""].credit == Decimal("7405.81")
    assert list(counts.by_month()) == ["2025-03"]
    assert (found.text.encoding, found.text.line_ends) == ("windows-1252", {"CRLF": 9})
    assert found.why_whole is None
    assert found.document.embedded_id == "4711"
    assert [line for line, _ in found.sample] == [3, 4, 5, 6, 7]


def test_the_name_may_say_something_else_than_the_content() -> None:
    found = surveyed("a.crp", V1)
    assert found.recognised.evidence == ("content",)
    assert found.recognised.by_name == "cresus-crp"
    assert surveyed("x.bin", b"\0\1").recognised.evidence == ()


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.ecf", V1 + b"odd\r\n", "problems"),
        ("a.crp", CRP, "format"),
        ("a.bin", b"\0" * 10, "format"),
        ("a.ecf", b"", "problems"),
    ],
)
def test_why_a_file_is_kept_whole(name: str, data: bytes, why: str) -> None:
    assert surveyed(name, data).why_whole == why


def test_problems_are_counted_also_where_they_are_not_listed() -> None:
    most = limits.FILE_PROBLEMS_MAX
    found = surveyed("a.ecf", HEADER + posting(date="x") * (most + 5))
    # Each date; the idnos; and each but the first has the voucher of an earlier one.
    assert found.problem_count == (most + 5) + 1 + (most + 4)
    assert len(list(listed(found.problems, 3))) == 3
    assert len(list(listed(found.problems, 10**6))) == 2 * most


def test_a_large_file_is_read_block_by_block_and_seen_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = surveyed("a.ecf", V2 + b"\0\n")
    monkeypatch.setattr("p2psync.formats.inspection.survey.INSPECTED_AT_ONCE_BYTES_MAX", 0)
    streamed = surveyed("a.ecf", V2 + b"\0\n")
    assert streamed == at_once


def test_currencies_beyond_the_limit_are_summed_up_together() -> None:
    counts = surveyed("a.bin", b"").counts
    for number in range(limits.SUMMED_CURRENCIES_MAX + 9):
        fields = {"currency": f"X{number}"}
        record = Record(b"k" * 16, b"m" * 16, "", None, Decimal(1), fields)
        counts.take(Segment(b"x", b"k" * 16, b"m" * 16, (record,)))
    totals = counts.totals()
    assert len(totals) == limits.SUMMED_CURRENCIES_MAX + 1
    assert totals["…"].plus == 9


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_each_file_at_hand_can_be_surveyed(path: object) -> None:
    data = path.read_bytes()  # type: ignore[attr-defined]  # a Path
    found = surveyed(path.name, data)  # type: ignore[attr-defined]
    document = found.recognised.form.parse(data)
    assert found.counts.records == sum(len(each.records) for each in document.segments)
    assert found.text.size_bytes == len(data)


# -- text ------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"a", "é".encode(), b"\xe9", b"\xff\xfe"])),
    st.lists(st.integers(0, 30), max_size=6),
)
def test_text_is_the_same_wherever_the_blocks_end(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    blocks = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    one, several = TextLook(), TextLook()
    assert b"".join(several.through(blocks)) == data
    assert list(one.through([data])) == [data]
    facts = one.facts("opaque")
    assert several.facts("opaque") == facts
    if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        assert (facts.encoding == "binary") == (b"\0" in data)
    if facts.encoding in ("utf-8", "utf-8-bom", "ascii"):
        data.decode("utf-8")
    assert facts.line_ends.get("CRLF", 0) + facts.line_ends.get("CRCRLF", 0) == data.count(b"\r\n")


@given(st.binary(max_size=300))
def test_no_shown_line_drives_a_terminal(data: bytes) -> None:
    for form in registry.all_formats():
        for line in shown_lines(form.name, data):
            assert line.isprintable() or line == ""


def test_a_long_line_is_cut_and_says_so() -> None:
    (line,) = shown_lines("opaque", b"x" * 5000)
    assert line == "x" * limits.RECORD_TEXT_CHARS_MAX + "…"


# -- two files -------------------------------------------------------------------------------------


def test_what_came_went_and_changed() -> None:
    found = compared(V1, V2)
    assert (found.added, found.deleted, found.changed) == (2, 1, 1)
    (changed,) = [each for each in found.changes if each.kind == "changed"]
    assert changed.differences() == [("amount", "615.75", "580.75")]
    assert found.sums[""]["added"].amount == Decimal("5380.40")
    assert found.renumbered == 1  # the time in the #ECC line


def test_a_renumbered_file_holds_the_same_records() -> None:
    found = compared(V2, POSTINGS["atelier_2025_v2_renumbered.ecf"])
    assert found.same_records
    assert (found.renumbered, found.moved, found.hunks) == (7, 0, [])


def test_the_kth_of_identical_records_is_matched_with_the_kth() -> None:
    line = posting()
    found = compared(HEADER + line * 3, HEADER + line * 5)
    assert (found.added, found.deleted, found.unchanged) == (2, 0, 5)
    assert [change.new and change.new[0] for change in found.changes] == [6, 7]


def test_lines_in_another_order_are_moved() -> None:
    lines = [posting(text=name) for name in "abcde"]
    moved = [lines[4], *lines[:4]]
    found = compared(HEADER + b"".join(lines), HEADER + b"".join(moved))
    assert (found.same_records, found.moved, found.unchanged) == (True, 1, 7)


def test_records_that_are_only_grouped_in_another_way_are_the_same() -> None:
    half = posting(debit="...", amount="5.00", group="4")
    total = posting(credit="...", amount="5.00", group="4")
    found = compared(HEADER + half + total, HEADER + total + posting(text="z") + half)
    assert (found.added, found.deleted, found.changed) == (1, 0, 0)


def _segment(identity: bytes | None, amount: int, raw: bytes) -> Segment:
    key = bytes([amount]) * 16
    record = Record(key, key, "", None, Decimal(amount), {"amount": str(amount), "id": "9"})
    return Segment(raw, key, key, (record,), None, identity)


def test_one_identity_is_one_element_whatever_changed() -> None:
    old = [_segment(b"a" * 16, 1, b"1\n"), _segment(b"b" * 16, 2, b"2\n")]
    new = [_segment(b"b" * 16, 7, b"7\n"), _segment(b"a" * 16, 1, b"1 \n")]
    found = compare(lambda: old, lambda: new)
    assert (found.added, found.deleted, found.changed, found.renumbered) == (0, 0, 1, 1)
    (change,) = found.changes
    assert change.differences() == [("amount", "2", "7")]
    (hunk,) = found.hunks
    assert ([each.line for each in hunk.old], [each.line for each in hunk.new]) == ([2], [1])


def test_too_much_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "INSPECTED_CHANGES_MAX", 2)
    found = compared(V1, V2)
    assert (found.added, found.deleted, found.changed, found.paired) == (3, 2, 0, False)
    assert found.changes == []
    monkeypatch.setattr(comparing, "INSPECTED_SEGMENTS_MAX", 2)
    with pytest.raises(comparing.TooManySegments):
        compared(V1, V2)


_LINES = st.lists(
    st.builds(
        posting,
        amount=st.sampled_from(["1.00", "2.00"]),
        text=st.sampled_from(["a", "b"]),
        voucher=st.sampled_from(["R-1", "R-2"]),
        group=st.sampled_from(["", "7"]),
        debit=st.sampled_from(["1100", "..."]),
        credit=st.sampled_from(["3400", "..."]),
        idno=st.sampled_from(["1", "2"]),
    ),
    max_size=12,
)


def _keys(data: bytes) -> Counter[bytes]:
    return Counter(record.key for each in ECF.parse(data).segments for record in each.records)


@given(_LINES, _LINES)
def test_the_changes_lead_from_the_old_records_to_the_new(
    old: Sequence[bytes], new: Sequence[bytes]
) -> None:
    before, after = HEADER + b"".join(old), HEADER + b"".join(new)
    found = compared(before, after)
    reached = _keys(before)
    reached.subtract(change.old[1].key for change in found.changes if change.old)
    assert all(count >= 0 for count in reached.values())
    reached.update(change.new[1].key for change in found.changes if change.new)
    assert +reached == _keys(after)
    assert len(found.changes) == found.added + found.deleted + found.changed
    assert found.same_records == (_keys(before) == _keys(after))
    back = compared(after, before)
    assert (back.added, back.deleted, back.changed) == (found.deleted, found.added, found.changed)


@given(_LINES)
def test_a_file_is_the_same_as_itself(lines: Sequence[bytes]) -> None:
    data = HEADER + b"".join(lines)
    found = compared(data, data)
    assert found.same_records
    assert (found.renumbered, found.moved, found.bare, found.hunks) == (0, 0, (0, 0), [])


# -- files that are kept whole ---------------------------------------------------------------------


def test_private_sections_are_never_shown() -> None:
    assert b"PATHS" in CRP
    found = compare_lines("cresus-crp", CRP, CRP.replace(b"Rivage", b"Rivage X"))
    assert found is not None
    shown = "\n".join(found.diff)
    assert "TITLE" in shown
    assert "PATHS" not in shown
    assert "D:" not in shown


@pytest.mark.parametrize("begin", [b"BEGIN=PATHS", b"begin = paths ", b" BEGIN=Paths\r"])
@pytest.mark.parametrize("end", [b"END=PATHS\n", b"", b"end=paths\r\n"])
def test_a_private_section_is_left_out_however_it_is_written(begin: bytes, end: bytes) -> None:
    data = b"A=1\n" + begin + b"\nC:\\secret\n" + end + b"Z=1\n"
    left = without_private(data)
    assert b"secret" not in left
    assert left.startswith(b"A=1")
    assert left.endswith(b"Z=1\n") == bool(end)


def test_what_is_no_text_is_not_compared_line_by_line() -> None:
    assert compare_lines("opaque", b"\0", b"a") is None
    many = b"a\n" * (limits.INSPECTED_LINES_MAX + 1)
    assert compare_lines("opaque", many, b"a") is None


def test_a_stream_that_does_not_say_what_the_whole_file_is_has_it_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent(type(ECF)):  # type: ignore[misc]  # the class of one format
        __slots__ = ()

        def stream(self, blocks: object) -> Iterator[Segment]:
            yield from super().stream(blocks)

    monkeypatch.setattr("p2psync.formats.inspection.survey.INSPECTED_AT_ONCE_BYTES_MAX", 0)
    form = Silent(ECF.name, ECF.title, ECF.suffixes, b"ECF")
    monkeypatch.setattr(registry, "find", lambda *_: form)
    data = V1 + b"odd\r\n"
    assert surveyed("a.ecf", data).document.mergeable is False
    monkeypatch.setattr("p2psync.formats.inspection.survey.RECORD_FILE_BYTES_MAX", 0)
    found = surveyed("a.ecf", data)
    assert (found.why_whole, found.counts.records) == ("file-too-large", 7)
    assert [each.code for each in found.problems] == ["file-too-large", "field-count"]


def test_a_record_of_several_lines_has_the_line_that_its_segment_begins_in() -> None:
    record = Record(b"k" * 16, b"m" * 16, "", None, None)
    several = Segment(b"<a>\n<b/>\n<c/>\n</a>\n", b"k" * 16, b"m" * 16, (record, record))
    assert [line for line, _ in numbered(several, 7)] == [7, 7]
    lines = Segment(b"a\nb", b"k" * 16, b"m" * 16, (record, record))
    assert [line for line, _ in numbered(lines, 7)] == [7, 8]
