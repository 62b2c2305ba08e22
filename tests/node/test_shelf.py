"""One node on a real folder: saves are taken up, copies written, nobody's own file touched."""

from pathlib import Path

import pytest
import trio

from p2psync.errors import AttachedAlready, FileAbsent, NotARegularFile
from tests.node.rig import CRP, V1, V2, V2_RENUMBERED, Machine, founded, running


async def attached(machine: Machine, data: bytes = V1) -> Path:
    await founded(machine)
    path = machine.file("a.ecf", data)
    await machine.service.attach("Books", [path], "invoicing", None, None)
    return Path(path)


async def test_each_save_is_taken_up_and_copied(tmp_path: Path) -> None:
    """B-ATT-1, B-POS-2."""
    async with running(tmp_path) as machine:
        await attached(machine)
        assert await machine.pending() == (7, 0)
        assert machine.copy("a.ecf").read_bytes() == V1
        machine.file("a.ecf", V2)
        await machine.look()
        assert await machine.pending() == (8, 0)
        assert machine.copy("a.ecf").read_bytes() == V2
        machine.file("a.ecf", V2_RENUMBERED)
        await machine.look()
        assert await machine.pending() == (8, 0)
        assert machine.copy("a.ecf").read_bytes() == V2_RENUMBERED


async def test_the_file_tells_the_year_that_its_records_fall_into(tmp_path: Path) -> None:
    """B-ATT-2."""
    async with running(tmp_path) as machine:
        await attached(machine)
        shown = await machine.shown("a.ecf")
        assert shown["period"] == "2025-01-01..2025-12-31"
        assert (shown["state"], shown["delivered"]) == ("ok", True)


async def test_a_change_of_the_copy_reaches_the_attached_file(tmp_path: Path) -> None:
    """B-ATT-6."""
    async with running(tmp_path) as machine:
        path = await attached(machine)
        machine.copy("a.ecf").write_bytes(V2)
        await machine.look()
        assert path.read_bytes() == V2
        assert await machine.pending() == (8, 0)


async def test_a_copy_made_anew_by_delete_and_create_is_a_save(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await attached(machine)
        machine.copy("a.ecf").unlink()
        machine.copy("a.ecf").write_bytes(V2)
        await machine.look()
        assert path.read_bytes() == V2
        assert await machine.pending() == (8, 0)


async def test_a_lost_copy_and_a_lost_mandate_folder_come_back(tmp_path: Path) -> None:
    """Files, 6: never a deletion."""
    async with running(tmp_path) as machine:
        await attached(machine)
        folder = machine.opened().folder
        machine.copy("a.ecf").unlink()
        await machine.look()
        assert machine.copy("a.ecf").read_bytes() == V1
        for name in list(folder.iterdir()):
            name.unlink()
        folder.rmdir()
        await machine.look()
        assert machine.copy("a.ecf").read_bytes() == V1
        assert machine.copy("atelier_2025.crp").read_bytes() == CRP
        assert await machine.pending() == (7, 0)


async def test_a_missing_file_is_told_and_forgiven(tmp_path: Path) -> None:
    """B-MIG-1: a missing file is never taken for a deletion; the alert goes with its cause."""
    async with running(tmp_path) as machine:
        path = await attached(machine)
        path.unlink()
        await machine.look()
        assert (await machine.shown("a.ecf"))["state"] == "missing"
        assert await machine.alerts() == ["link-broken"]
        assert await machine.pending() == (7, 0)
        machine.copy("a.ecf").write_bytes(V2)  # news meanwhile
        await machine.look()
        assert not path.exists()
        machine.file("a.ecf", V1)
        await machine.look()
        assert path.read_bytes() == V2
        assert await machine.alerts() == []


async def test_a_missing_drive_is_not_an_empty_one(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await attached(machine)
        machine.desk.rename(tmp_path / "away")
        await machine.look()
        assert (await machine.shown("a.ecf"))["state"] == "missing"
        (tmp_path / "away").rename(machine.desk)
        await machine.look()
        assert (await machine.shown("a.ecf"))["state"] == "ok"
        assert await machine.pending() == (7, 0)


@pytest.mark.parametrize("kind", ["link", "folder"])
async def test_what_is_no_plain_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as machine:
        path = await attached(machine)
        path.unlink()
        if kind == "link":
            (tmp_path / "elsewhere").write_bytes(V2)
            path.symlink_to(tmp_path / "elsewhere")
        else:
            path.mkdir()
        await machine.look()
        shown = await machine.shown("a.ecf")
        assert shown["state"] == "cannot-read"
        assert [problem["code"] for problem in shown["problems"]] == [NotARegularFile.code]
        assert await machine.alerts() == ["file-unreadable"]
        path.unlink() if kind == "link" else path.rmdir()
        machine.file("a.ecf", V2)
        await machine.look()
        assert (await machine.shown("a.ecf"))["state"] == "ok"
        assert await machine.alerts() == []
        assert await machine.pending() == (8, 0)


async def test_somebodys_own_file_is_never_overwritten_nor_counted(tmp_path: Path) -> None:
    """A file in the mandate folder that was there under that name before."""
    async with running(tmp_path) as machine:
        await founded(machine)
        machine.copy("a.ecf").write_bytes(V2)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.look()
        assert machine.copy("a.ecf").read_bytes() == V2
        assert await machine.pending() == (7, 0)
        shown = await machine.shown("a.ecf")
        assert shown["state"] == "cannot-write"
        assert [problem["code"] for problem in shown["problems"]] == ["file-in-the-way"]
        assert await machine.alerts() == ["cannot-write"]
        machine.copy("a.ecf").rename(machine.copy("mine.ecf"))
        await machine.look()
        assert machine.copy("a.ecf").read_bytes() == V1
        assert machine.copy("mine.ecf").read_bytes() == V2
        assert await machine.alerts() == []


async def test_a_gutted_save_waits_for_a_word(tmp_path: Path) -> None:
    """B-HIS-3; confirmed, it counts."""
    async with running(tmp_path) as machine:
        path = await attached(machine)
        path.write_bytes(b"")
        await machine.look()
        assert (await machine.shown("a.ecf"))["state"] == "held"
        assert machine.copy("a.ecf").read_bytes() == V1
        assert await machine.pending() == (7, 0)
        assert await machine.alerts() == ["save-held-back"]
        await machine.service.confirm("Books", "a.ecf")
        assert await machine.pending() == (0, 0)
        assert machine.copy("a.ecf").read_bytes() == b""
        assert await machine.alerts() == []


async def test_a_held_save_outlives_a_restart_and_goes_when_it_is_undone(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await attached(machine)
        path.write_bytes(b"")
        await machine.look()
    async with running(tmp_path) as machine:
        await machine.look()
        assert (await machine.shown("a.ecf"))["state"] == "held"
        assert await machine.pending() == (7, 0)
        machine.copy("a.ecf").write_bytes(V2)  # somebody goes on in the other copy
        await machine.look()
        assert path.read_bytes() == b""
        machine.file("a.ecf", V1)
        await machine.look()
        assert path.read_bytes() == V2
        assert (await machine.shown("a.ecf"))["state"] == "ok"
        assert await machine.alerts() == []
        assert await machine.pending() == (8, 0)


async def test_a_confirmation_is_of_what_was_shown(tmp_path: Path) -> None:
    """The file was gutted again after the alert: that is another question."""
    async with running(tmp_path) as machine:
        path = await attached(machine)
        path.write_bytes(b"")
        await machine.look()
        path.write_bytes(V1[:40])
        with pytest.raises(Exception, match="held back"):
            await machine.service.confirm("Books", "a.ecf")
        assert await machine.pending() == (7, 0)


async def test_restore_gives_up_what_was_held(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await attached(machine)
        (version,) = (await machine.service.history("Books", "a.ecf", None))["versions"]
        path.write_bytes(b"")
        await machine.look()
        await machine.service.restore("Books", "a.ecf", version["version"], None)
        assert path.read_bytes() == V1
        assert (await machine.shown("a.ecf"))["state"] == "ok"
        assert await machine.alerts() == []


async def test_restore_takes_up_what_stands_on_the_disk_first(tmp_path: Path) -> None:
    """Files, 4: the content that is replaced is a version, and the restored one counts alone."""
    async with running(tmp_path) as machine:
        path = await attached(machine)
        (version,) = (await machine.service.history("Books", "a.ecf", None))["versions"]
        machine.file("a.ecf", V2)
        await machine.service.restore("Books", "a.ecf", version["version"], None)
        assert path.read_bytes() == V1
        assert await machine.pending() == (7, 0)
        assert len((await machine.service.history("Books", "a.ecf", None))["versions"]) == 3


async def test_files_are_attached_all_or_none(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        good = machine.file("a.ecf", V1)
        (machine.desk / "b.ecf").mkdir()
        for bad in (str(machine.desk / "b.ecf"), str(machine.desk / "none.ecf")):
            with pytest.raises((NotARegularFile, FileAbsent)):
                await machine.service.attach("Books", [good, bad], "invoicing", None, None)
        assert await machine.pending() == (0, 0)
        assert len((await machine.service.mandate_show("Books"))["files"]) == 1
        assert not machine.copy("a.ecf").exists()


async def test_the_same_file_is_not_attached_twice(tmp_path: Path) -> None:
    """B-ATT-4, also through a link to its folder and at the same time."""
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        (tmp_path / "alias").symlink_to(machine.desk)
        outcomes: list[str] = []

        async def attach(each: str) -> None:
            try:
                await machine.service.attach("Books", [each], "invoicing", None, None)
                outcomes.append("attached")
            except AttachedAlready:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attach, path)
            nursery.start_soon(attach, str(tmp_path / "alias" / "a.ecf"))
        assert sorted(outcomes) == ["attached", "refused"]
        assert await machine.pending() == (7, 0)


async def test_files_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        one = machine.file("a.ecf", V1)
        (machine.desk / "sub").mkdir()
        other = machine.desk / "sub" / "A.ECF"
        other.write_bytes(V2)
        await machine.service.attach("Books", [one], "invoicing", None, None)
        await machine.service.attach("Books", [str(other)], "invoicing", None, None)
        await machine.look()
        names = [file["name"] for file in (await machine.service.mandate_show("Books"))["files"]]
        contents = {
            machine.copy(name).read_bytes() for name in names if name.lower().endswith(".ecf")
        }
        assert contents == {V1, V2}
        in_folder = sorted(path.name for path in machine.opened().folder.iterdir())
        assert in_folder == sorted(names)
        assert await machine.pending() == (15, 0)
