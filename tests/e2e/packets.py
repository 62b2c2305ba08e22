"""What packets carry, and whether a secret is in it in any usual form."""

import base64
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import base58

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "cp1252")
WINDOW_BYTES = 24
MDNS_PORT = 5353
_TCP, _UDP = 6, 17
_IPV4, _IPV6 = 0x0800, 0x86DD


@dataclass
class Traffic:
    """Payloads: of UDP by port, of TCP each direction of each connection in order."""

    udp: dict[int, list[bytes]] = field(default_factory=dict)
    tcp: dict[tuple[bytes, int, int], bytes] = field(default_factory=dict)

    def payloads(self) -> Iterator[bytes]:
        for datagrams in self.udp.values():
            yield from datagrams
        yield from self.tcp.values()

    def bytes_at(self, port: int) -> int:
        """How much TCP carried to or from a port."""
        return sum(len(data) for (_, *ports), data in self.tcp.items() if port in ports)


def read(path: Path) -> Traffic:
    """Read what ``watching_relay`` wrote."""
    traffic = Traffic()
    segments: dict[tuple[bytes, int, int], dict[int, bytes]] = {}
    starts: dict[tuple[bytes, int, int], int] = {}
    data, at = path.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        packet = data[at + 4 : at + 4 + size]
        at += 4 + size
        found = _transport(packet)
        if found is None:
            continue
        protocol, hosts, body = found
        source, target = struct.unpack_from("!HH", body)
        if protocol == _UDP:
            for port in {source, target}:
                traffic.udp.setdefault(port, []).append(body[8:])
        elif protocol == _TCP:
            (sequence,) = struct.unpack_from("!I", body, 4)
            flow = (hosts, source, target)
            # Numbers wrap; what goes on is near its beginning.
            offset = (sequence - starts.setdefault(flow, sequence)) & 0xFFFFFFFF
            payload = body[(body[12] >> 4) * 4 :]
            if payload and offset < 1 << 31:
                kept = segments.setdefault(flow, {})
                kept[offset] = max(kept.get(offset, b""), payload, key=len)
    for flow, kept in segments.items():
        joined = bytearray()
        for offset in sorted(kept):
            base = min(kept)
            joined[offset - base : offset - base + len(kept[offset])] = kept[offset]
        traffic.tcp[flow] = bytes(joined)
    return traffic


def _transport(packet: bytes) -> tuple[int, bytes, bytes] | None:
    (kind,) = struct.unpack_from("!H", packet, 12)
    if kind == _IPV4:
        header = (packet[14] & 0x0F) * 4
        (total,) = struct.unpack_from("!H", packet, 16)
        end = 14 + total if total else len(packet)
        return packet[23], packet[26:34], packet[14 + header : end]
    if kind == _IPV6:
        return packet[20], packet[22:54], packet[54:]
    return None


def forms(secret: bytes) -> Iterator[bytes]:
    """How some bytes may stand in others: as they are, in hex, in base64, in base58."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = alphabet(bytes(before) + secret).rstrip(b"=")
            # The first and last characters depend on what stands beside the secret.
            yield text[(4 if before else 0) : -2]
    if len(secret) == 32:
        yield base58.b58encode(secret)


def of_text(text: str) -> Iterator[bytes]:
    """A text in the usual encodings, each in all forms."""
    for encoding in ENCODINGS:
        yield from forms(text.encode(encoding, "ignore"))


def of_content(content: bytes) -> Iterator[bytes]:
    """Parts of a file's content, so that each longer run of it has one in it."""
    for start in range(0, len(content) - WINDOW_BYTES, WINDOW_BYTES // 2):
        yield from forms(content[start : start + WINDOW_BYTES])


def found(secrets: Mapping[str, Iterable[bytes]], payloads: Iterable[bytes]) -> set[str]:
    """The names of secrets that are in any payload."""
    all_of_it = b"\0|\0".join(payloads)
    return {name for name, needles in secrets.items() if any(each in all_of_it for each in needles)}
