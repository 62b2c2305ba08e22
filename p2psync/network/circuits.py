"""Circuits: calling devices through relays, being called through them, and keeping reservations.

Source: libp2p specs, relay/circuit-v2.md. A circuit is a stream of the connection to the relay; on
it both devices run the whole upgrade, so the relay passes on what it cannot read.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network import access, circuit
from p2psync.network.address import CircuitAddress, RelayAddress, TcpAddress
from p2psync.network.connection import Connection
from p2psync.network.dial import os_reason
from p2psync.network.negotiation import NotSpoken
from p2psync.network.stream import Stream

logger = logging.getLogger(__name__)

BACKOFF_SECONDS_MIN = 1.0
BACKOFF_SECONDS_MAX = 15.0
BACKOFF_SHARE = 0.25
"""Waits differ by this share: a relay that comes back is not called by everybody at once."""
STEADY_SECONDS = 10.0
"""A reservation that stood so long starts the waits anew; a circuit that did did not end early."""
RESERVATION_SECONDS_MIN = 60
"""A relay that promises less is asked again after this time all the same."""
RESERVATION_SECONDS_MAX = 86_400
"""A relay that promises more is asked again in this time all the same."""
DISTRUST_SECONDS = 60.0
"""So long others are tried before a relay through which a circuit ended early."""
DISTRUSTED_MAX = 64

RelayStatus = Literal["connecting", "reserved", "refused", "unreachable"]
ConnectRelay = Callable[[TcpAddress, bytes], Awaitable[Connection]]

_REFUSALS = {
    circuit.Status.RESERVATION_REFUSED: "it refuses reservations",
    circuit.Status.RESOURCE_LIMIT_EXCEEDED: "it has no room left",
    circuit.Status.PERMISSION_DENIED: "it does not let this device in",
    circuit.Status.CONNECTION_FAILED: "it could not reach the device",
    circuit.Status.NO_RESERVATION: "the device is not there",
    circuit.Status.MALFORMED_MESSAGE: "it did not understand",
    circuit.Status.UNEXPECTED_MESSAGE: "it did not expect that",
}


class CircuitRefused(LinkBroken):
    """The relay, or who is called, answered no; ``status`` is one of ``circuit.Status``."""

    def __init__(self, status: int) -> None:
        try:
            cause = _REFUSALS[circuit.Status(status)]
        except (ValueError, KeyError):
            cause = f"it answered {status}"
        super().__init__(f"the relay: {cause}")
        self.status = status


class AccessRefused(LinkBroken):
    """The relay does not know the token that was shown to it, or not any more."""

    def __init__(self, status: int, *, token: bool = True) -> None:
        expired = status == access.Access.EXPIRED_TOKEN
        unknown = "it does not know the token" if token else "it does not let this device in"
        super().__init__("its token has expired" if expired else unknown)


@dataclass(frozen=True, slots=True)
class RelayState:
    """How it stands with one relay: its peer (32 bytes), since when on trio's clock, why."""

    device: bytes
    status: RelayStatus
    since: float
    cause: str = ""


class Circuits:
    """What one transport does with relays.

    ``connect`` opens a connection to a relay, and raises ``OSError`` or ``LinkBroken``;
    ``changed`` is called when the state of a relay is another one.
    """

    def __init__(self, connect: ConnectRelay, changed: Callable[[], None]) -> None:
        self._connect = connect
        self._changed = changed
        self._connections: dict[bytes, Connection] = {}
        self._locks: dict[bytes, trio.Lock] = {}
        self._states: dict[bytes, RelayState] = {}
        self.tokens: dict[bytes, str] = {}
        """What each relay's operator lets in, by relay."""
        self._keepers: dict[bytes, object] = {}
        """Which call of ``keep`` each relay belongs to: the last one."""
        self.groups: Callable[[bytes], tuple[bytes, ...]] = lambda _: ()
        """What the mandates here are called at a relay (``access.group``)."""
        self._shown: dict[bytes, tuple[str, tuple[bytes, ...]]] = {}
        """What each connection's relay has seen and taken."""
        self._addresses: dict[bytes, tuple[str, ...]] = {}
        """Circuit addresses of reservations that hold."""
        self._places: dict[bytes, TcpAddress] = {}
        """Where each relay was reached last."""
        self._kept_at: dict[bytes, tuple[RelayAddress, ...]] = {}
        """All addresses of each relay."""
        self._reached: dict[bytes, trio.Event] = {}
        """Wakes who waits to try a relay again."""
        self._distrusted: dict[bytes, float] = {}
        """Until when others are tried before a relay, on trio's clock."""

    def states(self) -> tuple[RelayState, ...]:
        """How it stands with each relay that reservations are kept at."""
        return tuple(self._states.values())

    def addresses(self) -> tuple[str, ...]:
        """Where this node can be called through relays now."""
        return tuple(each for found in self._addresses.values() for each in found)

    # -- connections to relays

    async def connection(self, address: TcpAddress, relay: bytes) -> Connection:
        """The one connection to a relay, opened if there is none; raises ``OSError`` or
        ``LinkBroken``."""
        lock = self._locks.setdefault(relay, trio.Lock())
        async with lock:
            found = self._connections.get(relay)
            if found is None or found.ended.is_set():
                found = await self._connect(address, relay)
                self._connections[relay] = found
                self._shown.pop(relay, None)
            shown = (self.tokens.get(relay, ""), self.groups(relay))
            if any(shown) and self._shown.get(relay) != shown:
                await self._show(found, *shown)
                self._shown[relay] = shown
            if relay in self._reached:
                self._reached.pop(relay).set()
            return found

    def places_of(self, relay: bytes) -> tuple[TcpAddress, ...]:
        """All addresses of a relay that a reservation is kept at."""
        return tuple(each.place for each in self._kept_at.get(relay, ()))

    def try_again(self) -> None:
        """Wait no longer for relays that are away: the way out is another one now."""
        for waiting in self._reached.values():
            waiting.set()

    def standing(self, relay: bytes) -> TcpAddress | None:
        """Where the relay is that a reservation holds at; ``None`` when none does."""
        place = self._places.get(relay)
        return place if relay in self._addresses else None

    async def _show(
        self, connection: Connection, token: str, groups: tuple[bytes, ...] = ()
    ) -> None:
        """Show a relay token and groups; a relay that asks for none has not heard of it.

        Raises ``AccessRefused`` and ``LinkBroken``.
        """
        try:
            stream = await connection.open_stream(access.PROTOCOL)
        except NotSpoken:
            return
        try:
            with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
                status = await access.ask(stream, token.encode(), groups)
        except trio.TooSlowError:
            raise LinkBroken("the relay did not answer in time") from None
        finally:
            stream.end()
            stream.reset()
        if status != access.Access.GRANTED:
            raise AccessRefused(status, token=bool(token))

    # -- calling

    async def call(self, address: CircuitAddress, device: bytes) -> Stream:
        """Have the relay open a circuit to ``device``; its stream, on which the upgrade follows.

        Raises ``CircuitRefused``, ``LinkBroken`` or ``OSError``.
        """
        connection = await self.connection(address.relay, address.device)
        stream = await connection.open_stream(circuit.HOP)
        try:
            await circuit.write_message(stream, circuit.hop_bytes(circuit.Connect(device)))
            answer = circuit.read_hop(await circuit.read_message(stream))
            if not isinstance(answer, circuit.Answer):
                raise LinkBroken("the relay answered with a question")
            if answer.status != circuit.Status.OK:
                raise CircuitRefused(answer.status)
        except BaseException:
            stream.reset()
            raise
        return stream

    def on_cut(self, relay: bytes, stood_seconds: float) -> None:
        """A connection that a relay passed on was cut, perhaps by the relay.

        One that does so again and again must not be the quickest each time, and so keep us from
        those that are honest.
        """
        if stood_seconds < STEADY_SECONDS:
            self._distrusted.pop(relay, None)
            self._distrusted[relay] = trio.current_time() + DISTRUST_SECONDS
            if len(self._distrusted) > DISTRUSTED_MAX:
                del self._distrusted[next(iter(self._distrusted))]

    def distrusts(self, relay: bytes) -> bool:
        """Whether other ways are to be tried before this relay."""
        return trio.current_time() < self._distrusted.get(relay, 0.0)

    # -- reservations

    async def keep(self, addresses: Sequence[RelayAddress]) -> None:
        """Keep a reservation at a relay until cancelled, whatever happens to it.

        ``addresses``: where that one relay is, at least one; tried in turn.
        """
        relay = addresses[0].device
        self.tokens[relay] = addresses[0].token
        self._kept_at[relay] = tuple(addresses)
        keeper = self._keepers[relay] = object()
        backoff = BACKOFF_SECONDS_MIN
        turn = 0
        self._now(relay, "connecting")
        try:
            while True:
                address = addresses[turn % len(addresses)]
                turn += 1
                status: RelayStatus = "unreachable"
                try:
                    connection = await self.connection(address.place, relay)
                    self._places[relay] = address.place
                    await self._stay(relay, connection)
                    cause = "the connection to it was lost"
                except (AccessRefused, CircuitRefused, NotSpoken) as error:
                    status, cause = "refused", str(error)
                except LinkBroken as error:
                    cause = str(error)
                except OSError as error:
                    cause = os_reason(error)
                self._addresses.pop(relay, None)
                if self._stood(relay):
                    backoff = BACKOFF_SECONDS_MIN
                # While it is tried again people see since when it is away, and the last cause.
                self._now(relay, status, cause)
                if turn % len(addresses) == 0:
                    await self._pause(relay, backoff)
                    backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
        finally:
            # One that is cancelled may end after the one that takes its place has begun.
            if self._keepers.get(relay) is keeper:
                kept = (self._keepers, self._addresses, self._states, self._places, self.tokens)
                for each in (*kept, self._kept_at):
                    each.pop(relay, None)
                self._changed()

    def _stood(self, relay: bytes) -> bool:
        """Whether a reservation held for a while, and not just until it was shown."""
        state = self._states.get(relay)
        return (
            state is not None
            and state.status == "reserved"
            and trio.current_time() - state.since >= STEADY_SECONDS
        )

    async def _pause(self, relay: bytes, seconds: float) -> None:
        """Wait before a relay is tried again; no longer than until somebody has reached it."""
        reached = self._reached[relay] = trio.Event()
        share = random.uniform(-BACKOFF_SHARE, BACKOFF_SHARE)  # noqa: S311 - nobody's secret
        with trio.move_on_after(seconds * (1 + share)):
            await reached.wait()
        self._reached.pop(relay, None)

    async def _stay(self, relay: bytes, connection: Connection) -> None:
        """Reserve, and renew in time, as long as the connection lives."""
        with connection.held():
            while not connection.ended.is_set():
                reservation = await self._reserve(connection)
                # A member may get out to another of them than this node.
                circuits = (each.circuit for each in self._kept_at[relay])
                self._addresses[relay] = tuple(dict.fromkeys(circuits))
                self._now(relay, "reserved")
                promised = reservation.expires - int(time.time())
                left = min(max(RESERVATION_SECONDS_MIN, promised), RESERVATION_SECONDS_MAX)
                with trio.move_on_after(left / 2):
                    await connection.ended.wait()

    async def _reserve(self, connection: Connection) -> circuit.Reservation:
        stream = await connection.open_stream(circuit.HOP)
        try:
            with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
                await circuit.write_message(stream, circuit.hop_bytes(circuit.Reserve()))
                answer = circuit.read_hop(await circuit.read_message(stream))
        except trio.TooSlowError:
            raise LinkBroken("the relay did not answer in time") from None
        finally:
            stream.end()
            stream.reset()
        if not isinstance(answer, circuit.Answer):
            raise LinkBroken("the relay answered with a question")
        if answer.status != circuit.Status.OK or answer.reservation is None:
            raise CircuitRefused(answer.status)
        return answer.reservation

    def _now(self, relay: bytes, status: RelayStatus, cause: str = "") -> None:
        known = self._states.get(relay)
        if known is None or (known.status, known.cause) != (status, cause):
            stays = known is not None and known.status == status
            since = known.since if known is not None and stays else trio.current_time()
            self._states[relay] = RelayState(relay, status, since, cause)
            self._changed()


async def answer_call(stream: Stream) -> bytes:
    """Take a call that a relay passes on; the device that the relay says is calling.

    It proves that itself in the upgrade that follows on the stream. Raises ``LinkBroken``.
    """
    asked = circuit.read_stop(await circuit.read_message(stream))
    if not isinstance(asked, circuit.Connect):
        status = circuit.Status.UNEXPECTED_MESSAGE
        await circuit.write_message(stream, circuit.stop_bytes(circuit.Answer(status)))
        raise LinkBroken("the relay answered what was not asked")
    await circuit.write_message(stream, circuit.stop_bytes(circuit.Answer(circuit.Status.OK)))
    return asked.device
