"""The ``.crsync`` file: all that a device needs to subscribe. Specification: docs/spec/ticket.md.

Armoured text. The first line tells version, kind and length, the last one carries a checksum, so
that a ticket which was cut off, damaged, sealed, or made by another version says so (B-TIC-3).
"""

import base64
import binascii
import datetime
import re
from dataclasses import dataclass
from typing import Final

from p2psync.core import codec, crypto
from p2psync.core.ops import ROLES
from p2psync.core.schema import array, binary, choice, integer, structure, text
from p2psync.core.words import normalise_passphrase as normalise_passphrase
from p2psync.errors import (
    CodecError,
    CryptoError,
    TicketAltered,
    TicketError,
    TicketExpired,
    TicketPassphraseNeeded,
    TicketPassphraseWrong,
    TicketTooLarge,
    TicketTruncated,
    TicketVersion,
    UsageError,
)
from p2psync.limits import (
    ADDRESS_BYTES_MAX,
    ARGON2_MEMORY_BYTES_MAX,
    ARGON2_OPERATIONS_MAX,
    INVITATION_USES_MAX,
    NAME_BYTES_MAX,
    TICKET_ADDRESSES_PER_PEER_MAX,
    TICKET_BYTES_MAX,
    TICKET_PEERS_MAX,
)

VERSION: Final = 1
SUFFIX: Final = ".crsync"
_MAGIC: Final = b"p2psync ticket "
_CHECK: Final = b"p2psync.ticket"
_SEAL: Final = b"p2psync ticket 1"
_LINE_CHARS: Final = 64
_LENGTH_DIGITS: Final = 5
_OPEN_ADVICE: Final = (
    "# Hand this file over on a physical medium, from person to person. Do not mail it:",
    "# whoever has it can read the mandate and ask to join.",
)
_SEALED_ADVICE: Final = ("# Sealed: it may travel by mail. Tell the passphrase by another way.",)
_VERSION: Final = re.compile(rb"p2psync ticket (\d{1,9})(?![^ ])")
_FIRST: Final = re.compile(rb"p2psync ticket \d+ (open|sealed) (\d{5})")
_LAST: Final = re.compile(rb"end ([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class TicketPeer:
    """A device (key of 32 bytes) or relay, and the multiaddrs where it was last seen."""

    device: bytes
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says.

    ``mandate``, ``genesis`` (the id of the mandate's first entry), ``epoch_key`` and
    ``admission_seed`` have 32 bytes. ``expires_ms`` counts from 1970. At most 8 ``peers`` and 8
    ``relays``. The representation leaves the two secrets out.
    """

    mandate: bytes
    genesis: bytes
    epoch_key: bytes
    admission_seed: bytes
    name: str
    role: str
    expires_ms: int
    uses: int
    peers: tuple[TicketPeer, ...] = ()
    relays: tuple[TicketPeer, ...] = ()

    def __repr__(self) -> str:
        return f"Ticket(mandate={self.mandate.hex()}, name={self.name!r}, role={self.role!r})"


_key = binary(32)
_peers = array(
    structure(
        TicketPeer,
        device=_key,
        addresses=array(text(ADDRESS_BYTES_MAX), TICKET_ADDRESSES_PER_PEER_MAX),
    ),
    TICKET_PEERS_MAX,
)
_ticket = structure(
    Ticket,
    mandate=_key,
    genesis=_key,
    epoch_key=_key,
    admission_seed=_key,
    name=text(NAME_BYTES_MAX),
    role=choice(*ROLES),
    expires_ms=integer(),
    uses=integer(1, INVITATION_USES_MAX),
    peers=_peers,
    relays=_peers,
)


def encode(ticket: Ticket) -> bytes:
    """Return the unsealed file; for a physical medium only (B-TIC-2).

    Raises ``TicketTooLarge`` when the addresses are too many for ``TICKET_BYTES_MAX``, and
    ``ValueError`` for a ticket that ``read`` would refuse.
    """
    return _armour("open", _OPEN_ADVICE, _pack(ticket))


def seal(ticket: Ticket, passphrase: str, salt: bytes) -> bytes:
    """Return the file sealed with a passphrase; ``salt`` is 16 fresh random bytes.

    Raises what ``encode`` raises, and ``UsageError`` for a passphrase of nothing but separators.
    """
    normal = normalise_passphrase(passphrase)
    if not normal:
        raise UsageError(cause="the passphrase is empty")
    sealed = crypto.seal_with_passphrase(normal, _pack(ticket), salt, _SEAL)
    return _armour("sealed", _SEALED_ADVICE, sealed)


def is_sealed(data: bytes) -> bool:
    """Tell whether a passphrase is needed; raises ``TicketError`` like ``read``."""
    return _unarmour(data)[0]


def read(data: bytes, passphrase: str | None = None) -> Ticket:
    """Read a file; the passphrase is not looked at when it is not sealed.

    Raises the ``TicketError`` that says what is wrong: ``TicketTooLarge``, ``TicketVersion``,
    ``TicketTruncated``, ``TicketAltered``, ``TicketPassphraseNeeded``, ``TicketPassphraseWrong``,
    or ``TicketError`` itself for something that is no ticket. Expiry is for ``check_expiry``.
    """
    sealed, body = _unarmour(data)
    if sealed:
        if passphrase is None:
            raise TicketPassphraseNeeded
        body = _unseal(body, passphrase)
    try:
        return _ticket.load(codec.unpack(body, TICKET_BYTES_MAX))
    except (CodecError, ValueError):
        raise TicketAltered from None


def check_expiry(ticket: Ticket, now_ms: int) -> None:
    """Raise ``TicketExpired`` from the ticket's last millisecond on."""
    if now_ms >= ticket.expires_ms:
        day = datetime.date(1970, 1, 1) + datetime.timedelta(milliseconds=ticket.expires_ms)
        raise TicketExpired(expired=day.isoformat())


def _pack(ticket: Ticket) -> bytes:
    packed = codec.pack(_ticket.dump(ticket))
    _ticket.load(codec.unpack(packed, len(packed)))
    return packed


def _unseal(body: bytes, passphrase: str) -> bytes:
    most = crypto.Stretch(ARGON2_OPERATIONS_MAX, ARGON2_MEMORY_BYTES_MAX)
    try:
        plain = crypto.unseal_with_passphrase(normalise_passphrase(passphrase), body, _SEAL, most)
    except CryptoError:
        raise TicketAltered from None
    if plain is None:
        raise TicketPassphraseWrong
    return plain


def _armour(kind: str, advice: tuple[str, ...], body: bytes) -> bytes:
    encoded = base64.b64encode(body).decode()
    lines = [encoded[at : at + _LINE_CHARS] for at in range(0, len(encoded), _LINE_CHARS)]
    first = f"p2psync ticket {VERSION} {kind} "
    rest = "\n".join(["", *advice, *lines, "end "])
    length = len(first) + _LENGTH_DIGITS + len(rest) + 16
    if length + 1 > TICKET_BYTES_MAX:
        raise TicketTooLarge(size_bytes=length + 1, limit_bytes=TICKET_BYTES_MAX)
    covered = f"{first}{length:0{_LENGTH_DIGITS}}{rest}".encode()
    return covered + _checksum(covered) + b"\n"


def _checksum(covered: bytes) -> bytes:
    return crypto.digest(_CHECK, covered, size=8).hex().encode()


def _unarmour(data: bytes) -> tuple[bool, bytes]:
    """Return whether it is sealed, and the body, of a file whose checksum fits."""
    if len(data) > TICKET_BYTES_MAX:
        raise TicketTooLarge(size_bytes=len(data), limit_bytes=TICKET_BYTES_MAX)
    whole = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").strip(b"\n")
    lines = whole.split(b"\n")
    version = _VERSION.match(lines[0])
    if version is not None and int(version[1]) != VERSION:
        raise TicketVersion(version=int(version[1]), known=VERSION)
    first = _FIRST.fullmatch(lines[0])
    if first is None:
        ours = lines[0].startswith(_MAGIC)
        if len(lines) == 1 and (ours or _MAGIC.startswith(lines[0])):
            raise TicketTruncated
        raise TicketAltered if ours else TicketError(cause="it does not begin like one")
    last = _LAST.fullmatch(lines[-1])
    if last is None and len(whole) < int(first[2]):
        raise TicketTruncated
    if last is None or len(whole) != int(first[2]) or _checksum(whole[:-16]) != last[1]:
        raise TicketAltered
    armoured = b"".join(line for line in lines[1:-1] if not line.startswith(b"#"))
    try:
        return first[1] == b"sealed", base64.b64decode(armoured, validate=True)
    except binascii.Error:
        raise TicketAltered from None
