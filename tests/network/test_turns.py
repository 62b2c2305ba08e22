"""A bulk transfer holds up nothing else on its connection, counted in bytes and not in time."""

from functools import partial

import trio

from p2psync import limits
from p2psync.network.address import parse_address
from p2psync.network.bytestream import ByteStream
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection, upgrade_outbound
from p2psync.network.dial import connect
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair
from p2psync.network.stream import Stream
from tests.network.rig import CALLED_SEED, CALLER_SEED, LOOPBACK, hold

SAVE_BYTES = 20_000
SAVES = 50
BATCH_BYTES = 512 * limits.KIB
"""More than goes to the kernel at one time."""


class Counted:
    """Counts what a stream brought; ``at`` is the count when a save came in on another."""

    def __init__(self) -> None:
        self.bulk = 0
        self.at: list[int] = []

    async def swallow(self, connection: Connection, stream: Stream) -> None:
        while not stream.ended:
            await stream.more(0)
            self.bulk += len(stream.take(1 << 20))

    async def saves(self, connection: Connection, stream: Stream) -> None:
        for _ in range(SAVES):
            await stream.read_exactly(SAVE_BYTES)
            self.at.append(self.bulk)
            stream.put(b"!")


async def pour(stream: Stream) -> None:
    while True:
        await stream.write(bytes(256 * limits.KIB))


async def test_a_save_waits_for_no_more_of_a_bulk_transfer_than_its_window() -> None:
    counted, config = Counted(), TransportConfig()
    called = Libp2pTransport(CALLED_SEED, [LOOPBACK], hold, config=config)
    called.handle("/test/swallow/1", counted.swallow)
    called.handle("/test/saves/1", counted.saves)
    async with called.open(), trio.open_nursery() as nursery:
        raw = ByteStream(await connect(parse_address(called.addresses()[0])))
        session = await upgrade_outbound(raw, key_pair(CALLER_SEED), called.device)
        connection = Connection(session, "outbound", {}, nursery.start_soon, config)
        await nursery.start(connection.run)
        bulk = await connection.open_stream("/test/swallow/1")
        saves = await connection.open_stream("/test/saves/1")
        nursery.start_soon(partial(pour, bulk))
        put_at = []
        with trio.fail_after(60):
            for _ in range(SAVES):
                put_at.append(counted.bulk)
                saves.put(bytes(SAVE_BYTES))
                await saves.read_exactly(1)
        nursery.cancel_scope.cancel()
    assert counted.bulk > SAVES * limits.LINK_WINDOW_START_BYTES // 4, "there was no bulk"
    waited = [at - put for put, at in zip(put_at, counted.at, strict=True)]
    assert max(waited) <= limits.LINK_WINDOW_START_BYTES + BATCH_BYTES
