"""Commands that overlap: what one decided before it waited may not hold when it goes on."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio

from p2psync.core import ops
from p2psync.core.balance import Balance
from p2psync.core.crdt import Read, weighed
from p2psync.core.ops import OpId
from p2psync.errors import (
    AttachedAlready,
    FileInMandateFolder,
    MandateUnknown,
    P2PSyncError,
    PathInvalid,
    RemovedUnknown,
    SeatElsewhere,
    SeatHeirLeft,
)
from p2psync.formats import exports
from p2psync.limits import UNDO_SECONDS
from p2psync.node import posting
from tests.fakes.clock import FakeClock
from tests.node.rig import V1, Machine, founded, in_step, invited, linked, running
from tests.rules.offices import events, files, meet, names, office

Answers = list[object]


async def kept(answers: Answers, run: Callable[[], Awaitable[object]]) -> None:
    """Keep what a command answers, or how it is refused."""
    try:
        answers.append(await run())
    except P2PSyncError as error:
        answers.append(error)


async def meanwhile(
    machine: Machine,
    run: Callable[[], Awaitable[object]],
    change: Callable[[], Awaitable[object]],
) -> object:
    """Let a command wait for the mandate's lock while something changes; return its answer."""
    await machine.rest()  # nothing else waits for the lock
    opened = machine.opened()
    answers: Answers = []
    async with trio.open_nursery() as nursery, opened.lock:
        nursery.start_soon(kept, answers, run)
        with trio.fail_after(10):
            while not opened.lock.statistics().tasks_waiting:
                await trio.sleep(0.005)
        await change()
    (answer,) = answers
    return answer


async def test_b_pos_3_a_file_that_is_named_twice_is_handed_over_once(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        once, twice = str(anna.desk / "once"), str(anna.desk / "twice")
        said = await anna.service.post("Books", ["a.ecf"], once)
        await anna.service.unpost("Books", str(said["receipt"]))
        again = await anna.service.post("Books", ["a.ecf", path], twice)
        assert again["added"] == said["added"] == 7
        assert (anna.desk / "twice").read_bytes() == (anna.desk / "once").read_bytes()


async def test_b_pos_7_who_gave_the_seat_away_meanwhile_hands_nothing_over(tmp_path: Path) -> None:
    async with office(tmp_path, "accounting") as (anna, ben):
        output = anna.desk / "out"
        answer = await meanwhile(
            anna,
            lambda: anna.service.post("Books", [], str(output)),
            lambda: anna.service.seat_hand("Books", ben.device.hex()),
        )
        assert isinstance(answer, SeatElsewhere)
        assert not output.exists() and not anna.opened().state.receipts


async def test_b_pos_7_who_gives_the_seat_away_while_it_hands_over_makes_no_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = posting._hand_over
    async with office(tmp_path, "accounting") as (anna, ben):

        def slowly(output: Path, made: exports.Outputs) -> Path | None:
            written = real(output, made)
            trio.from_thread.run(anna.service.seat_hand, "Books", ben.device.hex())
            return written

        monkeypatch.setattr(posting, "_hand_over", slowly)
        output = anna.desk / "out"
        waits = await anna.pending()
        with pytest.raises(SeatElsewhere):
            await anna.service.post("Books", [], str(output))
        assert not output.exists(), "nobody is to book what is not posted"
        assert not anna.opened().state.receipts
        assert await anna.pending() == waits


async def test_b_pos_3_what_is_posted_while_a_post_is_prepared_is_not_posted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = weighed
    async with office(tmp_path, "accounting") as (anna, _):
        opened = anna.opened()
        (file,) = [each for each in opened.state.present_files() if each.info.name == "a.ecf"]
        first = file.pending_items().adds[:1]

        async def post_first() -> None:
            await anna.node.author(
                opened, [ops.Post(1, (ops.take(file.id, first),), (), 1, 0)]
            ).wait()

        def slowly(contents: Sequence[tuple[OpId, bytes]], read: Read) -> Balance:
            trio.from_thread.run(post_first)
            return real(contents, read)

        monkeypatch.setattr(posting, "weighed", slowly)
        said = await anna.service.post("Books", [], None)
        assert (said["added"], said["deleted"]) == (6, 0)
        assert await anna.pending() == (0, 0)
        assert not file.doubles and await anna.alerts() == []


async def test_b_pos_7_the_seat_goes_to_nobody_who_left(tmp_path: Path) -> None:
    async with office(tmp_path, "accounting") as (anna, ben):
        await ben.service.mandate_remove("Books")
        async with linked(anna, ben):
            left = ben.device
            await anna.until(lambda: left in anna.opened().state.standing.left())
        with pytest.raises(SeatHeirLeft) as caught:
            await anna.service.seat_hand("Books", "Ben")
        assert "Ben" in caught.value.text
        assert anna.opened().state.seat() == anna.device
        shown = await anna.service.seat_show("Books")
        assert shown["heirs"] == []


async def removed_meanwhile(machine: Machine, run: Callable[[], Awaitable[object]]) -> object:
    """Let a command wait while the mandate is removed here."""
    await machine.rest()  # nothing else waits for the lock
    answers: Answers = []
    opened = machine.opened()
    async with trio.open_nursery() as nursery, opened.lock:
        nursery.start_soon(machine.service.mandate_remove, "Books")
        with trio.fail_after(10):
            while not opened.lock.statistics().tasks_waiting:
                await trio.sleep(0.005)
        nursery.start_soon(kept, answers, run)
        with trio.fail_after(10):
            while opened.lock.statistics().tasks_waiting < 2:
                await trio.sleep(0.005)
    (answer,) = answers
    return answer


@pytest.mark.parametrize("command", ["post", "attach", "migrate", "reattach"])
async def test_b_rem_1_what_waits_while_the_mandate_is_removed_is_refused(
    tmp_path: Path, command: str
) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        other = anna.file("b.ecf", V1)
        gone = anna.file("c.txt", b"notes")
        await anna.service.attach("Books", [gone], "other", None, None)
        await anna.service.detach("Books", "c.txt")
        opened = anna.opened()
        tips = opened.replica.tips()
        runs: dict[str, Callable[[], Awaitable[object]]] = {
            "post": lambda: anna.service.post("Books", [], str(anna.desk / "out")),
            "attach": lambda: anna.service.attach("Books", [other], "invoicing", None, None),
            "migrate": lambda: anna.service.migrate("Books", "a.ecf", other, False),
            "reattach": lambda: anna.service.reattach("Books", "c.txt"),
        }
        answer = await removed_meanwhile(anna, runs[command])
        assert isinstance(answer, MandateUnknown), answer
        assert opened.replica.tips() == tips
        assert not (anna.desk / "out").exists()


async def test_b_rem_1_a_fold_that_is_to_be_made_anew_waits_for_the_mandate(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        opened = anna.opened()
        opened.state.stale = True
        await removed_meanwhile(anna, lambda: anna.node._refold(opened.id))
        await anna.service.mandate_restore("Books")
        with trio.fail_after(10):
            while opened.state.stale:
                await trio.sleep(0.005)
        assert await files(anna) == ["atelier_2025.crp"]


async def test_b_att_4_two_files_do_not_migrate_to_one_place(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        every = [anna.file(name, V1) for name in ("a.ecf", "b.ecf")]
        await anna.service.attach("Books", every, "invoicing", None, None)
        new = anna.file("new.ecf", V1)
        answers: Answers = []
        async with trio.open_nursery() as nursery:
            for name in ("a.ecf", "b.ecf"):

                async def migrate(name: str = name) -> object:
                    return await anna.service.migrate("Books", name, new, False)

                nursery.start_soon(kept, answers, migrate)
        refused = [each for each in answers if isinstance(each, AttachedAlready)]
        assert len(answers) == 2 and len(refused) == 1
        attached = [c.path for (_, role), c in anna.opened().copies.items() if role == "attached"]
        assert len(set(attached)) == len(attached) == 3


async def test_b_att_4_two_names_of_one_file_are_not_attached_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        other = str(anna.desk / "b.ecf")
        os.link(path, other)
        with pytest.raises(AttachedAlready):
            await anna.service.attach("Books", [path, other], "invoicing", None, None)
        assert await files(anna) == ["atelier_2025.crp"]


async def test_b_rem_1_a_removal_is_undone_once(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        await anna.service.mandate_remove("Books")
        answers: Answers = []
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(kept, answers, lambda: anna.service.mandate_restore("Books"))
        assert [isinstance(each, RemovedUnknown) for each in answers].count(True) == 1
        assert await names(anna) == ["Books"]
        assert len(await events(anna, "mandate-restored")) == 1


async def test_b_rem_5_what_comes_back_in_the_last_moment_is_not_purged(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock=clock) as anna:
        await founded(anna)
        opened = anna.opened()
        await anna.service.mandate_remove("Books")
        (hidden,) = anna.node.removal.hidden.values()
        answers: Answers = []
        async with trio.open_nursery() as nursery, hidden.lock:
            nursery.start_soon(kept, answers, lambda: anna.service.mandate_restore("Books"))
            with trio.fail_after(10):
                while not hidden.lock.statistics().tasks_waiting:
                    await trio.sleep(0.005)
            await clock.advance(UNDO_SECONDS + 1)
            with trio.fail_after(10):
                while hidden.lock.statistics().tasks_waiting < 2:
                    await trio.sleep(0.005)
        await anna.rest()
        assert opened.live and await names(anna) == ["Books"]
        assert anna.copy("atelier_2025.crp").exists()


async def test_b_att_4_who_comes_back_by_ticket_leaves_files_to_the_mandate_that_has_them(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.identity_set("Anna")
        await founded(anna)
        ticket = await invited(anna, "owner")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        books = anna.opened().id
        await anna.service.mandate_remove("Books")
        async with linked(anna, ben):
            await ben.until(lambda: ben.opened().closed)
        await ben.service.mandate_reopen("Books")
        path = str(anna.desk / "atelier_2025.crp")
        await anna.service.mandate_create("Other", path)
        back = str((await ben.service.invite("Books", "owner", 3600, 1, None, True))["ticket"])
        async with linked(anna, ben):
            await anna.service.subscribe(back, None, None, None)
            await anna.until(lambda: not anna.node.opened[books].closed)
        await anna.rest()
        holders = [
            opened.name
            for opened in anna.node.opened.values()
            for (_, role), copy in opened.copies.items()
            if role == "attached" and str(copy.path) == path
        ]
        assert holders == ["Other"]


async def test_b_mig_1_a_name_that_is_not_utf_8_ends_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        odd = os.path.join(os.fsencode(anna.desk), b"caf\xe9.ecf")
        os.rename(os.fsencode(path), odd)
        await anna.look()
        assert await anna.alerts() == ["link-broken"]
        name = os.fsdecode(odd)
        every: list[Callable[[], Awaitable[object]]] = [
            lambda: anna.service.relink("Books", "a.ecf", name),
            lambda: anna.service.attach("Books", [name], "invoicing", None, None),
            lambda: anna.service.post("Books", [], name + ".out"),
        ]
        for refused in every:
            with pytest.raises(PathInvalid) as caught:
                await refused()
            caught.value.text.encode()
        assert not anna.opened().state.receipts
        anna.node.notices.message("file-suggested", "{file}", file=os.fsdecode(odd))
        assert len(await events(anna, "file-suggested")) == 1


async def test_b_man_3_a_file_that_is_listed_twice_is_offered_once(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        line = b"#ECF\t1; 01/01/2025 10:00:00; %s; u1\r\n"
        lines = [b"#FSC\t9.3\tECC\r\n", line % b"a.ecf", line % rb"C:\old\a.ecf", b"#END\r\n"]
        anna.file("atelier_2025.ecc", b"".join(lines))
        anna.file("a.ecf", V1)
        await founded(anna)
        said = await anna.service.attach("Books", [], None, None, None, offered=True)
        assert [each["name"] for each in said["files"]] == ["a.ecf"]
        assert said["skipped"] == []


async def test_b_rem_1_an_undone_removal_brings_back_what_is_to_be_settled(tmp_path: Path) -> None:
    async with office(tmp_path, "accounting") as (anna, ben):
        await anna.service.post("Books", [], None)
        # Ben has not heard of it, and takes the same.
        opened = ben.opened()
        (file,) = [each for each in opened.state.present_files() if each.info.name == "a.ecf"]
        taken = ops.take(file.id, file.pending_items().adds)
        await ben.node.author(opened, [ops.Post(1, (taken,), (), 7, 0)]).wait()
        await meet(anna, ben)
        assert await ben.alerts() == ["double-posting"]
        await ben.service.mandate_remove("Books")
        assert await ben.alerts() == []
        await ben.service.mandate_restore("Books")
        await ben.rest()
        assert await ben.alerts() == ["double-posting"]


async def test_b_pos_3_what_is_handed_over_is_no_save_of_a_missing_file(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        every = [anna.file(name, V1) for name in ("a.ecf", "b.ecf")]
        await anna.service.attach("Books", every, "invoicing", None, None)
        os.rename(every[0], every[0] + ".away")
        await anna.look()
        with pytest.raises(AttachedAlready):
            await anna.service.post("Books", ["b.ecf"], every[0])
        with pytest.raises(FileInMandateFolder):
            await anna.service.post("Books", ["b.ecf"], str(anna.opened().folder / "out"))
        assert not (anna.desk / "a.ecf").exists() and not anna.opened().state.receipts
