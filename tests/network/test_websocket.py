"""WebSocket and TLS as the ground of a connection: between our ends, and against hostile ones."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.address import parse_address
from p2psync.network.bytestream import ByteStream, Channel
from p2psync.network.config import TransportConfig
from p2psync.network.ground import Ground
from p2psync.network.ground_config import GroundConfig, Way
from p2psync.network.host import Libp2pTransport
from p2psync.network.tls import CertificateRefused, Tls, client_context, server_context
from p2psync.network.websocket import WebSocket
from p2psync.network.websocket_frames import Close, close_frame, frame
from p2psync.network.websocket_opening import accept_websocket, open_websocket
from tests.certificates import Authority
from tests.network.grounds import EndlessChannel, both, close_ends, ends
from tests.network.rig import CALLED_SEED, CALLER_SEED, hold, until

Pair = tuple[Channel, Channel]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_ends()


async def websockets() -> Pair:
    near, far = ends()
    await both(partial(open_websocket, near, "h"), partial(accept_websocket, far))
    return WebSocket(near, client=True), WebSocket(far, client=False)


async def secured(authority: Authority) -> Pair:
    near, far = ends()
    files = authority.issue("relay.test")
    client = Tls(near, client_context(authority.ca), "relay.test")
    server = Tls(far, server_context(files.certificate, files.key))
    assert await both(client.shake_hands, server.shake_hands) == [None, None]
    await both(partial(open_websocket, client, "h"), partial(accept_websocket, server))
    return WebSocket(client, client=True, sealed=True), WebSocket(server, client=False, sealed=True)


async def read_all(channel: Channel, count: int, step: int) -> bytes:
    got = bytearray()
    buffer = memoryview(bytearray(step))
    while len(got) < count:
        came = channel.receive_now(buffer)
        if came is None:
            await channel.readable()
        elif not came:
            break
        else:
            got += buffer[:came]
    return bytes(got)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("step", [1000, 40_000, 262_144])
async def test_what_is_sent_arrives_in_both_directions(
    tmp_path: Path, tls: bool, step: int
) -> None:
    """More than the kernel has room for, so that writers wait and come again."""
    near, far = await (secured(Authority(tmp_path)) if tls else websockets())
    data = bytes(range(251)) * 12_000
    results = await both(
        partial(near.send, data),
        partial(far.send, data[::-1]),
        partial(read_all, near, len(data), step),
        partial(read_all, far, len(data), step),
    )
    assert results == [None, None, data[::-1], data]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=70_000), min_size=1, max_size=6))
def test_what_is_written_without_waiting_arrives_once(parts: list[bytes]) -> None:
    """``send_now`` says what it took; who comes again with the rest doubles nothing."""

    async def play() -> None:
        near, far = await websockets()
        sent = b"".join(parts)

        async def write() -> None:
            for part in parts:
                view = memoryview(part)
                while view:
                    taken = near.send_now(view)
                    assert 0 <= taken <= len(view)
                    view = view[taken:]
                    if view:
                        await near.writable()

        results = await both(write, partial(read_all, far, len(sent), 50_000))
        assert results == [None, sent]

    trio.run(play)


async def test_the_end_is_told_and_answered() -> None:
    near, far = await websockets()
    await near.send(b"last")
    near.end()
    assert await far.read_exactly(4) == b"last"
    buffer = memoryview(bytearray(40_000))
    assert far.receive_now(buffer) == 0
    assert near.receive_now(buffer) == 0
    with pytest.raises(LinkBroken):
        await near.send(b"more")


async def test_a_ping_is_answered_and_is_no_data() -> None:
    near, far = ends()
    client = WebSocket(near, client=True)
    await far.send(bytes(frame(b"are you there", mask=None, opcode=9) + frame(b"x", mask=None)))
    assert await client.read_exactly(1) == b"x"
    head = await far.read_exactly(2)
    assert head == b"\x8a\x8d"
    await far.read_exactly(4 + 13)


async def test_pings_of_a_peer_that_reads_nothing_take_no_memory() -> None:
    near, far = ends()
    client = WebSocket(near, client=True)
    far.send_now(memoryview(frame(b"x", mask=None)))
    await client.read_exactly(1)
    while near.send_now(memoryview(bytes(65_536))):
        pass
    for _ in range(40):
        await far.send(bytes(frame(b"p" * 125, mask=None, opcode=9)) * 50 + frame(b"x", mask=None))
        await client.read_exactly(1)
    assert len(client._outbox) < 200


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x81\x85\x00\x00\x00\x00hello", Close.UNSUPPORTED_DATA),
        (b"\x82\x05hello", Close.PROTOCOL_ERROR),
        (b"\x82\xff\x00\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00", Close.TOO_BIG),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_told_why(wire: bytes, code: Close) -> None:
    near, far = ends()
    server = WebSocket(near, client=False)
    await far.send(wire)
    with pytest.raises(LinkBroken):
        await server.read_exactly(1)
    assert await far.read_exactly(4) == close_frame(code, mask=None)


# -- the opening handshake

GOOD = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


async def asked(request: bytes) -> tuple[bytes, object]:
    """What a server answers, and how its handshake ended."""
    near, far = ends()

    async def ask() -> bytes:
        await far.send(request)
        got = b""
        while b"\r\n\r\n" not in got:
            part = await far.receive(4096)
            if not part:
                break
            got += part
        far.close()
        return got

    async def accept() -> object:
        try:
            return await accept_websocket(near)
        finally:
            near.close()

    answer, outcome = await both(ask, accept)
    assert isinstance(answer, bytes)
    return answer, outcome


async def test_a_known_key_is_accepted() -> None:
    """RFC 6455, section 1.3."""
    answer, outcome = await asked(GOOD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert outcome is None


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"426"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", b"426"),
        (GOOD.replace(b"Version: 13", b"Version: 8") + b"\r\n", b"426"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", b"400"),
        (b"GET nonsense\r\n\r\n", b"400"),
        (GOOD.replace(b"Host: h", b"Host: \xff\xfe") + b"\r\n", b"400"),
        (GOOD + b"X: " + b"a" * limits.HTTP_HEAD_BYTES_MAX, b"400"),
        (b"\x13/multistream/1.0.0\n\x07/noise\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
    ],
)
async def test_what_asks_for_no_websocket_gets_a_short_answer(
    request_: bytes, status: bytes
) -> None:
    answer, outcome = await asked(request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert len(answer) < 400
    assert isinstance(outcome, LinkBroken)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_request_raises_anything_else(data: bytes, begun: bool) -> None:
    async def play() -> None:
        _, outcome = await asked((GOOD if begun else b"GET ") + data + b"\r\n\r\n")
        assert outcome is None or isinstance(outcome, LinkBroken)

    trio.run(play)


async def test_who_asks_for_something_else_and_sends_for_ever_is_soon_left_alone() -> None:
    """It might send quicker than is read, so that no deadline would ever come up."""
    channel = EndlessChannel(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", room=1 << 20)
    with pytest.raises(LinkBroken, match="no WebSocket was asked for"):
        await accept_websocket(channel)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "a web server answers there"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway"),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "handshake failed",
        ),
        (b"HTTP/1.1 101 X\r\n\r\n", "handshake failed"),
        (b"SSH-2.0-x\r\n\r\n", "no web server"),
        (b"\x13/multistream/1.0.0\n", "no web server"),
        (b"HTTP/1.1 200 " + b"a" * 10_000, "no web server"),
    ],
)
async def test_an_answer_that_is_none_is_told(answer: bytes, cause: str) -> None:
    near, far = ends()
    _, outcome = await both(partial(far.send, answer), partial(open_websocket, near, "h"))
    assert isinstance(outcome, LinkBroken)
    assert cause in str(outcome)


async def test_only_a_reverse_proxy_that_is_trusted_says_who_calls() -> None:
    request = GOOD + b"X-Forwarded-For: 198.51.100.9, 203.0.113.7\r\n\r\n"
    for trusted, expected in (([], None), (["192.0.2.1"], "203.0.113.7")):
        near, far = ends()
        near.remote = parse_address("/ip4/192.0.2.1/tcp/5")
        await far.send(request)
        found = await accept_websocket(near, trusted)
        assert (found and found.host) == expected


# -- TLS


async def refused(authority: Authority, context: ssl.SSLContext, name: str, days: int) -> str:
    near, far = ends()
    files = authority.issue("relay.test", "192.0.2.1", days=days)
    server = Tls(far, server_context(files.certificate, files.key))
    client = Tls(near, context, name)
    outcome, _ = await both(client.shake_hands, server.shake_hands)
    assert isinstance(outcome, CertificateRefused)
    return str(outcome)


async def test_a_bad_certificate_is_told_with_the_next_step(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    trusted = client_context(ours.ca)
    assert "has expired" in await refused(ours, trusted, "relay.test", -1)
    assert "is not valid yet" in await refused(ours, trusted, "relay.test", 100)
    assert "is not for other.test" in await refused(ours, trusted, "other.test", 30)
    assert "is not for 192.0.2.2" in await refused(ours, trusted, "192.0.2.2", 30)
    assert "--ca FILE" in await refused(ours, client_context(), "relay.test", 30)


async def test_the_environment_may_name_the_cas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    files = authority.issue("relay.test")
    near, far = ends()
    client = Tls(near, client_context(), "relay.test")
    server = Tls(far, server_context(files.certificate, files.key))
    assert await both(client.shake_hands, server.shake_hands) == [None, None]


async def test_what_is_no_tls_is_told() -> None:
    near, far = ends()
    client = Tls(near, client_context(), "relay.test")
    await far.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(LinkBroken, match="TLS failed"):
        await client.shake_hands()


# -- whole transports


Configured = Callable[[str], tuple[TransportConfig, TransportConfig]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """The configurations of a caller and of who is called, with certificates where wanted."""

    def make(web: str) -> tuple[TransportConfig, TransportConfig]:
        if web == "ws":
            return TransportConfig(), TransportConfig()
        authority = Authority(tmp_path)
        files = authority.issue("127.0.0.1")
        context = server_context(files.certificate, files.key)
        return (
            TransportConfig(ground=GroundConfig(ca=authority.ca)),
            TransportConfig(ground=GroundConfig(certificate=lambda: context)),
        )

    return make


@pytest.mark.parametrize("web", ["ws", "tls/ws"])
async def test_devices_link_over_websocket(configured: Configured, web: str) -> None:
    calling, answering = configured(web)
    give, take = trio.open_memory_channel[bytes](1)

    async def accept(link: object) -> None:
        await give.send(await link.receive())  # type: ignore[attr-defined]  # a Link

    listen = [f"/ip4/127.0.0.1/tcp/0/{web}"]
    called = Libp2pTransport(CALLED_SEED, listen, accept, config=answering)
    caller = Libp2pTransport(CALLER_SEED, [], hold, config=calling)
    async with called.open(), caller.open():
        assert called.addresses()[0].endswith(f"/{web}")
        link = await caller.dial(called.device, called.addresses())
        await link.send(b"hello" * 40_000)
        assert await take.receive() == b"hello" * 40_000
        await link.close()


async def test_silent_callers_of_a_websocket_hold_nothing_for_long(configured: Configured) -> None:
    """A slow handshake ends with ``upgrade_seconds``, as on bare TCP."""
    _, answering = configured("tls/ws")
    config = replace(answering, upgrade_seconds=0.2)
    listen = ["/ip4/127.0.0.1/tcp/0/tls/ws", "/ip4/127.0.0.1/tcp/0/ws"]
    called = Libp2pTransport(CALLED_SEED, listen, hold, config=config)
    async with called.open():
        raws = []
        for text, data in zip(called.addresses(), (b"\x16\x03\x01", b"GET / HT"), strict=True):
            address = parse_address(text)
            raw = ByteStream(await trio.open_tcp_stream(address.host, address.port))
            await raw.send(data)
            raws.append(raw)
        await until(lambda: called.guard.upgrading == 2)
        await until(lambda: called.guard.upgrading == 0)
        for raw in raws:
            raw.close()


async def test_a_plain_request_at_the_port_is_answered_shortly(configured: Configured) -> None:
    _, answering = configured("ws")
    called = Libp2pTransport(CALLED_SEED, ["/ip4/127.0.0.1/tcp/0/ws"], hold, config=answering)
    async with called.open():
        address = parse_address(called.addresses()[0])
        raw = ByteStream(await trio.open_tcp_stream(address.host, address.port))
        await raw.send(b"GET /admin HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await raw.receive()).startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        raw.close()


async def test_a_listener_with_tls_and_no_certificate_serves_nobody(configured: Configured) -> None:
    called = Libp2pTransport(CALLED_SEED, ["/ip4/127.0.0.1/tcp/0/tls/ws"], hold)
    async with called.open():
        ground = Ground(GroundConfig(), 9.0)
        with pytest.raises(LinkBroken):
            await ground.open(Way(parse_address(called.addresses()[0])))
