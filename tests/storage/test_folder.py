"""One folder: hostile entries, stable reads, checked replacement (protocol.md, "Files")."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.crypto import content_digest
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import (
    AccessDenied,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    FileAbsent,
    FileBusy,
    FileTooLarge,
    FolderMissing,
    NotAFolder,
    NotARegularFile,
    P2PSyncError,
    TargetChanged,
)
from p2psync.limits import CHUNK_BYTES
from p2psync.storage import folder as folder_module
from p2psync.storage.disk import DiskCalls
from p2psync.storage.file_state import ANYTHING
from p2psync.storage.folder import Folder
from p2psync.storage.reading import blocks_digest
from tests.storage.conftest import unprivileged

NAME = "Ventes 2026.ecf"


def leftovers(path: Path) -> list[str]:
    return [name for name in os.listdir(path) if name.startswith(TEMPORARY_PREFIX)]


# -- reading ----------------------------------------------------------------------------------


def test_reads_what_is_there(folder: Folder) -> None:
    (folder.path / NAME).write_bytes(b"abc")
    data, found = folder.read(NAME, 10)
    assert data == b"abc"
    assert found == folder.stat(NAME)
    assert found.size_bytes == 3


def test_a_missing_file_is_none_to_look_at_and_an_error_to_read(folder: Folder) -> None:
    assert folder.stat(NAME) is None
    with pytest.raises(FileAbsent, match="Ventes"):
        folder.read(NAME, 10)


def test_a_larger_file_is_not_read(folder: Folder) -> None:
    (folder.path / NAME).write_bytes(b"abcd")
    with pytest.raises(FileTooLarge, match="4 bytes; at most 3"):
        folder.read(NAME, 3)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_blocks_are_the_content(folder: Folder, size: int) -> None:
    content = os.urandom(size)
    (folder.path / NAME).write_bytes(content)
    with folder.open_stable(NAME) as reader:
        blocks = list(reader)
    assert b"".join(blocks) == content
    assert all(len(block) == CHUNK_BYTES for block in blocks[:-1])
    assert folder.digest(NAME) == content_digest(content)


@given(st.lists(st.binary(max_size=50)))
def test_a_digest_of_blocks_is_that_of_the_whole(blocks: list[bytes]) -> None:
    assert blocks_digest(blocks) == content_digest(b"".join(blocks))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def rewrite_with_same_size_and_time(path: Path) -> None:
    """The save that tools miss which go by size and modification time alone."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(b"other")
    other.replace(path)


@pytest.mark.parametrize(
    "change", [append, os.unlink, rewrite_with_same_size_and_time, replace_by_another]
)
def test_a_file_that_changes_while_blocks_are_read_is_busy(
    folder: Folder, change: Callable[[Path], None]
) -> None:
    path = folder.path / NAME
    path.write_bytes(bytes(CHUNK_BYTES + 1))
    with folder.open_stable(NAME) as reader, pytest.raises(FileBusy):
        for number, _block in enumerate(reader):
            if number == 0:
                change(path)


def test_a_folder_that_vanishes_is_no_missing_file(tmp_path: Path) -> None:
    """B-MIG-1: a missing root is never a deletion."""
    place = tmp_path / "stick"
    place.mkdir()
    with Folder.open(place) as folder:
        (place / NAME).write_bytes(b"abc")
        moved = place.rename(tmp_path / "elsewhere")
        assert folder.stat(NAME) is not None, "the descriptor still leads to it"
        (moved / NAME).unlink()
        with pytest.raises(FolderMissing, match="stick"):
            folder.stat(NAME)
        place.mkdir()  # an empty mount point
        with pytest.raises(FolderMissing):
            folder.stat(NAME)
        with pytest.raises(FolderMissing):
            folder.read(NAME, 10)
    with pytest.raises(FolderMissing):
        Folder.open(tmp_path / "never")


def test_lists_names_without_our_own(folder: Folder) -> None:
    for name in ("a", "b", f"{TEMPORARY_PREFIX}1"):
        (folder.path / name).touch()
    assert sorted(folder.names(10)) == ["a", "b"]
    assert len(folder.names(1)) == 1


# -- what stands in the way -------------------------------------------------------------------


def make_link(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(b"secret")
    path.symlink_to(secret)


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


OBSTACLES = [make_link, make_dangling_link, Path.mkdir, os.mkfifo]


@pytest.mark.parametrize("make", OBSTACLES)
def test_only_plain_files_are_touched(folder: Folder, make: Callable[[Path], None]) -> None:
    """A pipe does not block, a link is not followed, a folder is not replaced."""
    path = folder.path / NAME
    make(path)
    before = path.lstat()
    for touch in (
        lambda: folder.stat(NAME),
        lambda: folder.read(NAME, 10),
        lambda: folder.digest(NAME),
        lambda: folder.replace(NAME, [b"new"], ANYTHING),
        lambda: folder.replace(NAME, [b"new"], None),
        lambda: folder.remove(NAME),
        lambda: folder.rename(NAME, "other"),
    ):
        with pytest.raises(NotARegularFile, match=r"Ventes.*it is a (link|folder|pipe)"):
            touch()
    assert path.lstat().st_ino == before.st_ino
    assert not leftovers(folder.path)


def test_a_hard_linked_file_is_read_but_not_written(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "one").write_bytes(b"abc")
    os.link(folder.path / "one", folder.path / NAME)
    assert folder.read(NAME, 10)[0] == b"abc"
    with pytest.raises(NotARegularFile, match="hard link"):
        folder.replace(NAME, [b"new"], ANYTHING)
    assert (folder.path / "one").read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_path_is_not_a_name(folder: Folder, name: str) -> None:
    for touch in (folder.stat, folder.remove, lambda name: folder.replace(name, [], None)):
        with pytest.raises(ValueError, match="not a single name"):
            touch(name)


def test_a_mandate_folder_is_opened_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere" / "M").mkdir(parents=True)
    (tmp_path / "home" / "mandates").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotAFolder, match="mandates is not a folder of its own: it is a link"):
        Folder.open_within(tmp_path / "home", "mandates", "M")
    (tmp_path / "home" / "mandates").unlink()
    with pytest.raises(FolderMissing, match="home/mandates"):
        Folder.open_within(tmp_path / "home", "mandates", "M")
    with Folder.open_within(tmp_path / "home", "mandates", "M", create=True) as folder:
        assert folder.path == tmp_path / "home" / "mandates" / "M"
        folder.replace(NAME, [b"abc"], None)
    assert (tmp_path / "home/mandates/M" / NAME).read_bytes() == b"abc"
    assert (tmp_path / "home/mandates").stat().st_mode & 0o777 == 0o700
    (tmp_path / "home/mandates/F").touch()
    with pytest.raises(NotAFolder, match="it is a file"):
        Folder.open_within(tmp_path / "home", "mandates", "F")
    with pytest.raises(ValueError, match="not a single name"):
        Folder.open_within(tmp_path / "home", "..")


# -- replacing --------------------------------------------------------------------------------


def test_a_new_file_is_whole_private_and_alone(folder: Folder) -> None:
    found = folder.replace(NAME, [b"ab", b"", b"c"], None)
    assert folder.read(NAME, 10) == (b"abc", found)
    assert (folder.path / NAME).stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder.path) == [NAME]


def test_a_replaced_file_keeps_its_permissions_and_gets_a_new_inode(folder: Folder) -> None:
    path = folder.path / NAME
    path.write_bytes(b"old")
    path.chmod(0o664)
    before = folder.stat(NAME)
    after = folder.replace(NAME, [b"new"], before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o664
    assert before is not None
    assert after.inode != before.inode
    assert after == folder.stat(NAME)
    assert os.listdir(folder.path) == [NAME]


def test_what_is_expected_may_be_told_by_digest(folder: Folder) -> None:
    (folder.path / NAME).write_bytes(b"old")
    folder.replace(NAME, [b"new"], content_digest(b"old"))
    with pytest.raises(TargetChanged):
        folder.replace(NAME, [b"newer"], content_digest(b"old"))
    assert (folder.path / NAME).read_bytes() == b"new"


@pytest.mark.parametrize("change", [append, rewrite_with_same_size_and_time, replace_by_another])
def test_a_changed_target_is_not_overwritten(
    folder: Folder, change: Callable[[Path], None]
) -> None:
    path = folder.path / NAME
    path.write_bytes(b"old")
    known = folder.stat(NAME)
    change(path)
    saved = path.read_bytes()
    with pytest.raises(TargetChanged, match="Ventes"):
        folder.replace(NAME, [b"new"], known)
    assert path.read_bytes() == saved
    assert not leftovers(folder.path)


def test_a_file_that_appeared_or_went_away_is_a_changed_target(folder: Folder) -> None:
    path = folder.path / NAME
    path.write_bytes(b"old")
    known = folder.stat(NAME)
    with pytest.raises(TargetChanged):
        folder.replace(NAME, [b"new"], None)
    path.unlink()
    for expected in (known, content_digest(b"old")):
        with pytest.raises(TargetChanged):
            folder.replace(NAME, [b"new"], expected)
    assert os.listdir(folder.path) == []


@pytest.mark.parametrize("existed", [True, False])
def test_a_save_while_the_replacement_is_written_wins(folder: Folder, existed: bool) -> None:
    path = folder.path / NAME
    if existed:
        path.write_bytes(b"old")

    def content() -> Iterator[bytes]:
        yield b"new"
        path.write_bytes(b"saved by a person")

    with pytest.raises(TargetChanged):
        folder.replace(NAME, content(), folder.stat(NAME))
    assert path.read_bytes() == b"saved by a person"
    assert not leftovers(folder.path)


@pytest.mark.parametrize("existed", [True, False])
def test_a_save_between_the_last_look_and_the_rename_wins(tmp_path: Path, existed: bool) -> None:
    """The check is part of the exchange: nothing fits between them."""

    class Slow(Folder):
        def _take_name(self, temporary: str, name: str, target: os.stat_result | None) -> None:
            replace_by_another(self.path / name)
            super()._take_name(temporary, name, target)

    with Slow.open(tmp_path) as folder:
        if existed:
            (tmp_path / NAME).write_bytes(b"old")
        with pytest.raises(TargetChanged):
            folder.replace(NAME, [b"new"], folder.stat(NAME))
    assert (tmp_path / NAME).read_bytes() == b"other"
    assert not leftovers(tmp_path)


def test_where_no_rename_refuses_what_is_there_a_free_name_is_taken_all_the_same(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "rename_new", lambda *_: False)
    folder.replace(NAME, [b"new"], None)
    assert (folder.path / NAME).read_bytes() == b"new"
    assert not leftovers(folder.path)


def test_where_no_rename_refuses_what_is_there_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "rename_new", lambda *_: False)

    class Slow(Folder):
        def _take_name(self, temporary: str, name: str, target: os.stat_result | None) -> None:
            replace_by_another(self.path / name)
            super()._take_name(temporary, name, target)

    with Slow.open(tmp_path) as folder, pytest.raises(TargetChanged):
        folder.replace(NAME, [b"new"], None)
    assert (tmp_path / NAME).read_bytes() == b"other"
    assert not leftovers(tmp_path)


def test_an_error_of_the_content_leaves_nothing_behind(folder: Folder) -> None:
    def content() -> Iterator[bytes]:
        yield b"new"
        raise KeyError("the source failed")

    with pytest.raises(KeyError):
        folder.replace(NAME, content(), None)
    assert os.listdir(folder.path) == []


# -- a disk that fails ------------------------------------------------------------------------


def failing(number: int) -> DiskCalls:
    """A disk that takes a few bytes, then fails with the given error."""
    room = [2]

    def write(descriptor: int, data: memoryview) -> int:
        if room[0] == 0:
            raise OSError(number, os.strerror(number))
        written = os.write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    return DiskCalls(write=write)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, DiskReadOnly),
        (errno.EACCES, AccessDenied),
        (errno.ESTALE, FolderMissing),
        (errno.EIO, DiskFailed),
    ],
)
def test_a_failing_disk_is_named_and_the_old_file_stays(
    tmp_path: Path, number: int, error: type[P2PSyncError]
) -> None:
    (tmp_path / NAME).write_bytes(b"old")
    with (
        Folder.open(tmp_path, failing(number)) as folder,
        pytest.raises(error, match="Ventes 2026") as raised,
    ):
        folder.replace(NAME, [b"new content"], folder.stat(NAME))
    assert raised.value.hint
    assert raised.value.exit_code == 6
    assert (tmp_path / NAME).read_bytes() == b"old"
    assert os.listdir(tmp_path) == [NAME]


def test_short_writes_are_continued(tmp_path: Path) -> None:
    calls = DiskCalls(write=lambda descriptor, data: os.write(descriptor, data[:3]))
    with Folder.open(tmp_path, calls) as folder:
        folder.replace(NAME, [b"0123456789"], None)
    assert (tmp_path / NAME).read_bytes() == b"0123456789"


def test_a_folder_without_permission_to_write_is_said_so(folder: Folder) -> None:
    path = folder.path / NAME
    path.write_bytes(b"old")
    known = folder.stat(NAME)
    folder.path.chmod(0o500)
    try:
        with unprivileged(folder.path), pytest.raises(AccessDenied, match="Ventes"):
            folder.replace(NAME, [b"new"], known)
    finally:
        folder.path.chmod(0o700)
    assert path.read_bytes() == b"old"


def test_a_file_without_permission_to_read_is_said_so(folder: Folder) -> None:
    path = folder.path / NAME
    path.write_bytes(b"old")
    path.chmod(0)
    with unprivileged(folder.path, path), pytest.raises(AccessDenied, match="Ventes"):
        folder.read(NAME, 10)


def crash_at(step: int) -> DiskCalls:
    """A process that ends, without any cleaning up, before its given write or sync."""
    left = [step]

    def count() -> None:
        if left[0] == 0:
            os._exit(7)
        left[0] -= 1

    def write(descriptor: int, data: memoryview) -> int:
        count()
        return os.write(descriptor, data[:2])

    def fsync(descriptor: int) -> None:
        count()
        os.fsync(descriptor)

    return DiskCalls(write, fsync)


@pytest.mark.parametrize("existed", [True, False])
def test_a_crash_at_any_step_leaves_the_old_or_the_new_file_and_no_rest(
    tmp_path: Path, existed: bool
) -> None:
    seen = set()
    for step in range(20):
        place = tmp_path / str(step)
        place.mkdir()
        if existed:
            (place / NAME).write_bytes(b"old")
        child = os.fork()
        if child == 0:
            with suppress(BaseException), Folder.open(place, crash_at(step)) as folder:
                folder.replace(NAME, [b"ne", b"w!"], folder.stat(NAME))
                os._exit(0)
            os._exit(1)
        _pid, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 7)
        with Folder.open(place) as folder:
            removed = folder.remove_leftovers()
            now = folder.read(NAME, 10)[0] if folder.stat(NAME) else None
        assert not leftovers(place)
        seen.add((now, removed))
        if code == 0:
            break
    old = b"old" if existed else None
    assert seen == {(old, 1), (b"new!", 0)} | ({(old, 1)} if existed else set())
    assert code == 0


def test_a_leftover_is_offered_before_it_goes(folder: Folder, tmp_path: Path) -> None:
    """It can be what a new file took the place of."""
    for number, content in enumerate((b"old version", b"half a fi")):
        (folder.path / f"{TEMPORARY_PREFIX}{number}").write_bytes(content)

    def keep(path: str, digest: bytes) -> None:
        if digest == content_digest(b"old version"):
            os.rename(path, tmp_path / "kept")

    assert folder.remove_leftovers(keep) == 2
    assert (tmp_path / "kept").read_bytes() == b"old version"
    assert not leftovers(folder.path)


def test_leftovers_are_only_our_own_regular_files(folder: Folder) -> None:
    (folder.path / f"{TEMPORARY_PREFIX}file").touch()
    (folder.path / f"{TEMPORARY_PREFIX}folder").mkdir()
    (folder.path / f"{TEMPORARY_PREFIX}link").symlink_to("x")
    (folder.path / ".other").touch()
    assert folder.remove_leftovers() == 1
    assert sorted(os.listdir(folder.path)) == [
        ".other",
        f"{TEMPORARY_PREFIX}folder",
        f"{TEMPORARY_PREFIX}link",
    ]


# -- removing and renaming --------------------------------------------------------------------


def test_removes_what_was_expected_and_nothing_else(folder: Folder) -> None:
    """B-DET-3: copies leave the folder; a changed copy is a version first."""
    path = folder.path / NAME
    path.write_bytes(b"old")
    known = folder.stat(NAME)
    append(path)
    with pytest.raises(TargetChanged):
        folder.remove(NAME, known)
    folder.remove(NAME, folder.stat(NAME))
    assert not path.exists()
    folder.remove(NAME)


def test_renames_without_ever_covering_another_file(folder: Folder) -> None:
    (folder.path / NAME).write_bytes(b"abc")
    found = folder.rename(NAME, "new.ecf")
    assert folder.read("new.ecf", 10) == (b"abc", found)
    (folder.path / NAME).write_bytes(b"second")
    with pytest.raises(TargetChanged, match=r"new\.ecf"):
        folder.rename(NAME, "new.ecf")
    with pytest.raises(FileAbsent):
        folder.rename("never", "x")
