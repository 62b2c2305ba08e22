"""Payment orders of ISO 20022: counted by transaction, checked by their sums, never merged."""

from decimal import Decimal

import pytest

from p2psync.core.records import Document, Record
from p2psync.formats import registry
from p2psync.limits import SEGMENT_BYTES_MAX
from tests.formats.files import EXAMPLES, SAMPLES, emit, without_line

PAIN = registry.by_name("pain")
TRANSFERS = (EXAMPLES / "rivage_2025-03_pain001.xml").read_bytes()
DEBITS = (EXAMPLES / "rivage_2025-03_pain008.xml").read_bytes()
COUNTED = {
    "pain001lib_pain.001.001.09.xml": ("CdtTrfTxInf", 5),
    "pain001lib_pain.008.001.08.xml": ("DrctDbtTxInf", 2),
    "sepaxml_pain.001.001.03_3tx.xml": ("CdtTrfTxInf", 3),
    "sepaxml_pain.008.001.02_OOFF_2tx.xml": ("DrctDbtTxInf", 2),
}


def _records(document: Document) -> list[Record]:
    return [record for segment in document.segments for record in segment.records]


def test_a_transfer_goes_out_on_the_day_and_from_the_account_of_its_batch() -> None:
    document = PAIN.parse(TRANSFERS)
    assert (document.problems, document.counts) == ((), (("PmtInf", 1), ("CdtTrfTxInf", 2)))
    first, second = _records(document)
    assert dict(first.fields) == {
        "date": "2025-03-27",
        "amount": "-4120.4",
        "currency": "CHF",
        "account": "CH9300762011623852957",
        "iban": "CH5604835012345678009",
        "voucher": "SAL-03-1",
        "reference": "",
        "counterparty": "Nadia Keller",
        "text": "Nadia Keller: Salaire mars",
    }
    assert second.amount == Decimal("-3230.00")


def test_a_direct_debit_comes_in() -> None:
    (record,) = _records(PAIN.parse(DEBITS))
    assert (str(record.date), record.amount) == ("2025-03-31", Decimal("180.00"))
    assert record.fields["counterparty"] == "Jeanne Perrin"


def test_outside_samples_hold_what_their_list_says() -> None:
    for path in sorted(SAMPLES.glob("pain/*.xml")):
        document = PAIN.parse(path.read_bytes())
        assert registry.find(path.name, path.read_bytes()) is PAIN
        assert document.counts[1] == COUNTED[path.name]
        assert document.problems == ()
        assert len(_records(document)) == COUNTED[path.name][1]
        assert all(each.date and each.amount for each in _records(document))


def test_an_order_is_never_merged() -> None:
    for data in (TRANSFERS, DEBITS):
        assert not PAIN.parse(data).mergeable


def test_an_edited_order_keeps_its_batches_and_its_other_transactions() -> None:
    before = PAIN.parse(TRANSFERS)
    after = PAIN.parse(TRANSFERS.replace(b"3230.00", b"3300.00"))
    assert [each.identity for each in before.segments] == [each.identity for each in after.segments]
    assert _records(before)[0].key == _records(after)[0].key
    assert _records(before)[1].key != _records(after)[1].key
    renamed = PAIN.parse(TRANSFERS.replace(b"Salaire mars", b"Mars"))
    assert _records(before)[1].money_key == _records(renamed)[1].money_key


_HEAD, _BATCH = TRANSFERS.split(b"<PmtInf>")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (TRANSFERS.replace(b"3230.00", b"3231.00"), "7351.4"),
        (_HEAD.replace(b"7350.40", b"1.00") + b"<PmtInf>" + _BATCH, "7350.4"),
        (_HEAD + b"<PmtInf>" + _BATCH.replace(b"7350.40", b"1.00"), "7350.4"),
        (_HEAD.replace(b">2<", b">3<") + b"<PmtInf>" + _BATCH, "2"),
        (_HEAD + b"<PmtInf>" + _BATCH.replace(b">2<", b">3<"), "2"),
    ],
    ids=["amount", "sum of the file", "of a batch", "number of the file", "of a batch"],
)
def test_control_sums_are_held_against_the_transactions(data: bytes, found: str) -> None:
    problems = PAIN.parse(data).problems
    assert [(each.code, each.params["found"]) for each in problems] == [("control-sum", found)]


def test_a_large_batch_is_cut_into_its_transactions() -> None:
    start = TRANSFERS.index(b"      <CdtTrfTxInf>")
    end = TRANSFERS.rindex(b"</CdtTrfTxInf>") + len(b"</CdtTrfTxInf>\n")
    data = TRANSFERS[:start] + TRANSFERS[start:end] * 300 + TRANSFERS[end:]
    document = PAIN.parse(data)
    assert emit(document) == data
    assert len(_records(document)) == 600
    assert document.counts == (("PmtInf", 1), ("CdtTrfTxInf", 600))
    assert all(len(each.raw) <= SEGMENT_BYTES_MAX for each in document.segments)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (TRANSFERS[:1500], "not-well-formed"),
        (b"<!DOCTYPE a>" + TRANSFERS, "doctype"),
        (b"", "empty"),
        (TRANSFERS.replace(b"3230.00", b"x"), "amount"),
        (TRANSFERS.replace(b"2025-03-27", b"soon"), "date"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_an_order_is_said(data: bytes, code: str) -> None:
    document = PAIN.parse(data)
    assert emit(document) == data
    assert code in [problem.code for problem in document.problems]
    for segment in document.segments:
        assert without_line(PAIN.read_segment(segment.raw)) == without_line(segment)
