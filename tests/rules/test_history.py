"""B-HIS: what was, from whom, and mass deletions. Two real nodes; both sides are looked at."""

from pathlib import Path

import pytest

from p2psync.errors import AnswerElsewhere, FileHeldBack, NothingHeld
from tests.node.rig import V1, Machine, in_step, linked
from tests.rules.offices import events, meet, office

HEADER = b"".join(V1.splitlines(keepends=True)[:2])
LINE = V1.splitlines(keepends=True)[2]
MANY = b"".join(LINE.replace(b"R-2001", b"R-%d" % (4000 + number)) for number in range(60))
FULL, GUTTED = HEADER + MANY, HEADER + LINE
ALL = 60


async def filled(anna: Machine, ben: Machine) -> None:
    """Ben's file has many records, and Anna knows them."""
    ben.file("a.ecf", FULL)
    await ben.look()
    await meet(anna, ben)


async def gut(ben: Machine, content: bytes = GUTTED) -> None:
    ben.file("a.ecf", content)
    await ben.look()


def desk(machine: Machine, name: str = "a.ecf") -> bytes:
    return (machine.desk / name).read_bytes()


async def versions(machine: Machine) -> list[str]:
    found = (await machine.service.history("Books", "a.ecf", None))["versions"]
    return [each["version"] for each in found]


async def test_b_his_3_the_accountant_sees_what_is_held_back_how_much_and_by_whom(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await gut(ben)
        await meet(anna, ben)
        for machine in (anna, ben):
            (held,) = (await machine.service.held_list("Books"))["held"]
            assert (held["deleted"], held["added"]) == (ALL, 1)
            assert (held["records_before"], held["records_after"]) == (ALL, 1)
            assert held["amount"] == "140400.00"
            assert (held["from"], held["to"]) == ("2025-03-05", "2025-03-05")
            assert (held["by"], held["here"]) == ("Ben", machine is ben)
            assert held["answer"] is None
            assert await machine.pending() == (ALL, 0)
            assert machine.copy("a.ecf").read_bytes() == FULL
        assert await anna.alerts() == ["deletion-held"]
        assert await ben.alerts() == ["save-held-back"]
        (told,) = await events(anna, "deletion-held")
        assert told["device_name"] == "Ben" and "60 of 60 records" in told["text"]
        await ben.look()  # looked at again, told once
        await meet(anna, ben)
        assert len(await events(anna, "deletion-held")) == 1


@pytest.mark.parametrize("verdict", ["confirmed", "refused"])
async def test_b_his_3_the_accountant_answers_and_the_source_does_it_when_it_is_back(
    tmp_path: Path, verdict: str
) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await gut(ben)
        await meet(anna, ben)
        answer = anna.service.confirm if verdict == "confirmed" else anna.service.refuse
        said = await answer("Books", "a.ecf")
        assert (said["verdict"], said["done"]) == (verdict, False)
        assert [each["machine"] for each in said["held"]] == [ben.node.identity.machine]
        assert await anna.alerts() == []
        assert desk(ben) == GUTTED  # Ben is off line and knows nothing yet
        assert await ben.alerts() == ["save-held-back"]
        async with linked(anna, ben):
            await in_step(anna, ben)
            await ben.rest()
            await in_step(anna, ben)
        left = GUTTED if verdict == "confirmed" else FULL
        assert desk(ben) == left
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == left
            assert await machine.alerts() == []
            assert (await machine.service.held_list("Books"))["held"] == []
            (ended,) = await events(machine, "held-save-ended")
            assert ended["device_name"] == "Anna"
            assert await machine.pending() == ((1, 0) if verdict == "confirmed" else (ALL, 0))


async def test_b_his_3_what_the_source_refuses_is_a_version_and_the_file_as_it_was(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        before = await versions(ben)
        await gut(ben)
        said = await ben.service.refuse("Books", "a.ecf")
        assert said["done"] and desk(ben) == FULL
        await meet(anna, ben)
        for machine in (anna, ben):
            assert await machine.alerts() == []
            assert await machine.pending() == (0, 0)  # what was posted still is
            assert machine.copy("a.ecf").read_bytes() == FULL
            assert (await machine.shown("a.ecf"))["records"] == ALL
            assert await versions(machine) != before
            assert said["kept"][0] in await versions(machine)
        out = tmp_path / "refused.ecf"
        await ben.service.restore("Books", "a.ecf", said["kept"][0], str(out))
        assert out.read_bytes() == GUTTED
        # It can be made to count after all.
        await ben.service.restore("Books", "a.ecf", said["kept"][0], None)
        await meet(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == GUTTED
            assert await machine.pending() == (1, ALL)


async def test_b_his_3_refusing_keeps_what_others_did_meanwhile(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await gut(ben)
        more = FULL + LINE
        anna.copy("a.ecf").write_bytes(more)
        await anna.look()
        await meet(anna, ben)
        assert desk(ben) == GUTTED  # held: nothing is written over it
        await ben.service.refuse("Books", "a.ecf")
        await meet(anna, ben)
        assert desk(ben) == more
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == more
            assert await machine.pending() == (ALL + 1, 0)


async def test_b_his_3_a_save_that_takes_less_ends_the_hold_on_both_sides(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await gut(ben)
        await meet(anna, ben)
        assert await anna.alerts() == ["deletion-held"]
        await gut(ben, FULL + LINE)
        # Anna answers while she cannot know: there is nothing any more that it could be about.
        await anna.service.confirm("Books", "a.ecf")
        await meet(anna, ben)
        for machine in (anna, ben):
            assert await machine.alerts() == []
            assert (await machine.service.held_list("Books"))["held"] == []
            assert await machine.pending() == (ALL + 1, 0)
        assert desk(ben) == FULL + LINE
        await gut(ben)  # and her word is not for the next one
        assert await ben.alerts() == ["save-held-back"]
        assert await ben.pending() == (ALL + 1, 0)
        await meet(anna, ben)
        assert await anna.alerts() == ["deletion-held"]


async def test_b_his_3_content_that_is_back_ends_the_hold_on_both_sides(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await gut(ben)
        await meet(anna, ben)
        await gut(ben, FULL)
        await meet(anna, ben)
        for machine in (anna, ben):
            assert await machine.alerts() == []
            assert (await machine.service.held_list("Books"))["held"] == []
            assert await machine.pending() == (ALL, 0)


async def test_b_his_3_a_deeper_cut_is_another_question(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        await gut(ben)
        await meet(anna, ben)
        await gut(ben, HEADER)
        await anna.service.confirm("Books", "a.ecf")  # of the save that she saw
        await meet(anna, ben)
        assert desk(ben) == HEADER
        assert await ben.pending() == (ALL, 0)
        assert await ben.alerts() == ["save-held-back"]
        assert await anna.alerts() == ["deletion-held"]
        (held,) = (await anna.service.held_list("Books"))["held"]
        assert (held["records_after"], held["answer"]) == (0, None)
        ben.file("a.ecf", HEADER[:-1])
        with pytest.raises(FileHeldBack):  # it changed since anybody looked
            await ben.service.refuse("Books", "a.ecf")
        assert desk(ben) == HEADER[:-1]


async def test_b_his_3_only_the_source_and_the_accountant_answer(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await filled(anna, ben)
        for machine in (anna, ben):
            for answer in (machine.service.confirm, machine.service.refuse):
                with pytest.raises(NothingHeld):
                    await answer("Books", "a.ecf")
        anna.copy("a.ecf").write_bytes(GUTTED)  # this time the save is on Anna's side
        await anna.look()
        await meet(anna, ben)
        assert await anna.alerts() == ["save-held-back"]
        assert await ben.alerts() == []  # a writer is not asked
        for answer in (ben.service.confirm, ben.service.refuse):
            with pytest.raises(AnswerElsewhere):
                await answer("Books", "a.ecf")
        await anna.service.refuse("Books", "a.ecf")
        await meet(anna, ben)
        assert desk(ben) == FULL and anna.copy("a.ecf").read_bytes() == FULL


async def test_b_his_3_a_file_kept_whole_is_refused_and_kept_too(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        big, small = b"x" * 300_000, b"y" * 10
        await ben.service.attach("Books", [ben.file("notes.txt", big)], "other", None, None)
        await meet(anna, ben)
        ben.file("notes.txt", small)
        await ben.look()
        await meet(anna, ben)
        assert await anna.alerts() == ["deletion-held"]
        await anna.service.refuse("Books", "notes.txt")
        async with linked(anna, ben):
            await in_step(anna, ben)
            await ben.rest()
            await in_step(anna, ben)
        assert desk(ben, "notes.txt") == big
        found = (await ben.service.history("Books", "notes.txt", None))["versions"]
        assert [each["bytes"] for each in found] == [len(big), len(small), len(big)]
        for machine in (anna, ben):
            assert machine.copy("notes.txt").read_bytes() == big
            assert await machine.alerts() == []
        out = tmp_path / "refused.txt"
        await ben.service.restore("Books", "notes.txt", found[1]["version"], str(out))
        assert out.read_bytes() == small
