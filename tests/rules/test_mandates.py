"""B-MAN-1 to B-MAN-7: mandates, looked at from both sides."""

from pathlib import Path

import pytest
import trio
import trio.testing

from p2psync.core import ops
from p2psync.errors import (
    AccountingsSeveral,
    AccountingTaken,
    MandateAmbiguous,
    MandateLocal,
    NameRefused,
    NotAllowed,
    NothingOffered,
    OfferedAndFiles,
    PeriodTaken,
    SuggestionUnknown,
)
from tests.node.rig import (
    CRP,
    EXAMPLES,
    V1,
    Machine,
    founded,
    in_step,
    invited,
    linked,
    running,
)

CRP_2026 = CRP.replace(b".2025", b".2026")
ECS = (EXAMPLES / "atelier_2025.ecs").read_bytes()
LIST = b"\r\n".join(
    (
        b"#FSC\t9.3\tECC",
        b"#ECF\t1; 31/03/2025 16:40:30; atelier_2025.ecf; 4711",
        b"#ECS\t1; 26/03/2025 07:30:00; atelier_2025.ecs; 4712",
        b"#ECF\t1; 26/03/2025 07:30:00; gone_2025.ecf; 4713",
        b"#END",
    )
)


async def told(machine: Machine, kind: str) -> list[str]:
    """The texts of the events of a type."""
    await machine.node.notices.kept()
    found = await machine.service.messages(None, None, 1000, [kind], None)
    return [event["text"] for event in found["messages"]]


async def joined(anna: Machine, ben: Machine, role: str = "writer") -> None:
    await founded(anna)
    await ben.service.subscribe(await invited(anna, role), None, None, None)
    await in_step(anna, ben)


# -- one accounting ---------------------------------------------------------------------------


async def test_b_man_1_a_second_accounting_is_refused_and_a_further_period_is_not(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben, "accounting")
        other = ben.file("other.crp", CRP_2026)
        with pytest.raises(AccountingTaken):
            await ben.service.attach("Books", [other], "accounting", None, None)
        year = anna.file("atelier_2026.crp", CRP_2026)
        with pytest.raises(AccountingTaken):
            await anna.service.attach("Books", [year], "accounting", None, None)
        same_year = anna.file("again.crp", CRP)
        with pytest.raises(PeriodTaken):
            await anna.service.attach("Books", [same_year], "accounting", None, "atelier_2025.crp")
        assert len(anna.opened().state.files) == len(ben.opened().state.files) == 1
        await anna.service.attach("Books", [year], "accounting", None, "atelier_2025.crp")
        await in_step(anna, ben)
        for machine in (anna, ben):
            files = (await machine.service.mandate_show("Books"))["files"]
            assert [(file["name"], file["period"]) for file in files] == [
                ("atelier_2025.crp", "2025-01-01..2025-12-31"),
                ("atelier_2026.crp", "2026-01-01..2026-12-31"),
            ]


async def test_b_man_1_several_accountings_at_once_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await anna.service.mandate_create("Books", None)
        files = [anna.file("a.crp", CRP), anna.file("b.crp", CRP_2026)]
        with pytest.raises(AccountingsSeveral):
            await anna.service.attach("Books", files, "accounting", None, None)
        assert anna.opened().state.present_files() == []


async def test_b_man_1_accountings_attached_while_apart_are_contested_until_settled(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.mandate_create("Books", None)
        ticket = await invited(anna, "accounting")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        for machine, name in ((anna, "anna.crp"), (ben, "ben.crp")):
            path = machine.file(name, CRP)
            await machine.service.attach("Books", [path], "accounting", None, None)
        async with linked(anna, ben):
            await in_step(anna, ben)
            seats = []
            for machine in (anna, ben):
                assert "seat-contested" in await machine.alerts()
                shown = await machine.service.mandate_show("Books")
                seats.append((shown["seat"], shown["contested"]))
                assert [(f["name"], f["contested"]) for f in shown["files"]] == [
                    ("anna.crp", False),
                    ("ben.crp", True),
                ]
                assert [(m["seat"], m["contested"]) for m in shown["members"]] == [
                    (True, False),
                    (False, True),
                ]
            assert seats[0] == seats[1] and len(seats[0][1]) == 1
            # A person settles it: the holder hands the seat over, here to itself.
            hand = ops.HandSeat(2, anna.device)
            await anna.node.author(anna.opened(), [hand]).wait()
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert "seat-contested" not in await machine.alerts()
                assert (await machine.service.mandate_show("Books"))["contested"] == []


# -- local, shared ----------------------------------------------------------------------------


async def test_b_man_2_a_new_mandate_is_local_and_whole_without_a_network(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        assert anna.node.transport is None
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        (listed,) = (await anna.service.mandate_list())["mandates"]
        assert (listed["kind"], listed["state"], listed["pending"]["added"]) == ("local", "ok", 7)
        (member,) = (await anna.service.mandate_show("Books"))["members"]
        assert (member["name"], member["role"]) == ("Anonymous", "owner")
        assert anna.copy("a.ecf").read_bytes() == V1
        await anna.service.post("Books", [], None)
        assert await anna.pending() == (0, 0)
        for kind in ("file-attached", "records-waiting", "posted"):
            assert await told(anna, kind), kind
        with pytest.raises(MandateLocal):
            await anna.service.invite("Books", "writer", 3600, 1, None, True)


async def test_b_man_3_creating_offers_what_the_list_beside_the_accounting_names(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as anna:
        anna.file("atelier_2025.ecc", LIST)
        sales, wages = anna.file("atelier_2025.ecf", V1), anna.file("atelier_2025.ecs", ECS)
        made = await anna.service.mandate_create("Books", anna.file("atelier_2025.crp", CRP))
        assert made["offered"] == [sales, wages]
        assert await told(anna, "file-suggested") == []  # the answer has told it
        # Nothing happens by itself.
        assert [f.info.kind for f in anna.opened().state.present_files()] == ["accounting"]
        suggested = (await anna.service.suggestion_list("Books"))["suggestions"]
        assert [(each["file"], each["kind"]) for each in suggested] == [
            (sales, "invoicing"),
            (wages, "payroll"),
        ]
        assert suggested[0]["command"] == f"p2psync attach Books {sales} --kind invoicing"
        assert (await anna.service.mandate_list())["mandates"][0]["suggestions"] == 2

        said = await anna.service.attach("Books", [], None, None, None, offered=True)
        assert [(f["name"], f["kind"]) for f in said["files"]] == [
            ("atelier_2025.ecf", "invoicing"),
            ("atelier_2025.ecs", "payroll"),
        ]
        (skipped,) = said["skipped"]
        assert (Path(skipped["file"]).name, skipped["code"]) == ("gone_2025.ecf", "missing")
        assert (await anna.service.suggestion_list("Books"))["suggestions"] == []
        again = await anna.service.attach("Books", [], None, None, None, offered=True)
        assert again["files"] == []
        assert [each["code"] for each in again["skipped"]] == ["attached", "attached", "missing"]


async def test_b_man_3_what_is_attached_elsewhere_is_told_and_keeps_nothing_out(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as anna:
        anna.file("atelier_2025.ecc", LIST)
        sales, wages = anna.file("atelier_2025.ecf", V1), anna.file("atelier_2025.ecs", ECS)
        await anna.service.mandate_create("Other", None)
        await anna.service.attach("Other", [sales], "invoicing", None, None)
        made = await anna.service.mandate_create("Books", anna.file("atelier_2025.crp", CRP))
        assert made["offered"] == [wages]
        said = await anna.service.attach("Books", [], None, None, None, offered=True)
        assert [f["name"] for f in said["files"]] == ["atelier_2025.ecs"]
        assert [each["code"] for each in said["skipped"]] == ["elsewhere", "missing"]
        assert "Other" in said["skipped"][0]["text"]


async def test_b_man_3_a_list_that_names_more_later_is_suggested_once(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        wages = anna.file("atelier_2025.ecs", ECS)
        anna.file("atelier_2025.ecc", LIST)
        assert "atelier_2025.ecc" in anna.node.targets()[anna.desk]
        for _ in range(2):
            anna.node.hint(anna.desk, "atelier_2025.ecc")
            await anna.until(lambda: bool(anna.node.suggestions.of(anna.opened())))
        assert len(await told(anna, "file-suggested")) == 1
        await anna.service.suggestion_dismiss("Books", wages)
        assert (await anna.service.suggestion_list("Books"))["suggestions"] == []
        with pytest.raises(SuggestionUnknown):
            await anna.service.suggestion_dismiss("Books", wages)


async def test_b_man_3_offering_needs_a_list(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        with pytest.raises(NothingOffered):
            await anna.service.attach("Books", [], None, None, None, offered=True)
        with pytest.raises(OfferedAndFiles):
            await anna.service.attach("Books", [], "invoicing", None, None, offered=True)
        with pytest.raises(OfferedAndFiles):
            await anna.service.attach("Books", [], None, None, None)


async def test_b_man_4_sharing_is_explicit_told_and_for_owners(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        assert (await anna.service.mandate_list())["mandates"][0]["kind"] == "local"
        ticket = await invited(anna)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        for machine in (anna, ben):
            (listed,) = (await machine.service.mandate_list())["mandates"]
            assert listed["kind"] == "shared"
            assert len(await told(machine, "mandate-shared")) == 1
        # It works with all files on one machine, too.
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        assert await anna.pending() == (7, 0)


async def test_b_man_5_two_mandates_of_one_name_are_two(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        first = await anna.service.mandate_create("Books", None)
        second = await anna.service.mandate_create("Books", None)
        assert first["id"] != second["id"] and first["folder"] != second["folder"]
        with pytest.raises(MandateAmbiguous):
            await anna.service.mandate_show("Books")
        assert (await anna.service.mandate_show(first["id"][:16]))["folder"] == first["folder"]


async def test_b_man_5_a_new_name_reaches_everyone_and_changes_no_identity(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        identity = anna.opened().id
        said = await anna.service.mandate_rename("Books", "Atelier")
        assert (said["id"], said["name"]) == (identity.hex(), "Atelier")
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert (await machine.service.mandate_show("Atelier"))["id"] == identity.hex()
            (text,) = await told(machine, "mandate-renamed")
            assert "Books" in text and "Atelier" in text
        tips = anna.opened().replica.tips()
        await anna.service.mandate_rename("Atelier", "Atelier")
        assert anna.opened().replica.tips() == tips
        with pytest.raises(NameRefused):
            await anna.service.mandate_rename("Atelier", "a/b")


async def test_b_man_5_a_reader_renames_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await joined(anna, ben, "reader")
            with pytest.raises(NotAllowed):
                await ben.service.mandate_rename("Books", "Mine")
        assert anna.opened().name == ben.opened().name == "Books"


async def test_b_man_6_the_list_tells_what_keeps_a_shared_mandate_from_syncing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.mandate_create("Alone", None)
        async with linked(anna, ben):
            await founded(anna)
            await ben.service.subscribe(await invited(anna), None, None, None)
            shared = ben.opened().id
            await ben.until(lambda: ben.node.engine.in_step(shared))
            await anna.until(lambda: anna.node.engine.in_step(shared))
            alone, books = (await anna.service.mandate_list())["mandates"]
            assert (alone["kind"], alone["state"]) == ("local", "ok")
            assert (books["kind"], books["state"]) == ("shared", "ok")
            assert "cause" not in books
        await anna.until(lambda: not anna.node.engine.meets_anybody(ben.opened().id))
        _, books = (await anna.service.mandate_list())["mandates"]
        assert (books["state"], books["action"]) == ("offline", "connect")
        assert books["cause"]["text"]
        await anna.service.identity_lock("a long passphrase")
        alone, books = (await anna.service.mandate_list())["mandates"]
        assert (books["state"], books["action"]) == ("locked", "sign-in")
        assert alone["state"] == "ok"


async def test_b_man_7_one_link_serves_all_mandates(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        for number in range(5):
            await founded_as(anna, f"M{number}")
            ticket = await invited(anna, name=f"M{number}")
            await ben.service.subscribe(ticket, None, None, None)
        await ben.until(
            lambda: all(
                ben.node.engine.in_step(each) and len(opened.state.files) == 1
                for each, opened in ben.node.opened.items()
            )
        )
        assert len(anna.node.connected()) == len(ben.node.connected()) == 1
        assert len((await ben.service.mandate_list())["mandates"]) == 5


async def founded_as(machine: Machine, name: str) -> None:
    await machine.service.mandate_create(name, machine.file(f"{name}.crp", CRP))


class Steps(trio.abc.Instrument):
    """Counts how often any task ran."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_b_man_7_a_node_at_rest_does_not_work_more_for_more_mandates(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1
    counted: list[int] = []
    for count in (1, 6):
        async with running(tmp_path / str(count)) as machine:
            for number in range(count):
                await founded_as(machine, f"M{number}")
                await machine.service.mandate_share(f"M{number}")
            await machine.rest()
            await machine.node.notices.kept()
            await trio.testing.wait_all_tasks_blocked(0.01)
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            for _ in range(20):
                mock_clock.jump(1)
                await trio.testing.wait_all_tasks_blocked(0.001)
            trio.lowlevel.remove_instrument(steps)
            counted.append(steps.count)
    # Whatever goes on by the clock goes on once, not once for each mandate.
    assert counted[1] <= counted[0] + 10
