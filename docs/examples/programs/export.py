"""What invoicing does when it saves: export.py FILE DATE DEBIT CREDIT DOCUMENT TEXT AMOUNT

Adds one posting to an exchange file. The file is written beside its place and renamed over it, so
that whoever reads it, p2psync too, never sees half of it.
"""

import os
import sys
from pathlib import Path

HEADER = "#FSC\t9.5.0\tECF\r\n#ECC\t1; 1; 31.03.2025 16:40:30; 4711\r\n"
ENCODING = "windows-1252"


def add(file: Path, *fields: str) -> int:
    """Add a posting; returns how many there are."""
    old = file.read_bytes().decode(ENCODING) if file.exists() else HEADER
    postings = [line.split("\t") for line in old.splitlines() if not line.startswith("#")]
    number = 1 + max((int(posting[13]) for posting in postings), default=0)
    line = "\t".join([*fields, "", "0", "", "0", "0", "0", "", str(number), *[""] * 6, "0"])
    save(file, (old + line + "\r\n").encode(ENCODING))
    return len(postings) + 1


def save(file: Path, content: bytes) -> None:
    """Replace a file as a whole."""
    beside = file.with_name(f".{file.name}.saving")
    with beside.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(beside, file)


if __name__ == "__main__":
    print(f"{add(Path(sys.argv[1]), *sys.argv[2:])} postings in {sys.argv[1]}")
