"""The relay's process: opens a home, joins transport, circuits, policy, monitor; ends in order."""

import json
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio
from base58 import b58encode

from p2psync import __version__, limits
from p2psync.core import crypto
from p2psync.engine.ports import Link
from p2psync.errors import (
    AlreadyRunning,
    KeyMissing,
    P2PSyncError,
    PortTaken,
    RelayHomeInUse,
    RelayKeyMissing,
    RelayTokenUnreadable,
)
from p2psync.network import access, circuit
from p2psync.network.address import RelayAddress, is_token, parse_address
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair, peer_id_text
from p2psync.network.multiaddr import peer_part, tcp_bytes
from p2psync.network.stream import Stream
from p2psync.relay import config as configuration
from p2psync.relay import monitor
from p2psync.relay.circuits import Relay
from p2psync.relay.config import RelayConfig, Token
from p2psync.relay.policy import TokenPolicy
from p2psync.storage.home import Home
from p2psync.storage.keys import PlainKey, create_device_key, load_device_key

logger = logging.getLogger("p2psync.relay")

ADDRESS_FILE = "relay.json"
"""In the home: where the running relay's monitor is."""
TOKEN_FILE = "relay-token"  # noqa: S105 - the name of a file
FLUSH_SECONDS = 5.0
_TOKEN_BYTES = 20


class _Lines(logging.Formatter):
    """One JSON object a line: time, level, where, text; never a token or an address of a device."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def run(root: Path, config_path: Path | None, on_ready: Callable[[Mapping[str, Any]], None]) -> int:
    """Run a relay until it is stopped; returns the exit code.

    Raises what keeps it from starting: ``RelayConfigInvalid``, ``AlreadyRunning``, ``PortTaken``,
    storage errors.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("p2psync.relay").setLevel(logging.INFO)
    config = RelayConfig() if config_path is None else configuration.load(config_path)
    try:
        trio.run(_main, root, config, on_ready, strict_exception_groups=True)
    except* P2PSyncError as group:
        raise _first(group) from None
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _main(
    root: Path, config: RelayConfig, on_ready: Callable[[Mapping[str, Any]], None]
) -> None:
    home = Home.open(root, for_relay=True)
    with home:
        try:
            home.lock()
        except AlreadyRunning as error:
            raise RelayHomeInUse(home=root, pid=error.params["pid"]) from None
        seed = _seed(home)
        if not config.open and not config.tokens:
            config = _with_own_token(home, config)
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_for_signals, stopping)
            relay = RelayProcess(seed, config)
            await nursery.start(relay.transport.run)
            host, port = config.monitor
            _check_free(host, port)
            nursery.start_soon(monitor.run, relay.status, host, port)
            nursery.start_soon(relay.look_after)
            note = home.root / ADDRESS_FILE
            note.write_text(json.dumps({"monitor": f"http://{_url_host(host)}:{port}"}))
            logger.info("running as %s", peer_id_text(relay.transport.device))
            on_ready(relay.ready())
            try:
                await stopping.wait()
                relay.state = "stopping"
                logger.info("stopping")
                with trio.move_on_after(FLUSH_SECONDS):
                    await relay.drain()
            finally:
                with suppress(OSError):
                    note.unlink()
            nursery.cancel_scope.cancel()


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_free(host: str, port: int) -> None:
    """Raise ``PortTaken`` for the monitor's port, before the web server tries in its own words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(address=f"{_url_host(host)}:{port}") from error


def _seed(home: Home) -> bytes:
    try:
        key = load_device_key(home.device_key)
    except KeyMissing:
        if (home.root / TOKEN_FILE).exists():
            raise RelayKeyMissing(path=home.device_key, token=TOKEN_FILE) from None
        key = PlainKey(secrets.token_bytes(crypto.SEED_BYTES))
        create_device_key(home.device_key, key)
    assert isinstance(key, PlainKey), "a relay's key has no passphrase"
    return key.seed


def _with_own_token(home: Home, config: RelayConfig) -> RelayConfig:
    """Let in who has the one token that is made at the first start without a configuration."""
    path = home.root / TOKEN_FILE
    try:
        if not path.exists():
            made = b58encode(secrets.token_bytes(_TOKEN_BYTES)).decode()
            path.touch(mode=0o600)
            path.write_text(made + "\n")
        with path.open("rb") as file:
            secret = file.read(2 * limits.RELAY_TOKEN_BYTES_MAX).decode().strip()
    except OSError as error:
        raise RelayTokenUnreadable(path=path, cause=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        secret = ""
    if not is_token(secret):
        # An empty one would let everybody in.
        raise RelayTokenUnreadable(path=path, cause="it holds no token")
    return replace(config, tokens=(Token("all", secret),))


async def _wait_for_signals(stopping: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stopping.set()


async def _refuse_links(link: Link) -> None:
    """A relay has no mandates to sync."""
    await link.close()


class RelayProcess:
    """One relay: its transport with the protocols that it serves."""

    def __init__(self, seed: bytes, config: RelayConfig) -> None:
        self.config = config
        self.state = "starting"
        self._started = time.monotonic()
        self.policy = TokenPolicy(config, time.time)
        self.transport = Libp2pTransport(
            seed,
            config.listen,
            _refuse_links,
            config=TransportConfig(
                known=lambda device: self.policy.granted(device) is not None,
                streams_inbound_max=limits.CIRCUITS_INBOUND_MAX,
                strangers_max=config.devices_max,
                inbound_max=config.devices_max + limits.CONNECTIONS_STRANGERS_MAX,
            ),
        )
        self.relay = Relay(
            key_pair(seed),
            self.policy,
            self._addresses,
            time.time,
            reservation_seconds=config.reservation_seconds,
            circuits_max=config.circuits_max,
        )
        self.policy.is_reserved = lambda device: self.relay.reservation(device) is not None
        self.policy.circuits_of = self.relay.circuits_of
        self.transport.handle(circuit.HOP, self._serve_hop)
        self.transport.handle(access.PROTOCOL, self._serve_access)
        self._connections: dict[bytes, list[Connection]] = {}
        """Those on which each device asked for something."""

    async def _serve_access(self, connection: Connection, stream: Stream) -> None:
        with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
            shown = await access.asked(stream)
        status = self.policy.show(connection.device, shown.token)
        if status is access.Access.GRANTED:
            self._note(connection)
        await access.answer(stream, status)

    async def _serve_hop(self, connection: Connection, stream: Stream) -> None:
        if self.policy.granted(connection.device) is not None:
            self._note(connection)
        await self.relay.serve(connection, stream)

    def _note(self, connection: Connection) -> None:
        known = self._connections.setdefault(connection.device, [])
        known[:] = [each for each in known if not each.ended.is_set()]
        if connection not in known:
            known.append(connection)

    def _addresses(self) -> list[bytes]:
        return [tcp_bytes(each) + peer_part(self.transport.device) for each in self._places()]

    def _places(self) -> list[Any]:
        announced = list(self.config.announce)
        return announced or [parse_address(each) for each in self.transport.direct_addresses()]

    def ready(self) -> dict[str, Any]:
        """What is told when the relay is ready: the addresses to hand out, one for each token."""
        self.state = "running"
        tokens = [*self.config.tokens, *([Token("", "")] if self.config.open else [])]
        return {
            "peer": peer_id_text(self.transport.device),
            "version": __version__,
            "addresses": [
                {
                    "token": token.name,
                    "address": str(RelayAddress(place, self.transport.device, token.secret)),
                }
                for token in tokens
                for place in self._places()
            ],
        }

    def status(self) -> dict[str, Any]:
        """Numbers for people and programs; no secret, no device, no address."""
        reserved = [
            device for device in list(self.relay.reserved) if self.relay.reservation(device)
        ]
        by_token = [self.policy.granted(device) for device in reserved]
        return {
            "state": self.state,
            "peer": peer_id_text(self.transport.device),
            "version": __version__,
            "uptime_seconds": int(time.monotonic() - self._started),
            "connections": self.transport.guard.established,
            "devices": len(reserved),
            "circuits": self.relay.circuits,
            "carried_bytes": self.policy.carried_bytes,
            "refused": dict(self.policy.refused),
            "tokens": [
                {
                    "name": token.name,
                    "devices": sum(each is token for each in by_token),
                    "bytes_today": self.policy.used(token),
                }
                for token in self.config.tokens
            ],
        }

    async def look_after(self) -> None:
        """Forget what ended devices showed."""
        while True:
            await trio.sleep(limits.RELAY_LOOK_SECONDS)
            self.forget_ended()

    def forget_ended(self) -> None:
        """What a device showed counts until the last of its connections has ended."""
        self.relay.forget_ended()
        for device, connections in list(self._connections.items()):
            if all(connection.ended.is_set() for connection in connections):
                del self._connections[device]
                self.policy.gone(device)

    async def drain(self) -> None:
        """Take nothing new, and wait until the circuits that are open have ended."""
        self.policy.closing = True
        await self.relay.idle()
