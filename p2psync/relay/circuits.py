"""Reservations and circuits: the relay's side of circuit relay v2.

Source: libp2p specs, relay/circuit-v2.md. Who may do what is asked of a ``Policy``; what is passed
on is counted by the ``Passage`` that it gives. Nothing here reads the bytes of a circuit.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from p2psync import limits
from p2psync.core.crypto import SigningKey
from p2psync.engine.ports import LinkBroken
from p2psync.network import circuit
from p2psync.network.circuit import Answer, Connect, Limit, Reservation, Reserve, Status
from p2psync.network.connection import Connection
from p2psync.network.guard import origin_of
from p2psync.network.pieces import Piece
from p2psync.network.stream import Stream

logger = logging.getLogger(__name__)

_MOVED_BYTES = 256 * 1024


class OverLimit(LinkBroken):
    """A circuit carried or lasted as much as it may."""


class Passage(Protocol):
    """A circuit that may be."""

    limit: Limit
    """How long and how much it may be."""

    def carried(self, count: int) -> None:
        """Count bytes that are passed on; raises ``OverLimit`` when a quota is used up."""
        ...

    def end(self) -> None:
        """The circuit is over."""
        ...


class Policy(Protocol):
    """Who may use the relay, and how much."""

    def may_reserve(self, device: bytes, origin: str) -> Status:
        """``OK``, or why the device gets no reservation; ``origin`` is the address it has."""
        ...

    def may_connect(self, source: bytes, target: bytes, origin: str) -> Status | Passage:
        """The circuit, or why none is opened; ``origin`` is where the caller is."""
        ...

    def limit(self) -> Limit:
        """How long and how much one circuit may be."""
        ...


@dataclass(slots=True)
class Reserved:
    """A device that circuits are passed to: where, and until when (seconds since 1970).

    Without a connection it is a place that a device had before a restart, and may come back to.
    """

    connection: Connection | None
    expires: float


@dataclass(frozen=True, slots=True)
class _Ends:
    """Who calls, and who is called: what circuits are counted by."""

    source: bytes
    target: bytes

    @property
    def pair(self) -> tuple[bytes, bytes]:
        return (self.source, self.target)

    @property
    def called(self) -> tuple[bytes]:
        return (self.target,)

    @property
    def counted(self) -> tuple[object, ...]:
        return (self.source, self.pair, self.called)


class Relay:
    """All reservations and circuits of one relay.

    ``addresses`` gives the relay's own binary multiaddrs; ``now`` the seconds since 1970.
    """

    def __init__(
        self,
        keys: SigningKey,
        policy: Policy,
        addresses: Callable[[], Iterable[bytes]],
        now: Callable[[], float],
        *,
        reservation_seconds: int = limits.RELAY_RESERVATION_SECONDS,
        circuits_max: int = limits.RELAY_CIRCUITS_MAX,
    ) -> None:
        self._keys = keys
        self._policy = policy
        self._addresses = addresses
        self._now = now
        self.reservation_seconds = reservation_seconds
        self.circuits_max = circuits_max
        self.changed: Callable[[], None] = lambda: None
        """Called when a reservation came or went."""
        self.reserved: dict[bytes, Reserved] = {}
        """By device key of 32 bytes."""
        self.circuits = 0
        """Circuits that are open now."""
        self._open: Counter[object] = Counter()
        """The same by who calls, who is called, and both of them."""
        self._ended = trio.lowlevel.ParkingLot()

    async def serve(self, connection: Connection, stream: Stream) -> None:
        """Answer one question of a client; of a granted ``Connect`` the stream is the circuit."""
        try:
            with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
                asked = circuit.read_hop(await circuit.read_message(stream))
        except circuit.Malformed:
            await _say(stream, Status.MALFORMED_MESSAGE)
            raise
        match asked:
            case Reserve():
                await self._reserve(connection, stream)
            case Connect(device=target):
                await self._connect(connection, stream, target)
            case Answer():
                await _say(stream, Status.UNEXPECTED_MESSAGE)

    # -- reservations

    async def _reserve(self, connection: Connection, stream: Stream) -> None:
        device = connection.device
        if connection.relay is not None:
            # A reservation over a circuit would make chains of relays.
            await _say(stream, Status.PERMISSION_DENIED)
            return
        status = self._policy.may_reserve(device, origin_of(connection.remote))
        if status is not Status.OK:
            await _say(stream, status)
            return
        expires = int(self._now()) + self.reservation_seconds
        self.reserved[device] = Reserved(connection, expires)
        connection.keep(self.reservation_seconds)
        self.changed()
        reservation = Reservation(
            expires, tuple(self._addresses()), circuit.voucher(self._keys, device, expires)
        )
        limit = self._policy.limit()
        await circuit.write_message(
            stream, circuit.hop_bytes(Answer(Status.OK, reservation, limit))
        )

    def reservation(self, device: bytes) -> Connection | None:
        """Where a device is that has a reservation and is connected."""
        found = self.reserved.get(device)
        return found.connection if found is not None and self.has_place(device) else None

    def has_place(self, device: bytes) -> bool:
        """Whether a device has a reservation: is connected, or may still come back to it."""
        found = self.reserved.get(device)
        if found is None:
            return False
        gone = found.connection is not None and found.connection.ended.is_set()
        if gone or found.expires <= self._now():
            del self.reserved[device]
            self.changed()
            return False
        return True

    def restore(self, device: bytes, expires: float) -> None:
        """Keep the place of a device that had it before a restart."""
        self.reserved[device] = Reserved(None, expires)

    def came_back(self, connection: Connection) -> None:
        """A device connected: if a place was kept for it, it can be called at once."""
        device = connection.device
        found = self.reserved.get(device)
        if found is not None and found.connection is None and self.has_place(device):
            found.connection = connection
            connection.keep(found.expires - self._now())

    def drop(self, device: bytes) -> None:
        """Take a reservation back."""
        if self.reserved.pop(device, None) is not None:
            self.changed()

    def forget_ended(self) -> None:
        """Drop the reservations that do not hold any more."""
        for device in list(self.reserved):
            self.has_place(device)

    # -- circuits

    async def idle(self) -> None:
        """Wait until no circuit is open."""
        while self.circuits:
            await self._ended.park()

    def circuits_of(self, source: bytes) -> int:
        """How many circuits a device has opened that are open now."""
        return self._open[source]

    async def _connect(self, connection: Connection, stream: Stream, target: bytes) -> None:
        source, origin = connection.device, origin_of(connection.remote)
        called = self.reservation(target)
        ends = _Ends(source, target)
        passage: Status | Passage
        if source == target:
            passage = Status.PERMISSION_DENIED
        elif not self._has_room(ends):
            passage = Status.RESOURCE_LIMIT_EXCEEDED
        else:
            passage = self._policy.may_connect(source, target, origin)
        if isinstance(passage, Status):
            await _say(stream, passage)
            return
        self.circuits += 1
        self._open.update(ends.counted)
        try:
            if called is None:
                await _say(stream, Status.NO_RESERVATION)
            else:
                await self._serve_circuit(passage, stream, source, called)
        finally:
            passage.end()
            self.circuits -= 1
            self._open -= Counter(ends.counted)
            self._ended.unpark_all()

    async def _serve_circuit(
        self, passage: Passage, stream: Stream, source: bytes, called: Connection
    ) -> None:
        limit = passage.limit
        try:
            onward = await self._call(called, source, limit)
        except LinkBroken:
            await _say(stream, Status.CONNECTION_FAILED)
            return
        try:
            await circuit.write_message(stream, circuit.hop_bytes(Answer(Status.OK, limit=limit)))
            with trio.move_on_after(limit.seconds or float("inf")):
                await self._pass_on(passage, stream, onward)
        finally:
            onward.reset("the circuit is over")
            stream.reset("the circuit is over")

    def _has_room(self, ends: "_Ends") -> bool:
        """Whether nobody has too many circuits: of those, too, that wait for an answer."""
        return (
            self.circuits < self.circuits_max
            and self._open[ends.pair] < limits.RELAY_CIRCUITS_PER_PAIR_MAX
            # One more would be refused there, and who refuses too often cuts the connection.
            and self._open[ends.called] < limits.CIRCUITS_INBOUND_MAX
        )

    async def _call(self, connection: Connection, source: bytes, limit: Limit) -> Stream:
        onward = await connection.open_stream(circuit.STOP)
        try:
            with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
                await circuit.write_message(onward, circuit.stop_bytes(Connect(source, limit)))
                answer = circuit.read_stop(await circuit.read_message(onward))
            if not isinstance(answer, Answer) or answer.status != Status.OK:
                raise LinkBroken("the device that is called refused")
        except trio.TooSlowError:
            onward.reset()
            raise LinkBroken("the device that is called did not answer in time") from None
        except BaseException:
            onward.reset()
            raise
        return onward

    async def _pass_on(self, passage: Passage, one: Stream, other: Stream) -> None:
        bytes_max = passage.limit.data_bytes

        async def way(start: Stream, end: Stream) -> None:
            carried = 0
            while True:
                await start.more(0)
                pieces: list[Piece] = []
                count = start.move(_MOVED_BYTES, pieces)
                if not count:
                    end.end()
                    await end.wait_sent()
                    return
                carried += count
                if bytes_max and carried > bytes_max:
                    raise OverLimit("the circuit carried as much as it may")
                passage.carried(count)
                await end.room(count)
                end.put(*pieces)

        async with trio.open_nursery() as nursery:

            async def part(start: Stream, end: Stream) -> None:
                try:
                    await way(start, end)
                except LinkBroken:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(part, one, other)
            nursery.start_soon(part, other, one)


async def _say(stream: Stream, status: Status) -> None:
    await circuit.write_message(stream, circuit.hop_bytes(Answer(status)))
