"""What a device says on the LAN, and how a member recognises it (docs/spec/discovery.md).

Pure: bytes in, bytes out; the hour and all randomness are arguments. A stranger sees that some
p2psync is here. Only who holds a mandate's discovery key can tell that a tag is of that mandate and
of which device, and tags change with every nonce and hour, so nobody can follow a device by them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2psync import limits
from p2psync.engine.ports import DiscoverableMandate

SERVICE_TYPE = "_p2psync._tcp.local."
NONCE_BYTES = 16
TAG_BYTES = 8
HOUR_SECONDS = 3600
_PERSON = b"p2psync.lan.1"
_VERSION = b"v=1"
_TAGS_PER_STRING = 31
_PAD_TO = 8


@dataclass(frozen=True, slots=True)
class Heard:
    """An instance that was announced: its TXT record and multiaddrs; no TXT when it is gone."""

    name: str
    txt: bytes | None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Announcement:
    """A 16-byte nonce and up to ``limits.ANNOUNCED_TAGS_MAX`` tags of 8 bytes."""

    nonce: bytes
    tags: tuple[bytes, ...]


def hour_of(seconds: float) -> int:
    """The hour since 1970 of a Unix time."""
    return int(seconds // HOUR_SECONDS)


def tag(discovery_key: bytes, nonce: bytes, hour: int, device: bytes) -> bytes:
    """BLAKE2b-64 of nonce, hour (8 bytes big-endian) and device key, keyed and personalised.

    ``discovery_key``: 32 bytes; ``nonce``: 16; ``device``: 32. Source: RFC 7693.
    """
    message = nonce + hour.to_bytes(8, "big") + device
    return hashlib.blake2b(
        message, digest_size=TAG_BYTES, key=discovery_key, person=_PERSON
    ).digest()


def compose(
    discovery_keys: Sequence[bytes],
    device: bytes,
    hour: int,
    *,
    random_bytes: Callable[[int], bytes],
    choose: Callable[[Sequence[bytes], int], Sequence[bytes]],
) -> Announcement:
    """One announcement of ``device`` for its mandates.

    With more than ``limits.ANNOUNCED_TAGS_MAX`` mandates ``choose`` picks that many. Random tags
    fill up to a multiple of 8, so that their count tells little; sorting hides the order.
    """
    nonce = random_bytes(NONCE_BYTES)
    if len(discovery_keys) > limits.ANNOUNCED_TAGS_MAX:
        discovery_keys = choose(discovery_keys, limits.ANNOUNCED_TAGS_MAX)
    tags = [tag(key, nonce, hour, device) for key in discovery_keys]
    tags += [random_bytes(TAG_BYTES) for _ in range(-len(tags) % _PAD_TO)]
    return Announcement(nonce, tuple(sorted(tags)))


def recognise(
    announcement: Announcement, mandates: Sequence[DiscoverableMandate], own: bytes, hour: int
) -> tuple[bytes, ...]:
    """The devices of ``mandates`` that made the announcement: usually one, often none.

    Looks one hour back and ahead, for clocks that differ. ``own`` is never found.
    """
    tags = frozenset(announcement.tags)
    found: dict[bytes, None] = {}
    for mandate in mandates:
        for device in mandate.devices:
            if device == own or device in found:
                continue
            for near in (hour, hour - 1, hour + 1):
                if tag(mandate.discovery_key, announcement.nonce, near, device) in tags:
                    found[device] = None
                    break
    return tuple(found)


def encode_txt(announcement: Announcement) -> bytes:
    """The TXT record: strings ``v=1``, ``n=`` + nonce, then ``t=`` + up to 31 tags each."""
    strings = [_VERSION, b"n=" + announcement.nonce]
    for start in range(0, len(announcement.tags), _TAGS_PER_STRING):
        strings.append(b"t=" + b"".join(announcement.tags[start : start + _TAGS_PER_STRING]))
    return b"".join(bytes([len(string)]) + string for string in strings)


def decode_txt(raw: bytes) -> Announcement | None:
    """Read a TXT record; None for anything that ``encode_txt`` would not have made.

    Strings under other names are skipped, so that a later version may add some.
    """
    if len(raw) > limits.ANNOUNCEMENT_BYTES_MAX:
        return None
    strings: list[bytes] = []
    position = 0
    while position < len(raw):
        end = position + 1 + raw[position]
        if end > len(raw):
            return None
        strings.append(raw[position + 1 : end])
        position = end
    if not strings or strings[0] != _VERSION:
        return None
    nonces = [string[2:] for string in strings if string.startswith(b"n=")]
    runs = [string[2:] for string in strings if string.startswith(b"t=")]
    if len(nonces) != 1 or len(nonces[0]) != NONCE_BYTES:
        return None
    if any(len(run) % TAG_BYTES or not run for run in runs):
        return None
    joined = b"".join(runs)
    if not TAG_BYTES <= len(joined) <= TAG_BYTES * limits.ANNOUNCED_TAGS_MAX:
        return None
    tags = tuple(joined[at : at + TAG_BYTES] for at in range(0, len(joined), TAG_BYTES))
    return Announcement(nonces[0], tags)
