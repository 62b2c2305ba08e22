"""Targets for what strangers send below the protocol: announcements, addresses, streams."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

# The noise package carries no types.
from noise.connection import Keypair, NoiseConnection  # type: ignore[import-untyped]

# They are exported, but not marked so for type checkers.
from zeroconf import (  # type: ignore[attr-defined]
    DNSCache,
    DNSIncoming,
    DNSOutgoing,
    RecordUpdate,
    ServiceInfo,
)

from p2psync import limits
from p2psync.engine.ports import DiscoverableMandate, LinkBroken
from p2psync.errors import BadInputError
from p2psync.network import announce, identity
from p2psync.network.address import parse_address
from p2psync.network.announce import SERVICE_TYPE, Heard
from p2psync.network.mdns import _Listener
from p2psync.network.muxer import DATA, FIN, HEADER, PING, RST, SYN, WINDOW_UPDATE, Muxer
from p2psync.network.negotiation import NotSpoken, answer, encode_line, propose
from p2psync.network.noise import secure
from p2psync.network.protobuf import bytes_field, bytes_fields
from tests.fuzz.feed import Feed
from tests.fuzz.target import Target, explained

_KEY = bytes(range(32))
_MANDATES = [DiscoverableMandate(_KEY, (b"d" * 32,))]
_PUBLIC = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
_NAME = f"{'ab' * 12}.{SERVICE_TYPE}"


def _announced() -> bytes:
    said = announce.compose(
        [_KEY], b"d" * 32, 7, random_bytes=lambda size: bytes(size), choose=lambda all_, _: all_
    )
    return announce.encode_txt(said)


def run_announcement(data: bytes) -> None:
    """TXT records."""
    said = announce.decode_txt(data)
    if said is None:
        return
    assert len(data) <= limits.ANNOUNCEMENT_BYTES_MAX
    assert len(said.nonce) == announce.NONCE_BYTES
    assert 1 <= len(said.tags) <= limits.ANNOUNCED_TAGS_MAX
    assert all(len(tag) == announce.TAG_BYTES for tag in said.tags)
    assert announce.decode_txt(announce.encode_txt(said)) == said
    assert announce.recognise(said, _MANDATES, b"o" * 32, 7) in ((), (b"d" * 32,))


class _Zeroconf:
    """As much of zeroconf as the listener looks at."""

    def __init__(self) -> None:
        self.cache = DNSCache()


def run_packet(data: bytes) -> None:
    """Multicast DNS packets, read by zeroconf itself."""
    heard: list[Heard] = []
    zeroconf = cast(Any, _Zeroconf())
    listener = _Listener(zeroconf, heard.append)
    incoming = DNSIncoming(data)
    if not incoming.valid:
        return
    records = incoming.answers()
    zeroconf.cache.async_add_records(records)
    listener.async_update_records(zeroconf, 0.0, [RecordUpdate(each, None) for each in records])
    listener.async_update_records_complete()
    for each in heard:
        assert each.name.lower().endswith(SERVICE_TYPE)
        assert len(each.addresses) <= limits.ANNOUNCED_ADDRESSES_MAX
        for address in each.addresses:
            parse_address(address)
        if each.txt is not None:
            announce.decode_txt(each.txt)


def run_address(data: bytes) -> None:
    """Multiaddrs and peer IDs."""
    feed = Feed(data)
    peer = identity.peer_id_text(_KEY)
    pieces = ("/", "ip4", "ip6", "dns", "tcp", "p2p", "127.0.0.1", "::1", "%lo", "4001", peer)
    if feed.chance():
        text = feed.rest().decode("utf-8", "surrogateescape")
    else:
        text = ""
        while feed.left:
            text += feed.pick(pieces) if feed.number(4) else feed.chunk().decode("latin-1")
    try:
        found = parse_address(text, expected=_KEY if feed.chance() else None)
    except BadInputError as error:
        explained(error)
    else:
        assert 0 <= found.port <= 0xFFFF
        assert parse_address(str(found)) == found
        assert found.for_people()
    try:
        device = identity.device_of_peer_id(text)
    except BadInputError:
        pass
    else:
        assert identity.peer_id_text(device) == text
    try:
        device = identity.device_of_public_key(data)
    except (BadInputError, LinkBroken):
        return
    assert identity.KEY_PREFIX + device == data


# -- streams ------------------------------------------------------------------------------------


class _Said:
    """One end of a conversation whose other end's words are given."""

    def __init__(self, data: bytes, most: int = limits.NEGOTIATION_LINE_BYTES_MAX) -> None:
        self._data = data
        self._at = 0
        self._most = most
        self.written = b""

    async def read_exactly(self, count: int) -> bytes:
        assert count <= self._most
        taken = self._data[self._at : self._at + count]
        self._at += count
        if len(taken) < count:
            raise LinkBroken("the end")
        return taken

    async def write(self, data: bytes) -> None:
        self.written += data


_SPOKEN = ("/p2psync/sync/1", "/ipfs/id/1.0.0")


def _finished(call: Any) -> Any:
    """Run what never waits."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("waits for more than was said")


def run_negotiation(data: bytes) -> None:
    """multistream-select, both sides."""
    feed = Feed(data)
    if feed.chance():
        words = ("/multistream/1.0.0", *_SPOKEN, "na", "ls", "")
        said = b"".join(
            encode_line(feed.pick(words)) if feed.number(4) else feed.chunk()
            for _ in range(feed.number(24))
        )
    else:
        said = feed.rest()
    called, caller = _Said(said), _Said(said)
    with suppress(LinkBroken):
        assert _finished(answer(called, _SPOKEN)) in _SPOKEN
    assert len(called.written) <= (limits.NEGOTIATION_PROPOSALS_MAX + 1) * 32
    with suppress(NotSpoken, LinkBroken):
        _finished(propose(caller, _SPOKEN[0]))


class _Peer(_Said):
    """A stranger that completes the handshake's arithmetic and says anything in its payloads."""

    def __init__(self, data: bytes, *, calls: bool, payload: bytes) -> None:
        super().__init__(data, 65_535)
        self._state = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
        self._state.set_keypair_from_private_bytes(Keypair.STATIC, bytes(range(32)))
        (self._state.set_as_initiator if calls else self._state.set_as_responder)()
        self._state.start_handshake()
        self._payload = payload
        if calls:
            self._data = self._framed(b"")

    def _framed(self, payload: bytes) -> bytes:
        message = bytes(self._state.write_message(payload))
        return len(message).to_bytes(2, "big") + message

    async def send(self, data: bytes) -> None:
        await self.write(data)
        try:
            self._state.read_message(data[2:])
            self._data += self._framed(self._payload)
        except Exception:
            return


def run_handshake(data: bytes) -> None:
    """The secure handshake, both sides, and its protobuf."""
    feed = Feed(data)
    calls, honest = feed.chance(), feed.chance()
    key = identity.key_pair(b"k" * 32)
    identity_key = identity.KEY_PREFIX + key.public
    if feed.chance():
        signature = key.sign_plain(b"noise-libp2p-static-key:" + _PUBLIC)
        fields = [(1, identity_key), (2, signature)]
        payload = b"".join(
            bytes_field(number, feed.chunk() if feed.number(3) == 1 else value)
            for number, value in fields
            if feed.number(5) != 1
        )
        genuine = payload == b"".join(bytes_field(*field) for field in fields)
    else:
        payload, genuine = feed.chunk(), False
    try:
        fields_found = bytes_fields(payload)
    except BadInputError:
        fields_found = {}
    assert sum(map(len, fields_found.values())) <= len(payload)
    stream: _Said
    if honest:
        stream = _Peer(b"", calls=calls, payload=payload)
    else:
        stream = _Peer(feed.rest(), calls=False, payload=payload)
    expected = None if calls else key.public
    try:
        session = _finished(secure(cast(Any, stream), identity.key_pair(b"m" * 32), expected))
    except LinkBroken:
        return
    assert genuine, "a key was taken for proven"
    assert session.device == key.public


def run_muxer(data: bytes) -> None:
    """yamux: frames of all kinds, in pieces of all sizes."""
    feed = Feed(data)
    opened: list[Any] = []
    muxer = Muxer(
        dialled=feed.chance(),
        opened=opened.append,
        window_max=lambda: limits.LINK_WINDOW_BYTES_MAX,
        clock=lambda: 0.0,
    )
    own = muxer.open()
    own.put(b"hello")
    try:
        while feed.left:
            _mux(feed, muxer, [own, *opened])
    except LinkBroken:
        muxer.finish("the end")
        assert not muxer.streams
        return
    for stream in muxer.streams.values():
        assert len(stream.inbox) <= limits.LINK_WINDOW_BYTES_MAX


def _mux(feed: Feed, muxer: Muxer, streams: list[Any]) -> None:
    match feed.number(8):
        case 0:
            muxer.feed(feed.chunk())
        case 1:
            stream = feed.pick(streams)
            stream.take(feed.number(1000))
        case 2:
            parts = muxer.collect(1 << 16)
            assert sum(map(len, parts)) <= (1 << 18)
        case 3:
            stream = feed.pick(streams)
            if feed.chance():
                stream.reset()
            else:
                stream.end()
        case 4:
            header = HEADER.pack(*(feed.number(top) for top in (2, 5, 16, 8, 1 << 32)))
            muxer.feed(header)
        case _:
            kind = feed.pick((DATA, WINDOW_UPDATE, PING, DATA))
            flags = feed.pick((0, 0, SYN, FIN, RST, SYN | FIN))
            body = feed.chunk() if kind == DATA else b""
            value = len(body) if kind == DATA else feed.number(1 << 20)
            packed = HEADER.pack(0, kind, flags, feed.number(6), value) + body
            cut = feed.number(len(packed) + 1)
            muxer.feed(packed[:cut])
            muxer.feed(packed[cut:])


def _packet(txt: bytes) -> bytes:
    info = ServiceInfo(
        SERVICE_TYPE, _NAME, port=4001, properties=txt, server="x.local.", addresses=[b"\x0a\0\0\1"]
    )
    out = DNSOutgoing(0x8400)
    for record in (info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()):
        out.add_answer_at_time(record, 0)
    return out.packets()[0]


def _packets() -> Iterable[bytes]:
    yield _packet(_announced())
    yield _packet(b"")
    yield b"\0\0\x84\0" + bytes(8)


def _addresses() -> Iterable[bytes]:
    peer = identity.peer_id_text(_KEY)
    for text in ("/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/65535", f"/dns/a.b/tcp/1/p2p/{peer}"):
        yield b"\1" + text.encode()
    yield peer.encode()
    yield identity.KEY_PREFIX + _KEY
    yield bytes([0, 1, 0, 1, 1, 1, 0, 1, 6, 1, 0, 1, 4, 1, 0, 1, 9])


def _negotiations() -> Iterable[bytes]:
    said = encode_line("/multistream/1.0.0")
    yield b"\0" + said + encode_line(_SPOKEN[0])
    yield b"\0" + said + encode_line("/x") + encode_line(_SPOKEN[1])
    yield b"\0" + said + encode_line("na")
    yield bytes([1, 3, 1, 0, 1, 1])


def _handshakes() -> Iterable[bytes]:
    for calls in (0, 1):
        yield bytes([calls, 1, 1, 0, 0, 0, 0])
        yield bytes([calls, 1, 1, 2, 2, 2, 2])
        yield bytes([calls, 1, 1, 2, 1, 3, 1, 2, 3, 0, 0])
        yield bytes([calls, 1, 0, 40]) + bytes_field(1, identity.KEY_PREFIX + _KEY)
        yield bytes([calls, 0, 0, 0, 0, 32]) + bytes(32)


def _mux_seeds() -> Iterable[bytes]:
    yield bytes([0, 5, 0, 2, 5, *b"hello", 2, 17, 1, 0, 0, 9, 2])
    yield bytes([1, 5, 1, 2, 0, 0, 0, 1, 12, 5, 0, 3, 2, *b"xy", 1, 14, 3, 0, 1, 2])
    yield bytes([0, 0, 12, *HEADER.pack(0, PING, SYN, 0, 7), 2, 4, 0, 3, 0, 0, 0, 0, 0, 1])
    yield bytes([1, 4, 0, 0, 1, 2, 255, 255, 255, 255])


TARGETS = (
    Target(
        "announcement",
        "a TXT record is refused, or its announcement is bounded and encodes to one like it",
        run_announcement,
        lambda: [_announced(), b"\3v=1", b""],
        bytes_max=1200,
        short_runs=1_330,
    ),
    Target(
        "packet",
        "no multicast packet raises, and what is heard of it is bounded",
        run_packet,
        _packets,
        bytes_max=1500,
        short_runs=500,
    ),
    Target(
        "address",
        "an address or peer ID is refused, or is what it is printed as",
        run_address,
        _addresses,
        bytes_max=600,
        short_runs=420,
    ),
    Target(
        "negotiation",
        "any words end the negotiation in bounded reads and writes",
        run_negotiation,
        _negotiations,
        bytes_max=2048,
        short_runs=420,
    ),
    Target(
        "handshake",
        "whoever completes the handshake has proved the key; anything else ends the connection",
        run_handshake,
        _handshakes,
        bytes_max=512,
        short_runs=200,
    ),
    Target(
        "muxer",
        "any frames in any pieces keep within the windows, or end the connection",
        run_muxer,
        _mux_seeds,
        bytes_max=2048,
        short_runs=420,
    ),
)
