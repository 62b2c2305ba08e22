"""A machine that changes its network notices, and cuts what hangs on its old address."""

import socket
from ipaddress import ip_address

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network import bytestream, moves
from p2psync.network.bytestream import ByteStream
from tests.netns import lan
from tests.network.mover import PORT

LISTENER = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("listening", flush=True)
kept = [server.accept() for _ in range(1)]
sys.stdin.read()
"""


async def test_b_net_the_kernel_tells_of_another_address_and_old_connections_are_cut() -> None:
    """Nobody waits for a deadline, or for the next look at the addresses."""
    with trio.fail_after(30), lan() as (here, there):

        def play() -> list[str]:
            listener = there.python("-c", LISTENER, str(PORT))
            assert listener.stdout is not None
            listener.stdout.readline()
            mover = here.python("-m", "tests.network.mover", there.host)
            assert mover.stdout is not None
            assert mover.stdout.readline() == "ready\n"
            here.readdress("10.77.0.9")
            return [mover.stdout.readline() for _ in range(2)]

        assert sorted(await trio.to_thread.run_sync(play)) == ["cut\n", "moved\n"]


class Hosts:
    """A machine's addresses, and somebody who tells when they change."""

    def __init__(self) -> None:
        self.now = ["192.0.2.1", "127.0.0.1"]
        self.change = trio.Event()
        self.looked = 0

    def __call__(self) -> list[str]:
        self.looked += 1
        return self.now

    async def told(self) -> None:
        await self.change.wait()
        self.change = trio.Event()


async def test_a_change_is_told_once_and_what_is_no_change_is_not(autojump_clock: object) -> None:
    hosts, moved = Hosts(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: moves.watch(
                lambda: moved.append(trio.current_time()), told=hosts.told, hosts=hosts
            )
        )
        await trio.sleep(1)
        hosts.change.set()  # a router's announcement: the addresses are the same
        await trio.sleep(1)
        assert moved == []
        hosts.now = ["192.0.2.9", "127.0.0.1"]
        hosts.change.set()
        await trio.sleep(moves.LOOK_SECONDS / 2)
        hosts.now = ["127.0.0.1", "192.0.2.9"]  # another order is no change
        hosts.change.set()
        await trio.sleep(1)
        assert len(moved) == 1
        hosts.now = ["198.51.100.2"]  # and nobody tells
        await trio.sleep(moves.LOOK_SECONDS + 1)
        assert len(moved) == 2
        nursery.cancel_scope.cancel()


async def test_connections_from_addresses_that_are_there_stay() -> None:
    """Those over loopback have none that a change of network could take away."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        accepted: list[ByteStream] = []

        async def accept() -> None:
            accepted.append(ByteStream(await listener.accept()))

        nursery.start_soon(accept)
        caller = ByteStream(
            await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        )
        while not accepted:
            await trio.sleep(0.001)
        bytestream.cut_gone({"192.0.2.1"})
        await caller.send(b"x")
        assert await accepted[0].read_exactly(1) == b"x"
        for each in (caller, *accepted):
            each.close()
            each.cut_unless({"192.0.2.1"})  # closed already: nothing happens
        await listener.aclose()


async def test_a_connection_from_an_address_that_is_gone_is_cut_at_once() -> None:
    left, right = socket.socketpair()
    stream = ByteStream(trio.SocketStream(trio.socket.from_stdlib_socket(left)))
    stream._local = ip_address("192.0.2.1")
    stream.cut_unless({"192.0.2.1"})
    right.send(b"x")
    assert await stream.read_exactly(1) == b"x"
    stream.cut_unless({"192.0.2.2"})
    with trio.fail_after(10):
        try:
            await stream.read_exactly(1)
        except LinkBroken:
            pass
        else:
            raise AssertionError("it is open still")
    stream.close()
    right.close()
