"""What the watcher tells of our own writing is known without reading it; nothing else is."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from p2psync.node.copies import Copy, as_written
from p2psync.storage.file_state import to_stat


def written(folder: Path) -> Copy:
    """A copy that we wrote a while ago."""
    path = folder / "a.bin"
    path.write_bytes(b"content")
    os.utime(path, ns=(10**18, 10**18))
    stat = to_stat(os.lstat(path))
    return Copy(
        b"m" * 32,
        b"f" * 16,
        "folder",
        folder,
        "a.bin",
        heads=((b"v" * 32, 0),),
        digest=b"d" * 32,
        stat=stat,
        seen=stat,
    )


def test_what_nobody_touched_is_as_written(tmp_path: Path) -> None:
    assert as_written(written(tmp_path))


def _overwrite(path: Path) -> None:
    path.write_bytes(b"changed")


def _replace(path: Path) -> None:
    beside = path.with_name("b")
    beside.write_bytes(b"content")
    os.utime(beside, ns=(10**18, 10**18))
    beside.replace(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("b"))
    path.symlink_to("b")


@pytest.mark.parametrize("change", [_overwrite, _replace, _link, os.unlink])
def test_any_change_shows(tmp_path: Path, change: Callable[[Path], None]) -> None:
    copy = written(tmp_path)
    change(copy.path)
    assert not as_written(copy)


def test_what_was_not_sure_is_looked_at(tmp_path: Path) -> None:
    copy = written(tmp_path)
    for unsure in (
        replace(copy, stat=None),
        replace(copy, seen=None),
        replace(copy, missing=True),
        replace(copy, held=b"h" * 32),
        replace(copy, digest=b""),
        replace(copy, role="attached"),
    ):
        assert not as_written(unsure)
