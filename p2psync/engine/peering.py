"""Which devices to dial, when, and which of two links to one device to keep.

A device is dialled while some mandate wants it and an address is known, with waits that double.
Two devices that dial each other at once both keep the link of the lower key; a link that has been
there for a while gives way to a new one, for its peer would not dial if the old one lived.

A direct link is better than one through a relay. While a relayed one is up, direct addresses are
dialled all the same, ever more seldom; a direct link that comes takes its place once it carries the
mandates, and until then both are up.
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
UPGRADE_SECONDS_MIN = 30.0
UPGRADE_SECONDS_MAX = 3600.0
"""How long a relayed link stands until direct addresses are dialled again; it doubles."""
UPGRADE_INBOUND_SECONDS = 1.0
"""The same where the other device dialled: from here its addresses have not been tried."""
_RELAYED = "/p2p-circuit"
_PUNCHED = "/punched"


def is_relayed(address: str) -> bool:
    """Whether an address leads through a relay, or a link with that address does."""
    return address.endswith(_RELAYED)


def _is_dialable(address: str) -> bool:
    """Whether an address can be dialled: a link may have one that says only how it came about."""
    return not address.startswith("/p2p/") and not address.endswith(_PUNCHED)


@dataclass(slots=True)
class _Peer:
    addresses: dict[str, None] = field(default_factory=dict)
    wanted: bool = False
    dialling: bool = False
    backoff_seconds: float = BACKOFF_SECONDS_MIN
    link: int | None = None
    outbound: bool = False
    relayed: bool = False
    since: float = 0.0
    upgrade: int | None = None
    """A direct link that is to take the place of the relayed one, once it carries the mandates."""
    upgrade_outbound: bool = False
    upgrade_seconds: float = UPGRADE_SECONDS_MIN

    @property
    def direct(self) -> tuple[str, ...]:
        return tuple(each for each in self.addresses if not is_relayed(each))

    @property
    def to_dial(self) -> tuple[str, ...]:
        """The addresses that may lead to a link that is lacking."""
        if self.link is None:
            return tuple(self.addresses)
        return self.direct if self.relayed and self.upgrade is None else ()


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
        usable = [
            each
            for each in addresses
            if each and len(each.encode()) <= ADDRESS_BYTES_MAX and _is_dialable(each)
        ]
        usable = usable[:ADDRESSES_PER_PEER_MAX]
        if not usable or device == self.me:
            return
        peer = self._peers.get(device)
        if peer is None:
            self._remember(device, tuple(usable))
            return
        fresh = [each for each in usable if each not in peer.addresses]
        merged = dict.fromkeys([*usable, *peer.addresses])
        peer.addresses = dict.fromkeys(list(merged)[:ADDRESSES_PER_PEER_MAX])
        if peer.link is not None:
            # Circuits are told again and again; of a device that is there only a new way matters.
            if any(not is_relayed(each) for each in (usable if present else fresh)):
                self._plan(device, 0.0)
        elif fresh or present:
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
        if peer.wanted and peer.to_dial and not peer.dialling:
            self._queue.pop(device, None)
            self.desk.after(("dial", device), seconds)

    def _stop(self, device: bytes) -> None:
        self._queue.pop(device, None)
        self.desk.timers.cancel(("dial", device))

    def dial_due(self, device: bytes) -> None:
        """The wait before dialling a device is over."""
        peer = self._peers.get(device)
        if peer is None or not peer.wanted or not peer.to_dial or peer.dialling:
            return
        if self._dialling >= DIALS_MAX:
            self._queue[device] = None
            return
        self._dialling += 1
        peer.dialling = True
        self.desk.out.append(Dial(device, peer.to_dial))

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
        peer = self._peers.get(device)
        if peer is None:
            return
        if peer.link is None:
            self._back_off(device)
        else:
            self._plan_upgrade(device)

    def _plan_upgrade(self, device: bytes) -> None:
        """Dial the direct addresses of a device that is reached through a relay, later."""
        peer = self._peers[device]
        self._plan(device, self.desk.jitter(peer.upgrade_seconds, 0.25))
        peer.upgrade_seconds = min(2 * peer.upgrade_seconds, UPGRADE_SECONDS_MAX)

    def _back_off(self, device: bytes, at_least: float = 0.0) -> None:
        peer = self._peers[device]
        peer.backoff_seconds = max(peer.backoff_seconds, at_least)
        self._plan(device, self.desk.jitter(peer.backoff_seconds, 0.25))
        peer.backoff_seconds = min(2 * peer.backoff_seconds, BACKOFF_SECONDS_MAX)

    # -- links ----------------------------------------------------------------------------------

    def link_up(
        self, link: int, device: bytes, outbound: bool, *, relayed: bool = False
    ) -> int | None:
        """Take a new link; return the one of two that is to be closed now, if there are two.

        A direct one that comes up beside a relayed one waits for ``carries``.
        """
        peer = self._peers.setdefault(device, _Peer())
        if outbound:
            self._dialled(device)
        self._stop(device)
        old = peer.link
        if old is not None and peer.relayed and not relayed:
            return self._upgrade(device, peer, link, outbound)
        if old is not None and self._old_wins(device, peer, outbound, relayed=relayed):
            if peer.relayed:
                self._plan_upgrade(device)
            return link
        self._take(peer, link, outbound, relayed=relayed)
        if relayed and outbound:
            self._plan_upgrade(device)  # the same dial tried the direct addresses
        elif relayed:
            self._plan(device, self.desk.jitter(UPGRADE_INBOUND_SECONDS, 0.25))
        return old

    def _take(self, peer: _Peer, link: int, outbound: bool, *, relayed: bool) -> None:
        peer.link, peer.outbound, peer.relayed = link, outbound, relayed
        peer.since = self.desk.now
        peer.upgrade_seconds = UPGRADE_SECONDS_MIN
        if not relayed:
            peer.upgrade = None

    def _upgrade(self, device: bytes, peer: _Peer, link: int, outbound: bool) -> int | None:
        """Note a direct link beside a relayed one; of two the lower key's stays, as ever."""
        before = peer.upgrade
        rivals = before is not None and peer.upgrade_outbound != outbound
        if rivals and peer.upgrade_outbound == (self.me < device):
            return link
        peer.upgrade, peer.upgrade_outbound = link, outbound
        return before

    def carries(self, link: int, device: bytes) -> int | None:
        """A link carries mandates now; return the relayed one whose place it takes, if any."""
        peer = self._peers.get(device)
        if peer is None or peer.upgrade != link:
            return None
        old = peer.link
        self._take(peer, link, peer.upgrade_outbound, relayed=False)
        self._stop(device)
        return old

    def _old_wins(self, device: bytes, peer: _Peer, outbound: bool, *, relayed: bool) -> bool:
        if self.desk.now - peer.since > RIVAL_SECONDS:
            return False
        if relayed and not peer.relayed:
            return True
        return peer.outbound != outbound and peer.outbound == (self.me < device)

    def link_down(self, link: int, device: bytes, *, mistake: bool = False) -> None:
        """A link is gone; dial again after a while, later when the peer made a mistake."""
        peer = self._peers.get(device)
        if peer is None:
            return
        if peer.upgrade == link:
            peer.upgrade = None
            self._plan_upgrade(device)
            return
        if peer.link != link:
            return
        if peer.upgrade is not None:
            self._take(peer, peer.upgrade, peer.upgrade_outbound, relayed=False)
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
