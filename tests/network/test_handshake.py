"""Who cannot prove a device key gets no channel."""

from collections.abc import Callable

import pytest
import trio

from p2psync.core.crypto import SigningKey
from p2psync.engine.ports import LinkBroken
from p2psync.network import handshake
from p2psync.network.bytestream import ByteStream
from p2psync.network.identity import KEY_PREFIX
from p2psync.network.noise import NoiseSession, WrongDevice, secure
from p2psync.network.protobuf import bytes_field

CALLER, CALLED = SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"d" * 32)


async def pair() -> tuple[ByteStream, ByteStream]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        return ByteStream(client), ByteStream(await listener.accept())


async def both(
    caller: SigningKey, called: SigningKey, expected: bytes
) -> tuple[NoiseSession | LinkBroken, NoiseSession | LinkBroken]:
    """What the handshake of two sides gives each of them."""
    ends: dict[str, NoiseSession | LinkBroken] = {}
    client, server = await pair()

    async def run(name: str, stream: ByteStream, keys: SigningKey, other: bytes | None) -> None:
        try:
            ends[name] = await secure(stream, keys, other)
        except LinkBroken as error:
            ends[name] = error
            stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "caller", client, caller, expected)
        nursery.start_soon(run, "called", server, called, None)
    client.close()
    server.close()
    return ends["caller"], ends["called"]


async def test_each_side_learns_the_other_device() -> None:
    ours, theirs = await both(CALLER, CALLED, CALLED.public)
    assert isinstance(ours, NoiseSession) and ours.device == CALLED.public
    assert isinstance(theirs, NoiseSession) and theirs.device == CALLER.public


async def test_another_device_is_told_nothing() -> None:
    ours, theirs = await both(CALLER, CALLED, CALLER.public)
    assert isinstance(ours, WrongDevice)
    assert isinstance(theirs, LinkBroken)


@pytest.mark.parametrize("liar", ["caller", "called"])
async def test_a_key_that_did_not_sign_is_refused(liar: str) -> None:
    """The public key of one device with the secret of another."""
    stolen = SigningKey(b"", CALLED.public, SigningKey.from_seed(b"x" * 32)._secret)
    if liar == "called":
        refused, _ = await both(CALLER, stolen, CALLED.public)
    else:
        _, refused = await both(stolen, CALLED, CALLED.public)
    assert isinstance(refused, LinkBroken)


@pytest.mark.parametrize(
    "payload",
    [
        lambda: b"",
        lambda: b"\xff" * 40,
        lambda: bytes_field(1, KEY_PREFIX + CALLED.public),
        lambda: bytes_field(1, KEY_PREFIX + CALLED.public) + bytes_field(2, bytes(64)),
        lambda: bytes_field(1, b"\x08\x00\x12\x20" + bytes(32)) + bytes_field(2, bytes(64)),
        lambda: bytes_field(1, KEY_PREFIX + bytes(32)) + bytes_field(2, bytes(64)),
    ],
    ids=["empty", "garbage", "no signature", "zeros", "not ed25519", "a weak key"],
)
async def test_other_payloads_are_refused(
    payload: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await pair()
    send = handshake._send

    async def lie(stream: ByteStream, state: object, message: bytes) -> None:
        await send(stream, state, payload() if stream is server else message)

    monkeypatch.setattr(handshake, "_send", lie)

    async def called() -> None:
        with pytest.raises(LinkBroken):
            await secure(server, CALLED, None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(called)
        with pytest.raises(LinkBroken):
            await secure(client, CALLER, CALLED.public)
        client.close()
    server.close()
