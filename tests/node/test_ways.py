"""B-NET: how fast each member is, and when the way to it is another one."""

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2psync.engine.engine import PeerStatus
from p2psync.network.identity import peer_id_text
from p2psync.node.meter import LATELY_SECONDS, Meter, Pace
from tests.node.rig import V1, Machine, founded, in_step, invited, linked, running

RELAY = b"relay".ljust(32, b".")
LAN = "/ip4/192.168.1.20/tcp/4001"
DIRECT = "/ip4/203.0.113.9/tcp/4001"
THROUGH = f"/p2p/{peer_id_text(RELAY)}/p2p-circuit"


@given(st.lists(st.tuples(st.integers(0, 1 << 30), st.floats(0, 5)), max_size=30))
def test_what_crossed_lately_counts_most_and_never_more_than_what_crossed(
    crossed: list[tuple[int, float]],
) -> None:
    meter, now, total = Meter(), 0.0, 0
    for count, pause in crossed:
        now += pause
        meter.add(count, now)
        total += count
        assert 0 <= meter.rate(now) <= total / LATELY_SECONDS + 1e-6
    assert meter.rate(now + 100 * LATELY_SECONDS) <= 1e-6 * (total + 1)


def test_a_steady_flow_is_shown_as_fast_as_it_is() -> None:
    meter = Meter()
    for tenth in range(1000):
        meter.add(1000, tenth / 10)
    assert 9_500 < meter.rate(99.9) < 10_500


def test_the_pace_of_a_member_is_told_in_round_figures() -> None:
    assert Pace(0.01234, 10.4, 0).view() == {
        "rtt_ms": 12.3,
        "up_bytes_per_second": 10,
        "down_bytes_per_second": 0,
    }
    assert Pace(None, 0, 0).view()["rtt_ms"] is None


async def test_b_net_bytes_that_cross_a_link_are_shown_at_both_ends(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        async with linked(anna, ben):
            path = ben.file("a.ecf", V1)
            await ben.service.subscribe(ticket, None, path, "invoicing")
            await in_step(anna, ben)
            for machine, other in ((anna, ben), (ben, anna)):
                (peer,) = machine.node.connected()
                assert peer["device"] == other.device.hex()
                assert peer["pace"]["up_bytes_per_second"] > 0
                assert peer["pace"]["down_bytes_per_second"] > 0
                shown = await machine.service.mandate_show("Books")
                paces = {each["device"]: each["pace"] for each in shown["members"]}
                assert paces[machine.device.hex()] is None
                assert paces[other.device.hex()]["rtt_ms"] is None, "links in memory do not say"
        shown = await anna.service.mandate_show("Books")
        assert [each["pace"] for each in shown["members"]] == [None, None]


async def told(machine: Machine) -> list[str]:
    await machine.node.notices.kept()
    found = await machine.service.messages(None, None, 100, ["way-changed"], None)
    return [event["text"] for event in reversed(found["messages"])]


async def test_b_net_another_way_is_told_once_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        ways = anna.node.ways
        ways.lasting_seconds = 0.01
        await founded(anna)
        ticket = await invited(anna)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        address = ""

        def peers(mandate: bytes) -> list[PeerStatus]:
            online = address != ""
            since = trio.current_time() if online else None
            return [PeerStatus(ben.device, online, online, address, since)]

        monkeypatch.setattr(anna.node.engine, "peers", peers)

        async def settle(now: str) -> None:
            nonlocal address
            address = now
            ways.look_at(ben.device)
            with trio.fail_after(10):
                while ways._looking:
                    await trio.sleep(0.005)

        with trio.fail_after(10):
            while ways._looking:  # of the link that was there
                await trio.sleep(0.005)
        ways._known.clear()
        assert await told(anna) == []
        who = ben.node.identity.machine
        await settle(THROUGH)
        assert await told(anna) == [], "the first after a start is no news"
        await settle("")
        await settle(THROUGH)
        assert await told(anna) == [], "it was away, and is reached as before"
        await settle(LAN)
        await settle(DIRECT)
        await settle(THROUGH)
        assert await told(anna) == [
            f"{who} is reached on the LAN now",
            f"{who} is reached directly now",
            f"{who} is reached through {peer_id_text(RELAY)} now",
        ]
