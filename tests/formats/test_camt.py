"""Bank statements of ISO 20022: each transaction once, whatever the bank's version and prefix."""

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.records import Document, Record
from p2psync.formats import registry
from p2psync.limits import SEGMENT_BYTES_MAX
from tests.formats.files import EXAMPLES, SAMPLES, emit, keys, without_line
from tests.formats.merging import saved_apart

CAMT = registry.by_name("camt")
STATEMENT = (EXAMPLES / "rivage_2025-03_camt053.xml").read_bytes()
NOTICE = (EXAMPLES / "rivage_2025-03_camt054.xml").read_bytes()
HEAD, ENTRIES, FOOT = (
    STATEMENT[: STATEMENT.index(b"\n      <Ntry>")],
    re.findall(rb"\n      <Ntry>.*?</Ntry>", STATEMENT, re.DOTALL),
    STATEMENT[STATEMENT.rindex(b"</Ntry>") + len(b"</Ntry>") :],
)
COUNTED = {
    "bcv_CAMT.053-TEST-1.xml": (7, 37),
    "bcv_CAMT.054-TEST-1.xml": (2, 8),
    "viafintech_052_valid_example.xml": (2, 2),
    "viafintech_053_valid_example_v4.xml": (13, 32),
    "viafintech_053_valid_example_with_batch.xml": (3, 2),
    "viafintech_053_valid_example_with_debit.xml": (4, 5),
    "viafintech_054_valid_example.xml": (4, 5),
}
"""What the outside samples hold: entries, transactions."""


def _records(document: Document) -> list[Record]:
    return [record for segment in document.segments for record in segment.records]


def _amounts(data: bytes) -> list[Decimal | None]:
    return [record.amount for record in _records(CAMT.parse(data))]


def _codes(data: bytes) -> list[str]:
    return [problem.code for problem in CAMT.parse(data).problems]


def _statement(*entries: bytes) -> bytes:
    return HEAD + b"".join(entries) + FOOT


def _entry(reference: str = "REF-1", amount: str = "10.00", text: str = "Rent") -> bytes:
    return (
        f'\n<Ntry><Amt Ccy="CHF">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
        f"<BookgDt><Dt>2025-03-05</Dt></BookgDt><AcctSvcrRef>{reference}</AcctSvcrRef>"
        f"<AddtlNtryInf>{text}</AddtlNtryInf></Ntry>"
    ).encode()


def test_a_transaction_is_a_record_and_so_is_an_entry_that_lists_none() -> None:
    document = CAMT.parse(STATEMENT)
    assert (document.mergeable, document.problems) == (True, ())
    assert document.counts == (("Ntry", 4), ("TxDtls", 4))
    records = _records(document)
    assert [record.amount for record in records] == [
        Decimal(text) for text in ("2340.00", "450.00", "600.00", "-1800.00", "-12.50")
    ]
    first = records[0]
    assert first.date is not None and first.date.isoformat() == "2025-03-03"
    assert dict(first.fields) == {
        "date": "2025-03-03",
        "value_date": "2025-03-03",
        "amount": "2340",
        "currency": "CHF",
        "currency_amount": "",
        "voucher": "ZB250303-001",
        "reference": "210000000003139471430009017",
        "counterparty": "Hôtel du Lac SA",
        "iban": "CH5604835012345678009",
        "text": "Hôtel du Lac SA",
        "status": "BOOK",
    }
    assert records[3].text == "Régie des Quais: Loyer mars"
    assert records[4].fields["value_date"] == "2025-03-31"


def test_outside_samples_hold_what_their_list_says() -> None:
    for path in sorted(SAMPLES.glob("camt/*.xml")):
        document = CAMT.parse(path.read_bytes())
        entries, transactions = COUNTED[path.name]
        assert document.counts == (("Ntry", entries), ("TxDtls", transactions))
        assert document.mergeable
        records = _records(document)
        assert len(records) >= max(entries, transactions)
        assert {problem.code for problem in document.problems} <= {"balance"}
        assert all(record.amount is not None and record.date is not None for record in records)


def test_any_prefix_and_version_is_read_alike() -> None:
    prefixed = re.sub(rb"<(/?)([A-Za-z])", rb"<\1ns2:\2", STATEMENT)
    prefixed = prefixed.replace(b"xmlns=", b"xmlns:ns2=").replace(b".001.08", b".001.02")
    assert registry.find("x.xml", prefixed).name == "camt"
    assert keys(CAMT.parse(prefixed)) == keys(CAMT.parse(STATEMENT))
    flat = re.sub(rb">\s+<", b"><", STATEMENT)
    assert keys(CAMT.parse(flat)) == keys(CAMT.parse(STATEMENT))
    assert [each.identity for each in CAMT.parse(flat).segments] == [
        each.identity for each in CAMT.parse(STATEMENT).segments
    ]


def test_head_and_foot_stay_what_they_are() -> None:
    later = STATEMENT.replace(b"06:00:00", b"07:30:00").replace(b"RIVAGE-053-1", b"OTHER-2")
    later = later.replace(b"6577.50", b"1.00")
    before, after = CAMT.parse(STATEMENT).segments, CAMT.parse(later).segments
    assert [each.key for each in before] == [each.key for each in after]
    other = STATEMENT.replace(b"CH9300762011623852957", b"CH0000000000000000000")
    assert CAMT.parse(other).segments[0].key != before[0].key
    empty = CAMT.parse(_statement()).segments
    assert [each.key for each in empty] == [before[0].key, before[-1].key]


def test_balances_are_held_against_the_entries() -> None:
    assert _codes(_statement(*ENTRIES)) == []
    document = CAMT.parse(_statement(*ENTRIES[1:]))
    assert [(each.code, each.params["amount"]) for each in document.problems] == [
        ("balance", "2340")
    ]
    assert document.mergeable


@pytest.mark.parametrize("sign", ["own", "any"])
def test_a_share_is_signed_as_the_entry_where_its_own_sign_does_not_add_up(sign: str) -> None:
    """Some banks write CRDT in each transaction of a debit."""
    shares = (
        [("30", "DBIT"), ("12.50", "DBIT")]
        if sign == "own"
        else [("30", "CRDT"), ("12.50", "CRDT")]
    )
    inner = b"".join(
        f'<TxDtls><Amt Ccy="CHF">{amount}</Amt><CdtDbtInd>{said}</CdtDbtInd></TxDtls>'.encode()
        for amount, said in shares
    )
    entry = (
        b'<Ntry><Amt Ccy="CHF">42.5</Amt><CdtDbtInd>DBIT</CdtDbtInd><BookgDt><Dt>2025-03-05</Dt>'
        b"</BookgDt><NtryDtls>" + inner + b"</NtryDtls></Ntry>"
    )
    assert _amounts(_statement(entry)) == [Decimal("-30"), Decimal("-12.50")]
    wrong = entry.replace(b"42.5", b"43.5")
    assert "entry-sum" in _codes(_statement(wrong))


def test_another_currency_is_said_beside_what_was_booked() -> None:
    entry = _entry().replace(
        b"<AddtlNtryInf>",
        b'<NtryDtls><TxDtls><AmtDtls><InstdAmt><Amt Ccy="USD">11.20</Amt></InstdAmt></AmtDtls>'
        b"</TxDtls></NtryDtls><AddtlNtryInf>",
    )
    (record,) = _records(CAMT.parse(_statement(entry)))
    assert (record.amount, record.fields["currency_amount"]) == (Decimal("10.00"), "11.2 USD")


def test_text_alone_leaves_the_money_key() -> None:
    one, text, amount = (
        CAMT.read_segment(raw)
        for raw in (_entry(), _entry(text="Rent May"), _entry(amount="10.50"))
    )
    assert one.key != text.key and one.money_key == text.money_key
    assert one.money_key != amount.money_key
    assert one.identity == text.identity == amount.identity is not None
    assert CAMT.read_segment(_entry(amount="10")).key == one.key
    for none in ("", "NOTPROVIDED", "000"):
        assert CAMT.read_segment(_entry(none)).identity is None


def test_one_reference_twice_is_not_merged_and_still_counted() -> None:
    document = CAMT.parse(_statement(_entry(), _entry(amount="11.00")))
    assert not document.mergeable
    assert [each.code for each in document.problems] == ["duplicate-reference"]
    assert len(_records(document)) == 2
    reversal = _entry(amount="10.00").replace(b"CRDT", b"DBIT")
    assert CAMT.parse(_statement(_entry(), reversal)).mergeable


def test_several_statements_are_counted_and_not_merged() -> None:
    start, end = STATEMENT.index(b"\n    <Stmt>"), STATEMENT.index(b"</Stmt>") + len(b"</Stmt>")
    second = STATEMENT[start:end].replace(b"ZB", b"XX")
    document = CAMT.parse(STATEMENT[:end] + second + STATEMENT[end:])
    assert not document.mergeable
    assert [each.code for each in document.problems] == ["several-statements"]
    assert document.counts == (("Ntry", 8), ("TxDtls", 8))


def test_an_entry_with_very_many_transactions_is_cut_into_them() -> None:
    share = (
        b'<TxDtls><Refs><EndToEndId>E-%04d</EndToEndId></Refs><Amt Ccy="CHF">1.00</Amt><CdtDbtInd>'
        b"CRDT</CdtDbtInd><RltdDts><IntrBkSttlmDt>2025-03-05</IntrBkSttlmDt></RltdDts></TxDtls>"
    )
    shares = b"\n".join(share % number for number in range(1000))
    entry = _entry(amount="1000.00").replace(
        b"<AddtlNtryInf>", b"<NtryDtls>" + shares + b"</NtryDtls><AddtlNtryInf>"
    )
    document = CAMT.parse(_statement(entry))
    assert emit(document) == _statement(entry)
    assert document.counts == (("Ntry", 1), ("TxDtls", 1000))
    assert len(_records(document)) == 1000
    assert all(len(segment.raw) <= SEGMENT_BYTES_MAX for segment in document.segments)
    assert [each.code for each in document.problems] == ["entry-too-large"]
    assert not document.mergeable
    assert {str(record.date) for record in _records(document)} == {"2025-03-05"}


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol">%b]>
<Document><BkToCstmrStmt><Stmt><Ntry>&z;</Ntry></Stmt></BkToCstmrStmt></Document>
""" % b"".join(
    b'<!ENTITY %c "%b">' % (name, b"&%c;" % (name - 1) * 10)
    for name in range(ord("b"), ord("z") + 1)
)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (BOMB, "doctype"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + HEAD + FOOT, "doctype"),
        (STATEMENT[: len(STATEMENT) // 2], "not-well-formed"),
        (STATEMENT.replace(b"Loyer", b"&loyer;"), "not-well-formed"),
        (STATEMENT.replace(b"Loyer", b"\xff"), "not-well-formed"),
        (STATEMENT.replace(b"Loyer", b"\0"), "not-well-formed"),
        (STATEMENT.replace(b"UTF-8", b"EBCDIC-CP-FR"), "encoding"),
        (STATEMENT.decode().replace("UTF-8", "UTF-16").encode("utf-16"), "utf-16"),
        (b"", "empty"),
        (HEAD + b"<a>" * 100_000, "not-well-formed"),
        (_statement(b"<Ntry>" + b"<a>" * 1000 + b"</a>" * 1000 + b"</Ntry>"), "unreadable-element"),
        (_statement(*ENTRIES) * 2, "not-well-formed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_damaged_is_kept_and_says_why(data: bytes, code: str) -> None:
    document = CAMT.parse(data)
    assert emit(document) == data
    assert not document.mergeable
    assert code in [problem.code for problem in document.problems]


def test_a_problem_is_on_a_line_of_the_file() -> None:
    data = STATEMENT[:2000].replace(b"\n", b"\r")
    (problem,) = CAMT.parse(data).problems
    assert (problem.code, problem.line) == ("not-well-formed", 1)


def test_entities_are_never_replaced() -> None:
    for segment in CAMT.parse(BOMB).segments:
        assert not segment.records


def test_latin_1_is_read() -> None:
    data = STATEMENT.decode().replace("UTF-8", "ISO-8859-1").encode("latin-1")
    document = CAMT.parse(data)
    assert (document.problems, document.mergeable) == ((), True)
    assert keys(document) == keys(CAMT.parse(STATEMENT))


def test_a_truncated_statement_counts_what_is_whole() -> None:
    data = _statement(*ENTRIES)[: len(HEAD) + len(ENTRIES[0]) + len(ENTRIES[1]) + 40]
    assert len(_amounts(data)) == 3


# -- merging --------------------------------------------------------------------------------------

_entries = st.lists(
    st.builds(
        _entry,
        st.sampled_from(["A", "B", "C", "NOTPROVIDED"]),
        st.sampled_from(["1.00", "2.00"]),
        st.sampled_from(["x", "y"]),
    ),
    max_size=4,
    unique_by=lambda raw: CAMT.read_segment(raw).identity or raw,
).map(lambda entries: _statement(*entries))


@settings(deadline=None, max_examples=60)
@given(_entries, _entries, _entries)
def test_two_devices_come_to_one_well_formed_statement(
    base: bytes, left: bytes, right: bytes
) -> None:
    """What both import counts once; what either added is there; the file stays XML."""
    merged = saved_apart(CAMT, base, left, right)
    document = CAMT.parse(merged)
    assert "not-well-formed" not in [problem.code for problem in document.problems]
    there = keys(document)
    for side in (left, right):
        gained = keys(CAMT.parse(side)) - keys(CAMT.parse(base))
        texts = {r.key: r.money_key for r in _records(CAMT.parse(side))}
        money = {r.money_key for r in _records(document)}
        assert all(key in there or texts[key] in money for key in gained)
    named = [(s.identity, s.money_key) for s in document.segments if s.records and s.identity]
    assert len(named) == len(set(named))
    if left == right and b"NOTPROVIDED" not in left:
        assert merged == left


def test_one_statement_imported_on_both_sides_counts_once() -> None:
    march = _statement(*ENTRIES)
    merged = saved_apart(CAMT, _statement(), march, march)
    assert merged == march
    more = _statement(*ENTRIES, _entry())
    assert sorted(keys(CAMT.parse(saved_apart(CAMT, _statement(), march, more)))) == sorted(
        keys(CAMT.parse(more))
    )


def test_a_segment_reads_alone_as_in_its_file() -> None:
    for data in (STATEMENT, NOTICE, BOMB):
        for segment in CAMT.parse(data).segments:
            assert without_line(CAMT.read_segment(segment.raw)) == without_line(segment)
