"""Calling a device at several addresses at once (after RFC 8305, happy eyeballs)."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadAddress, PeerNotExpected, PeerUnreachable
from p2psync.network.address import CircuitAddress, TcpAddress, parse_any
from p2psync.network.config import TransportConfig
from p2psync.network.ground_config import Way
from p2psync.network.identity import peer_id_text
from p2psync.network.noise import WrongDevice

T = TypeVar("T")
Target = Way | CircuitAddress


def directly(address: TcpAddress) -> tuple[Way, ...]:
    """The one way to an address where there is no proxy."""
    return (Way(address),)


class Turn:
    """Lets one attempt at a time make a link, so that the peer sees one.

    Who has not made it ``seconds`` after another could gives way: a relay may have passed on just
    the beginning.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = trio.Lock()
        self._scope = trio.CancelScope()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Have the turn for the length of a block; raises ``LinkBroken`` if it had to give way."""
        with trio.move_on_after(self._seconds) as waiting:
            await self._lock.acquire()
        if waiting.cancelled_caught:
            self._scope.cancel()
            await self._lock.acquire()
        try:
            with trio.CancelScope() as self._scope:
                yield
            if self._scope.cancelled_caught:
                raise LinkBroken("no answer, and there was another way")
        finally:
            self._lock.release()


class Race(Generic[T]):
    """Tries every address of one device; the first that succeeds wins, the others are dropped.

    Nothing is remembered afterwards: an address that failed is tried again at the next call.
    """

    def __init__(
        self,
        device: bytes,
        attempt: Callable[[Target], Awaitable[T]],
        discard: Callable[[T], None],
        config: TransportConfig,
        late: Callable[[Target], bool] = lambda _: False,
        ways: Callable[[TcpAddress], Sequence[Way]] = directly,
    ) -> None:
        """``late`` tells of a way that it is worth a try when no other answers quickly; ``ways``
        how an address may be called."""
        self._device = device
        self._ways = ways
        self._late = late
        self._attempt = attempt
        self._discard = discard
        self._config = config
        self._causes: dict[str, str] = {}
        self._wrong_device = False
        self._won: list[T] = []

    async def run(self, addresses: Sequence[str]) -> T:
        """The winner; raises ``PeerUnreachable``, or ``PeerNotExpected`` if another device answers.

        Looks at the first ``limits.ADDRESSES_PER_PEER_MAX`` different addresses.
        """
        won = await self._first(self._targets(addresses))
        if won is not None:
            return won
        failure = PeerNotExpected if self._wrong_device else PeerUnreachable
        raise failure(
            device=peer_id_text(self._device), causes=self._said() or "no address of it is known"
        )

    async def run_to(self, addresses: Sequence[TcpAddress]) -> T:
        """The winner at addresses that were parsed before; raises ``LinkBroken`` with all causes.

        Of one cause only the cause is told: who asked knows the address.
        """
        ways = [way for address in addresses for way in self._ways(address)]
        won = await self._first(sorted(dict.fromkeys(ways), key=self._late))
        if won is not None:
            return won
        said = next(iter(self._causes.values())) if len(self._causes) == 1 else self._said()
        raise (WrongDevice if self._wrong_device else LinkBroken)(said)

    def _said(self) -> str:
        return "; ".join(f"{address}: {cause}" for address, cause in self._causes.items())

    async def _first(self, targets: Sequence[Target]) -> T | None:
        try:
            await self._run_all(targets)
        except BaseException:
            for winner in self._won:
                self._discard(winner)
            raise
        for late in self._won[1:]:
            self._discard(late)
        if self._won:
            return self._won[0]
        for target in targets:
            self._causes.setdefault(str(target), "no answer in time")
        return None

    async def _run_all(self, targets: Sequence[Target]) -> None:
        with trio.move_on_after(self._config.dial_seconds):
            async with trio.open_nursery() as nursery:
                tried: list[trio.Event] = []
                late = False
                for target in targets:
                    if self._late(target) and tried and not late:
                        late = True
                        with trio.move_on_after(self._config.late_seconds):
                            for failed in tried:
                                await failed.wait()
                    failed = trio.Event()
                    tried.append(failed)
                    nursery.start_soon(partial(self._run_one, target, failed, nursery.cancel_scope))
                    with trio.move_on_after(self._config.stagger_seconds):
                        await failed.wait()

    def _targets(self, addresses: Sequence[str]) -> list[Target]:
        targets: list[Target] = []
        for text in list(dict.fromkeys(addresses))[: limits.ADDRESSES_PER_PEER_MAX]:
            try:
                address = parse_any(text, expected=self._device)
                match address:
                    case CircuitAddress():
                        targets.append(address)
                    case _:
                        targets += self._ways(address)
            except BadAddress as error:
                self._causes[text[: limits.ADDRESS_BYTES_MAX]] = error.params["cause"]
        # The way that needs nobody else goes first.
        return sorted(
            dict.fromkeys(targets),
            key=lambda each: (self._late(each), isinstance(each, CircuitAddress)),
        )

    async def _run_one(
        self, target: Target, failed: trio.Event, everybody: trio.CancelScope
    ) -> None:
        try:
            self._won.append(await self._attempt(target))
            everybody.cancel()
        except WrongDevice as error:
            self._wrong_device = True
            self._causes[str(target)] = str(error)
        except LinkBroken as error:
            self._causes[str(target)] = str(error)
        except OSError as error:
            self._causes[str(target)] = os_reason(error)
        finally:
            failed.set()


async def connect(address: TcpAddress) -> trio.SocketStream:
    """Open a TCP connection; raises ``OSError``."""
    if address.port == 0:
        raise OSError("port 0 cannot be called")
    if address.family in ("ip4", "ip6", "dns"):
        return await trio.open_tcp_stream(address.host, address.port)
    family = socket.AF_INET if address.family == "dns4" else socket.AF_INET6
    found = await trio.socket.getaddrinfo(
        address.host, address.port, family=family, type=socket.SOCK_STREAM
    )
    return await trio.open_tcp_stream(str(found[0][4][0]), address.port)


def os_reason(error: BaseException) -> str:
    """What the system said, without the wrapping that trio puts around it."""
    while error.__cause__ is not None or isinstance(error, BaseExceptionGroup):
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        # trio puts the address in front, which whoever asks knows.
        return error.strerror.lower().rpartition("): ")[2]
    return str(error) or type(error).__name__
