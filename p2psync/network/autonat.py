"""AutoNAT: asking others whether this node can be called from outside, and answering them.

Source: libp2p specs, autonat/README.md (version 1). Who answers calls only the IP address that
asks, and only a public one, proves that the same device is there before it says so, and calls few
at a time: it cannot be made to knock at other people's doors.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadInputError
from p2psync.network import circuit
from p2psync.network.address import TcpAddress
from p2psync.network.connection import Connection
from p2psync.network.identity import device_of_peer_bytes, peer_bytes
from p2psync.network.multiaddr import read_tcp, tcp_bytes
from p2psync.network.protobuf import bytes_field, fields, number_field
from p2psync.network.stream import Stream

PROTOCOL = "/libp2p/autonat/1.0.0"
_DIAL, _RESPONSE = 0, 1


class Status(IntEnum):
    """What is answered."""

    OK = 0
    DIAL_ERROR = 100
    DIAL_REFUSED = 101
    BAD_REQUEST = 200
    INTERNAL_ERROR = 300


@dataclass(frozen=True, slots=True)
class Question:
    """Whether ``device`` (32 bytes) can be called at any of some addresses."""

    device: bytes
    addresses: tuple[TcpAddress, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome, and where the call came through."""

    status: int
    address: TcpAddress | None = None


def encode(message: Question | Answer) -> bytes:
    """A ``Message``, without its length."""
    match message:
        case Question(device=device, addresses=addresses):
            peer = bytes_field(1, peer_bytes(device))
            for each in addresses[: limits.AUTONAT_ADDRESSES_MAX]:
                peer += bytes_field(2, tcp_bytes(each))
            return number_field(1, _DIAL) + bytes_field(2, bytes_field(1, peer))
        case Answer(status=status, address=address):
            body = number_field(1, status)
            if address is not None:
                body += bytes_field(3, tcp_bytes(address))
            return number_field(1, _RESPONSE) + bytes_field(3, body)


def decode(data: bytes) -> Question | Answer:
    """Read a ``Message``; raises ``LinkBroken`` for what is none.

    Addresses of other kinds than an IP and a TCP port are left out.
    """
    try:
        said = dict(fields(data))
        match said.get(1, _DIAL):
            case 0:
                return _question(_bytes(said.get(2)))
            case 1:
                answer = dict(fields(_bytes(said.get(3))))
                status = answer.get(1, 0)
                if not isinstance(status, int):
                    raise BadInputError(cause="a status that is no number")
                where = answer.get(3)
                return Answer(status, _address(where) if isinstance(where, bytes) else None)
            case _:
                raise BadInputError(cause="a message of an unknown kind")
    except BadInputError as error:
        raise LinkBroken(f"an AutoNAT message that cannot be read: {error.text}") from None


def _question(dial: bytes) -> Question:
    peer = _bytes(dict(fields(dial)).get(1))
    device = device_of_peer_bytes(_bytes(dict(fields(peer)).get(1)))
    found: dict[TcpAddress, None] = {}
    for number, value in fields(peer):
        if number == 2 and isinstance(value, bytes):
            address = _address(value)
            if address is not None:
                found[address] = None
    return Question(device, tuple(found)[: limits.AUTONAT_ADDRESSES_MAX])


def _bytes(value: bytes | int | None) -> bytes:
    if not isinstance(value, bytes):
        raise BadInputError(cause="a part of the message is missing")
    return value


def _address(data: bytes) -> TcpAddress | None:
    try:
        address, _ = read_tcp(data)
    except BadInputError:
        return None
    plain = address.family in ("ip4", "ip6") and not address.web
    return address if plain and address.port else None


async def ask(stream: Stream, device: bytes, addresses: Sequence[TcpAddress]) -> Answer:
    """Ask a peer to call ``device``, which is ours; its answer. Raises ``LinkBroken``."""
    try:
        with trio.fail_after(limits.AUTONAT_SECONDS_MAX + limits.RELAY_ANSWER_SECONDS_MAX):
            await circuit.write_message(stream, encode(Question(device, tuple(addresses))))
            answer = decode(await circuit.read_message(stream))
    except trio.TooSlowError:
        raise LinkBroken("the peer did not answer in time") from None
    if not isinstance(answer, Answer):
        raise LinkBroken("the peer answered with a question")
    return answer


class Answerer:
    """Answers those who ask to be called back.

    ``call`` tries one address and raises ``OSError`` or ``LinkBroken`` unless that device is
    there; ``allowed`` says who may ask at all; ``public`` whether an IP address means the same
    machine for everybody; ``now`` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        call: Callable[[TcpAddress, bytes], Awaitable[None]],
        allowed: Callable[[bytes], bool],
        public: Callable[[str], bool],
        now: Callable[[], float],
    ) -> None:
        self._call = call
        self._allowed = allowed
        self._public = public
        self._now = now
        self._under_way: Counter[str] = Counter()
        self._asked: deque[tuple[float, bytes, str]] = deque()

    async def serve(self, connection: Connection, stream: Stream) -> None:
        """Answer one question; raises ``LinkBroken`` when it cannot be read."""
        with trio.move_on_after(limits.RELAY_ANSWER_SECONDS_MAX):
            asked = decode(await circuit.read_message(stream))
            if not isinstance(asked, Question):
                raise LinkBroken("an answer that nobody asked for")
            answer = await self._answer(connection, asked)
            await circuit.write_message(stream, encode(answer))

    async def _answer(self, connection: Connection, asked: Question) -> Answer:
        remote = connection.remote
        if asked.device != connection.device:
            return Answer(Status.BAD_REQUEST)
        # Over a relay nobody can tell where the device is.
        if remote is None or connection.relay is not None or not self._allowed(asked.device):
            return Answer(Status.DIAL_REFUSED)
        addresses = [each for each in asked.addresses if each.host == remote.host]
        # Behind a web server everybody comes from this machine: nobody is to knock at its doors.
        if not self._public(remote.host):
            return Answer(Status.DIAL_REFUSED)
        if not addresses or not self._has_room(asked.device, remote.host):
            return Answer(Status.DIAL_REFUSED)
        self._under_way[remote.host] += 1
        try:
            reached = await self._first(addresses, asked.device)
        finally:
            self._under_way -= Counter([remote.host])
        return Answer(Status.DIAL_ERROR) if reached is None else Answer(Status.OK, reached)

    def _has_room(self, device: bytes, host: str) -> bool:
        """Whether few enough are called now, and this one was seldom enough called lately."""
        now = self._now()
        while self._asked and self._asked[0][0] <= now - 60:
            self._asked.popleft()
        of_device = sum(each[1] == device for each in self._asked)
        of_host = sum(each[2] == host for each in self._asked)
        if (
            of_device >= limits.AUTONAT_PER_DEVICE_A_MINUTE_MAX
            or of_host >= limits.AUTONAT_PER_ADDRESS_A_MINUTE_MAX
            or len(self._asked) >= limits.AUTONAT_A_MINUTE_MAX
            or self._under_way.total() >= limits.AUTONAT_AT_ONCE_MAX
        ):
            return False
        self._asked.append((now, device, host))
        return True

    async def _first(self, addresses: Sequence[TcpAddress], device: bytes) -> TcpAddress | None:
        """The first address at which the device answers."""
        reached: list[TcpAddress] = []
        with trio.move_on_after(limits.AUTONAT_SECONDS_MAX):
            async with trio.open_nursery() as nursery:

                async def attempt(address: TcpAddress) -> None:
                    try:
                        await self._call(address, device)
                    except (OSError, LinkBroken):
                        return
                    reached.append(address)
                    nursery.cancel_scope.cancel()

                for address in addresses:
                    nursery.start_soon(attempt, address)
        return reached[0] if reached else None
