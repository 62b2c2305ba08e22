"""B-VAL-1 and B-VAL-2: which programs' files a mandate takes, looked at from both sides."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import ops
from p2psync.engine import wire
from p2psync.engine.handshake import Handshake
from p2psync.errors import (
    LicenceUnknown,
    NotAllowed,
    ProgramInvalid,
    ProgramTooOld,
    ProgramTrial,
    ProgramUnknown,
    ProgramWithoutUpdates,
)
from p2psync.node import validity
from p2psync.node.validity import older, version_key
from tests.node.rig import V1, V2, Machine, founded, in_step, invited, linked, running

REFUSE_ALL = ["trial", "no-updates", "unknown"]


async def joined(anna: Machine, ben: Machine) -> None:
    """Anna has the accounting, Ben the invoicing."""
    await founded(anna)
    path = ben.file("a.ecf", V1)
    await ben.service.subscribe(await invited(anna), None, path, "invoicing")
    await in_step(anna, ben)


async def register(machine: Machine, version: str, licence: str) -> dict[str, Any]:
    return await machine.service.program_register("Books", "a.ecf", "Billing", version, licence)


async def listed(machine: Machine) -> dict[str, Any]:
    (mandate,) = (await machine.service.mandate_list())["mandates"]
    return dict(mandate)


async def learn_more(machine: Machine) -> list[tuple[str | None, str | None, list[str], bool]]:
    """The file, the program, its problems, and whether it is refused."""
    programs = (await machine.service.program_list("Books"))["programs"]
    return [
        (
            each["file"],
            each["program"],
            [problem["code"] for problem in each["problems"]],
            each["refused"],
        )
        for each in programs
    ]


async def test_b_val_1_what_wrote_a_file_is_told_to_everyone_and_refused_by_nobody(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        assert (await register(ben, "16.2", "trial"))["refused"] is False
        await in_step(anna, ben)
        tips = ben.opened().replica.tips()
        await register(ben, "16.2", "trial")  # at each start of the program
        assert ben.opened().replica.tips() == tips
        ben.file("a.ecf", V2)
        await ben.look()
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (8, 0)
            assert (await listed(machine))["state"] == "ok"
            assert await learn_more(machine) == [("a.ecf", "Billing", ["program-trial"], False)]
            assert (await machine.shown("a.ecf"))["program"] == {
                "name": "Billing",
                "version": "16.2",
                "licence": "trial",
            }


async def test_b_val_1_saves_of_a_refused_program_wait_until_it_is_valid_again(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        await anna.service.policy_set("Books", ["trial"], {"billing": "16.2"})
        await register(ben, "16.2.1", "trial")
        await in_step(anna, ben)
        ben.file("a.ecf", V2)
        await ben.look()
        await in_step(anna, ben)
        for machine in (anna, ben):
            # Red, with the cause and what to do; reading goes on.
            shown = await listed(machine)
            assert (shown["state"], shown["action"]) == ("refused-program", "update-program")
            assert "trial" in shown["cause"]["text"] and shown["refused"] == 1
            assert await learn_more(machine) == [("a.ecf", "Billing", ["program-trial"], True)]
            assert "program-refused" in await machine.alerts()
            assert await machine.pending() == (7, 0)
            assert machine.copy("a.ecf").read_bytes() == V1
            shown = await machine.shown("a.ecf")
            assert shown["state"] == "refused-program"
            assert [each["code"] for each in shown["problems"]] == ["program-trial"]
            (version,) = (await machine.service.history("Books", "a.ecf", None))["versions"]
            out = machine.root / "out.ecf"
            await machine.service.restore("Books", "a.ecf", version["version"], str(out))
            assert out.read_bytes() == V1
        # Nothing is lost: neither what was saved, nor what others do meanwhile.
        assert (ben.desk / "a.ecf").read_bytes() == V2
        await anna.service.post("Books", [], None)
        await register(ben, "16.1", "valid")
        await in_step(anna, ben)
        assert await learn_more(anna) == [("a.ecf", "Billing", ["program-too-old"], True)]
        await register(ben, "16.10", "valid")
        await ben.rest()
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (3, 2)
            assert (await listed(machine))["state"] == "ok"
            assert "program-refused" not in await machine.alerts()
            assert machine.copy("a.ecf").read_bytes() == V2


async def test_b_val_1_another_policy_takes_what_was_refused(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        await anna.service.policy_set("Books", REFUSE_ALL, {})
        await in_step(anna, ben)
        # Nobody registered for the accounting either.
        assert {code for _, _, codes, _ in await learn_more(ben) for code in codes} == {
            "program-unknown"
        }
        ben.file("a.ecf", V2)
        await ben.look()
        assert await ben.pending() == (7, 0)
        await anna.service.policy_set("Books", [], {})
        await in_step(anna, ben)
        await ben.rest()
        await in_step(anna, ben)
        assert await anna.pending() == await ben.pending() == (8, 0)
        assert await learn_more(anna) == []


@pytest.mark.parametrize(
    ("version", "licence", "error"),
    [
        ("16.2", "trial", ProgramTrial),
        ("16.2", "no-updates", ProgramWithoutUpdates),
        ("16.2", "unknown", ProgramUnknown),
        ("15.9", "valid", ProgramTooOld),
    ],
)
async def test_b_val_1_a_refused_file_is_neither_shared_nor_handed_to_more_people(
    tmp_path: Path, version: str, licence: str, error: type[Exception]
) -> None:
    async with running(tmp_path) as anna:
        await anna.service.mandate_create("Books", None)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        await register(anna, version, licence)
        await anna.service.policy_set("Books", REFUSE_ALL, {"Billing": "16"})
        (file,) = anna.opened().state.present_files()
        with pytest.raises(error):
            await anna.service.mandate_share("Books")
        with pytest.raises(error):
            validity.check(anna.opened(), file)  # what migrating and replacing ask
        assert not anna.opened().shared
        await anna.service.policy_set("Books", [], {})
        await anna.service.mandate_share("Books")
        await anna.service.policy_set("Books", REFUSE_ALL, {"Billing": "16"})
        with pytest.raises(error):
            await anna.service.invite("Books", "writer", 3600, 1, None, True)


async def test_b_val_1_attaching_says_which_program_writes_the_file(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await anna.service.mandate_create("Books", None)
        await anna.service.policy_set("Books", ["unknown", "trial"], {})
        path = anna.file("a.ecf", V1)
        with pytest.raises(ProgramUnknown):
            await anna.service.attach("Books", [path], "invoicing", None, None)
        program = {"name": "Billing", "version": "16", "licence": "trial"}
        with pytest.raises(ProgramTrial):
            await anna.service.attach("Books", [path], "invoicing", None, None, program=program)
        assert anna.opened().state.files == {}
        program["licence"] = "valid"
        await anna.service.attach("Books", [path], "invoicing", None, None, program=program)
        # Any program may write files of no kind: most know nothing of p2psync.
        note = anna.file("note.txt", b"x")
        await anna.service.attach("Books", [note], "other", None, None)
        assert (await listed(anna))["state"] == "ok"


async def test_b_val_1_who_may_say_what(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        with pytest.raises(NotAllowed):
            await ben.service.policy_set("Books", ["trial"], {})
        with pytest.raises(LicenceUnknown):
            await register(ben, "16", "stolen")
        for version in ("", "\x1b[31m", "x" * 1000):
            with pytest.raises(ProgramInvalid):
                await register(ben, version, "valid")
        with pytest.raises(LicenceUnknown):
            await anna.service.policy_set("Books", ["valid"], {})
        assert await anna.service.policy_show("Books") == {"refuse": [], "minimums": {}}
        await anna.service.policy_set("Books", ["no-updates"], {"Billing": "16.2"})
        await in_step(anna, ben)
        assert await ben.service.policy_show("Books") == {
            "refuse": ["no-updates"],
            "minimums": {"Billing": "16.2"},
        }


async def test_b_val_2_a_newer_p2psync_is_shown_with_the_device_that_has_it(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await ben.service.identity_set("Ben")
        await joined(anna, ben)
        promotes = ops.SetRole(anna.device, "reader")  # an operation for later
        await ben.node.author(ben.opened(), [promotes]).wait()
        await in_step(anna, ben)
        shown = await listed(anna)
        assert (shown["state"], shown["action"]) == ("newer-version", "update")
        assert await learn_more(anna) == [(None, "p2psync", ["newer"], False)]
        (program,) = (await anna.service.program_list("Books"))["programs"]
        assert program["device"] == "Ben"
        assert "newer-version" in await anna.alerts()
        ben.file("a.ecf", V2)
        await ben.look()
        await in_step(anna, ben)
        assert await anna.pending() == (8, 0)
    async with running(tmp_path / "anna") as anna:  # and still so after a restart
        assert await learn_more(anna) == [(None, "p2psync", ["newer"], False)]


async def test_b_val_2_a_member_that_speaks_another_protocol_is_shown_until_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await ben.service.identity_set("Ben")
        async with linked(anna, ben):
            await joined(anna, ben)
        with monkeypatch.context() as patched:
            greet = Handshake.greet

            def other(handshake: Handshake, software: str) -> wire.Hello:
                hello = greet(handshake, software)
                is_ben = handshake.me == ben.device
                return replace(hello, version=wire.VERSION + 1) if is_ben else hello

            patched.setattr(Handshake, "greet", other)
            async with linked(anna, ben):
                await anna.until(lambda: ben.device in anna.node.incompatible)
        shown = await listed(anna)
        assert (shown["state"], shown["action"]) == ("other-protocol", "update")
        assert await learn_more(anna) == [(None, "p2psync", ["other-protocol"], False)]
        assert "other-protocol" in await anna.alerts()
        assert await anna.pending() == (7, 0)  # reading goes on
        async with linked(anna, ben):
            await anna.until(lambda: not anna.node.incompatible)
            assert await learn_more(anna) == []
            assert "other-protocol" not in await anna.alerts()


# -- versions ---------------------------------------------------------------------------------

RISING = [
    *("0.9", "1.0-alpha", "1.0 beta 2", "1.0rc1", "1.0", "1.0a", "1.0.1", "1.2", "1.10"),
    *("16.2.054", "16.2.55", "2024 R1", "2024 R2", "2025"),
]


def test_b_val_1_versions_compare_as_people_read_them() -> None:
    for place, one in enumerate(RISING):
        for later in RISING[place + 1 :]:
            assert older(one, later) and not older(later, one), (one, later)


@pytest.mark.parametrize(
    ("one", "other"),
    [("16.2", "16.2.0"), ("v16.2", "16-2"), ("16.2 RC1", "16.2rc1"), ("16.02", "16.2")],
)
def test_b_val_1_some_versions_are_the_same(one: str, other: str) -> None:
    assert not older(one, other) and not older(other, one)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_b_val_1_any_versions_have_an_order(one: str, two: str, three: str) -> None:
    first, second, third = sorted((one, two, three), key=version_key)
    assert not older(second, first) and not older(third, second) and not older(third, first)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.integers(1, 10**6))
def test_b_val_1_a_larger_number_is_later(numbers: list[int], more: int) -> None:
    version = ".".join(map(str, numbers))
    for place in range(len(numbers)):
        raised = [*numbers[:place], numbers[place] + more, *numbers[place + 1 :]]
        assert older(version, ".".join(map(str, raised)))
    assert older(version, f"{version}.{more}") and older(f"{version}beta", version)
