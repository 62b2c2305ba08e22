"""The bytes in ``tests/audit/vectors/`` are what the code writes, and what both verifiers read."""

from pathlib import Path

from tests.audit import vector
from tests.audit.book import both


def test_the_file_is_what_the_code_writes() -> None:
    assert vector.PATH.read_text("utf-8") == vector.build()


def test_what_stands_there_verifies(tmp_path: Path) -> None:
    lines = [
        line.split("#")[0].strip()
        for line in vector.PATH.read_text("utf-8").splitlines()
        if not line.startswith("[")
    ]
    assert both(bytes.fromhex("".join(lines)), tmp_path) == (True, True)
