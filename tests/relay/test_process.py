"""What keeps a relay from starting is named; what devices showed is forgotten with them."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from p2psync.errors import PortTaken, RelayHomeInUse, RelayKeyMissing, RelayTokenUnreadable
from p2psync.network.address import RelayAddress, parse_address
from p2psync.network.circuit import Status
from p2psync.relay.config import RelayConfig
from p2psync.relay.process import TOKEN_FILE, RelayProcess, run
from p2psync.storage.home import Home
from tests.network.rig import LOOPBACK, until
from tests.relay.rig import RELAY_SEED, client, linked


def never(ready: Mapping[str, Any]) -> None:
    raise AssertionError(f"it started: {ready['peer']}")


def started(root: Path, *, port: int = 0, monitor: int = 0) -> None:
    config = root.parent / "relay.toml"
    config.write_text(
        f'listen = ["/ip4/127.0.0.1/tcp/{port}"]\nmonitor = "127.0.0.1:{monitor}"\n', "utf-8"
    )
    run(root, config, never)


def a_home(tmp_path: Path) -> Path:
    """A home in which a relay ran once, as far as it comes without its monitor."""
    root = tmp_path / "home"
    with taken_port() as other, pytest.raises(PortTaken):
        started(root, monitor=other.getsockname()[1])
    assert (root / "device.key").exists()
    assert (root / TOKEN_FILE).exists()
    return root


def taken_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with taken_port() as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"/ip4/127.0.0.1/tcp/{port}"):
            started(tmp_path / "home", port=port)


def test_a_monitors_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with taken_port() as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}"):
            started(tmp_path / "home", monitor=port)


def test_a_home_that_is_in_use_is_named(tmp_path: Path) -> None:
    root = tmp_path / "home"
    with Home.open(root, for_relay=True) as home:
        home.lock()
        with pytest.raises(RelayHomeInUse, match=str(os.getpid())):
            started(root)


def test_a_relay_that_lost_its_key_does_not_become_another_one(tmp_path: Path) -> None:
    root = a_home(tmp_path)
    (root / "device.key").unlink()
    with pytest.raises(RelayKeyMissing):
        started(root)
    assert not (root / "device.key").exists()


@pytest.mark.parametrize("held", [b"", b"\n", b"with space\n", b"\xff\xfe", b"1" * 10_000])
def test_a_token_file_that_holds_none_lets_nobody_in(tmp_path: Path, held: bytes) -> None:
    root = a_home(tmp_path)
    (root / TOKEN_FILE).write_bytes(held)
    with pytest.raises(RelayTokenUnreadable):
        started(root)


async def test_what_a_device_showed_counts_until_its_last_connection_ended() -> None:
    config = RelayConfig(listen=(LOOPBACK,), open=True, devices_per_address_max=2)
    process = RelayProcess(RELAY_SEED, config)
    transport = process.transport
    async with transport.open(), client(1) as one, client(2) as two, client(3) as three:
        address = RelayAddress(parse_address(transport.addresses()[0]), transport.device)
        async with one.kept(address), two.kept(address):
            await one.status("reserved")
            await two.status("reserved")
            await linked(one, two)
            async with three.kept(address):
                await three.status("refused")
                (state,) = three.transport.circuits.states()
                assert state.cause == "the relay: it has no room left"
        assert process.policy.refused["address"] >= 1
        for device in (one, two):
            for connection in device.transport.circuits._connections.values():
                connection.abort()
        await until(lambda: process.relay.reservation(one.device) is None)
        await until(lambda: process.relay.reservation(two.device) is None)
        process.forget_ended()
        assert process.policy.may_reserve(three.device, "127.0.0.1") is Status.OK
        process.forget_ended()
        assert not process.relay.reserved
        assert process.policy._places.keys() == {three.device}
