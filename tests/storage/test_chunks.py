"""The chunk store: whole, durable, checked (protocol.md, "Chunks")."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from p2psync.core.crypto import chunk_address
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import ChunkMissing, DiskFull, FolderMissing
from p2psync.storage.chunks import ChunkStore
from p2psync.storage.disk import SYNC_ALL_FROM, DiskCalls, sync_file_system


def chunk(data: bytes) -> tuple[bytes, bytes]:
    return chunk_address(data), data


ONE = chunk(b"one")
TWO = chunk(b"two!")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChunkStore]:
    opened = ChunkStore(tmp_path)
    yield opened
    opened.close()


def stored_at(root: Path, address: bytes) -> Path:
    return root / address.hex()[:2] / address.hex()


def stored(root: Path) -> list[bytes]:
    """The addresses of what lies in the store's folders."""
    return sorted(bytes.fromhex(path.name) for path in root.glob("??/*") if len(path.name) == 64)


def test_what_was_put_is_there(store: ChunkStore) -> None:
    store.put(*ONE)
    assert store.get(ONE[0]) == b"one"
    assert store.has(ONE[0])
    assert not store.has(TWO[0])


def test_a_missing_chunk_is_named(store: ChunkStore) -> None:
    with pytest.raises(ChunkMissing, match=ONE[0].hex()):
        store.get(ONE[0])


def test_many_at_once_and_twice(tmp_path: Path, store: ChunkStore) -> None:
    chunks = [chunk(os.urandom(100)) for _ in range(300)]
    store.put_many([*chunks, chunks[0]])
    store.put_many(chunks)
    assert stored(tmp_path) == sorted(address for address, _data in chunks)
    assert all(store.get(address) == data for address, data in chunks)


def test_chunks_survive_the_store(tmp_path: Path, store: ChunkStore) -> None:
    store.put(*ONE)
    store.close()
    store.close()
    again = ChunkStore(tmp_path)
    assert again.get(ONE[0]) == b"one"
    again.close()


def test_a_damaged_chunk_is_never_given_out_and_can_be_stored_again(
    tmp_path: Path, store: ChunkStore
) -> None:
    store.put(*ONE)
    for damage in (b"onf", b"on", b""):
        stored_at(tmp_path, ONE[0]).write_bytes(damage)
        with pytest.raises(ChunkMissing, match=ONE[0].hex()):
            store.get(ONE[0])
        assert not store.has(ONE[0])
        store.put(*ONE)
        assert store.get(ONE[0]) == b"one"


def test_a_shortened_chunk_is_replaced(tmp_path: Path, store: ChunkStore) -> None:
    store.put(*ONE)
    stored_at(tmp_path, ONE[0]).write_bytes(b"")
    store.put(*ONE)
    assert store.get(ONE[0]) == b"one"


def test_a_missing_root_is_an_error_not_an_empty_store(tmp_path: Path) -> None:
    with pytest.raises(FolderMissing):
        ChunkStore(tmp_path / "never")


def test_a_full_disk_is_said_and_leaves_no_rest(tmp_path: Path) -> None:
    room = [5]

    def write(descriptor: int, data: memoryview) -> int:
        if len(data) > room[0]:
            raise OSError(errno.ENOSPC, "no space")
        room[0] -= len(data)
        return os.write(descriptor, data)

    store = ChunkStore(tmp_path, calls=DiskCalls(write=write))
    with pytest.raises(DiskFull):
        store.put_many([ONE, TWO])
    assert stored(tmp_path) == []
    assert not [name for name in os.listdir(tmp_path) if name.startswith(TEMPORARY_PREFIX)]
    store.close()


@pytest.mark.parametrize("can_sync_all", [True, False])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_content_is_synced_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, count: int, can_sync_all: bool
) -> None:
    chunks = [chunk(os.urandom(9)) for _ in range(count)]
    folders = sorted({address.hex()[:2] for address, _data in chunks})
    named_at: list[tuple[str, int]] = []

    def note(what: str) -> None:
        named_at.append((what, len(stored(tmp_path))))

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        note("file" if os.path.isfile(path) else os.path.relpath(path, tmp_path))

    def sync_all(descriptor: int) -> bool:
        if can_sync_all:
            note("all")
        return can_sync_all

    ChunkStore(tmp_path).close()
    opened = ChunkStore(tmp_path, calls=DiskCalls(fsync=fsync, sync_file_system=sync_all))
    opened.put_many(chunks)
    opened.close()
    each = not can_sync_all or count < SYNC_ALL_FROM
    assert named_at == (
        [("file", 0)] * count + [(folder, count) for folder in folders]
        if each
        else [("all", 0), ("all", count)]
    )


@pytest.mark.parametrize("chunks", [[ONE, TWO], [chunk(bytes([number])) for number in range(5)]])
def test_a_crash_at_any_step_leaves_whole_chunks_only(
    tmp_path: Path, chunks: list[tuple[bytes, bytes]]
) -> None:
    for step in range(20):
        root = tmp_path / str(step)
        root.mkdir()
        ChunkStore(root).close()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                left = [step]

                def count(left: list[int] = left) -> None:
                    if left[0] == 0:
                        os._exit(7)
                    left[0] -= 1

                def write(descriptor: int, data: memoryview) -> int:
                    count()
                    return os.write(descriptor, data[:2])

                def fsync(descriptor: int) -> None:
                    count()
                    os.fsync(descriptor)

                def sync_all(descriptor: int) -> bool:
                    count()
                    return sync_file_system(descriptor)

                ChunkStore(root, calls=DiskCalls(write, fsync, sync_all)).put_many(chunks)
                os._exit(0)
            os._exit(1)
        _pid, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 7)
        store = ChunkStore(root)
        for address in stored(root):
            store.get(address)
        assert not [name for name in os.listdir(root) if name.startswith(TEMPORARY_PREFIX)]
        if code == 0:
            assert stored(root) == sorted(address for address, _data in chunks)
        store.close()
        if code == 0:
            return
    raise AssertionError("never finished")


def test_threads_may_put_the_same_chunks_at_once(tmp_path: Path, store: ChunkStore) -> None:
    chunks = [chunk(os.urandom(50)) for _ in range(50)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(store.put_many, chunks) for _ in range(4)]:
            done.result()
    assert len(stored(tmp_path)) == 50
    assert all(store.get(address) == data for address, data in chunks)
