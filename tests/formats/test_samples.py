"""Files as offices exchange them: recognised, counted as they are by hand, kept byte for byte.

The files that ship in ``docs/examples`` are always read; others, of the programs and banks that
write these formats, when they are present.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from p2psync.core.records import Document, Segment
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.choice import chosen
from p2psync.formats.inspection.survey import recognise
from tests.formats.files import EXAMPLES, SAMPLES, emit

Expected = tuple[str, int, Mapping[str, int]]
"""Format, records, and what the format counts by its own words."""

SHIPPED: dict[str, Expected] = {
    "atelier_2025.crp": ("cresus-crp", 0, {"COMPTES": 10, "TVACODES": 2}),
    "atelier_2025.ecc": ("cresus-ecc", 0, {"#ECF": 1, "#ECS": 1}),
    "atelier_2025.ecs": ("cresus-ecs", 3, {}),
    "atelier_2025_v1.ecf": ("cresus-ecf", 7, {}),
    "atelier_2025_v2.ecf": ("cresus-ecf", 8, {}),
    "atelier_2025_v2_renumbered.ecf": ("cresus-ecf", 8, {}),
    "librairie_FEC_20251231.txt": ("fec", 16, {}),
    "EXTF_Buchungsstapel_2025-02.csv": ("datev-postings:20250101", 5, {}),
    "kassenbuch_2025-01.txt": ("delimited", 7, {}),
    "norrvik_2025.se": ("sie", 10, {"VER": 4, "TRANS": 10}),
    "rivage_2021_type3.v11": ("bvr-v11", 5, {"records": 7, "payments": 5, "totals": 2}),
    "rivage_2021_type4.v11": ("bvr-v11", 2, {"records": 3, "payments": 2, "totals": 1}),
    "rivage_2025.beancount": ("beancount", 13, {"directives": 23, "transactions": 6}),
    "rivage_2025.journal": ("ledger", 11, {"transactions": 5}),
    "rivage_2025-03.ofx": ("ofx", 4, {"STMTTRN": 4}),
    "rivage_2025-03_xml.ofx": ("ofx", 4, {"STMTTRN": 4}),
    "rivage_2025-03_camt053.xml": ("camt", 5, {"Ntry": 4, "TxDtls": 4}),
    "rivage_2025-03_camt054.xml": ("camt", 2, {"Ntry": 1, "TxDtls": 2}),
    "rivage_2025-03_pain001.xml": ("pain", 2, {"PmtInf": 1, "CdtTrfTxInf": 2}),
    "rivage_2025-03_pain008.xml": ("pain", 1, {"PmtInf": 1, "DrctDbtTxInf": 1}),
}
FROM_OTHERS: dict[str, Expected] = {
    "bean-example_seed42_2025.beancount": (
        *("beancount", 1111),
        {"directives": 773, "transactions": 357},
    ),
    "bcv_CAMT.053-TEST-1.xml": ("camt", 37, {"Ntry": 7, "TxDtls": 37}),
    "bcv_CAMT.054-TEST-1.xml": ("camt", 8, {"Ntry": 2, "TxDtls": 8}),
    "viafintech_052_valid_example.xml": ("camt", 2, {"Ntry": 2, "TxDtls": 2}),
    "viafintech_053_valid_example_v4.xml": ("camt", 32, {"Ntry": 13, "TxDtls": 32}),
    "viafintech_053_valid_example_with_batch.xml": ("camt", 3, {"Ntry": 3, "TxDtls": 2}),
    "viafintech_053_valid_example_with_debit.xml": ("camt", 5, {"Ntry": 4, "TxDtls": 5}),
    "viafintech_054_valid_example.xml": ("camt", 5, {"Ntry": 4, "TxDtls": 5}),
    "demo_2025.crp": ("cresus-crp", 0, {"COMPTES": 11, "TVACODES": 2}),
    "demo_2025.ecc": ("cresus-ecc", 0, {"#ECF": 1, "#ECS": 1}),
    "demo_2025.ecs": ("cresus-ecs", 3, {}),
    "demo_2025_v1.ecf": ("cresus-ecf", 7, {}),
    "demo_2025_v2.ecf": ("cresus-ecf", 8, {}),
    "demo_2025_v2_renumbered.ecf": ("cresus-ecf", 8, {}),
    "EXTF_Buchungsstapel.csv": ("datev-postings:20180101", 2, {}),
    "EXTF_Kontenbeschriftungen.csv": ("datev-data", 3, {}),
    "EXTF_Stammdaten.csv": ("datev-data", 4, {}),
    "tryton_FEC.csv": ("fec", 4, {}),
    "sample.dat": ("ledger", 16, {"transactions": 7}),
    "anzcc.ofx": ("ofx", 1, {"STMTTRN": 1}),
    "bank_medium.ofx": ("ofx", 3, {"STMTTRN": 3}),
    "broken_date_missing.ofx": ("ofx", 3, {"STMTTRN": 3}),
    "checking.ofx": ("ofx", 3, {"STMTTRN": 3}),
    "multiple_accounts2.ofx": ("ofx", 0, {"STMTTRN": 0}),
    "pain001lib_pain.001.001.09.xml": ("pain", 5, {"PmtInf": 1, "CdtTrfTxInf": 5}),
    "pain001lib_pain.008.001.08.xml": ("pain", 2, {"PmtInf": 1, "DrctDbtTxInf": 2}),
    "sepaxml_pain.001.001.03_3tx.xml": ("pain", 3, {"PmtInf": 1, "CdtTrfTxInf": 3}),
    "sepaxml_pain.008.001.02_OOFF_2tx.xml": ("pain", 2, {"PmtInf": 1, "DrctDbtTxInf": 2}),
    "sie_file.se": ("sie", 5, {"VER": 2, "TRANS": 5}),
    "esr_typ3_mit_crlf_erstes.v11": ("bvr-v11", 1, {"records": 2, "payments": 1, "totals": 1}),
    "esr_typ3_mit_crlf_zweites.v11": (
        *("bvr-v11", 13),
        {"records": 14, "payments": 13, "totals": 1},
    ),
    "esr_typ3_ohne_crlf_erstes.v11": ("bvr-v11", 1, {"records": 2, "payments": 1, "totals": 1}),
    "esr_typ3_ohne_crlf_zweites.v11": (
        *("bvr-v11", 13),
        {"records": 14, "payments": 13, "totals": 1},
    ),
    "esr_typ4_mit_crlf_erstes.v11": ("bvr-v11", 1, {"records": 2, "payments": 1, "totals": 1}),
    "esr_typ4_ohne_crlf_erstes.v11": ("bvr-v11", 1, {"records": 2, "payments": 1, "totals": 1}),
}
BROKEN = {
    "broken_date_missing.ofx": {"date", "duplicate-reference"},
    "viafintech_053_valid_example_with_batch.xml": {"balance"},
    "viafintech_053_valid_example_with_debit.xml": {"balance"},
    "sie_file.se": {"unbalanced-group"},
    "esr_typ3_mit_crlf_zweites.v11": {"total"},
    "esr_typ3_ohne_crlf_zweites.v11": {"total"},
}
"""Files that are wrong, by what is wrong with them."""

EXPECTED = SHIPPED | FROM_OTHERS
PRESENT = [EXAMPLES / name for name in SHIPPED] + [
    path
    for path in sorted(SAMPLES.rglob("*"))
    if path.is_file() and path.name != "SOURCES.md" and not path.name.startswith(".")
]
files = pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)


def form_of(path: Path, data: bytes) -> Format:
    """The format that a file is taken for; delimited text needs its definition."""
    if path.name == "kassenbuch_2025-01.txt":
        return chosen((EXAMPLES / "kassenbuch.toml").read_text("utf-8"))
    return recognise(path.name, data).form


def counted(document: Document) -> Counter[bytes]:
    return Counter(record.key for each in document.segments for record in each.records)


@files
def test_it_is_recognised_counted_and_kept_byte_for_byte(path: Path) -> None:
    data = path.read_bytes()
    name, records, counts = EXPECTED[path.name]
    form = form_of(path, data)
    assert form.name.partition(":")[0] == name.partition(":")[0]
    document = form.parse(data)
    assert emit(document) == data
    assert counted(document).total() == records
    assert dict(document.counts) == dict(counts)
    codes = {problem.code for problem in document.problems}
    assert codes == BROKEN.get(path.name, set())


@pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)
def test_what_a_file_counts_is_what_its_bytes_hold(path: Path) -> None:
    """The numbers above are no guess of the reader: these tags can be counted by anybody."""
    data = path.read_bytes()
    for word, count in EXPECTED[path.name][2].items():
        tag = word.encode()
        marks = {
            "camt": (b"<%b>" % tag,),
            "pain": (b"<%b>" % tag,),
            "ofx": (b"<%b>" % tag,),
            "sie": (b"#%b " % tag, b"#%b\t" % tag),
        }.get(EXPECTED[path.name][0], ())
        if marks:
            assert sum(data.count(mark) for mark in marks) == count


EDITS = {b"a": b"e", b"e": b"a", b"1": b"3", b"2": b"4", b"0": b"5", b"o": b"u", b"r": b"s"}


def edits_of(segment: Segment) -> list[bytes]:
    """The segment's bytes with one letter or digit of a record's text or amount changed."""
    found = []
    values = [
        record.fields.get(name, "")
        for record in segment.records
        for name in ("text", "counterparty", "amount", "reference", "voucher")
    ]
    for value in values:
        for encoding in ("utf-8", "cp1252", "cp437"):
            piece = value.encode(encoding, "replace")
            if len(piece) < 3 or piece not in segment.raw:
                continue
            for at in range(len(piece) - 1, -1, -1):
                other = EDITS.get(piece[at : at + 1])
                if other is not None:
                    edited = piece[:at] + other + piece[at + 1 :]
                    found.append(segment.raw.replace(piece, edited, 1))
                    break
    return found


@files
def test_a_file_with_one_changed_record_is_counted_right_again(path: Path) -> None:
    data = path.read_bytes()
    form = form_of(path, data)
    document = form.parse(data)
    before = counted(document)
    if not before:
        return
    for index, segment in enumerate(document.segments):
        raws = [each.raw for each in document.segments]
        for edited in edits_of(segment) if segment.records else ():
            raws[index] = edited
            changed = b"".join(raws)
            assert form_of(path, changed).name == form.name
            again = form.parse(changed)
            after = counted(again)
            # In a journal all postings of a transaction share its text.
            differing = (before - after).total()
            if after.total() == before.total() and 0 < differing <= len(segment.records):
                assert dict(again.counts) == dict(document.counts)
                assert emit(again) == changed
                return
    pytest.fail("no record of the file could be changed")


@files
def test_a_damaged_file_says_so_and_loses_nothing(path: Path) -> None:
    data = path.read_bytes()
    form = form_of(path, data)
    middle = len(data) // 2
    damaged = data[:middle] + b"\0" + data[middle:]
    document = form.parse(damaged)
    assert emit(document) == damaged
    assert not document.mergeable
    if form.merge == "records":
        assert document.problems
    cut = data[: middle + 1]
    assert emit(form.parse(cut)) == cut


def test_every_format_has_a_file_that_ships() -> None:
    families = {name.partition(":")[0] for name, _, _ in SHIPPED.values()}
    assert families | {"opaque", "datev-data"} == {form.name for form in registry.all_formats()}
