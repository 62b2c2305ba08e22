"""B-MIG-1 to B-MIG-3: links, migrating and replacing, looked at from both sides."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from p2psync.errors import (
    AttachedAlready,
    CandidateUnknown,
    FileAbsent,
    FileInMandateFolder,
    LinkElsewhere,
    LinkGutted,
    LinkNotBroken,
    LinkOtherFile,
    LinkSeveral,
    LinkWithoutCandidate,
    MandateIsClosed,
    MigrateBlocked,
    MigrateGutted,
    NodeEnding,
    NotAllowed,
    NotARegularFile,
    PlaceNeedsSeat,
    PlaceOtherFormat,
    PlaceOtherPeriod,
    PlaceSame,
    PlaceUnreadable,
    ProgramRefused,
)
from p2psync.formats.cresus_settings import read_settings
from p2psync.node.copies import Role
from tests.node.rig import (
    CRP,
    EXAMPLES,
    V1,
    V2,
    Machine,
    PowerCut,
    founded,
    in_step,
    invited,
    linked,
    running,
)

ECS = (EXAMPLES / "atelier_2025.ecs").read_bytes()
V1_TO_V2 = (3, 2)
"""What waits when V1 is posted and the file is V2."""
OTHER = V1.replace(b"2025", b"2024")


async def attached(machine: Machine, name: str = "a.ecf", data: bytes = V1) -> Path:
    path = machine.file(name, data)
    await machine.service.attach("Books", [path], "invoicing", None, None)
    return Path(path)


async def alone(machine: Machine) -> Path:
    await founded(machine)
    return await attached(machine)


async def joined(anna: Machine, ben: Machine, role: str = "writer") -> None:
    """Anna has the accounting; Ben is let in."""
    await founded(anna)
    await ben.service.subscribe(await invited(anna, role), None, None, None)
    await in_step(anna, ben)


async def broken(machine: Machine) -> dict[str, Any]:
    """Look at all files, and return the one alert for a broken link."""
    await machine.look()
    found = await machine.open_alerts()
    (alert,) = [each for each in found if each["type"] == "link-broken"]
    assert alert["action"] == "restore-link"
    return dict(alert)


async def told(machine: Machine, kind: str) -> list[dict[str, Any]]:
    """The events of a type, newest first."""
    await machine.node.notices.kept()
    found = await machine.service.messages(None, None, 1000, [kind], None)
    return list(found["messages"])


async def state(machine: Machine) -> tuple[object, ...]:
    """What a refusal must leave as it is."""
    opened = machine.opened()
    return (
        opened.replica.tips(),
        {place: copy.path for place, copy in opened.copies.items()},
        await machine.pending(),
    )


def rename(path: str, name: str) -> Path:
    return Path(path).rename(Path(path).with_name(name))


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def desk(machine: Machine) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in machine.desk.iterdir() if path.is_file()}


# -- B-MIG-1: the link is broken --------------------------------------------------------------


async def test_b_mig_1_a_renamed_file_is_offered_and_its_link_restored(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        path = await attached(ben)
        await in_step(anna, ben)
        await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        new = path.with_name("b.ecf")
        path.rename(new)
        alert = await broken(ben)
        assert alert["data"]["offered"] == str(new)
        assert str(new) in alert["text"]
        assert (await ben.shown("a.ecf"))["state"] == "missing"
        await in_step(anna, ben)
        assert (await anna.shown("a.ecf"))["state"] == "ok"
        assert anna.copy("a.ecf").read_bytes() == V1  # no deletion

        said = await ben.service.relink("Books", "a.ecf", None)
        assert (said["path"], said["before"]) == (str(new), str(path))
        assert await ben.alerts() == []
        assert (await told(ben, "link-restored"))[0]["file"] == "b.ecf"
        await in_step(anna, ben)
        for machine in (anna, ben):
            shown = await machine.shown("b.ecf")
            assert (shown["state"], shown["folder"]) == ("ok", str(ben.desk))
            assert await machine.pending() == (0, 0)  # what is posted stays so
            assert machine.copy("b.ecf").read_bytes() == V1
            assert not machine.copy("a.ecf").exists()
            (moved,) = await told(machine, "file-moved")
            assert moved["data"]["from"]["name"] == "a.ecf"
            assert moved["data"]["to"] == {
                "device": ben.device.hex(),
                "device_name": moved["device_name"],
                "folder": str(ben.desk),
                "name": "b.ecf",
            }
        new.write_bytes(V2)
        await ben.look()
        await in_step(anna, ben)
        assert await anna.pending() == V1_TO_V2


async def test_b_mig_1_a_file_moved_while_the_node_was_off_is_known_again(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
    aside = path.parent / "2025"
    aside.mkdir()
    moved = path.rename(aside / "sales.ecf")
    moved.write_bytes(V2)  # renamed, moved and saved: the inode and most records speak for it
    async with running(tmp_path) as machine:
        alert = await broken(machine)
        assert alert["data"]["offered"] == str(moved)
        (candidate,) = alert["data"]["candidates"]
        assert candidate["signals"] == ["identity", "records"]
        await machine.service.relink("Books", "a.ecf", None)
        assert await machine.pending() == (8, 0)
        assert machine.copy("sales.ecf").read_bytes() == V2
        assert await machine.alerts() == []


async def test_b_mig_1_a_renamed_folder_takes_all_its_files_along(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await alone(machine)
        new = machine.desk.rename(tmp_path / "renamed")
        await machine.look()
        found = await machine.open_alerts()
        assert [each["type"] for each in found] == ["link-broken"] * 2
        assert {each["data"]["offered"] for each in found} == {
            str(new / "a.ecf"),
            str(new / "atelier_2025.crp"),
        }
        for name in ("a.ecf", "atelier_2025.crp"):
            await machine.service.relink("Books", name, None)
            assert (await machine.shown(name))["folder"] == str(new)
        assert await machine.alerts() == []
        assert await machine.pending() == (7, 0)


async def test_b_mig_1_a_drive_that_is_gone_is_asked_for_and_no_deletion(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        drive = tmp_path / "drive" / "deep"
        drive.mkdir(parents=True)
        await founded(machine)
        (drive / "a.ecf").write_bytes(V1)
        await machine.service.attach("Books", [str(drive / "a.ecf")], "invoicing", None, None)
        (tmp_path / "drive").rename(machine.desk / ".away")
        alert = await broken(machine)
        assert "connect it" in alert["text"]
        assert alert["data"]["candidates"] == []
        machine.copy("a.ecf").write_bytes(V2)  # news meanwhile
        await machine.look()
        assert await machine.pending() == (8, 0)
        assert not drive.exists()
        (machine.desk / ".away").rename(tmp_path / "drive")
        await machine.look()
        assert await machine.alerts() == []
        assert (drive / "a.ecf").read_bytes() == V2
        assert len(await told(machine, "link-restored")) == 1


async def test_b_mig_1_a_file_that_comes_back_settles_the_alert(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        path.rename(path.with_name("b.ecf"))
        await broken(machine)
        path.with_name("b.ecf").rename(path)
        await machine.look()
        assert await machine.alerts() == []
        assert await machine.pending() == (7, 0)
        with pytest.raises(LinkNotBroken):
            await machine.service.relink("Books", "a.ecf", None)


async def test_b_mig_1_a_mere_copy_is_asked_about_not_offered(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        copy = Path(machine.file("copy of a.ecf", V1))
        path.unlink()
        alert = await broken(machine)
        assert alert["data"]["offered"] is None
        assert alert["data"]["candidates"] == [{"path": str(copy), "signals": ["content"]}]
        before = await state(machine)
        with pytest.raises(LinkSeveral) as caught:
            await machine.service.relink("Books", "a.ecf", None)
        assert str(copy) in caught.value.text
        with pytest.raises(CandidateUnknown):
            await machine.service.relink("Books", "a.ecf", "nothing.ecf")
        assert await state(machine) == before
        await machine.service.relink("Books", "a.ecf", "copy of a.ecf")
        assert (await machine.shown("copy of a.ecf"))["state"] == "ok"


async def test_b_mig_1_of_several_candidates_a_person_chooses(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        for name in ("old", "new"):
            (machine.desk / name).mkdir()
            shutil.copy2(path, machine.desk / name / "a.ecf")
        path.unlink()
        alert = await broken(machine)
        assert alert["data"]["offered"] is None
        assert len(alert["data"]["candidates"]) == 2
        with pytest.raises(LinkSeveral):
            await machine.service.relink("Books", "a.ecf", None)
        chosen = str(machine.desk / "new" / "a.ecf")
        await machine.service.relink("Books", "a.ecf", chosen)
        assert (await machine.shown("a.ecf"))["folder"] == str(machine.desk / "new")


async def test_b_mig_1_a_file_that_exists_was_not_moved(tmp_path: Path) -> None:
    """The other one is a copy, whatever speaks for it."""
    async with running(tmp_path) as machine:
        path = await alone(machine)
        os.link(path, path.with_name("b.ecf"))
        await machine.look()
        assert await machine.alerts() == []
        path.with_name("b.ecf").unlink()
        shutil.copy2(path, path.with_name("c.ecf"))
        await machine.look()
        before = await state(machine)
        with pytest.raises(LinkNotBroken):
            await machine.service.relink("Books", "a.ecf", "c.ecf")
        assert await state(machine) == before


async def test_b_mig_1_programs_that_save_by_renaming_break_no_link(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        # The old file becomes a backup, the new one takes its name.
        path.rename(path.with_name("a.ecf.bak"))
        path.write_bytes(V2)
        await machine.look()
        assert (await machine.alerts(), await machine.pending()) == ([], (8, 0))
        # A moment without a file, seen by the node.
        machine.node.missing.grace_seconds = 60
        path.unlink()
        machine.node.look_at_all()
        await machine.until(lambda: machine.node.missing.searching(machine.opened()))
        path.write_bytes(V1)
        await machine.look()
        assert (await machine.alerts(), await machine.pending()) == ([], (7, 0))
        # Another file takes the place: a save like any other.
        machine.file("a.ecf", V2)
        await machine.look()
        assert (await machine.alerts(), await machine.pending()) == ([], (8, 0))
        assert await told(machine, "link-broken") == []


async def test_b_mig_1_two_files_that_swapped_their_names_are_no_saves(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        one, two = await attached(ben, "a.ecf"), await attached(ben, "b.ecf", OTHER)
        await in_step(anna, ben)
        before = await anna.pending()
        ids = {name: (await anna.shown(name))["id"] for name in ("a.ecf", "b.ecf")}
        one.rename(ben.desk / "c.ecf")
        two.rename(one)
        (ben.desk / "c.ecf").rename(two)
        await ben.look()
        assert await ben.alerts() == ["link-broken", "link-broken"]
        await in_step(anna, ben)
        assert await anna.pending() == before
        assert (one.read_bytes(), two.read_bytes()) == (OTHER, V1)
        assert anna.copy("a.ecf").read_bytes() == V1

        await ben.service.relink("Books", "a.ecf", None)
        assert await ben.alerts() == []
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert {name: (await machine.shown(name))["id"] for name in ("a.ecf", "b.ecf")} == {
                "a.ecf": ids["b.ecf"],
                "b.ecf": ids["a.ecf"],
            }
            assert await machine.pending() == before
            assert machine.copy("b.ecf").read_bytes() == V1
            assert machine.copy("a.ecf").read_bytes() == OTHER


async def test_b_mig_1_names_that_are_swapped_back_settle_by_themselves(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        one = await alone(machine)
        two = await attached(machine, "b.ecf", OTHER)
        before = await machine.pending()

        def swap() -> None:
            one.rename(machine.desk / "c.ecf")
            two.rename(one)
            (machine.desk / "c.ecf").rename(two)

        swap()
        await machine.look()
        assert await machine.alerts() == ["link-broken", "link-broken"]
        swap()
        await machine.look()
        assert (await machine.alerts(), await machine.pending()) == ([], before)


async def test_b_mig_1_an_attached_file_renamed_over_another_is_not_its_save(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as machine:
        one = await alone(machine)
        two = await attached(machine, "b.ecf", OTHER)
        before = await machine.pending()
        two.rename(one)
        await machine.look()
        assert await machine.alerts() == ["link-broken", "link-broken"]
        assert (await machine.pending(), one.read_bytes()) == (before, OTHER)
        # A person may say that it is the file now.
        await machine.service.confirm("Books", "a.ecf")
        assert machine.copy("a.ecf").read_bytes() == OTHER
        assert (await machine.shown("a.ecf"))["state"] == "ok"
        assert await machine.alerts() == ["link-broken"]


async def test_b_mig_1_the_file_of_another_person_is_relinked_there(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        await attached(ben)
        await in_step(anna, ben)
        with pytest.raises(LinkElsewhere):
            await anna.service.relink("Books", "a.ecf", None)


async def test_b_mig_1_what_is_another_file_takes_no_link(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        path.unlink()
        await broken(machine)
        before = await state(machine)
        with pytest.raises(LinkWithoutCandidate):
            await machine.service.relink("Books", "a.ecf", None)
        empty = machine.file("empty.ecf", V1.splitlines(keepends=True)[0])
        refusals: list[tuple[str, type[Exception]]] = [
            (empty, LinkOtherFile),
            (machine.file("staff.ecs", ECS), PlaceOtherFormat),
            (str(machine.desk / "nothing.ecf"), FileAbsent),
            (str(machine.copy("a.ecf")), FileInMandateFolder),
            (str(machine.desk / "atelier_2025.crp"), AttachedAlready),
        ]
        for candidate, refusal in refusals:
            with pytest.raises(refusal):
                await machine.service.relink("Books", "a.ecf", candidate)
        assert await state(machine) == before


async def test_b_mig_1_a_moved_file_that_lost_its_content_is_not_linked(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = await attached(machine)
        new = path.rename(path.with_name("b.ecf"))
        new.write_bytes(b"")
        await broken(machine)
        before = await state(machine)
        with pytest.raises((LinkGutted, PlaceOtherFormat)):
            await machine.service.relink("Books", "a.ecf", str(new))
        assert await state(machine) == before


# -- B-MIG-2: migrating -----------------------------------------------------------------------


async def test_b_mig_2_pending_and_posted_move_along(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        path = await attached(ben)
        await in_step(anna, ben)
        await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        path.write_bytes(V2)
        (ben.desk / "new").mkdir()
        new = Path(shutil.copy2(path, ben.desk / "new" / "sales.ecf"))
        said = await ben.service.migrate("Books", "a.ecf", str(new), False)
        assert (said["pending"]["added"], said["pending"]["deleted"]) == V1_TO_V2
        assert (said["file"], said["before"]["path"]) == ("sales.ecf", str(path))
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == V1_TO_V2
            assert (await machine.shown("sales.ecf"))["folder"] == str(new.parent)
            assert machine.copy("sales.ecf").read_bytes() == V2
        path.write_bytes(V1)  # nobody's any more
        await ben.look()
        assert await ben.pending() == V1_TO_V2
        assert path.read_bytes() == V1
        write(new, V1)
        await ben.look()
        await in_step(anna, ben)
        assert await anna.pending() == (0, 0)


async def test_b_mig_2_another_device_takes_a_file_over(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        path = await attached(ben)
        await in_step(anna, ben)
        new = Path(anna.file("sales.ecf", V1))
        await anna.service.migrate("Books", "a.ecf", str(new), False)
        await in_step(anna, ben)
        await ben.until(lambda: not any(r == "attached" for _, r in ben.opened().copies))
        await in_step(anna, ben)
        (alert,) = await told(ben, "file-taken-over")
        assert str(path) in alert["text"]
        assert alert["device"] == anna.device.hex()
        assert await anna.alerts() == []
        assert path.read_bytes() == V1
        path.write_bytes(V2)
        await ben.look()
        await in_step(anna, ben)
        assert await anna.pending() == (7, 0)
        write(new, V2)
        await anna.look()
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (8, 0)
            shown = await machine.shown("sales.ecf")
            assert shown["folder"] == str(anna.desk)
            assert machine.copy("sales.ecf").read_bytes() == V2
    async with running(tmp_path / "ben") as ben:
        assert not any(role == "attached" for _, role in ben.opened().copies)


async def test_b_mig_2_what_the_old_device_saved_before_it_heard_of_it_is_not_lost(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
    ):
        async with linked(anna, ben):
            await joined(anna, ben)
            path = await attached(ben)
            await in_step(anna, ben)
        new = anna.file("sales.ecf", V1)
        await anna.service.migrate("Books", "a.ecf", new, False)
        path.write_bytes(V2)  # nobody looked at it yet
        async with linked(anna, ben):
            await ben.until(lambda: not any(r == "attached" for _, r in ben.opened().copies))
            await in_step(anna, ben)
            assert desk(anna)["sales.ecf"] == V2
            assert await anna.pending() == await ben.pending() == (8, 0)


async def test_b_mig_2_of_two_that_take_a_file_over_at_once_one_has_it(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
    ):
        async with linked(anna, ben):
            await joined(anna, ben)
            await attached(ben)
            await in_step(anna, ben)
        one, two = anna.file("one.ecf", V1), ben.file("two.ecf", V1)
        await anna.service.migrate("Books", "a.ecf", one, False)
        await ben.service.migrate("Books", "a.ecf", two, False)
        machines = {anna.device: anna, ben.device: ben}
        async with linked(anna, ben):
            await in_step(anna, ben)
            (file,) = [
                each
                for each in anna.opened().state.present_files()
                if each.info.kind == "invoicing"
            ]
            winner = machines.pop(file.device)
            (loser,) = machines.values()
            place: tuple[bytes, Role] = (file.id, "attached")
            await loser.until(lambda: place not in loser.opened().copies)
            assert place in winner.opened().copies
            assert len(await told(loser, "file-taken-over")) == 1
            assert await told(winner, "file-taken-over") == []
            name = file.info.name
            for machine in (anna, ben):
                assert (await machine.shown(name))["folder"] == str(winner.desk)
                assert await machine.pending() == (7, 0)


async def test_b_mig_2_records_that_would_be_lost_block_and_are_listed(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        path = await attached(ben)
        await in_step(anna, ben)
        await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        path.write_bytes(V2)
        await ben.look()
        new = ben.file("new.ecf", V1)
        before = await state(ben)
        with pytest.raises(MigrateBlocked) as caught:
            await ben.service.migrate("Books", "a.ecf", new, False)
        assert (caught.value.params["pending"], caught.value.params["posted"]) == ("3", "0")
        assert caught.value.params["pending_records"].count(";") == 2
        assert "3 that wait to be posted" in caught.value.text
        assert "that are posted" not in caught.value.text
        assert await state(ben) == before
        assert desk(ben) == {"a.ecf": V2, "new.ecf": V1}
        said = await ben.service.migrate("Books", "a.ecf", new, True)
        assert (said["cancelled"], said["advice"]) == (3, None)
        await in_step(anna, ben)
        assert await anna.pending() == await ben.pending() == (0, 0)


async def test_b_mig_2_posted_records_that_are_gone_are_to_be_taken_back(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        await attached(ben, data=V2)
        await in_step(anna, ben)
        await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        new = ben.file("new.ecf", V1)
        with pytest.raises(MigrateBlocked) as caught:
            await ben.service.migrate("Books", "a.ecf", new, False)
        assert (caught.value.params["pending"], caught.value.params["posted"]) == ("0", "3")
        assert caught.value.params["posted_records"].count(";") == 2
        assert "3 that are posted" in caught.value.text and "wait" not in caught.value.text
        said = await ben.service.migrate("Books", "a.ecf", new, True)
        assert said["advice"]["code"] == "repost"
        await in_step(anna, ben)
        assert await anna.pending() == await ben.pending() == (2, 3)


async def test_b_mig_2_each_refusal_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        await machine.service.mandate_create("Other", None)
        taken = machine.file("taken.ecf", OTHER)
        await machine.service.attach("Other", [taken], "invoicing", None, None)
        books = next(each for each in machine.node.opened.values() if each.name == "Books")
        os.link(path, machine.desk / "hard.ecf")
        (machine.desk / "link.ecf").symlink_to(machine.file("aim.ecf", V1))
        (machine.desk / "folder.ecf").mkdir()
        before = (books.replica.tips(), {k: c.path for k, c in books.copies.items()}, desk(machine))
        refusals: list[tuple[str, type[Exception]]] = [
            (str(path), PlaceSame),
            (taken, AttachedAlready),
            (str(machine.desk / "hard.ecf"), AttachedAlready),
            (str(machine.desk / "link.ecf"), NotARegularFile),
            (str(machine.desk / "folder.ecf"), NotARegularFile),
            (str(machine.desk / "nothing.ecf"), FileAbsent),
            (str(books.folder / "a.ecf"), FileInMandateFolder),
            (machine.file("staff.ecs", ECS), PlaceOtherFormat),
            (machine.file("drift.ecf", b"not at all\n"), PlaceUnreadable),
        ]
        for new, refusal in refusals:
            with pytest.raises(refusal):
                await machine.service.migrate("Books", "a.ecf", new, False)
            with pytest.raises(refusal):
                await machine.service.replace("Books", "a.ecf", new, False)
        machine_now = desk(machine)
        for name in ("staff.ecs", "drift.ecf"):
            machine_now.pop(name)
        now = (books.replica.tips(), {k: c.path for k, c in books.copies.items()}, machine_now)
        assert now == before
        with pytest.raises(PlaceOtherPeriod):
            year = machine.file("next.crp", CRP.replace(b".2025", b".2026"))
            await machine.service.migrate("Books", "atelier_2025.crp", year, False)


async def test_b_mig_2_who_may_only_read_places_nothing(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben, "reader")
        await attached(anna)
        await in_step(anna, ben)
        new = ben.file("mine.ecf", V1)
        before = await state(ben)
        for do in (ben.service.migrate, ben.service.replace):
            with pytest.raises(NotAllowed):
                await do("Books", "a.ecf", new, False)
        with pytest.raises(NotAllowed):
            await ben.service.relink("Books", "a.ecf", new)
        assert await state(ben) == before


async def test_b_mig_2_the_accounting_goes_where_the_seat_is(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben, "accounting")
        new = ben.file("books.crp", CRP)
        with pytest.raises(PlaceNeedsSeat):
            await ben.service.migrate("Books", "atelier_2025.crp", new, False)
        await anna.service.seat_hand("Books", ben.device.hex())
        await in_step(anna, ben)
        await ben.service.migrate("Books", "atelier_2025.crp", new, False)
        await in_step(anna, ben)
        await anna.until(lambda: not any(r == "attached" for _, r in anna.opened().copies))
        assert (await anna.shown("books.crp"))["folder"] == str(ben.desk)


async def test_b_mig_2_a_whole_file_migrates_with_its_versions(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        data = bytes(range(256)) * 400
        path = machine.file("scan.pdf", data)
        await machine.service.attach("Books", [path], "other", None, None)
        with pytest.raises(MigrateGutted):
            await machine.service.migrate("Books", "scan.pdf", machine.file("x.pdf", b"x"), False)
        new = machine.file("scans.pdf", data + b"more")
        await machine.service.migrate("Books", "scan.pdf", new, False)
        assert machine.copy("scans.pdf").read_bytes() == data + b"more"
        versions = (await machine.service.history("Books", "scans.pdf", None))["versions"]
        assert len(versions) == 2


async def test_b_mig_2_a_refused_program_s_file_and_a_closed_mandate_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await alone(machine)
        new = machine.file("new.ecf", V1)
        await machine.service.policy_set("Books", ["trial"], {})
        await machine.service.program_register("Books", "a.ecf", "Invoices", "1", "trial")
        with pytest.raises(ProgramRefused):
            await machine.service.migrate("Books", "a.ecf", new, False)
        await machine.service.policy_set("Books", [], {})
        await machine.service.mandate_share("Books")
        await machine.service.mandate_close("Books")
        with pytest.raises(MandateIsClosed):
            await machine.service.migrate("Books", "a.ecf", new, False)
        assert {copy.name for copy in machine.opened().copies.values()} >= {"a.ecf"}


async def test_b_mig_2_a_cut_leaves_the_old_place_or_the_new_one(tmp_path: Path) -> None:
    """Place, save and the copy's row are one transaction."""
    outcomes = set()
    for number in range(4):
        root = tmp_path / str(number)
        try:
            async with running(root) as machine:
                await alone(machine)
                new = machine.file("new.ecf", V2)
                await machine.node.notices.kept()
                machine.store.cut_before = machine.store.commits + number
                await machine.service.migrate("Books", "a.ecf", new, True)
                await machine.rest()
        except* (PowerCut, NodeEnding):
            pass
        async with running(root) as machine:
            await machine.look()
            opened = machine.opened()
            (copy,) = [
                copy
                for (file, role), copy in opened.copies.items()
                if role == "attached" and opened.state.files[file].info.kind == "invoicing"
            ]
            file = opened.state.files[copy.file]
            assert file.info.name == copy.name
            assert await machine.pending() == ((8, 0) if copy.name == "new.ecf" else (7, 0))
            assert len(file.versions) == (2 if copy.name == "new.ecf" else 1)
            outcomes.add(copy.name)
    assert outcomes == {"a.ecf", "new.ecf"}


async def test_b_mig_2_who_lost_a_file_lets_go_of_it_at_the_next_start(tmp_path: Path) -> None:
    """Though the node ended between hearing of it and doing so."""
    async with running(tmp_path / "anna") as anna:
        async with running(tmp_path / "ben") as ben, linked(anna, ben):
            await joined(anna, ben)
            path = await attached(ben)
            await in_step(anna, ben)
            (copy,) = [c for (_, role), c in ben.opened().copies.items() if role == "attached"]
            await anna.service.migrate("Books", "a.ecf", anna.file("b.ecf", V1), False)
            await ben.until(lambda: not any(r == "attached" for _, r in ben.opened().copies))
            await ben.node.runner.hand_in([ben.store.keep_copy(copy)]).wait()
        write(path, V2)
        async with running(tmp_path / "ben") as ben, linked(anna, ben):
            await ben.until(lambda: not any(r == "attached" for _, r in ben.opened().copies))
            await in_step(anna, ben)
            # What was saved there while nobody told its person is not lost.
            assert await anna.pending() == await ben.pending() == (8, 0)
            assert desk(anna)["b.ecf"] == V2


async def test_b_mig_2_a_large_file_is_known_again_and_migrates(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        data = os.urandom(3 << 20)
        path = machine.file("scan.pdf", data)
        await machine.service.attach("Books", [path], "other", None, None)
        new = rename(path, "moved.pdf")
        alert = await broken(machine)
        assert alert["data"]["offered"] == str(new)
        await machine.service.relink("Books", "scan.pdf", None)
        other = machine.file("other.pdf", data + b"more")
        await machine.service.migrate("Books", "moved.pdf", other, False)
        assert machine.copy("other.pdf").read_bytes() == data + b"more"
        assert await machine.alerts() == []


async def test_b_mig_2_what_others_changed_meanwhile_reaches_the_file_that_was_found(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben, "accounting")
        path = await attached(ben)
        await in_step(anna, ben)
        new = path.rename(path.with_name("b.ecf"))
        await broken(ben)
        anna.copy("a.ecf").write_bytes(V2)
        await anna.look()
        await in_step(anna, ben)
        assert desk(ben).get("b.ecf") == V1
        assert "a.ecf" not in desk(ben)  # never a second one in its place
        await ben.service.relink("Books", "a.ecf", None)
        await in_step(anna, ben)
        assert new.read_bytes() == V2
        assert await anna.pending() == await ben.pending() == (8, 0)


# -- B-MIG-3: replacing -----------------------------------------------------------------------


async def test_b_mig_3_replacing_tells_what_changes_and_to_post_again(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        path = await attached(ben)
        await in_step(anna, ben)
        await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        new = Path(ben.file("other.ecf", OTHER))
        before = await state(ben)
        guided = await ben.service.replace("Books", "a.ecf", str(new), True)
        assert not guided["done"]
        assert await state(ben) == before
        assert (guided["added"], guided["deleted"], guided["posted"]) == (7, 7, 7)
        assert guided["records"] == {"before": 7, "after": 7}
        assert guided["advice"]["code"] == "repost"
        said = await ben.service.replace("Books", "a.ecf", str(new), False)
        assert said["done"]
        assert (said["added"], said["deleted"]) == (7, 7)
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (7, 7)
            assert machine.copy("other.ecf").read_bytes() == OTHER
        (event,) = await told(ben, "file-replaced")
        assert (event["action"], event["data"]["deleted"]) == ("post", 7)
        assert path.read_bytes() == V1
        # Undone by the old file, which is still there.
        await ben.service.replace("Books", "other.ecf", str(path), False)
        await in_step(anna, ben)
        assert await anna.pending() == await ben.pending() == (0, 0)


async def test_b_mig_3_an_accounting_is_replaced_too(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await alone(machine)
        new = machine.file("mended.crp", CRP + b"")
        said = await machine.service.replace("Books", "atelier_2025.crp", new, False)
        assert (said["accounts"], said["advice"]["code"]) == (
            {"added": [], "deleted": []},
            "same",
        )
        assert (await machine.shown("mended.crp"))["kind"] == "accounting"
        assert machine.copy("mended.crp").read_bytes() == CRP
        accounts = sorted(read_settings(CRP).accounts)
        less = CRP.replace(accounts[0].encode(), b"9" + accounts[0].encode())
        said = await machine.service.replace(
            "Books", "mended.crp", machine.file("less.crp", less), False
        )
        assert said["accounts"]["deleted"] == [accounts[0]]
        assert said["advice"]["code"] == "settings"
        assert await machine.pending() == (7, 0)


async def test_b_mig_3_a_missing_file_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        path = await alone(machine)
        path.unlink()
        await broken(machine)
        await machine.service.replace("Books", "a.ecf", machine.file("b.ecf", V2), False)
        assert (await machine.alerts(), await machine.pending()) == ([], (8, 0))
        assert (await machine.shown("b.ecf"))["state"] == "ok"
