"""Files the tests of formats run on: the examples, and outside samples when they are present."""

from collections import Counter
from pathlib import Path

from p2psync.core.records import Document, Segment

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
SAMPLES = ROOT.parent / "shared" / "samples"

POSTINGS = {
    name: (EXAMPLES / name).read_bytes()
    for name in (
        "atelier_2025_v1.ecf",
        "atelier_2025_v2.ecf",
        "atelier_2025_v2_renumbered.ecf",
        "atelier_2025.ecs",
    )
}
V1 = POSTINGS["atelier_2025_v1.ecf"]
V2 = POSTINGS["atelier_2025_v2.ecf"]
CRP = (EXAMPLES / "atelier_2025.crp").read_bytes()
ECC = (EXAMPLES / "atelier_2025.ecc").read_bytes()

EVERY_FILE = [
    path
    for folder in (EXAMPLES, SAMPLES)
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not path.name.startswith(".")
]


def keys(document: Document) -> Counter[bytes]:
    """Gives the document's records as a multiset (B-POS-2)."""
    return Counter(record.key for segment in document.segments for record in segment.records)


def emit(document: Document) -> bytes:
    """Gives the document's bytes back."""
    return b"".join(segment.raw for segment in document.segments)


def without_line(segment: Segment) -> object:
    """Gives all of a segment but the line number in its problem."""
    problem = segment.problem
    said = None if problem is None else (problem.code, problem.text)
    return segment.raw, segment.key, segment.money_key, segment.records, said


def posting(
    text: str = "Tableau",
    amount: str = "10.00",
    debit: str = "1100",
    credit: str = "3400",
    group: str = "",
    idno: str = "1",
    date: str = "05.03.2025",
    voucher: str = "R-1",
    vat: str = "",
    end: str = "\r\n",
) -> bytes:
    """Writes one line of a posting file."""
    head = [date, debit, credit, voucher, text, amount, "", "0", group, "0", "0", "0", "", idno]
    return ("\t".join([*head, vat, "", "", "", "", "", "0"]) + end).encode("cp1252")


HEADER = b"#FSC\t9.5.0\tECF\r\n#ECC\t1; 1; 24.03.2025 10:15:00; 4711\r\n"
