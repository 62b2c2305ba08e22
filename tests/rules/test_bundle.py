"""B-NET-4: the same encrypted log as a file, both ways, any number of times, in any order."""

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from p2psync.core.mandate import Mandate
from p2psync.engine.replica import Replica
from p2psync.errors import (
    BundleForeign,
    BundleFromRemoved,
    BundleFromStranger,
    BundleInvalid,
    BundleNotAdmitted,
    BundleNothing,
    DiskFailed,
    MandateUnknown,
    NotOverwritten,
)
from p2psync.node import tickets
from p2psync.storage.bundles import BundleFile, Spot
from p2psync.storage.disk import disk_error
from tests.node.rig import (
    CRP,
    PATIENCE_SECONDS,
    V1,
    V2,
    Machine,
    founded,
    in_step,
    invited,
    linked,
    running,
)

BIG = bytes(range(256)) * 2048


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for an answer that cannot come."""
    monkeypatch.setattr(tickets, "ADMISSION_SECONDS", 0.01)


async def export(
    machine: Machine, name: str = "b", member: str | None = None, since: Path | None = None
) -> Path:
    """Write a bundle of the only mandate; its path."""
    path = machine.root / f"{name}.p2psync-bundle"
    before = None if since is None else str(since)
    await machine.service.bundle_export("Books", str(path), member, before)
    return path


def size(path: Path) -> int:
    return path.stat().st_size


def gone(machine: Machine, name: str) -> None:
    """A file of the mandate is lost on a machine, with its copy."""
    machine.desk.joinpath(name).unlink()
    machine.copy(name).unlink(missing_ok=True)


async def take(machine: Machine, path: Path) -> dict[str, Any]:
    found = await machine.service.bundle_import(str(path))
    await machine.rest()
    return dict(found)


async def acquainted(anna: Machine, ben: Machine) -> None:
    """Both members of the mandate; each has what the other has, and no link joins them."""
    await founded(anna)
    ticket = await invited(anna)
    await ben.service.identity_set("Ben")
    async with linked(anna, ben):
        await ben.service.subscribe(ticket, None, None, None)
        await in_step(anna, ben)


async def test_two_homes_that_never_meet_sync_by_a_file(tmp_path: Path) -> None:
    """B-NET-4: by ticket and stick alone: admission, postings, receipts, contents."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        await ben.service.identity_set("Ben")
        await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")

        first = await take(anna, await export(ben))
        assert first["admitted"] is True
        there = await take(ben, await export(anna))
        assert there["machine"] == anna.node.identity.machine
        assert ben.copy("atelier_2025.crp").read_bytes() == CRP
        await ben.until(lambda: ben.opened().file_named("a.ecf") is not None)
        await ben.rest()

        back = await take(anna, await export(ben, "b2", member=anna.device.hex()))
        assert back["files"] == ["a.ecf"]
        assert anna.copy("a.ecf").read_bytes() == V1
        await anna.service.post("Books", [], None)
        assert (await take(ben, await export(anna, "a2", member="Ben")))["new"] > 0
        (receipt,) = (await ben.service.receipts("Books"))["receipts"]
        assert receipt["state"] == "posted"
        assert await ben.pending() == await anna.pending() == (0, 0)
        assert anna.opened().replica.tips() == ben.opened().replica.tips()


async def test_a_bundle_may_come_again_and_late(tmp_path: Path) -> None:
    """B-NET-4: any number of times, in any order; old ones change nothing."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        await anna.rest()
        one = await export(anna, "one")
        anna.file("a.ecf", V2)
        await anna.look()
        two = await export(anna, "two", since=one)
        early = await take(ben, two)
        assert early["gaps"] == 1
        assert not ben.copy("a.ecf").exists()
        assert (await take(ben, one))["new"] > 0
        assert (await take(ben, two))["gaps"] == 0
        assert ben.copy("a.ecf").read_bytes() == V2
        pending = await ben.pending()
        for again in (one, two, one):
            said = await take(ben, again)
            assert (said["new"], said["files"]) == (0, [])
        assert ben.copy("a.ecf").read_bytes() == V2
        assert await ben.pending() == pending


async def test_what_is_known_to_be_there_is_left_out(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        path = anna.file("large.bin", BIG)
        await anna.service.attach("Books", [path], "other", None, None)
        await anna.rest()
        full = await export(anna, "full")
        assert (await take(ben, full))["files"] == ["large.bin"]
        assert ben.copy("large.bin").read_bytes() == BIG
        await take(anna, await export(ben, "answer"))
        with pytest.raises(BundleNothing):
            await export(anna, "none", member="Ben")
        with pytest.raises(BundleNothing):
            await export(anna, "none", since=full)
        anna.file("note.txt", b"more")
        await anna.service.attach("Books", [str(anna.desk / "note.txt")], "other", None, None)
        await anna.rest()
        small = await export(anna, "small", member="Ben")
        assert size(small) * 20 < size(full)
        assert (await take(ben, small))["files"] == ["note.txt"]


async def test_content_that_the_writer_lacks_is_named_and_comes_with_another_bundle(
    tmp_path: Path,
) -> None:
    """B-NET-4: whoever has it adds it, also for who is known to have the entries."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        kept = anna.file("large.bin", BIG)
        await anna.service.attach("Books", [kept], "other", None, None)
        await anna.rest()
        whole = await export(anna, "whole")
        gone(anna, "large.bin")
        path = anna.root / "poor.p2psync-bundle"
        anna.node.pieces._recent.clear()
        said = await anna.service.bundle_export("Books", str(path), None, None)
        assert said["lacking"] == ["large.bin"]
        poor = await take(ben, path)
        assert poor["lacking"] == ["large.bin"]
        assert not ben.copy("large.bin").exists()
        assert (await take(ben, whole))["lacking"] == []
        await ben.until(lambda: ben.copy("large.bin").exists())
        assert ben.copy("large.bin").read_bytes() == BIG


async def test_a_damaged_bundle_is_refused_whole(tmp_path: Path) -> None:
    """B-NET-4: cut short, altered at its end; what is wrong is said, nothing changes."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.rest()
        whole = (await export(anna)).read_bytes()
        before = ben.opened().replica.tips()
        bad = ben.root / "bad.p2psync-bundle"
        for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-9] + bytes(9)):
            bad.write_bytes(damaged)
            with pytest.raises(BundleInvalid):
                await ben.service.bundle_import(str(bad))
        await ben.rest()
        assert ben.opened().replica.tips() == before
        bad.write_bytes(whole)
        assert (await take(ben, bad))["files"] == ["a.ecf"]


async def test_a_bundle_opens_nowhere_else(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "dora") as dora:
        await founded(anna)
        await invited(anna)
        await founded(dora)
        path = await export(anna)
        seen = path.read_bytes()
        assert b"Books" not in seen
        assert anna.opened().id not in seen
        with pytest.raises(BundleForeign):
            await dora.service.bundle_import(str(path))
        with pytest.raises(NotOverwritten):
            await export(anna)


async def test_the_removed_and_strangers_bring_nothing(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        running(tmp_path / "carl") as carl,
    ):
        await acquainted(anna, ben)
        ticket = await invited(anna)
        await carl.service.subscribe(ticket, None, None, None)
        asks = await export(carl)
        with pytest.raises(BundleNotAdmitted):
            await ben.service.bundle_import(str(asks))  # a writer may not admit
        await ben.service.attach("Books", [ben.file("a.ecf", V1)], "invoicing", None, None)
        await ben.rest()
        late = await export(ben)
        await anna.service.member_remove("Books", "Ben")
        with pytest.raises(BundleFromRemoved):
            await anna.service.bundle_import(str(late))
        assert (await take(anna, asks))["admitted"] is True
        # Carl hears of all by the key of his ticket, and of the new epoch's key by the bundle.
        await take(carl, await export(anna, "for-carl", member=carl.device.hex()))
        assert carl.opened().replica.tips() == anna.opened().replica.tips()
        await carl.service.attach("Books", [carl.file("c.ecf", V2)], "invoicing", None, None)
        await carl.rest()
        assert (await take(anna, await export(carl, "c2")))["files"] == ["c.ecf"]
        with pytest.raises(BundleFromRemoved):
            await carl.service.bundle_import(str(late))


async def test_a_bundle_of_somebody_whom_nobody_admitted_is_refused(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        running(tmp_path / "carl") as carl,
    ):
        await acquainted(anna, ben)
        ticket = await invited(anna)
        async with linked(anna, carl):
            await carl.service.subscribe(ticket, None, None, None)
            await in_step(anna, carl)
        # Carl is a member for Anna; Ben has not heard of him.
        with pytest.raises(BundleFromStranger):
            await ben.service.bundle_import(str(await export(carl)))
        await take(ben, await export(anna))
        assert (await take(ben, await export(carl, "c2")))["gaps"] == 0


async def test_a_stick_that_is_pulled_out_is_told_and_the_rest_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        await anna.service.attach("Books", [anna.file("large.bin", BIG)], "other", None, None)
        await anna.rest()
        bundle = await export(anna)

        def gone(file: BundleFile, spot: Spot) -> bytes:
            raise disk_error(OSError(errno.EIO, "no such device"), str(file.path))

        with monkeypatch.context() as patch:
            patch.setattr(BundleFile, "frame", gone)
            with pytest.raises(DiskFailed):
                await ben.service.bundle_import(str(bundle))
        assert (await take(ben, bundle))["lacking"] == []
        await ben.until(lambda: ben.copy("large.bin").exists())


async def test_an_import_ends_when_its_mandate_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.rest()
        bundle = await export(anna)
        reads, goes_on = threading.Event(), threading.Event()
        frames = BundleFile.frames

        def slowly(file: BundleFile) -> Iterator[bytes]:
            reads.set()
            goes_on.wait()
            yield from frames(file)

        monkeypatch.setattr(BundleFile, "frames", slowly)
        caught: list[MandateUnknown] = []

        async def take_in() -> None:
            try:
                await ben.service.bundle_import(str(bundle))
            except MandateUnknown as error:
                caught.append(error)

        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take_in)
                await trio.to_thread.run_sync(reads.wait)
                await ben.service.mandate_remove("Books")
                goes_on.set()
        assert caught


async def test_what_an_export_tells_is_looked_up_in_the_event_loop_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries may come meanwhile: a thread would see half of what they change."""
    here = threading.get_ident()
    threads: set[int] = set()

    def noting(inner: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            threads.add(threading.get_ident())
            return inner(*arguments)

        return note

    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await acquainted(anna, ben)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.rest()
        for kind, names in ((Replica, ("tips", "is_member")), (Mandate, ("present_files",))):
            for name in names:
                monkeypatch.setattr(kind, name, noting(getattr(kind, name)))
        await export(anna)
    assert threads == {here}
