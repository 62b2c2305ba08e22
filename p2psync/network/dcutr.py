"""Direct connection upgrade through relay: two devices behind NATs call each other at once.

Source: libp2p specs, relay/DCUtR.md. Over a relayed connection the device that was called opens a
stream, both tell where they are seen from outside, and a last word starts both calls so that they
cross. On the connection that comes of it who made the relayed call is the client.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadInputError
from p2psync.network import circuit
from p2psync.network.address import TcpAddress
from p2psync.network.multiaddr import read_tcp, tcp_bytes
from p2psync.network.protobuf import bytes_field, fields, number_field
from p2psync.network.stream import Stream

PROTOCOL = "/libp2p/dcutr"
TRIES = 3
_CONNECT, _SYNC = 100, 300

Own = Callable[[], Sequence[TcpAddress]]
"""Where this device is seen from outside now."""
Punch = Callable[[Sequence[TcpAddress]], Awaitable[bool]]
"""Calls the peer at its addresses; whether a connection came of it."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Where the sender may be called, at most ``limits.PUNCH_ADDRESSES_MAX`` addresses."""

    addresses: tuple[TcpAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Sync:
    """Call now."""


def encode(message: Connect | Sync) -> bytes:
    """A ``HolePunch``, without its length."""
    match message:
        case Connect(addresses=addresses):
            out = number_field(1, _CONNECT)
            for address in addresses[: limits.PUNCH_ADDRESSES_MAX]:
                out += bytes_field(2, tcp_bytes(address))
            return out
        case Sync():
            return number_field(1, _SYNC)


def decode(data: bytes) -> Connect | Sync:
    """Read a ``HolePunch``; raises ``LinkBroken`` for what is none.

    Of the addresses the first ``limits.PUNCH_ADDRESSES_MAX`` of an IP and a TCP port are kept;
    others mean nothing here.
    """
    kind, addresses = 0, []
    try:
        for number, value in fields(data):
            if number == 1 and isinstance(value, int):
                kind = value
            elif number == 2 and isinstance(value, bytes):
                addresses.append(value)
    except BadInputError as error:
        raise LinkBroken(f"a hole punching message that cannot be read: {error.text}") from None
    match kind:
        case 100:
            return Connect(tuple(_readable(addresses)[: limits.PUNCH_ADDRESSES_MAX]))
        case 300:
            return Sync()
        case _:
            raise LinkBroken(f"a hole punching message of kind {kind}")


def _readable(addresses: Sequence[bytes]) -> list[TcpAddress]:
    found: dict[TcpAddress, None] = {}
    for each in addresses:
        try:
            address, _ = read_tcp(each)
            ipaddress.ip_address(address.host)
        except (BadInputError, ValueError):
            continue
        if address.port and not address.web:
            found[address] = None
    return list(found)


async def initiate(stream: Stream, own: Own, punch: Punch) -> bool:
    """Be the device that was called: lead up to three tries; whether one came to something.

    Raises ``LinkBroken`` when the peer breaks off or says something else.
    """
    for _ in range(TRIES):
        began = trio.current_time()
        await _say(stream, Connect(tuple(own())))
        answer = await _hear(stream)
        if not isinstance(answer, Connect):
            raise LinkBroken("the peer did not tell its addresses")
        round_trip = trio.current_time() - began
        if not answer.addresses:
            return False
        await _say(stream, Sync())
        await trio.sleep(round_trip / 2)
        if await punch(answer.addresses):
            return True
    return False


async def respond(stream: Stream, own: Own, punch: Punch) -> bool:
    """Be the device that called: follow as many tries as the peer leads, at most three.

    Raises ``LinkBroken`` when the peer breaks off or says something else.
    """
    for _ in range(TRIES):
        asked = await _hear(stream)
        if not isinstance(asked, Connect):
            raise LinkBroken("the peer did not tell its addresses")
        await _say(stream, Connect(tuple(own())))
        if not isinstance(await _hear(stream), Sync):
            raise LinkBroken("the peer did not say when to call")
        if await punch(asked.addresses):
            return True
    return False


async def _say(stream: Stream, message: Connect | Sync) -> None:
    await circuit.write_message(stream, encode(message))


async def _hear(stream: Stream) -> Connect | Sync:
    try:
        with trio.fail_after(limits.PUNCH_ANSWER_SECONDS_MAX):
            return decode(await circuit.read_message(stream))
    except trio.TooSlowError:
        raise LinkBroken("the peer did not answer in time") from None
