"""B-NET-5: doctor names what is wrong with the network, relays and proxies."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2psync.engine.ports import DiscoverableMandate
from p2psync.network.address import parse_address
from p2psync.network.circuits import Circuits
from p2psync.network.connection import Connection
from p2psync.network.discovery import Announcer, LanDiscovery
from p2psync.network.ground_config import ProxyNews
from p2psync.network.identity import peer_id_text
from p2psync.network.proxy import Trouble
from p2psync.network.reaching import Reaching
from p2psync.node import doctor as doctor_module
from p2psync.node.diagnosis import (
    Snapshot,
    judge,
)
from p2psync.node.online import Online
from p2psync.node.proxies import FILE as PROXY_FILE
from tests.fakes.circuits import FakeCircuits
from tests.node.doctor_rig import examined, finding, until_found
from tests.node.rig import (
    Machine,
    founded,
    running,
)

RELAY = "/dns4/relay.example/tcp/4001/p2p/" + peer_id_text(b"\x07" * 32)
PROXY = "http://office@proxy.example.ch:8080"

# -- the network ------------------------------------------------------------------------------


async def test_doctor_names_network_off(tmp_path: Path) -> None:
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        machine.node.online = Online(machine.node, nursery, (), 0, lan=False)
        assert await examined(machine) == []  # a local mandate needs no network
        await machine.service.mandate_share("Books")
        assert (await finding(machine, "network-off"))["severity"] == "fault"


async def test_doctor_names_lan_off(tmp_path: Path) -> None:
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        online = Online(machine.node, nursery, ("/ip4/127.0.0.1/tcp/0",), 0, lan=False)
        machine.node.online = online
        await online.start()
        found = await finding(machine, "lan-off")
        assert "--no-lan" in found["text"]
        await online.stop()


async def test_doctor_names_lan_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "LAN_SECONDS", 0.1)

    def no_multicast(*_: object) -> Announcer:
        raise OSError("no multicast here")

    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        online = Online(machine.node, nursery, ("/ip4/127.0.0.1/tcp/0",), 0, lan=False)
        machine.node.online = online
        await online.start()
        discovery = LanDiscovery(
            machine.device, machine.node.addresses, lambda _: None, responder=no_multicast
        )
        discovery.update([DiscoverableMandate(b"k" * 32, ())])
        await nursery.start(discovery.run)
        machine.node.discovery = discovery
        found = await finding(machine, "lan-silent")
        assert "5353" in found["hint"]
        nursery.cancel_scope.cancel()


def test_doctor_names_not_callable() -> None:
    known = Snapshot(wall_ms=1, is_online=True, reach="private", port="4001")
    [found] = judge(known)
    assert (found.code, found.severity) == ("not-callable", "note")
    assert "TCP port 4001" in found.hint
    assert judge(replace(known, is_shared=False)) == []
    assert judge(replace(known, reach="public")) == []


async def test_doctor_names_not_callable__with_its_port_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others were asked to call back, and none came through: a router or firewall blocks it."""
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        online = Online(machine.node, nursery, ("/ip4/127.0.0.1/tcp/0",), 0, lan=False)
        machine.node.online = online
        await online.start()
        assert "not-callable" not in [each["code"] for each in await examined(machine)]
        monkeypatch.setattr(Reaching, "reach", lambda _: "private")
        found = await finding(machine, "not-callable")
        (address, *_) = machine.node.addresses()
        assert f"TCP port {address.split('/')[4]}" in found["hint"]
        await online.stop()


async def test_doctor_names_relay_refused__for_a_wrong_token(tmp_path: Path) -> None:
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        await machine.service.relay_add(f"{RELAY}/p2psync-token/2wrong")
        circuits = FakeCircuits(machine.node.relays.on_states, ("2right",))
        nursery.start_soon(machine.node.relays.run, circuits)
        found = await until_found(machine, "relay-refused")
        assert "relay.example" in found["where"] and "not known" in found["text"]
        assert "valid token" in found["hint"] and found["since"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "not known"),
    ],
    ids=["down", "unknown-host"],
)
async def test_doctor_names_relay_unreachable(tmp_path: Path, trouble: OSError, cause: str) -> None:
    async def connect(*_: object) -> Connection:
        raise trouble

    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        await machine.service.relay_add(RELAY)
        circuits = Circuits(connect, machine.node.relays.on_states)
        nursery.start_soon(machine.node.relays.run, circuits)
        found = await until_found(machine, "relay-unreachable")
        assert "relay.example" in found["where"] and cause in found["text"]
        assert found["since"]
        nursery.cancel_scope.cancel()


async def proxied(machine: Machine, trouble: Trouble, cause: str) -> None:
    """Have a proxy answer so to a call to a relay."""
    await founded(machine)
    await machine.service.mandate_share("Books")
    machine.node.proxy.load(machine.root / "home" / PROXY_FILE, PROXY, {})
    proxy = machine.node.proxy.current()
    assert proxy is not None
    relay = parse_address("/ip4/203.0.113.1/tcp/443/tls/ws")
    machine.node.proxy.on_news(ProxyNews(proxy, relay, trouble, cause))


async def test_doctor_names_proxy_refuses_relay(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await proxied(machine, "refused", "it answers 403")
        found = await finding(machine, "proxy-refuses-relay")
        assert "403" in found["text"] and "443" in found["hint"]


async def test_doctor_names_proxy_password_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await proxied(machine, "password-refused", "it asks for NTLM")
        found = await finding(machine, "proxy-password-refused")
        assert "NTLM" in found["text"]
        assert "proxy.example.ch" in found["where"]


async def test_doctor_names_proxy_unreachable(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await proxied(machine, "unreachable", "connection refused")
        assert (await finding(machine, "proxy-unreachable"))["since"]
