"""What members send never fills the disk (protocol.md, "Chunks": free space before fetching)."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from p2psync.core import crypto
from p2psync.core.ops import AddFile, Chunked, Operation, Save
from p2psync.engine.effects import StoreChunk
from p2psync.limits import CHUNK_BYTES, MIB
from p2psync.node import node as node_module
from tests.node.rig import Machine, founded, invited, linked, running

PAGE = CHUNK_BYTES // 64
"""References in one chunk."""


def leave_free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Let every disk have so much left, of 1 GiB."""
    real = os.statvfs

    def statvfs(path: str) -> object:
        real(path)
        return SimpleNamespace(f_frsize=1, f_blocks=1024 * MIB, f_bavail=free_bytes)

    monkeypatch.setattr(os, "statvfs", statvfs)


def write(machine: Machine, *operations: Operation) -> None:
    """Write an entry of any content."""
    opened = machine.opened()
    machine.node.author(opened, operations)


def chunk(machine: Machine, data: bytes) -> bytes:
    """Seal a chunk into the store; return its reference."""
    sealed, digest = crypto.seal_chunk(machine.opened().replica.chunk_secret, data)
    address = crypto.chunk_address(sealed)
    machine.node.pieces.store([StoreChunk(machine.opened().id, address, sealed, ())])
    return address + digest


async def test_a_few_chunks_that_stand_for_gigabytes_are_not_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chunk named 32,768 times: 4 GiB out of a quarter of a MiB."""
    leave_free(monkeypatch, 900 * MIB)
    async with running(tmp_path / "a") as writer, running(tmp_path / "b") as victim:
        await founded(writer)
        ticket = await invited(writer)
        async with linked(writer, victim):
            await victim.service.subscribe(ticket, None, None, None)
            page = chunk(writer, chunk(writer, bytes(CHUNK_BYTES)) * PAGE)
            size = 16 * PAGE * CHUNK_BYTES
            file = b"b" * 16
            add = AddFile(file, "bomb.bin", "other", "opaque", "/", None, None, None)
            save = Save(file, (), (), Chunked(True, page * 16), False, size, b"d" * 32)
            write(writer, add, save)
            opened = victim.opened()
            with trio.fail_after(20):
                while "no-room" not in await victim.alerts():
                    await trio.sleep(0.01)
            assert not victim.copy("bomb.bin").exists()
            assert {path.name for path in opened.folder.iterdir()} == {"atelier_2025.crp"}
            small = writer.file("small.bin", b"small")
            await writer.service.attach("Books", [small], "other", None, None)
            await victim.until(lambda: victim.copy("small.bin").exists())


async def test_content_waits_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "ROOM_SECONDS", 0.05)
    async with running(tmp_path / "a") as writer, running(tmp_path / "b") as victim:
        await founded(writer)
        ticket = await invited(writer)
        async with linked(writer, victim):
            await victim.service.subscribe(ticket, None, None, None)
            leave_free(monkeypatch, 60 * MIB)
            content = os.urandom(12 * MIB)
            large = writer.file("large.bin", content)
            await writer.service.attach("Books", [large], "other", None, None)
            with trio.fail_after(20):
                while "no-room" not in await victim.alerts():
                    await trio.sleep(0.01)
            assert not victim.copy("large.bin").exists()
            leave_free(monkeypatch, 200 * MIB)
            await victim.until(lambda: victim.copy("large.bin").exists())
            assert victim.copy("large.bin").read_bytes() == content
