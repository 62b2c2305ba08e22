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
