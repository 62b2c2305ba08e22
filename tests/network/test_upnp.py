"""A router that offers UPnP is asked to pass on calls, and to stop when the node does."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2psync.network import upnp
from p2psync.network.address import TcpAddress
from tests.netns import PLAIN_NAT, Machine, Office, internet

PORT = 4001
OUTSIDE = "198.51.100.18"
_CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as door:
    print(door.recv(4).decode())
"""


@pytest.fixture
def office() -> Iterator[tuple[Machine, Office]]:
    """The middle of an "Internet", and an office with a router."""
    with internet([PLAIN_NAT]) as (middle, (office,)):
        office.machine.ip("route", "add", "239.0.0.0/8", "dev", "office")
        yield middle, office


def line(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def router(office: Office, *options: str) -> "subprocess.Popen[str]":
    process = office.router.python("-m", "tests.network.igd", "192.168.77.1", OUTSIDE, *options)
    assert line(process) == {"ready": True}
    return process


def calls(middle: Machine, port: str) -> str:
    """What who calls from outside hears."""
    process = middle.python("-c", _CALL, OUTSIDE, port)
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_port_is_mapped_renewed_and_given_back(office: tuple[Machine, Office]) -> None:
    middle, place = office
    box = router(place)
    mapper = place.machine.python("-m", "tests.network.mapper", str(PORT), "2")
    assert line(mapper) == {"mapped": [f"/ip4/{OUTSIDE}/tcp/{PORT}"]}
    assert calls(middle, str(PORT)) == "here"
    asked = line(box)
    assert (asked["action"], asked["NewExternalPort"]) == ("AddPortMapping", str(PORT))
    assert asked["NewLeaseDuration"] == "2"
    assert asked["NewInternalClient"] == place.machine.host
    assert "p2psync" in asked["NewPortMappingDescription"]
    assert line(box)["action"] == "AddPortMapping", "renewed before its lease ends"
    assert mapper.stdin is not None
    mapper.stdin.close()
    mapper.stdin = None
    while (said := line(box))["action"] == "AddPortMapping":
        pass
    assert (said["action"], said["NewExternalPort"]) == ("DeletePortMapping", str(PORT))


def test_a_router_without_leases_is_asked_without_one(office: tuple[Machine, Office]) -> None:
    _, place = office
    box = router(place, "no-leases")
    mapper = place.machine.python("-m", "tests.network.mapper", str(PORT), "3600")
    assert line(mapper) == {"mapped": [f"/ip4/{OUTSIDE}/tcp/{PORT}"]}
    assert [line(box)["NewLeaseDuration"] for _ in range(2)] == ["3600", "0"]


def test_without_a_router_nothing_is_mapped(office: tuple[Machine, Office]) -> None:
    _, place = office
    mapper = place.machine.python("-m", "tests.network.mapper", str(PORT), "3600")
    assert line(mapper) == {"mapped": []}


async def test_a_router_that_never_answers_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    heard: list[tuple[TcpAddress, ...]] = []
    asked = 0

    async def silent(work: object) -> None:
        nonlocal asked
        asked += 1
        await trio.sleep_forever()

    monkeypatch.setattr(upnp, "_in_thread", silent)
    mapper = upnp.PortMapper(lambda: PORT, heard.append)
    with trio.move_on_after(600):
        await mapper.run()
    assert heard[0] == ()
    assert 2 <= asked <= 5, "with waits that grow"


async def test_a_node_that_listens_on_loopback_asks_no_router(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(work: object) -> None:
        raise AssertionError("the router was asked")

    heard = trio.Event()
    monkeypatch.setattr(upnp, "_in_thread", forbidden)
    async with trio.open_nursery() as nursery:
        mapper = upnp.PortMapper(lambda: None, lambda mapped: heard.set())
        nursery.start_soon(mapper.run)
        with trio.fail_after(10):
            await heard.wait()
        nursery.cancel_scope.cancel()
