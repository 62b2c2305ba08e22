"""The files that are synchronised: random bytes, and exchange files with records."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.context import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "atelier_2025_v1.ecf"
_PIECE_BYTES = 8 << 20
_SYNCED_ONE_BY_ONE = 16
"""More files than this are brought to the disk together, with whatever else waits for it."""


def write_many(folder: Path, count: int, size: int, seed: int) -> list[Path]:
    """Writes files of random bytes, the same for one seed, and brings them to the disk."""
    source = random.Random(seed)  # noqa: S311 - content, no secret
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"file-{number:05}.bin" for number in range(count)]
    for path in paths:
        with path.open("wb") as file:
            for start in range(0, size, _PIECE_BYTES):
                file.write(source.randbytes(min(_PIECE_BYTES, size - start)))
            if count <= _SYNCED_ONE_BY_ONE:
                file.flush()
                os.fsync(file.fileno())
    if count > _SYNCED_ONE_BY_ONE:
        os.sync()
    return paths


def save(path: Path, content: bytes) -> Path:
    """Saves as careful programs do: written beside, brought to the disk, renamed."""
    prepared(path, content).replace(path)
    return path


def prepared(path: Path, content: bytes) -> Path:
    """Writes what is to replace a file beside it; renaming it is the save."""
    beside = path.with_name(f".{path.name}.saving")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return beside


def opaque_saves(size: int, seed: int) -> Iterator[bytes]:
    """Gives the contents of one opaque file, save after save: all of it is new each time."""
    source = random.Random(seed)  # noqa: S311 - content, no secret
    while True:
        yield source.randbytes(size)


def record_saves(size: int, records: int = 1) -> Iterator[bytes]:
    """Gives an exchange file of about ``size`` bytes, save after save with one record more.

    It begins with ``records`` records when that is more.
    """
    head, change, line, *_ = EXAMPLE.read_bytes().splitlines(keepends=True)

    def record(number: int) -> bytes:
        return line.replace(b"R-2001", b"R-%04d" % number)

    count = max(records, (size - len(head + change)) // len(line))
    lines = [record(number) for number in range(count)]
    while True:
        yield b"".join([head, change, *lines])
        lines.append(record(len(lines)))


def scattered(path: Path, folder: Path, changes: int, size: int, seed: int) -> Path:
    """Writes a copy of a file with changed blocks all over it, its last block among them."""
    source = random.Random(seed)  # noqa: S311 - content, no secret
    content = bytearray(path.read_bytes())
    blocks = len(content) // size
    for block in [*source.sample(range(blocks - 1), changes - 1), blocks - 1]:
        content[block * size : (block + 1) * size] = source.randbytes(size)
    copy = folder / path.name
    with copy.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return copy


_FEC_COLUMNS = (
    b"JournalCode\tJournalLib\tEcritureNum\tEcritureDate\tCompteNum\tCompteLib\tCompAuxNum\t"
    b"CompAuxLib\tPieceRef\tPieceDate\tEcritureLib\tDebit\tCredit\tEcritureLet\tDateLet\t"
    b"ValidDate\tMontantdevise\tIdevise\r\n"
)
EXCHANGED = ("ecf", "fec")
"""Kinds of exchange files that ``write_exchange_file`` makes up."""


def write_exchange_file(path: Path, kind: str, records: int, *, changed: int = 0) -> None:
    """Writes an invented file of so many lines (an even number); ``changed`` of them, spread over
    it, have another text.
    """
    step = records // 2 // max(1, changed)
    with path.open("wb") as file:
        if kind == "fec":
            file.write(_FEC_COLUMNS)
            for number in range(records // 2):
                other = changed and number % step == step - 1 and number // step < changed
                file.write(_fec_entry(number, b"Avoir" if other else b"Facture"))
            return
        head, change, *_ = EXAMPLE.read_bytes().splitlines(keepends=True)
        file.write(head + change)
        for number in range(records):
            place = number // 2
            other = changed and number % 2 and place % step == step - 1 and place // step < changed
            file.write(_ecf_line(number, b"Avoir" if other else b"Facture"))


def _ecf_line(number: int, word: bytes) -> bytes:
    day, month = number % 28 + 1, number // 28 % 12 + 1
    cells = b"%02d.%02d.2025\t1100\t3400\tR-%07d\t%b %d" % (day, month, number, word, number)
    amount = b"%d.%02d" % (100 + number % 9000, number % 100)
    return b"%b\t%b\t\t0\t\t0\t0\t0\t\t%d\tTVA\t\t\t\t\t\t0\r\n" % (cells, amount, number)


def _fec_entry(number: int, word: bytes) -> bytes:
    """Two lines that balance; one of them has another text."""
    day = b"2025%02d%02d" % (number // 28 % 12 + 1, number % 28 + 1)
    amount = b"%d,%02d" % (100 + number % 9000, number % 100)
    head = b"VE\tJournal des ventes\t%d\t%b\t" % (number + 1, day)
    piece = b"\t\t\tF-%07d\t%b\t" % (number, day)
    tail = b"\t\t\t%b\t\t\r\n" % day
    debit = b"%b411000\tClients%b%b %d\t%b\t0,00%b" % (head, piece, word, number, amount, tail)
    return debit + b"%b706000\tPrestations de services%bFacture %d\t0,00\t%b%b" % (
        *(head, piece, number, amount, tail),
    )
