"""The corpora: ``tests/fuzz/corpus/TARGET.txt``, one input a line in base64, comments with #.

One file for each target instead of hundreds, so that a change of it can be read.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.fuzz.target import Target

FOLDER = Path(__file__).parent / "corpus"
FINDS = Path(__file__).parent / "finds"
"""Inputs that once failed, each with what it showed."""


def read(folder: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Give each line's number and input."""
    path = folder / f"{name}.txt"
    if not path.exists():
        return
    for number, line in enumerate(path.read_text("ascii").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, base64.b64decode(line, validate=True)


def inputs(target: Target) -> dict[bytes, None]:
    """All that a run starts from: what the encoders make today, the corpus, what once failed."""
    found = dict.fromkeys(target.seeds())
    found |= dict.fromkeys(data for _, data in read(FOLDER, target.name))
    return found | dict.fromkeys(data for _, data in read(FINDS, target.name))


def unpack(target: Target, folder: Path) -> int:
    """Write the inputs as files, as libFuzzer wants them; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    some = inputs(target)
    for data in some:
        (folder / hashlib.sha256(data).hexdigest()[:20]).write_bytes(data)
    return len(some)


def write(target: Target, found: Iterable[bytes]) -> int:
    """Keep inputs that are no seed anyway; return how many."""
    seeds = set(target.seeds())
    kept = sorted({data for data in found if data not in seeds}, key=lambda each: (len(each), each))
    FOLDER.mkdir(exist_ok=True)
    lines = [f"# {target.holds}", *(base64.b64encode(data).decode() for data in kept)]
    (FOLDER / f"{target.name}.txt").write_text("\n".join(lines) + "\n", "ascii")
    return len(kept)
