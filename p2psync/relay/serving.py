"""One relay: its transport with the protocols that it serves, and what it remembers."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import trio

from p2psync import __version__, limits
from p2psync.core import crypto
from p2psync.engine.ports import Link
from p2psync.network import access, circuit, rendezvous
from p2psync.network.address import RelayAddress, parse_address
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.ground_config import GroundConfig
from p2psync.network.guard import origin_of
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair, peer_id_text
from p2psync.network.multiaddr import peer_part, tcp_bytes
from p2psync.network.stream import Stream
from p2psync.relay.certificate import Certificate
from p2psync.relay.circuits import Relay
from p2psync.relay.config import RelayConfig, Token
from p2psync.relay.policy import AccessPolicy, Grant, Place
from p2psync.relay.quotas import Account, Used
from p2psync.relay.rendezvous import Board
from p2psync.relay.state import MARK_BYTES, Kept, KeptUse, State

_MARK = b"p2psync.relmark"
_KEEPALIVE_SECONDS = 6.0
_REST_KEEPALIVE_SECONDS = 30.0
_LATER = ("listen", "monitor", "reverse_proxies")
"""Settings that are read at the start alone."""


def _iso(when: datetime | None) -> str | None:
    return None if when is None else f"{when:%Y-%m-%dT%H:%M:%SZ}"


async def _refuse_links(link: Link) -> None:
    """A relay has no mandates to sync."""
    await link.close()


def _inbound_max(config: RelayConfig) -> int:
    """Devices that are called, as many that only call, and who has not shown anything yet."""
    return 2 * config.devices_max + limits.CONNECTIONS_STRANGERS_MAX


class RelayProcess:
    """One relay: its transport with the protocols that it serves."""

    def __init__(self, seed: bytes, config: RelayConfig) -> None:
        self.config = config
        self.state = "starting"
        self.changed: Callable[[], None] = lambda: None
        """Called when there is something new to remember."""
        self.state_kept: Callable[[], bool] = lambda: False
        """Whether what is to be remembered over a restart is on the disk."""
        self._seed = seed
        self._started = time.monotonic()
        self._carried = 0
        """Bytes of which it was said that they are to be remembered."""
        self.reloads = {"taken": 0, "refused": 0}
        """How often the configuration was read again."""
        self.certificate = Certificate(config.tls)
        self.policy = AccessPolicy(config, time.time)
        self.transport = Libp2pTransport(
            seed,
            config.listen,
            _refuse_links,
            config=TransportConfig(
                known=lambda device: self.policy.granted(device) is not None,
                streams_inbound_max=limits.CIRCUITS_INBOUND_MAX,
                strangers_max=limits.CONNECTIONS_STRANGERS_MAX,
                inbound_max=_inbound_max(config),
                # Devices ask for a sign of life themselves; a thousand need not be looked at twice.
                keepalive_seconds=_KEEPALIVE_SECONDS,
                silence_seconds=2 * _KEEPALIVE_SECONDS,
                rest_keepalive_seconds=_REST_KEEPALIVE_SECONDS,
                rest_silence_seconds=2 * _REST_KEEPALIVE_SECONDS,
                ground=GroundConfig(
                    certificate=self.certificate.context,
                    reverse_proxies=frozenset(config.reverse_proxies),
                ),
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
        self.relay.changed = lambda: self.changed()
        self.policy.is_reserved = self.relay.has_place
        self.policy.circuits_of = self.relay.circuits_of
        self.board = Board(time.time)
        self.transport.handle(circuit.HOP, self._serve_hop)
        self.transport.handle(access.PROTOCOL, self._serve_access)
        self.transport.handle(rendezvous.PROTOCOL, self._serve_rendezvous)
        self._connections: dict[bytes, list[Connection]] = {}
        """Those on which each device asked for something."""

    # -- what devices ask for

    async def _serve_access(self, connection: Connection, stream: Stream) -> None:
        with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
            shown = await access.asked(stream)
        status = self.policy.show(connection.device, shown)
        if status is access.Access.GRANTED:
            self._note(connection)
        await access.answer(stream, status)

    async def _serve_hop(self, connection: Connection, stream: Stream) -> None:
        if self.policy.granted(connection.device) is not None:
            self._note(connection)
        await self.relay.serve(connection, stream)

    async def _serve_rendezvous(self, connection: Connection, stream: Stream) -> None:
        with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
            asked = await rendezvous.asked(stream)
        device = connection.device
        if self.policy.granted(device) is None or connection.relay is not None:
            self.policy.refused["rendezvous"] += 1
            await rendezvous.answer(stream, rendezvous.Status.DENIED)
            return
        self._note(connection)
        with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
            await self.board.serve(device, origin_of(connection.remote), asked, stream)

    def _note(self, connection: Connection) -> None:
        known = self._connections.setdefault(connection.device, [])
        known[:] = [each for each in known if not each.ended.is_set()]
        if connection not in known:
            known.append(connection)
        if connection.relay is None:
            self.transport.guard.admit(connection.device)
            self.relay.came_back(connection)

    # -- where it is

    def _addresses(self) -> list[bytes]:
        return [tcp_bytes(each) + peer_part(self.transport.device) for each in self._places()]

    def _places(self) -> list[Any]:
        announced = list(self.config.announce)
        return announced or [parse_address(each) for each in self.transport.direct_addresses()]

    def ready(self) -> dict[str, Any]:
        """What is told when the relay is ready: the addresses to hand out, one for each token."""
        self.state = "running"
        tokens = [*self.config.tokens]
        if self.config.open or self.config.groups:
            tokens.append(Token("", ""))
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

    # -- settings

    def reload(self, config: RelayConfig) -> list[str]:
        """Go on under other settings; whoever may stay keeps connection, place and circuits.

        Returns what takes effect at the next start only. Raises ``RelayCertificateUnreadable``
        and changes nothing.
        """
        self.certificate.take(config.tls)
        later = [name for name in _LATER if getattr(config, name) != getattr(self.config, name)]
        self.config = config
        self.relay.reservation_seconds = config.reservation_seconds
        self.relay.circuits_max = config.circuits_max
        self.transport.guard.resize(_inbound_max(config), limits.CONNECTIONS_STRANGERS_MAX)
        for device in self.policy.reload(config):
            self.relay.drop(device)
            self.board.forget(device)
        self.reloads["taken"] += 1
        self.changed()
        return later

    def refuse_config(self) -> None:
        """A configuration that was to be taken has a mistake."""
        self.reloads["refused"] += 1

    # -- over a restart

    def _mark(self, secret: str) -> bytes:
        """A token as it is remembered: the file alone lets nobody in."""
        return crypto.derive(self._seed, _MARK, secret.encode(), size=MARK_BYTES)

    def snapshot(self) -> State:
        """What is to be remembered now."""
        places = []
        for device, reserved in self.relay.reserved.items():
            found = self.policy.place(device)
            if found is None:
                continue
            grant, place = found
            token = b"" if grant.token is None else self._mark(grant.token.secret)
            places.append(
                Kept(
                    device,
                    int(reserved.expires),
                    token,
                    tuple(sorted(grant.groups)),
                    tuple(sorted(place.groups)),
                    place.origin,
                )
            )
        used = tuple(
            KeptUse(each.account.kind, each.account.key, each.day, each.count)
            for each in self.policy.quotas.today()
        )
        return State(tuple(places), used)

    def restore(self, state: State, now: float) -> None:
        """Keep the places that devices had, for as long as they may take to come back."""
        open_to_all = [Token("", "")] if self.config.open else []
        tokens = {self._mark(each.secret): each for each in (*self.config.tokens, *open_to_all)}
        for kept in state.places:
            expires = min(kept.expires, now + limits.RELAY_RETURN_SECONDS_MAX)
            token = tokens.get(kept.token)
            grant = Grant(token if token is None or token.secret else None, frozenset(kept.shown))
            name = None if token is None else token.name
            place = Place(name, frozenset(kept.counted), kept.origin)
            if expires > now and self.policy.restore(kept.device, grant, place):
                self.relay.restore(kept.device, expires)
        self.policy.quotas.restore(
            Used(Account(each.kind, each.key), each.day, each.count)  # type: ignore[arg-type]  # read as one of the kinds
            for each in state.used
        )

    # -- what people see

    def status(self) -> dict[str, Any]:
        """Numbers for people and programs; no secret, no device, no address."""
        reserved = list(filter(self.relay.has_place, list(self.relay.reserved)))
        here = [device for device in reserved if self.relay.reservation(device) is not None]
        return {
            "state": self.state,
            "peer": peer_id_text(self.transport.device),
            "version": __version__,
            "uptime_seconds": int(time.monotonic() - self._started),
            "connections": self.transport.guard.established,
            "devices": len(here),
            "awaited": len(reserved) - len(here),
            "circuits": self.relay.circuits,
            "carried_bytes": self.policy.carried_bytes,
            "refused": dict(self.policy.refused),
            "reloads": dict(self.reloads),
            "certificate_until": _iso(self.certificate.until),
            "mandates": self.policy.groups_here(),
            "records": self.board.count,
            "rendezvous": dict(self.board.answered),
            "state_kept": self.state_kept(),
            "tokens": [
                self._used(token.name, Account("token", token.name.encode()))
                for token in self.config.tokens
            ],
            "groups": [
                self._used(group.name, Account("group", group.group))
                for group in self.config.groups
            ],
        }

    def _used(self, name: str, account: Account) -> dict[str, Any]:
        quotas = self.policy.quotas
        return {
            "name": name,
            "devices": self.policy.devices_by(account),
            "circuits": quotas.open[account],
            "bytes_today": quotas.carried(account),
        }

    # -- order

    async def look_after(self) -> None:
        """Forget what ended devices showed, and see whether the certificate was renewed."""
        while True:
            await trio.sleep(limits.RELAY_LOOK_SECONDS)
            self.forget_ended()
            self.certificate.refresh()
            if self.policy.carried_bytes != self._carried:
                self._carried = self.policy.carried_bytes
                self.changed()

    def forget_ended(self) -> None:
        """What a device showed counts until the last of its connections has ended."""
        awaited = {
            device
            for device, reserved in self.relay.reserved.items()
            if reserved.connection is None
        }
        self.relay.forget_ended()
        for device, connections in list(self._connections.items()):
            if all(connection.ended.is_set() for connection in connections):
                del self._connections[device]
                self.policy.gone(device)
        for device in awaited:
            if not self.relay.has_place(device) and device not in self._connections:
                self.policy.gone(device)
        self.board.forget_ended()

    async def drain(self) -> None:
        """Take nothing new, and wait until the circuits that are open have ended."""
        self.policy.closing = True
        await self.relay.idle()
