"""Writes ``tests/audit/vectors/audit.txt``: a small audit file, frame by frame.

A line is hexadecimal bytes, then ``#`` and what they are; the file is all of them in order.
``python -m tests.audit.vector`` writes it anew, after a deliberate change of form.
"""

from pathlib import Path

from p2psync.core import audit, ops
from tests.audit.book import SALT, Book, parts

PATH = Path(__file__).resolve().parent / "vectors" / "audit.txt"
_WIDTH = 64


def book() -> Book:
    """One device that founds a mandate, attaches a file that is kept whole, and exports both."""
    made = Book()
    made.write(made.anna, ops.Create(made.anna.signing.public, SALT, "Dupont SA"))
    made.keep(made.anna, b"picture")
    return made


def build() -> str:
    """The text of the vectors."""
    lines = [
        "# An audit file with keys and one content. docs/spec/audit.md",
        "",
        *_hex(audit.MAGIC, "how every file of version 1 begins"),
    ]
    for kind, body in parts(book().export()):
        lines += ["", f"[{kind.name.lower()}]"]
        lines += _hex(bytes([kind]), f"kind {kind.value}")
        lines += _hex(len(body).to_bytes(4, "big"), f"length: {len(body)}")
        lines += _hex(body, "body")
    return "\n".join(lines) + "\n"


def _hex(data: bytes, words: str) -> list[str]:
    digits = data.hex()
    rows = [digits[start : start + _WIDTH] for start in range(0, len(digits), _WIDTH)]
    return [f"{row:{_WIDTH}}  # {words if not at else '…'}" for at, row in enumerate(rows)]


if __name__ == "__main__":
    PATH.write_text(build(), "utf-8")
