"""Targets for ticket files, plain and sealed, and for passphrases."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from p2psync.core import codec, crypto, ticket
from p2psync.core.words import normalise_passphrase
from p2psync.errors import CodecError, TicketError, TicketTooLarge
from p2psync.limits import ARGON2_MEMORY_BYTES_MAX, ARGON2_OPERATIONS_MAX, TICKET_BYTES_MAX
from tests.fuzz import samples
from tests.fuzz.feed import Feed, varied
from tests.fuzz.target import Target, explained

_PASSPHRASE = "alpha beta gamma delta epsilon zeta"
_PLAIN = ticket.encode(samples.TICKET)
_BODY = ticket._pack(samples.TICKET)
_TREE = samples.tree(_BODY)


@contextmanager
def quick_stretch() -> Iterator[list[crypto.Stretch]]:
    """Stand in for argon2id with a digest, and note what it was asked to cost."""
    asked: list[crypto.Stretch] = []

    def stretched(passphrase: str, salt: bytes, cost: crypto.Stretch) -> bytes:
        asked.append(cost)
        return crypto.digest(b"test", salt, passphrase.encode())

    genuine, crypto.stretch = crypto.stretch, stretched
    try:
        yield asked
    finally:
        crypto.stretch = genuine


def _file(feed: Feed) -> bytes | None:
    """A ticket file: any bytes, a damaged one, or well armoured around any body."""
    match feed.number(4):
        case 0:
            return feed.rest()
        case 1:
            place = feed.number(len(_PLAIN))
            return _PLAIN[:place] + feed.chunk() + _PLAIN[place + feed.number(70) :]
        case 2:
            try:
                body = codec.pack(varied(feed, _TREE))
            except CodecError:
                return None
        case _:
            body = feed.rest()
    try:
        return ticket._armour("open", ticket._OPEN_ADVICE, body)
    except TicketTooLarge:
        return None


def run_ticket(data: bytes) -> None:
    """Plain tickets."""
    file = _file(Feed(data))
    if file is None:
        return
    try:
        sealed = ticket.is_sealed(file)
    except TicketError as error:
        explained(error)
        sealed = None
    with quick_stretch() as asked:
        try:
            found = ticket.read(file)
        except TicketError as error:
            explained(error)
            return
    assert sealed is False
    assert not asked
    assert len(file) <= TICKET_BYTES_MAX
    assert ticket.read(ticket.encode(found)) == found
    try:
        ticket.check_expiry(found, samples.WALL_MS)
    except TicketError as error:
        explained(error)


def _sealed_body() -> bytes:
    with quick_stretch():
        return crypto.seal_with_passphrase(
            normalise_passphrase(_PASSPHRASE), _BODY, bytes(16), ticket._SEAL
        )


_SEALED_BODY = _sealed_body()


def run_sealed(data: bytes) -> None:
    """Sealed tickets, and any passphrase."""
    feed = Feed(data)
    passphrase = feed.text() if feed.chance() else _PASSPHRASE
    match feed.number(4):
        case 0:
            body = feed.rest()
        case 1:
            place = feed.number(len(_SEALED_BODY))
            body = _SEALED_BODY[:place] + feed.chunk() + _SEALED_BODY[place + feed.number(9) :]
        case 2:
            cost = bytes([feed.number(256)]) + feed.take(4).rjust(4, b"\0")
            body = _SEALED_BODY[:16] + cost + _SEALED_BODY[21:]
        case _:
            with quick_stretch():
                normal = normalise_passphrase(_PASSPHRASE)
                try:
                    inner = codec.pack(varied(feed, _TREE))
                except CodecError:
                    return
                body = crypto.seal_with_passphrase(normal, inner, bytes(16), ticket._SEAL)
    try:
        file = ticket._armour("sealed", ticket._SEALED_ADVICE, body)
    except TicketTooLarge:
        return
    with quick_stretch() as asked:
        try:
            found = ticket.read(file, passphrase)
        except TicketError as error:
            explained(error)
            found = None
    assert len(asked) <= 1
    for cost_asked in asked:
        assert 1 <= cost_asked.operations <= ARGON2_OPERATIONS_MAX
        assert cost_asked.memory_bytes <= ARGON2_MEMORY_BYTES_MAX
    if found is not None:
        assert ticket.read(ticket.encode(found)) == found


def _ticket_seeds() -> Iterable[bytes]:
    yield b"\0" + _PLAIN
    yield b"\0" + _PLAIN.replace(b"\n", b"\r\n")
    yield b"\0\xef\xbb\xbf" + _PLAIN
    yield b"\0" + _PLAIN[:100]
    yield b"\0" + _PLAIN.replace(b"ticket 1", b"ticket 2")
    yield b"\1\0\5\1x\1"
    yield b"\2"
    for place in range(10):
        yield bytes([2, 1, 1, place, 5, 1, 1])
    yield b"\3" + _BODY


def _sealed_seeds() -> Iterable[bytes]:
    for mode in range(4):
        yield bytes([0, mode, 0])
        yield bytes([1, 5, *b"wrong", mode, 0])
    yield b"\0\2\3\0\1\0\0"
    yield b"\0\2\xff\xff\xff\xff\xff"
    yield b"\0\0" + _SEALED_BODY


TARGETS = (
    Target(
        "ticket",
        "a file is refused with a TicketError, or reads the same when it is written anew",
        run_ticket,
        _ticket_seeds,
        short_runs=500,
    ),
    Target(
        "sealed",
        "a sealed ticket asks argon2id for bounded time and memory at most once, for any bytes",
        run_sealed,
        _sealed_seeds,
        short_runs=420,
    ),
)
