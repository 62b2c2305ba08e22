"""Signed addresses of devices, passed on between members: docs/spec/wire.md.

Each device signs where it can be called. Its record goes from member to member of a mandate that
they have in common with it, so that who cannot be called any more at its old address is found
through a third. The newest sequence counts. What a device did not sign is a mistake of who passes
it on, who could have looked.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from p2psync.core import addresses
from p2psync.core.addresses import SEQUENCE_MAX, AddressRecord
from p2psync.core.crypto import SigningKey
from p2psync.engine import wire
from p2psync.engine.desk import Desk
from p2psync.engine.effects import KeepAddresses
from p2psync.engine.peering import Peering
from p2psync.errors import AddressRecordInvalid, IdentityLocked, WireError
from p2psync.limits import (
    ADDRESS_RECORDS_MAX,
    ADDRESS_RECORDS_PER_FRAME_MAX,
    ADDRESS_RECORDS_PER_MINUTE_MAX,
    SEQUENCES_PER_FRAME_MAX,
)

LIST_SECONDS = 0.25
"""How long after mandates met a peer is told what is known: many meet at a time."""
PASS_SECONDS = 0.25
"""How long news wait for others to go with them."""
MINUTE_SECONDS = 60.0
AGAIN_SECONDS = 10.0
"""News of one device are passed on at most this often, and this device's own are made so."""


@dataclass(slots=True)
class _Peer:
    """What is known of the peer at one link."""

    listed: set[bytes] = field(default_factory=set)
    """Devices of which it was told how new their addresses are here."""
    has: dict[bytes, int] = field(default_factory=dict)
    """The sequence of each device's record that it is known to have, or to be getting."""
    records: int = 0
    """Records that came from it and went to it since ``since``."""
    since: float = 0.0


@dataclass(slots=True)
class Whereabouts:
    """All records that are here. ``me`` is this device's key.

    ``common`` gives the members of the mandates that this device and the peer at a link are both
    members of; ``key`` what this device signs with, if anything.
    """

    me: bytes
    desk: Desk
    peering: Peering
    common: Callable[[int], Collection[bytes]]
    key: Callable[[], SigningKey | None]
    records: dict[bytes, AddressRecord] = field(default_factory=dict)
    _peers: dict[int, _Peer] = field(default_factory=dict)
    _fresh: dict[bytes, None] = field(default_factory=dict)
    """Devices with news that are to be kept and passed on."""
    _passed: dict[bytes, float] = field(default_factory=dict)
    """When news of each device were last passed on."""
    _own: tuple[str, ...] = ()
    """Where this device can be called."""
    _above: int = 0
    """Others have a record of this device with this sequence, which is not here."""

    # -- this device ----------------------------------------------------------------------------

    def load(self, raws: Iterable[bytes]) -> None:
        """Take up what was kept; what cannot be read is as if it had not been."""
        for raw in raws:
            try:
                record = addresses.decode(raw)
            except AddressRecordInvalid:
                continue
            known = self.records.get(record.device)
            if known is None or known.sequence < record.sequence:
                self.records[record.device] = record
                self.peering.sighted(record.device, record.addresses)

    def own(self, current: Sequence[str]) -> None:
        """This device can be called there now; it is signed once there is somebody to tell."""
        self._own = tuple(current)
        self._renew()

    def _renew(self) -> None:
        known = self.records.get(self.me)
        before = self._above if known is None else max(self._above, known.sequence)
        same = known is not None and known.addresses == self._own and known.sequence == before
        if same or not self._own or not self._peers or before >= SEQUENCE_MAX:
            return
        made_at = self._passed.get(self.me)
        if made_at is not None and self.desk.now - made_at < AGAIN_SECONDS:
            # Soon: two machines with one key would answer one another for ever.
            self._plan(made_at + AGAIN_SECONDS - self.desk.now)
            return
        key = self.key()
        if key is None:
            return
        try:
            record = addresses.sign(key, max(self.desk.wall_ms, before + 1), self._own)
        except IdentityLocked:
            return
        self.records[self.me] = record
        self._note(self.me)

    # -- peers ----------------------------------------------------------------------------------

    def meet(self, link: int) -> None:
        """A member is there, or more mandates are in common with it."""
        self._peers.setdefault(link, _Peer())
        if ("sequences", link) not in self.desk.timers:
            self.desk.after(("sequences", link), LIST_SECONDS)

    def drop(self, link: int) -> None:
        """A link has ended."""
        if self._peers.pop(link, None) is not None:
            self.desk.timers.cancel(("sequences", link))

    def list_due(self, link: int) -> None:
        """Tell a peer how new what is known here is, of the devices that it was not told of yet."""
        peer = self._peers[link]
        self._renew()
        untold = sorted(set(self.common(link)) - peer.listed)
        peer.listed.update(untold)
        for part in _parts(untold, SEQUENCES_PER_FRAME_MAX):
            known = tuple((device, self._sequence(device)) for device in part)
            self.desk.send(link, wire.Sequences(known))
        lacking = [
            each for each in untold if peer.has.get(each, SEQUENCE_MAX) < self._sequence(each)
        ]
        self._send(link, peer, lacking)

    def _sequence(self, device: bytes) -> int:
        record = self.records.get(device)
        return 0 if record is None else record.sequence

    def on_sequences(self, link: int, known: Iterable[tuple[bytes, int]]) -> None:
        """A peer says what it has: it gets what it lacks, however often it says so at a time."""
        peer = self._peers.setdefault(link, _Peer())
        common = self.common(link)
        lacking: dict[bytes, None] = {}
        for device, sequence in known:
            if device not in peer.has and len(peer.has) >= ADDRESS_RECORDS_MAX:
                continue
            peer.has[device] = sequence
            # It may know of more members than this device does, for now.
            if device in common and sequence < self._sequence(device):
                lacking[device] = None
        self._send(link, peer, tuple(lacking))

    def _send(self, link: int, peer: _Peer, devices: Sequence[bytes]) -> None:
        self._count(peer)
        room = max(ADDRESS_RECORDS_PER_MINUTE_MAX - peer.records, 0)
        peer.records += len(devices)
        for part in _parts(devices[:room], ADDRESS_RECORDS_PER_FRAME_MAX):
            for device in part:
                peer.has[device] = self.records[device].sequence
            raws = tuple(self.records[device].raw for device in part)
            self.desk.send(link, wire.Whereabouts(raws))

    def on_records(self, link: int, raws: Iterable[bytes]) -> None:
        """Take what a peer passes on; raises ``WireError`` for what no device signed."""
        peer = self._peers.setdefault(link, _Peer())
        common = self.common(link)
        for raw in raws:
            try:
                record = addresses.decode(raw)
            except AddressRecordInvalid as error:
                raise WireError(cause=error.text) from None
            device, sequence = record.device, record.sequence
            if device not in common or sequence <= self._sequence(device):
                continue  # no concern of this device's, or nothing new
            self._count(peer)
            peer.records += 1
            if peer.records > ADDRESS_RECORDS_PER_MINUTE_MAX:
                raise WireError(cause="tells of addresses, or asks for them, again and again")
            if not addresses.holds(record):
                raise WireError(cause="addresses that their device did not sign")
            peer.has[device] = sequence
            if device == self.me:
                self._above = sequence  # this machine was restored: what is newer is old
                self._renew()
            elif device in self.records or len(self.records) < ADDRESS_RECORDS_MAX:
                self.records[device] = record
                self.peering.sighted(device, record.addresses)
                self._note(device)

    def _count(self, peer: _Peer) -> None:
        """Begin to count anew what a peer makes this device verify and send, each minute."""
        if self.desk.now - peer.since >= MINUTE_SECONDS:
            peer.records, peer.since = 0, self.desk.now

    # -- passing on -----------------------------------------------------------------------------

    def _note(self, device: bytes) -> None:
        """Keep and pass on what is new of a device, before long."""
        self._fresh[device] = None
        passed = self._passed.get(device)
        wait = 0.0 if passed is None else passed + AGAIN_SECONDS - self.desk.now
        # What this device says of itself others wait for.
        self._plan(max(wait, 0.0 if device == self.me else PASS_SECONDS))

    def _plan(self, seconds: float) -> None:
        when = self.desk.now + max(seconds, 0.0)
        planned = self.desk.timers.when(("addresses",))
        if planned is None or when < planned:
            self.desk.after(("addresses",), max(seconds, 0.0))

    def pass_due(self) -> None:
        """Keep the news, and pass them on to whom they concern and who may lack them."""
        self._renew()
        now = self.desk.now
        due = [
            each
            for each in self._fresh
            if (passed := self._passed.get(each)) is None or now - passed >= AGAIN_SECONDS
        ]
        for device in due:
            del self._fresh[device]
            self._passed[device] = now
        if due:
            kept = tuple((device, self.records[device].raw) for device in due)
            self.desk.out.append(KeepAddresses(kept))
            for link, peer in self._peers.items():
                common = self.common(link)
                lacking = [
                    device
                    for device in due
                    if device in common and peer.has.get(device, 0) < self._sequence(device)
                ]
                self._send(link, peer, lacking)
        if self._fresh:
            self._plan(min(self._passed[each] for each in self._fresh) + AGAIN_SECONDS - now)
        for device in [each for each, at in self._passed.items() if now - at > AGAIN_SECONDS]:
            del self._passed[device]


def _parts(devices: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(devices), size):
        yield devices[start : start + size]
