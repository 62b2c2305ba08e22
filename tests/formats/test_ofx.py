"""OFX statements, as SGML and as XML: each transaction once, by its FITID."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.records import Document, Record
from p2psync.formats import registry
from tests.formats.files import EXAMPLES, SAMPLES, emit, keys, without_line
from tests.formats.merging import saved_apart

OFX = registry.by_name("ofx")
SGML = (EXAMPLES / "rivage_2025-03.ofx").read_bytes()
XML = (EXAMPLES / "rivage_2025-03_xml.ofx").read_bytes()
HEAD, FOOT = SGML[: SGML.index(b"\r\n<STMTTRN>")], SGML[SGML.index(b"\r\n</BANKTRANLIST>") :]
COUNTED = {
    "anzcc.ofx": 1,
    "bank_medium.ofx": 3,
    "broken_date_missing.ofx": 3,
    "checking.ofx": 3,
    "multiple_accounts2.ofx": 0,
}


def _records(document: Document) -> list[Record]:
    return [record for segment in document.segments for record in segment.records]


def _codes(data: bytes) -> list[str]:
    return [problem.code for problem in OFX.parse(data).problems]


def _transaction(
    fitid: str = "F1", amount: str = "-10.00", memo: str = "x", end: str = "</STMTTRN>"
) -> bytes:
    return (
        f"\r\n<STMTTRN>\r\n<TRNTYPE>DEBIT\r\n<DTPOSTED>20250305\r\n<TRNAMT>{amount}\r\n"
        f"<FITID>{fitid}\r\n<NAME>Kiosk\r\n<MEMO>{memo}\r\n{end}"
    ).encode("cp1252")


def _statement(*transactions: bytes) -> bytes:
    return HEAD + b"".join(transactions) + FOOT


@pytest.mark.parametrize("data", [SGML, XML], ids=["SGML", "XML"])
def test_both_versions_say_the_same(data: bytes) -> None:
    document = OFX.parse(data)
    assert (document.problems, document.mergeable) == ((), True)
    assert document.counts == (("STMTTRN", 4),)
    records = _records(document)
    assert [record.amount for record in records] == [
        Decimal(text) for text in ("2340.00", "-1800.00", "-95.40", "-12.50")
    ]
    assert [str(record.date)[-2:] for record in records] == ["03", "10", "17", "28"]
    assert dict(records[2].fields) == {
        "date": "2025-03-17",
        "value_date": "",
        "amount": "-95.4",
        "currency": "",
        "voucher": "1042",
        "reference": "ZB250317-031",
        "iban": "",
        "kind": "CHECK",
        "counterparty": "Quincaillerie & Fils",
        "text": "Quincaillerie & Fils",
    }
    assert records[0].text == "Hôtel du Lac SA: Facture R-1"
    assert keys(document) == keys(OFX.parse(SGML))


def test_outside_samples_hold_what_their_list_says() -> None:
    for path in sorted(SAMPLES.glob("ofx/*.ofx")):
        data = path.read_bytes()
        document = OFX.parse(data)
        assert registry.find("x", data[:65536]) is OFX
        assert document.counts == (("STMTTRN", COUNTED[path.name]),)
        assert len(_records(document)) == COUNTED[path.name]
        assert document.mergeable == (not path.name.startswith("broken"))
        assert bool(document.problems) == path.name.startswith("broken")


def test_text_alone_leaves_the_money_key_and_the_fitid_is_the_identity() -> None:
    one, text, amount, other = (
        OFX.read_segment(raw)
        for raw in (
            _transaction(),
            _transaction(memo="y"),
            _transaction(amount="-11.00"),
            _transaction("F2"),
        )
    )
    assert one.key != text.key and one.money_key == text.money_key
    assert one.money_key != amount.money_key
    assert one.identity == text.identity == amount.identity != other.identity
    assert OFX.read_segment(_transaction("0")).identity is None
    assert OFX.read_segment(_transaction(amount="-10,00")).key == one.key


@pytest.mark.parametrize(
    ("data", "code", "count", "mergeable"),
    [
        (_statement(_transaction(), _transaction(memo="y")), "duplicate-reference", 2, False),
        (_statement(_transaction(end=""), _transaction("F2")), "unclosed-element", 2, False),
        (_statement(_transaction(amount="ten")), "amount", 1, True),
        (_statement(_transaction().replace(b"20250305", b"20250231")), "date", 1, True),
        (_statement(_transaction())[:-20], "truncated-tail", 1, False),
        (_statement(_transaction(memo="\0")), "nul", 1, False),
        (_statement(_transaction()).decode("cp1252").encode("utf-16"), "utf-16", 0, False),
        (b"", "empty", 0, False),
        (
            _statement(_transaction(), b"</INVBANKTRAN><INVBANKTRAN>", _transaction("F2")),
            "between-records",
            2,
            False,
        ),
        (_statement(b"<!DOCTYPE a>", _transaction()), "unreadable-element", 0, False),
        (
            _statement(_transaction(), b"</BANKTRANLIST><BANKTRANLIST>", _transaction("F2")),
            "several-statements",
            2,
            False,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_broken_is_kept_counted_and_said(
    data: bytes, code: str, count: int, mergeable: bool
) -> None:
    document = OFX.parse(data)
    assert emit(document) == data
    assert code in _codes(data)
    assert len(_records(document)) == count
    assert document.mergeable == mergeable
    for segment in document.segments:
        assert without_line(OFX.read_segment(segment.raw)) == without_line(segment)


def test_head_and_foot_stay_what_they_are() -> None:
    later = SGML.replace(b"20250331060000", b"20250401070000").replace(b"5432.10", b"0.00")
    before, after = OFX.parse(SGML).segments, OFX.parse(later).segments
    assert [each.key for each in before] == [each.key for each in after]
    other = OFX.parse(SGML.replace(b"11623852957", b"1")).segments
    assert other[0].key != before[0].key
    empty = OFX.parse(_statement()).segments
    assert [each.key for each in empty] == [before[0].key, before[-1].key]


_statements = st.lists(
    st.builds(
        _transaction,
        st.sampled_from(["A", "B", "C"]),
        st.sampled_from(["1.00", "2.00"]),
        st.sampled_from(["x", "y"]),
    ),
    max_size=3,
    unique_by=lambda raw: OFX.read_segment(raw).identity,
).map(lambda each: _statement(*each))


@settings(deadline=None, max_examples=60)
@given(_statements, _statements, _statements)
def test_one_fitid_counts_once_for_each_amount_that_was_saved(
    base: bytes, left: bytes, right: bytes
) -> None:
    document = OFX.parse(saved_apart(OFX, base, left, right))
    shown = [each.money_key for each in document.segments if each.records]
    assert len(shown) == len(set(shown))
    known = {each.money_key for each in OFX.parse(base).segments}
    for side in (left, right):
        new = {each.money_key for each in OFX.parse(side).segments if each.records} - known
        assert new <= set(shown)
    assert saved_apart(OFX, base, left, left) == left
