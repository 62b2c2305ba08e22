"""Targets for names that come from others: what they become on a disk."""

import ntpath
import os
import posixpath
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from p2psync.core.names import (
    TEMPORARY_PREFIX,
    check_name,
    name_key,
    safe_folder_name,
    unique_names,
)
from p2psync.errors import NameRefused, P2PSyncError
from p2psync.limits import NAME_BYTES_MAX
from p2psync.storage.folder import Folder
from tests.fuzz.feed import Feed
from tests.fuzz.target import Target, explained

_UGLY = (
    "..",
    ".",
    "../../etc/passwd",
    "a/b",
    "C:\\x",
    "CON",
    "con.txt",
    "COM1.ecf",
    "PROGRA~1.txt",
    "x ",
    " x",
    "x.",
    "x\0y",
    "x\ny",
    "\u202efdp.ecf",
    "e\u0301.ecf",
    "\uff0fx",
    "\ud800",
    ".p2psync-0",
    ".P2PSYNC-0",
    "\u212a.ecf",
    "ſ.ecf",
    "ß.ecf",
    "SS.ecf",
    "x" * 300,
    "\u0130.ecf",
    "ﬀ.ecf",
    "-rf",
    "~",
    "a:b",
    "x:$DATA",
    "sales.ecf",
    "Sales.ECF",
)


def _name(feed: Feed) -> str:
    """An ugly name, or one made of ugly pieces."""
    out = ""
    for _ in range(1 + feed.number(3)):
        match feed.number(4):
            case 0:
                out += feed.pick(_UGLY)
            case 1:
                out += chr(feed.number(0x110000))
            case 2:
                out += feed.text()
            case _:
                out += feed.chunk().decode("utf-16-le", "replace")
    return out


def check_safe(name: str) -> None:
    """What must hold of a name before it goes to a disk."""
    check_name(name)
    assert len(name.encode()) <= NAME_BYTES_MAX
    for paths, root in ((posixpath, "/mandate"), (ntpath, "C:\\mandate")):
        joined = paths.normpath(paths.join(root, name))
        assert paths.dirname(joined) == root, f"{name!r} leads elsewhere"
        assert paths.basename(joined) == name
    assert not name.lower().startswith(TEMPORARY_PREFIX)
    steering = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert steering.isdisjoint(map(unicodedata.category, name)), "a terminal could be steered"
    assert unicodedata.normalize("NFC", name) == name


def run_names(data: bytes) -> None:
    """Names to names."""
    feed = Feed(data)
    files = [(bytes([index]) * 16, _name(feed)) for index in range(1 + feed.number(6))]
    for _, name in files:
        try:
            check_name(name)
        except NameRefused as error:
            explained(error)
        assert name_key(name_key(name)) == name_key(name)
        check_safe(safe_folder_name(name))
    shown = unique_names(files)
    assert shown.keys() == {file for file, _ in files}
    for name in shown.values():
        check_safe(name)
    assert len({name_key(name) for name in shown.values()}) == len(files)
    assert unique_names(files[::-1]) == shown


@cache
def _root() -> Path:
    """A folder in memory for what the target writes, with a folder beside that stays empty."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    for name in ("mandates", "outside"):
        (made / name).mkdir()
    return made


def run_folder(data: bytes) -> None:
    """Names to files: whatever a name is, nothing happens beside the folder."""
    feed = Feed(data)
    root = _root()
    mandates = root / "mandates"
    try:
        _write_some(feed, root)
    finally:
        left = sorted(os.listdir(root))
        for inner in list(mandates.iterdir()):
            shutil.rmtree(inner)
        assert left == ["mandates", "outside"], left
        assert os.listdir(root / "outside") == []
        assert (root / "outside").stat().st_nlink == 2


def _write_some(feed: Feed, root: Path) -> None:
    inner = safe_folder_name(_name(feed))
    with Folder.open_within(root / "mandates", inner, create=True) as folder:
        assert os.listdir(root / "mandates") == [inner]
        raw = _name(feed)
        try:
            folder.replace(raw, [b"content"], None)
        except (P2PSyncError, ValueError):
            assert os.listdir(folder.path) == []
        for name in unique_names([(bytes(16), _name(feed)), (bytes([1]) * 16, raw)]).values():
            if folder.stat(name) is None:
                folder.replace(name, [b"content"], None)
            assert folder.read(name, 100)[0] == b"content"
            other = _name(feed)
            try:
                folder.rename(name, other)
            except (P2PSyncError, ValueError):
                assert folder.stat(name) is not None
        for entry in os.scandir(folder.path):
            assert entry.is_file(follow_symlinks=False)
            folder.remove(entry.name)


def _seeds() -> Iterable[bytes]:
    for index in range(len(_UGLY)):
        yield bytes([0, 0, 0, index])
        yield bytes([1, 0, 0, index, 0, 0, index])
    yield bytes([3, 0, 2, 4, *b"name", 0, 0, 31, 0, 0, 32, 1, 0, 1, 2])


def _folder_seeds() -> Iterable[bytes]:
    for index in range(len(_UGLY)):
        yield bytes([0, 0, index] * 5)


TARGETS = (
    Target(
        "names",
        "every shown name is safe on every system, and no two are one name on any",
        run_names,
        _seeds,
        bytes_max=1024,
        short_runs=500,
    ),
    Target(
        "folder",
        "no name writes, renames or removes anything beside the mandate's folder",
        run_folder,
        _folder_seeds,
        bytes_max=512,
        short_runs=100,
    ),
)
