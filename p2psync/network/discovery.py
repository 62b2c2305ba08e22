"""Finding members on the LAN without telling strangers who is here (docs/spec/discovery.md)."""

import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from p2psync import limits
from p2psync.engine.ports import DiscoverableMandate, Sighting
from p2psync.network.address import TcpAddress, interface_hosts, parse_address
from p2psync.network.announce import (
    HOUR_SECONDS,
    SERVICE_TYPE,
    Announcement,
    Heard,
    compose,
    decode_txt,
    encode_txt,
    hour_of,
    recognise,
)

if TYPE_CHECKING:
    # libp2p installs trio-typing, whose stubs hide trio's own types from mypy.
    from trio_typing import TaskStatus

logger = logging.getLogger(__name__)

_DEBOUNCE_SECONDS = 0.1
_AGAIN_SECONDS = 60.0
"""An announcement that is heard again unchanged is passed on at most this often."""


class Announcer(Protocol):
    """What ``mdns.Responder`` does; every call blocks."""

    def announce(self, name: str, txt: bytes, port: int, hosts: Sequence[str]) -> None:
        """Announce a new instance and withdraw the one before."""

    def close(self) -> None:
        """Say goodbye and stop."""


def _zeroconf(hosts: Sequence[str], heard: Callable[[Heard], None]) -> Announcer:
    """Make the responder; its library is imported here, in a thread and after the first dials."""
    from p2psync.network.mdns import Responder

    return Responder(hosts, heard)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to announce: interfaces for multicast, and the port and hosts to be called at."""

    interfaces: tuple[str, ...]
    port: int
    hosts: tuple[str, ...]


@dataclass(slots=True)
class _Remembered:
    announcement: Announcement
    addresses: tuple[str, ...]
    told_at: float | None = None


class LanDiscovery:
    """The ``Discovery`` port over multicast DNS.

    ``device``: our own 32-byte device key. ``addresses``: where we can be called now
    (``Libp2pTransport.addresses``). ``on_sighting``: called in trio's thread for each member that
    is heard, again when its addresses change. Nothing is sent or heard while there are no mandates.
    """

    def __init__(
        self,
        device: bytes,
        addresses: Callable[[], Sequence[str]],
        on_sighting: Callable[[Sighting], None],
        *,
        now: Callable[[], float] = time.time,
        check_seconds: float = 15.0,
        hosts: Callable[[], Sequence[str]] = interface_hosts,
        responder: Callable[[Sequence[str], Callable[[Heard], None]], Announcer] = _zeroconf,
    ) -> None:
        self._device = device
        self._addresses = addresses
        self._on_sighting = on_sighting
        self._now = now
        self._check_seconds = check_seconds
        self._hosts = hosts
        self._make_responder = responder
        self._mandates: tuple[DiscoverableMandate, ...] = ()
        self._changed = trio.Event()
        self._waiting: deque[Heard] = deque()
        self._heard_some = trio.Event()
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._own_names: deque[str] = deque(maxlen=8)
        self._responder: Announcer | None = None

    def update(self, mandates: Sequence[DiscoverableMandate]) -> None:
        """Replace what is announced and looked for; takes effect in a moment."""
        if tuple(mandates) == self._mandates:
            return
        self._mandates = tuple(mandates)
        for remembered in self._remembered.values():
            remembered.told_at = None
        self._changed.set()
        self._heard_some.set()

    @property
    def is_silent(self) -> bool:
        """Whether there is something to announce, and no way to do it on this network."""
        return bool(self._mandates) and self._responder is None

    def look_again(self) -> None:
        """This machine may have other addresses: announce them now."""
        self._changed.set()

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Announce and look until cancelled; says goodbye then."""
        token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._match)
                task_status.started()
                await self._keep_announced(token)
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()

    # -- announcing

    async def _keep_announced(self, token: trio.lowlevel.TrioToken) -> None:
        place: _Place | None = None
        said: tuple[object, ...] = ()
        while True:
            wanted = self._place() if self._mandates else None
            if self._responder is None or wanted is None or place is None:
                stale = True
            else:
                stale = wanted.interfaces != place.interfaces
            if stale:
                await self._stop()
                said = ()
                if wanted is not None:
                    await self._start(wanted, token)
            place = wanted
            hour = hour_of(self._now())
            saying = (wanted, self._mandates, hour)
            if self._responder is not None and wanted is not None and saying != said:
                await self._announce(wanted, hour)
                said = saying
            await self._pause()

    async def _pause(self) -> None:
        to_the_hour = HOUR_SECONDS - self._now() % HOUR_SECONDS
        with trio.move_on_after(min(self._check_seconds, to_the_hour + 0.01)):
            await self._changed.wait()
            # Several changes in a row, as at start, become one announcement.
            await trio.sleep(_DEBOUNCE_SECONDS)
        self._changed = trio.Event()

    def _place(self) -> _Place | None:
        groups: dict[int, list[TcpAddress]] = {}
        for text in self._addresses():
            address = parse_address(text)
            groups.setdefault(address.port, []).append(address)
        if not groups:
            return None
        port, group = max(groups.items(), key=lambda item: len(_beyond_loopback(item[1])))
        hosts = tuple(a.host for a in _beyond_loopback(group) or group)
        present = [host for host in self._hosts() if ":" not in host]
        outside = [host for host in present if not host.startswith("127.")]
        interfaces = tuple(outside or present)
        if not interfaces:
            return None
        return _Place(interfaces, port, hosts[: limits.ANNOUNCED_ADDRESSES_MAX])

    async def _start(self, place: _Place, token: trio.lowlevel.TrioToken) -> None:
        heard = partial(self._on_heard, token)
        try:
            self._responder = await trio.to_thread.run_sync(
                self._make_responder, place.interfaces, heard
            )
        except OSError as error:
            logger.info("no discovery on this network for now: %s", error)

    async def _announce(self, place: _Place, hour: int) -> None:
        assert self._responder is not None
        announcement = compose(
            [mandate.discovery_key for mandate in self._mandates if mandate.announced],
            self._device,
            hour,
            random_bytes=secrets.token_bytes,
            choose=secrets.SystemRandom().sample,
        )
        name = secrets.token_hex(12)
        self._own_names.append(f"{name}.{SERVICE_TYPE}")
        try:
            await trio.to_thread.run_sync(
                self._responder.announce, name, encode_txt(announcement), place.port, place.hosts
            )
        except Exception as error:
            # zeroconf's errors have no common base; the next check starts afresh.
            logger.info("the announcement failed: %s", error)
            await self._stop()

    async def _stop(self) -> None:
        responder, self._responder = self._responder, None
        if responder is not None:
            self._remembered.clear()
            await trio.to_thread.run_sync(responder.close)

    # -- hearing

    def _on_heard(self, token: trio.lowlevel.TrioToken, heard: Heard) -> None:
        """Runs on zeroconf's thread."""
        if len(self._waiting) >= limits.ANNOUNCEMENTS_WAITING_MAX:
            return
        self._waiting.append(heard)
        try:
            token.run_sync_soon(self._wake, idempotent=True)
        except trio.RunFinishedError:
            self._waiting.clear()

    def _wake(self) -> None:
        self._heard_some.set()

    async def _match(self) -> None:
        while True:
            await self._heard_some.wait()
            self._heard_some = trio.Event()
            while self._waiting:
                self._remember(self._waiting.popleft())
            await self._tell()

    def _remember(self, heard: Heard) -> None:
        if heard.name in self._own_names:
            return
        announcement = decode_txt(heard.txt) if heard.txt is not None else None
        if announcement is None or not heard.addresses:
            self._remembered.pop(heard.name, None)
            return
        before = self._remembered.get(heard.name)
        if before is None or (before.announcement, before.addresses) != (
            announcement,
            heard.addresses,
        ):
            self._remembered[heard.name] = _Remembered(announcement, heard.addresses)
        elif before.told_at is not None and trio.current_time() - before.told_at > _AGAIN_SECONDS:
            before.told_at = None
        self._remembered.move_to_end(heard.name)
        while len(self._remembered) > limits.ANNOUNCEMENTS_REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    async def _tell(self) -> None:
        """Match what is new, a bounded number a second, away from trio's thread."""
        while True:
            fresh = [r for r in self._remembered.values() if r.told_at is None]
            batch = fresh[: limits.ANNOUNCEMENTS_MATCHED_PER_SECOND_MAX]
            if not batch:
                return
            for remembered in batch:
                remembered.told_at = trio.current_time()
                devices = await trio.to_thread.run_sync(
                    recognise,
                    remembered.announcement,
                    self._mandates,
                    self._device,
                    hour_of(self._now()),
                )
                for device in devices:
                    self._on_sighting(Sighting(device, remembered.addresses))
            if len(fresh) > len(batch):
                await trio.sleep(1)


def _beyond_loopback(addresses: Sequence[TcpAddress]) -> list[TcpAddress]:
    return [a for a in addresses if not (a.host.startswith("127.") or a.host == "::1")]
