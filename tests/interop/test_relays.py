"""B-NET-2: relays and devices of other kinds: js-libp2p's and stock py-libp2p's with ours.

Which there are is decided when tests are collected: js-libp2p needs Node.js.
"""

import gc
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

import pytest
import trio

from p2psync.network.identify import PING_PROTOCOL
from p2psync.network.identify import PROTOCOL as IDENTIFY
from tests.interop import node
from tests.interop.js_peer import Js
from tests.interop.plays import ECHO, Result
from tests.interop.relays import OurRelays
from tests.interop.stock import Stock
from tests.interop.wire import Place


class Caller(Protocol):
    """One implementation of circuit relay v2, as who calls."""

    async def visit(self, place: Place) -> Result:
        """Call a device behind a relay, and say what identify, ping and echo were."""


class Relayed(Caller, Protocol):
    """One implementation of circuit relay v2."""

    def relay(self) -> AbstractAsyncContextManager[Place]:
        """A relay for everybody, on loopback."""

    def reserved(self, relay: Place) -> AbstractAsyncContextManager[Place]:
        """A device that is reached through the relay alone, and serves the protocols of plays."""


pytestmark = [
    # The stock host forgets sockets; what it forgets is found here, not in somebody else's test.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

JS = Js()
KINDS: dict[str, Relayed] = {"ours": OurRelays(), "js": JS}
CALLERS: dict[str, Caller] = {**KINDS, "stock": Stock()}
# Who calls, through which relay, whom.
CALLS = [("ours", "ours", "ours"), ("stock", "ours", "ours")]
if node.missing() is None:
    CALLS += [
        ("ours", "js", "ours"),
        ("js", "ours", "ours"),
        ("ours", "ours", "js"),
        ("js", "js", "ours"),
        ("ours", "js", "js"),
    ]
CALL_SECONDS = 60


@pytest.fixture(autouse=True, scope="module")
def node_process() -> Iterator[None]:
    yield
    JS.stop()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.parametrize(
    ("caller", "relay", "called"), CALLS, ids=[f"{a} calls {c} through {b}" for a, b, c in CALLS]
)
async def test_b_net_2_identify_ping_and_echo_go_through(
    caller: str, relay: str, called: str
) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(CALL_SECONDS))
        middle = await stack.enter_async_context(KINDS[relay].relay())
        place = await stack.enter_async_context(KINDS[called].reserved(middle))
        assert place.address == f"{middle.address}/p2p/{middle.peer_id}/p2p-circuit"
        said = await CALLERS[caller].visit(place)
        assert said["key"] == place.device.hex()
        assert {IDENTIFY, PING_PROTOCOL, ECHO} <= set(said["protocols"])
        assert said["agent"]
        assert not said["limited"]
        assert said["echo"] == [True] * 5
