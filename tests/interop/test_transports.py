"""One suite for every transport: ours, stock py-libp2p and js-libp2p, calling each other.

Which pairs there are is decided when tests are collected: js-libp2p needs Node.js.
"""

import gc
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from tests.interop import node
from tests.interop.js_peer import Js
from tests.interop.ours import Ours
from tests.interop.plays import SLOW_BYTES, STREAMS, Result
from tests.interop.stock import Stock
from tests.interop.wire import BULK_BYTES, MIB, Kind, digest_of_pattern

pytestmark = [
    # The stock host forgets sockets; what it forgets is found here, not in somebody else's test.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

JS = Js()
KINDS: dict[str, Kind] = {"ours": Ours(), "stock": Stock(), "js": JS}
PAIRS = [("ours", "ours"), ("ours", "stock"), ("stock", "ours"), ("stock", "stock")]
if node.missing() is None:
    PAIRS += [("ours", "js"), ("js", "ours")]
PLAY_SECONDS = 120


@pytest.fixture(autouse=True, scope="module")
def node_process() -> Iterator[None]:
    yield
    JS.stop()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


async def run(play: str, caller: str, called: str) -> Result:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(PLAY_SECONDS))
        place = await stack.enter_async_context(KINDS[called].serve())
        return await KINDS[caller].play(play, place)


def how(kind: str, really: str) -> str:
    """What a reader of this kind says of a stream that ``really`` came to its end, or was cut."""
    return "over" if kind == "stock" else really


def empty(kind: str, really: str = "end") -> list[Any]:
    return [0, digest_of_pattern(0), how(kind, really)]


@pytest.mark.parametrize(("caller", "called"), PAIRS, ids=[f"{a} calls {b}" for a, b in PAIRS])
class TestPair:
    async def test_echo(self, caller: str, called: str) -> None:
        assert await run("echo", caller, called) == {"same": [True] * 5, "rest": empty(caller)}

    async def test_64_mib_each_way(self, caller: str, called: str) -> None:
        digest = digest_of_pattern(BULK_BYTES)
        assert await run("bulk", caller, called) == {
            "up": [BULK_BYTES, digest],
            "down": [BULK_BYTES, digest, how(caller, "end")],
        }

    async def test_half_close(self, caller: str, called: str) -> None:
        result = await run("half-close", caller, called)
        assert result["after ours"][0] == 5
        assert result["theirs"] == empty(caller)
        assert result["after theirs"] == [[MIB, how(called, "end")]]

    async def test_a_reset_is_no_end(self, caller: str, called: str) -> None:
        result = await run("reset by called", caller, called)
        assert result == {"how": how(caller, "cut"), "then": True}
        result = await run("reset by caller", caller, called)
        assert result["told"][0][1] == how(called, "cut")
        assert result["then"]

    async def test_100_streams_at_once(self, caller: str, called: str) -> None:
        assert await run("hundred", caller, called) == {"same": STREAMS}

    async def test_a_slow_reader_stops_nobody_else(self, caller: str, called: str) -> None:
        assert await run("slow reader", caller, called) == {
            "others": [True] * 3,
            "blocked": True,
            "all": [SLOW_BYTES, digest_of_pattern(SLOW_BYTES)],
        }
