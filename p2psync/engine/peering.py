"""Which devices to dial, when, and which of two links to one device to keep.

A device is dialled while some mandate wants it and an address is known, with waits that double.
Two devices that dial each other at once both keep the link of the lower key; a link that has been
there for a while gives way to a new one, for its peer would not dial if the old one lived.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from p2psync.engine.desk import Desk
from p2psync.engine.effects import Dial
from p2psync.limits import ADDRESS_BYTES_MAX, ADDRESSES_PER_PEER_MAX, DEVICES_SIGHTED_MAX, DIALS_MAX

BACKOFF_SECONDS_MIN = 1.0
BACKOFF_SECONDS_MAX = 60.0
BACKOFF_AFTER_MISTAKE_SECONDS = 30.0
RIVAL_SECONDS = 5.0
"""Links that come up further apart than this are no two dials at once."""
STEADY_SECONDS = 10.0
"""A link that stood at least so long starts the waits anew."""


@dataclass(slots=True)
class _Peer:
    addresses: dict[str, None] = field(default_factory=dict)
    wanted: bool = False
    dialling: bool = False
    backoff_seconds: float = BACKOFF_SECONDS_MIN
    link: int | None = None
    outbound: bool = False
    since: float = 0.0


@dataclass(slots=True)
class Peering:
    """All devices of which something is known. ``me`` is this device's key."""

    me: bytes
    desk: Desk
    _peers: dict[bytes, _Peer] = field(default_factory=dict)
    _sighted: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    _dialling: int = 0
    _queue: dict[bytes, None] = field(default_factory=dict)

    # -- who is wanted --------------------------------------------------------------------------

    def want(self, devices: Iterable[bytes]) -> None:
        """Set which devices are wanted; of others only links that are up are kept."""
        wanted = set(devices) - {self.me}
        for device, peer in list(self._peers.items()):
            if device not in wanted:
                peer.wanted = False
                self._stop(device)
                if peer.link is None and not peer.dialling:
                    del self._peers[device]
                    self._remember(device, tuple(peer.addresses))
        self.want_also(wanted)

    def want_also(self, devices: Iterable[bytes]) -> None:
        """Want some devices besides those that are wanted already."""
        for device in sorted(set(devices) - {self.me}):
            peer = self._peers.setdefault(device, _Peer())
            if not peer.wanted:
                peer.wanted = True
                self.sighted(device, self._sighted.pop(device, ()))
                self._plan(device, 0.0)

    def addresses(self, device: bytes) -> tuple[str, ...]:
        """Where a device may be dialled, the latest first."""
        peer = self._peers.get(device)
        return self._sighted.get(device, ()) if peer is None else tuple(peer.addresses)

    def sighted(self, device: bytes, addresses: Iterable[str], *, present: bool = False) -> None:
        """Learn addresses of a device; new ones are tried at once, and so is a ``present`` device,
        one that has just shown itself."""
        usable = [each for each in addresses if each and len(each.encode()) <= ADDRESS_BYTES_MAX]
        usable = usable[:ADDRESSES_PER_PEER_MAX]
        if not usable or device == self.me:
            return
        peer = self._peers.get(device)
        if peer is None:
            self._remember(device, tuple(usable))
            return
        news = any(each not in peer.addresses for each in usable)
        merged = dict.fromkeys([*usable, *peer.addresses])
        peer.addresses = dict.fromkeys(list(merged)[:ADDRESSES_PER_PEER_MAX])
        if news or present:
            peer.backoff_seconds = BACKOFF_SECONDS_MIN
            self._plan(device, 0.0)

    def _remember(self, device: bytes, addresses: tuple[str, ...]) -> None:
        self._sighted.pop(device, None)
        if addresses:
            self._sighted[device] = addresses
            if len(self._sighted) > DEVICES_SIGHTED_MAX:
                del self._sighted[next(iter(self._sighted))]

    # -- dialling -------------------------------------------------------------------------------

    def _plan(self, device: bytes, seconds: float) -> None:
        peer = self._peers[device]
        if peer.wanted and peer.addresses and peer.link is None and not peer.dialling:
            self._queue.pop(device, None)
            self.desk.after(("dial", device), seconds)

    def _stop(self, device: bytes) -> None:
        self._queue.pop(device, None)
        self.desk.timers.cancel(("dial", device))

    def dial_due(self, device: bytes) -> None:
        """The wait before dialling a device is over."""
        peer = self._peers.get(device)
        if peer is None or not peer.wanted or peer.link is not None or peer.dialling:
            return
        if self._dialling >= DIALS_MAX:
            self._queue[device] = None
            return
        self._dialling += 1
        peer.dialling = True
        self.desk.out.append(Dial(device, tuple(peer.addresses)))

    def _dialled(self, device: bytes) -> None:
        """A dial has ended, one way or the other."""
        peer = self._peers.get(device)
        if peer is None or not peer.dialling:
            return
        peer.dialling = False
        self._dialling -= 1
        if self._queue:
            waiting = next(iter(self._queue))
            del self._queue[waiting]
            self.dial_due(waiting)

    def dial_failed(self, device: bytes) -> None:
        """No address answered: wait longer."""
        self._dialled(device)
        if device in self._peers:
            self._back_off(device)

    def _back_off(self, device: bytes, at_least: float = 0.0) -> None:
        peer = self._peers[device]
        peer.backoff_seconds = max(peer.backoff_seconds, at_least)
        self._plan(device, self.desk.jitter(peer.backoff_seconds, 0.25))
        peer.backoff_seconds = min(2 * peer.backoff_seconds, BACKOFF_SECONDS_MAX)

    # -- links ----------------------------------------------------------------------------------

    def link_up(self, link: int, device: bytes, outbound: bool) -> int | None:
        """Take a new link; return the one of two that is to be closed, if there are two."""
        peer = self._peers.setdefault(device, _Peer())
        if outbound:
            self._dialled(device)
        self._stop(device)
        old = peer.link
        if old is not None and self._old_wins(device, peer, outbound):
            return link
        peer.link, peer.outbound, peer.since = link, outbound, self.desk.now
        return old

    def _old_wins(self, device: bytes, peer: _Peer, outbound: bool) -> bool:
        if peer.outbound == outbound or self.desk.now - peer.since > RIVAL_SECONDS:
            return False
        return peer.outbound == (self.me < device)

    def link_down(self, link: int, device: bytes, *, mistake: bool = False) -> None:
        """A link is gone; dial again after a while, later when the peer made a mistake."""
        peer = self._peers.get(device)
        if peer is None or peer.link != link:
            return
        peer.link = None
        if self.desk.now - peer.since >= STEADY_SECONDS:
            peer.backoff_seconds = BACKOFF_SECONDS_MIN
        if peer.wanted:
            self._back_off(device, BACKOFF_AFTER_MISTAKE_SECONDS if mistake else 0.0)
        elif not peer.dialling:
            del self._peers[device]

    def link_of(self, device: bytes) -> int | None:
        """The link to a device, if there is one."""
        peer = self._peers.get(device)
        return None if peer is None else peer.link
