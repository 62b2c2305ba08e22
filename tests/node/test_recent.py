"""What was just saved is kept in memory for a moment, and only so much of it."""

from pathlib import Path

import trio
import trio.testing

from p2psync.limits import RECENT_BYTES_MAX
from p2psync.node.pieces import RECENT_SECONDS, Pieces
from p2psync.storage.contents import ContentStore
from p2psync.storage.home import Home


def piece(number: int, size: int = 1000) -> tuple[bytes, bytes]:
    return number.to_bytes(32, "big"), bytes(size)


def pieces_of(home: Home) -> Pieces:
    return Pieces(ContentStore(home.chunks, home.incoming, home.versions))


async def test_sealed_pieces_are_let_go_of_after_a_moment(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    with Home.open(tmp_path) as home:
        pieces = pieces_of(home)
        nursery.start_soon(pieces.keep_recent_for_a_moment)
        for round_ in range(2):
            pieces.remember([piece(2 * round_)])
            await trio.sleep(RECENT_SECONDS * 1.5)
            assert pieces.recent_bytes == 1000
            pieces.remember([piece(2 * round_ + 1)])
            await trio.sleep(RECENT_SECONDS)
            assert pieces.recent_bytes == 1000
            await trio.sleep(RECENT_SECONDS * 2)
            assert pieces.recent_bytes == 0


def test_sealed_pieces_in_memory_are_bounded(tmp_path: Path) -> None:
    with Home.open(tmp_path) as home:
        pieces = pieces_of(home)
        for number in range(40):
            pieces.remember([piece(number, RECENT_BYTES_MAX // 16)])
            pieces.remember([piece(number, RECENT_BYTES_MAX // 16)])
        assert pieces.recent_bytes == RECENT_BYTES_MAX
