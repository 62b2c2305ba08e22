"""The protocol with no I/O: events in, effects out.

One engine serves all mandates of a device; links are shared by all of them. What a peer does wrong
ends its link and nothing else: ``step`` raises for no frame. Whoever runs the effects does so in
list order, and feeds back what they are answered with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from p2psync import __version__
from p2psync.core.changes import Change, FileAdded, FileDetached, FileReturned, FileSaved
from p2psync.core.crypto import SigningKey
from p2psync.core.frontier import Tip
from p2psync.core.membership import Membership
from p2psync.core.ops import Operation
from p2psync.engine import courier, wire
from p2psync.engine.desk import Desk
from p2psync.engine.effects import (
    ChunksKnown,
    CloseLink,
    ContentLost,
    Courier,
    DialFailed,
    Effect,
    Event,
    FrameReceived,
    LinkDown,
    LinkUp,
    ReferencesLoaded,
    SendChunks,
    Sighted,
    Tick,
    Warn,
)
from p2psync.engine.handshake import Handshake, Match
from p2psync.engine.peering import Peering, is_relayed
from p2psync.engine.replica import Replica
from p2psync.engine.session import Exchange, Session
from p2psync.engine.transfer import Transfer
from p2psync.engine.whereabouts import Whereabouts
from p2psync.errors import BadInputError, WireError
from p2psync.limits import (
    ADDRESSES_PER_PEER_MAX,
    HANDSHAKE_SECONDS_MAX,
    IDLE_LINK_SECONDS_MAX,
)

SOFTWARE = f"p2psync/{__version__}"
_OF_THE_REMOVED = wire.Opening | wire.Chunk | wire.ChunkMissing
"""What a device that was removed may still send: it may be the only one to have some content."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A device of a mandate as seen from here; ``since`` is when its link came up (monotonic)."""

    device: bytes
    online: bool
    synced: bool
    address: str
    since: float | None


@dataclass(slots=True)
class _Link:
    id: int
    device: bytes
    address: str
    handshake: Handshake
    since: float
    mandates: dict[int, bytes] = field(default_factory=dict)
    """What each handle stands for; a handle whose session ended is still there."""
    contact: tuple[str, ...] | None = None
    """The addresses that the peer was told."""

    def open(self, handle: int, mandate: bytes) -> None:
        """Give a mandate a handle."""
        if handle in self.mandates:
            raise WireError(cause="one handle for two mandates")
        self.mandates[handle] = mandate


@dataclass(slots=True)
class _Held:
    exchange: Exchange
    contacts: dict[bytes, None]
    """Devices that a ticket or a sighting names besides the members."""
    members: Membership | None = None
    """The membership that was last acted on."""
    open: bool = False
    closed: bool = False
    """Whether the mandate was closed for everyone when it was last looked at."""
    left: frozenset[bytes] = frozenset()
    """The members that were last known to have removed the mandate from their list."""
    unwritten: dict[bytes, None] = field(default_factory=dict)
    """Files that changed and are not written out yet."""
    hidden: bool = False
    """Whether this device removed the mandate: only entries are still exchanged."""

    @property
    def standing_left(self) -> frozenset[bytes]:
        """The members that have removed the mandate from their list now."""
        return self.exchange.replica.state.standing.left()


class Engine:
    """All mandates and links of one device.

    ``device`` is its public key (32 bytes); ``entropy`` returns so many random bytes; ``addresses``
    says where it can be dialled now.
    """

    def __init__(
        self,
        device: bytes,
        entropy: Callable[[int], bytes],
        addresses: Callable[[], Sequence[str]],
        *,
        writes_files: bool = False,
    ) -> None:
        """``writes_files``: whoever runs the effects writes files out and says when with
        ``written``; until then peers are told that this device is not there yet."""
        self._writes_files = writes_files
        self.device = device
        self._entropy = entropy
        self._addresses = addresses
        self._desk = Desk(entropy)
        self._links: dict[int, _Link] = {}
        self._couriers: dict[int, tuple[Courier, bytes]] = {}
        """Bundles that are being taken in, and who wrote each."""
        self._held: dict[bytes, _Held] = {}
        self._peering = Peering(device, self._desk)
        self._transfer = Transfer(device, self._desk)
        self._whereabouts = Whereabouts(device, self._desk, self._peering, self._common, self._key)

    # -- mandates -----------------------------------------------------------------------------

    def add(
        self,
        replica: Replica,
        contacts: Mapping[bytes, Sequence[str]],
        now: float,
        wall_ms: int,
        *,
        hidden: bool = False,
    ) -> list[Effect]:
        """Take up a mandate; ``contacts`` are devices that a ticket names, and addresses.

        A ``hidden`` one was removed here: see ``hide``.
        """
        assert replica.mandate not in self._held
        self._desk.begin(now, wall_ms)
        exchange = Exchange(replica, self._desk, self._on_changes)
        held = _Held(exchange, dict.fromkeys(sorted(contacts)), hidden=hidden)
        self._held[replica.mandate] = held
        for file in sorted(replica.state.files):
            self._want_content(replica, file)
        self._tell_content()
        self._after_entries(replica.mandate)
        for device in sorted(contacts):
            self._peering.sighted(device, contacts[device])
        return self._finish()

    def remove(self, mandate: bytes, now: float, wall_ms: int) -> list[Effect]:
        """Let go of a mandate; peers are told nothing."""
        self._desk.begin(now, wall_ms)
        held = self._held.pop(mandate)
        for number in list(held.exchange.sessions):
            self._transfer.close(number, mandate)
            held.exchange.close(number)
        for link in self._links.values():
            link.handshake.forget(mandate)
            self._watch_idle(link)
        self._transfer.forget(mandate)
        self._update_peers()
        return self._finish()

    def hide(self, mandate: bytes, now: float, wall_ms: int) -> list[Effect]:
        """Fetch no content of a mandate that was removed here; its entries still travel, so that
        others hear of the removal."""
        self._desk.begin(now, wall_ms)
        held = self._held[mandate]
        held.hidden = True
        held.unwritten.clear()
        self._transfer.forget(mandate)
        held.exchange.content_lacking(0)
        return self._finish()

    def replica(self, mandate: bytes) -> Replica:
        """Return a mandate's replica."""
        return self._held[mandate].exchange.replica

    def mandates(self) -> tuple[bytes, ...]:
        """The mandates held here, in the order in which they were added."""
        return tuple(self._held)

    def author(
        self, mandate: bytes, operations: Sequence[Operation], now: float, wall_ms: int
    ) -> list[Effect]:
        """Write one entry and push it; raises ``EntryError`` when it would be too large."""
        effects = self.replica(mandate).author(operations, wall_ms)
        return self.publish(mandate, effects, now, wall_ms)

    def publish(
        self, mandate: bytes, effects: Iterable[Effect], now: float, wall_ms: int
    ) -> list[Effect]:
        """Return effects that the replica gave, and those that push to the peers what is new."""
        self._desk.begin(now, wall_ms)
        self._held[mandate].exchange.publish(effects)
        self._after_entries(mandate)
        return self._finish()

    def holds(self, mandate: bytes) -> bool:
        """Whether a mandate was added and not removed since."""
        return mandate in self._held

    def refold(
        self, mandate: bytes, raws: Iterable[bytes], now: float, wall_ms: int
    ) -> list[Effect]:
        """Answer ``Refold`` with all persisted entries of the mandate."""
        replica = self.replica(mandate)
        self._desk.begin(now, wall_ms)
        before = set(replica.state.files)
        effects = replica.refold(raws)
        for file in sorted(before | replica.state.files.keys()):
            self._want_content(replica, file)
        return self.publish(mandate, effects, now, wall_ms)

    # -- events -------------------------------------------------------------------------------

    def next_wake(self) -> float | None:
        """When a ``Tick`` is due at the latest, in monotonic seconds; ``None`` for never."""
        return self._desk.timers.next()

    def step(self, event: Event, now: float, wall_ms: int) -> list[Effect]:
        """Take one event; return what is to be done, in order."""
        self._desk.begin(now, wall_ms)
        match event:
            case LinkUp():
                self._link_up(event)
            case LinkDown(link=link):
                self._drop_link(link)
            case FrameReceived(link=link, frame=frame):
                self._frame(link, frame)
            case DialFailed(device=device):
                self._peering.dial_failed(device)
            case Sighted():
                self._sighted(event)
            case ChunksKnown(mandate=mandate, version=version, missing=missing):
                self._transfer.on_known(mandate, version, missing)
                self._tell_content()
            case ContentLost(mandate=mandate, file=file, version=version):
                self._transfer.on_lost(mandate, file, version)
                if mandate in self._held:
                    self._want_content(self._held[mandate].exchange.replica, file)
                    self._tell_content()
            case ReferencesLoaded(mandate=mandate, version=version, references=references):
                self._transfer.on_references(mandate, version, references)
                self._tell_content()
            case Tick():
                pass
            case _:
                assert_never(event)
        return self._finish()

    def _finish(self) -> list[Effect]:
        """Do what is due by now, then hand out the effects."""
        timers = self._desk.timers
        while (key := timers.due(self._desk.now)) is not None:
            match key:
                case ("handshake", int(link)):
                    if not self._links[link].handshake.done:
                        self._fail(
                            self._links[link], "no greeting and offer in time", mistake=False
                        )
                case ("idle", int(link)):
                    self._close_idle(link)
                case ("frontier", bytes(mandate), int(link)):
                    self._tell_contact(self._links[link])
                    self._held[mandate].exchange.frontier_due(link)
                case ("want", bytes(mandate), bytes(log)):
                    self._held[mandate].exchange.want_due(log)
                case ("dial", bytes(device)):
                    self._peering.dial_due(device)
                case ("chunks", int(link)):
                    self._transfer.chunks_due(link)
                case ("sequences", int(link)):
                    self._whereabouts.list_due(link)
                case ("addresses",):
                    self._whereabouts.pass_due()
                case ("avoid", int(link), bytes(mandate), bytes(entry), int(index)):
                    self._transfer.avoid_due(link, (mandate, (entry, index)))
                case _:
                    raise AssertionError(f"unknown deadline {key!r}")
        return self._desk.finish()

    # -- links --------------------------------------------------------------------------------

    def _link_up(self, event: LinkUp) -> None:
        if event.courier is not None:
            self._couriers[event.link] = (event.courier, event.device)
            return
        if event.outbound and event.address:
            self._peering.sighted(event.device, [event.address])
        relayed = is_relayed(event.address)
        loser = self._peering.link_up(event.link, event.device, event.outbound, relayed=relayed)
        if loser == event.link:
            self._desk.out.append(CloseLink(event.link, ""))
            return
        if loser is not None:
            self._drop_link(loser)
            self._desk.out.append(CloseLink(loser, ""))
        nonce = self._entropy(wire.NONCE_BYTES)
        handshake = Handshake(self.device, event.device, event.outbound, nonce)
        link = _Link(event.link, event.device, event.address, handshake, self._desk.now)
        self._links[event.link] = link
        self._desk.send(link.id, handshake.greet(SOFTWARE))
        self._desk.after(("handshake", link.id), HANDSHAKE_SECONDS_MAX)

    def _drop_link(self, number: int, *, mistake: bool = False) -> None:
        link = self._links.pop(number, None)
        if link is None:
            self._drop_courier(number)
            return
        self._desk.timers.cancel(("handshake", number))
        self._desk.timers.cancel(("idle", number))
        self._transfer.drop(number)
        self._whereabouts.drop(number)
        for mandate in dict.fromkeys(link.mandates.values()):
            if mandate in self._held:
                self._held[mandate].exchange.close(number)
        self._peering.link_down(number, link.device, mistake=mistake)

    def _drop_courier(self, number: int) -> None:
        carried = self._couriers.pop(number, None)
        if carried is not None:
            self._transfer.drop(number)
            held = self._held.get(carried[0].mandate)
            if held is not None:
                held.exchange.replica.forget(number)

    def _fail(self, link: _Link, cause: str, *, mistake: bool = True) -> None:
        """End a link for a peer's mistake; only who shares a mandate is told which."""
        if link.mandates:
            self._desk.send(link.id, wire.Bye(WireError.code, cause[:80]))
        self._drop_link(link.id, mistake=mistake)
        self._desk.out.append(CloseLink(link.id, cause))

    def _close_idle(self, number: int) -> None:
        link = self._links[number]
        if not self._is_used(link):
            self._drop_link(number)
            self._desk.out.append(CloseLink(number, ""))

    def _is_used(self, link: _Link) -> bool:
        return any(
            mandate in self._held and link.id in self._held[mandate].exchange.sessions
            for mandate in link.mandates.values()
        )

    # -- frames -------------------------------------------------------------------------------

    def _frame(self, number: int, frame: bytes) -> None:
        link = self._links.get(number)
        if link is None:
            # Of a link that we ended the last frames do not count.
            if number in self._couriers:
                self._carried(number, frame)
            return
        try:
            message = wire.decode(frame)
            if message is not None:
                self._message(link, message)
        except BadInputError as error:
            self._fail(link, error.text)

    def _carried(self, number: int, frame: bytes) -> None:
        """Take a frame of a bundle."""
        carried, device = self._couriers[number]
        held = self._held.get(carried.mandate)
        if held is not None:
            courier.take(carried, number, device, held.exchange, self._transfer, frame)
            self._after_entries(carried.mandate)
            self._tell_content()

    def _message(self, link: _Link, message: wire.Message) -> None:
        if link.handshake.peer_nonce is None and not isinstance(message, wire.Hello):
            raise WireError(cause="no greeting first")
        match message:
            case wire.Hello():
                if message.version != wire.VERSION and self._is_member_anywhere(link.device):
                    # Once for all mandates: it is the device that is another one.
                    self._desk.out.append(Warn(None, "other-protocol", link.device))
                link.handshake.greeted(message)
                if link.handshake.outbound:
                    self._offer(link, self._held, first=True)
            case wire.Offer():
                self._on_offer(link, message)
            case wire.Accept():
                self._open(link, link.handshake.accepted(message))
                self._handshake_progress(link)
            case wire.Contact(addresses=addresses):
                self._check_met(link)
                self._peering.sighted(link.device, addresses)
            case wire.Sequences(known=known):
                self._check_met(link)
                self._whereabouts.on_sequences(link.id, known)
            case wire.Whereabouts(records=records):
                self._check_met(link)
                self._whereabouts.on_records(link.id, records)
            case wire.Bye():
                self._on_bye(link)
            case _:
                self._session_message(link, message)

    def _check_met(self, link: _Link) -> None:
        if not link.mandates:
            raise WireError(cause="addresses before a mandate in common")

    def _is_member_anywhere(self, device: bytes) -> bool:
        return any(held.exchange.replica.is_member(device) for held in self._held.values())

    def _on_bye(self, link: _Link) -> None:
        """Tell of a member's complaint, in no words of its own; nobody else's is heard."""
        for mandate in dict.fromkeys(link.mandates.values()):
            held = self._held.get(mandate)
            if held is not None and held.exchange.replica.is_member(link.device):
                self._desk.out.append(Warn(mandate, "peer-complains", link.device))
                return

    def _session_message(
        self,
        link: _Link,
        message: wire.Opening
        | wire.Refusal
        | wire.Frontier
        | wire.Want
        | wire.Entries
        | wire.Have
        | wire.ChunkWant
        | wire.Chunk
        | wire.ChunkMissing
        | wire.Content
        | wire.Keys,
    ) -> None:
        mandate = link.mandates.get(message.handle)
        if mandate is None:
            raise WireError(cause="a handle that stands for nothing")
        replaced = self._peering.carries(link.id, link.device)
        if replaced is not None:  # both ends have their sessions over the new link
            self._drop_link(replaced)
            self._desk.out.append(CloseLink(replaced, ""))
        held = self._held.get(mandate)
        session = None if held is None else held.exchange.sessions.get(link.id)
        if held is None or session is None or session.handle != message.handle:
            return  # the mandate was removed here, or offered anew
        exchange = held.exchange
        if exchange.replica.was_removed(link.device) and not isinstance(message, _OF_THE_REMOVED):
            if isinstance(message, wire.Frontier):
                # It takes us for a member: it answers when it is asked for content.
                self._transfer.open(link.id, link.device, session.handle, mandate)
            return
        match message:
            case wire.Opening(raws=raws):
                exchange.on_opening(session, raws)
                self._after_entries(mandate)
            case wire.Refusal(reason=reason):
                if self._expects(held, link.device):
                    exchange.on_refusal(session, reason)
            case wire.Frontier(tips=tips):
                exchange.on_frontier(session, tips)
                self._transfer.open(link.id, link.device, session.handle, mandate)
                self._after_entries(mandate)
            case wire.Keys(keys=keys):
                exchange.on_keys(session, keys)
                self._after_entries(mandate)
            case wire.Have(tips=tips):
                exchange.on_have(session, tips)
            case wire.Want(wants=wants):
                exchange.on_want(session, wants)
            case wire.Entries(raws=raws, more=more):
                exchange.on_entries(session, raws, more)
                self._after_entries(mandate)
            case wire.ChunkWant(addresses=addresses):
                if exchange.replica.is_member(link.device):
                    self._desk.out.append(SendChunks(link.id, session.handle, mandate, addresses))
            case wire.Chunk(address=address, data=data):
                self._transfer.on_chunk(link.id, address, data)
                self._tell_content()
            case wire.ChunkMissing(addresses=addresses):
                self._transfer.on_missing(link.id, addresses)
            case wire.Content(files=files):
                exchange.on_content(session, files)
                if not files:
                    self._transfer.complete(link.id, mandate)
            case _:
                assert_never(message)

    # -- offers -------------------------------------------------------------------------------

    def _is_open(self, held: _Held) -> bool:
        """Whether others may learn of a mandate: it is shared, or we come by its ticket."""
        return held.exchange.replica.state.shared or held.exchange.newcomer

    def _expects(self, held: _Held, device: bytes) -> bool:
        replica = held.exchange.replica
        return replica.is_member(device) or (
            device in held.contacts and not replica.was_removed(device)
        )

    def _offer(self, link: _Link, held_here: Mapping[bytes, _Held], *, first: bool = False) -> None:
        """Offer what the peer is expected to have and has not been offered over this link."""
        handshake = link.handshake
        if not handshake.may_offer:
            return
        keys = [
            (mandate, key)
            for mandate, held in held_here.items()
            if self._is_open(held)
            and self._expects(held, link.device)
            and link.id not in held.exchange.sessions
            for key in held.exchange.replica.offered_keys
            if not handshake.was_offered((mandate, key))
        ]
        if keys or first:
            for offer in handshake.offer(keys):
                self._desk.send(link.id, offer)

    def _offer_everywhere(self, mandate: bytes) -> None:
        for link in self._links.values():
            self._offer(link, {mandate: self._held[mandate]})

    def _on_offer(self, link: _Link, offer: wire.Offer) -> None:
        handshake = link.handshake
        held_keys = [
            (mandate, key)
            for mandate, held in self._held.items()
            if self._is_open(held)
            # Both offered it at once: the dialler's offer counts.
            and not (handshake.outbound and handshake.is_pending(mandate))
            for key in held.exchange.replica.discovery_keys
        ]
        matches, accept = handshake.offers(offer, held_keys)
        self._desk.send(link.id, accept)
        self._open(link, matches)
        self._offer(link, self._held)
        self._handshake_progress(link)

    def _open(self, link: _Link, matches: Sequence[Match]) -> None:
        if any(self._serves(mandate, link.device) for _, mandate in matches):
            self._tell_contact(link)
        for handle, mandate in matches:
            link.open(handle, mandate)
            held = self._held.get(mandate)
            if held is None:
                continue
            self._transfer.close(link.id, mandate)
            held.exchange.open(link.id, handle, link.device)
            self._meet(held)

    def _serves(self, mandate: bytes, device: bytes) -> bool:
        """Whether a device that holds a mandate's key is told more than a refusal."""
        held = self._held.get(mandate)
        return held is not None and not held.exchange.replica.was_removed(device)

    def _handshake_progress(self, link: _Link) -> None:
        if link.handshake.done:
            self._desk.timers.cancel(("handshake", link.id))
            self._watch_idle(link)

    def _watch_idle(self, link: _Link) -> None:
        if not self._is_used(link) and ("idle", link.id) not in self._desk.timers:
            self._desk.after(("idle", link.id), IDLE_LINK_SECONDS_MAX)

    def _tell_contact(self, link: _Link) -> None:
        """Say where this device can be dialled, to who proved a mandate's key, when it changed."""
        addresses = tuple(self._addresses())[:ADDRESSES_PER_PEER_MAX]
        self._whereabouts.own(addresses)
        if link.contact != addresses:
            link.contact = addresses
            self._desk.send(link.id, wire.Contact(addresses))

    # -- addresses that are passed on --------------------------------------------------------------

    def load_addresses(self, raws: Iterable[bytes], now: float, wall_ms: int) -> list[Effect]:
        """Take up the records that ``KeepAddresses`` kept."""
        self._desk.begin(now, wall_ms)
        self._whereabouts.load(raws)
        return self._finish()

    def moved(self, now: float, wall_ms: int) -> list[Effect]:
        """This device can be called elsewhere: tell the members, and call who is away at once."""
        self._desk.begin(now, wall_ms)
        for link in self._links.values():
            if link.contact is not None:
                self._tell_contact(link)
        self._whereabouts.own(tuple(self._addresses())[:ADDRESSES_PER_PEER_MAX])
        for mandate in self._held:
            for device in self.expected(mandate):
                self._peering.sighted(device, self._peering.addresses(device), present=True)
        return self._finish()

    def _meet(self, held: _Held) -> None:
        for session in held.exchange.sessions.values():
            if session.told:
                self._whereabouts.meet(session.link)

    def _common(self, link: int) -> set[bytes]:
        """The members of the mandates that this device and a link's peer are both members of."""
        found: set[bytes] = set()
        for held in self._held.values():
            session = held.exchange.sessions.get(link)
            if session is not None and session.told and not held.hidden:
                members = held.exchange.replica.state.membership.members
                if session.device in members and self.device in members:
                    found |= members.keys()
        return found

    def _key(self) -> SigningKey | None:
        held = next(iter(self._held.values()), None)
        return None if held is None else held.exchange.replica.signing

    # -- what follows from entries --------------------------------------------------------------

    def _on_changes(self, mandate: bytes, changes: tuple[Change, ...]) -> None:
        """Look at what content is wanted, before peers hear of the entries."""
        exchange = self._held[mandate].exchange
        files: dict[bytes, None] = {}
        for change in changes:
            match change:
                case FileSaved(file=file) | FileAdded(file=file):
                    files[file] = None
                case FileDetached(file=file) | FileReturned(file=file):
                    files[file] = None
        for file in files:
            self._want_content(exchange.replica, file)
        if self._writes_files and not self._held[mandate].hidden:
            self._held[mandate].unwritten |= files
            exchange.content_lacking(self._lacking(mandate))
        self._tell_content()

    def written(self, mandate: bytes, file: bytes, now: float, wall_ms: int) -> list[Effect]:
        """A file's copies hold what the mandate's entries make of it."""
        self._desk.begin(now, wall_ms)
        held = self._held.get(mandate)
        if held is not None and held.unwritten.pop(file, False) is None:
            held.exchange.content_lacking(self._lacking(mandate))
        return self._finish()

    def _lacking(self, mandate: bytes) -> int:
        """How many files are not what they are to be: content on its way, or not written out."""
        held = self._held[mandate]
        return 0 if held.hidden else self._transfer.lacking(mandate) + len(held.unwritten)

    def _want_content(self, replica: Replica, file: bytes) -> None:
        """Of a file that is detached nobody need have the content: it may be nowhere any more."""
        state = replica.state.files.get(file)
        if not self._held[replica.mandate].hidden:
            heads = state.heads.values() if state is not None and state.present else ()
            self._transfer.want(replica.mandate, file, heads)

    def _tell_content(self) -> None:
        for mandate in self._transfer.touched():
            if mandate in self._held:
                self._held[mandate].exchange.content_lacking(self._lacking(mandate))

    def _after_entries(self, mandate: bytes) -> None:
        """Follow changes of membership, and what these bring."""
        held = self._held[mandate]
        left, held.left = held.left, held.standing_left
        while self._has_changed(held) or held.left != left:
            left = held.left
            if held.exchange.replica.state.membership.removed:
                self._update_peers()
            elif held.open:
                self._peering.want_also(self._wanted(held))
            self._offer_everywhere(mandate)
            self._meet(held)
            held.exchange.admit_late()
            if held.exchange.replica.mends_epoch():
                effects = held.exchange.replica.rotate(self._desk.wall_ms)
                held.exchange.publish(effects)

    def _wanted(self, held: _Held) -> list[bytes]:
        """The devices to dial for a mandate, who has left too: of two that left and came back while
        apart each would wait for the other.
        """
        membership = held.exchange.replica.state.membership
        every = dict.fromkeys([*held.contacts, *membership.members])
        return [device for device in every if device not in membership.removed]

    def _has_changed(self, held: _Held) -> bool:
        before = held.members, held.open, held.closed
        state = held.exchange.replica.state
        held.members, held.closed = state.membership, bool(state.standing.closed)
        held.open = self._is_open(held)
        return before[0] is not held.members or before[1:] != (held.open, held.closed)

    def _update_peers(self) -> None:
        wanted: dict[bytes, None] = {}
        for held in self._held.values():
            if self._is_open(held):
                wanted |= dict.fromkeys(self._wanted(held))
        self._peering.want(wanted)

    def _sighted(self, event: Sighted) -> None:
        for mandate in event.mandates:
            held = self._held.get(mandate)
            if held is not None and event.device not in held.contacts:
                held.contacts[event.device] = None
                self._peering.want_also([event.device])
                self._offer_everywhere(mandate)
        self._peering.sighted(event.device, event.addresses, present=True)

    # -- status -------------------------------------------------------------------------------

    def peers(self, mandate: bytes) -> list[PeerStatus]:
        """The other members of a mandate, by key, and who of them is there."""
        exchange = self._held[mandate].exchange
        sessions: dict[bytes, Session] = {s.device: s for s in exchange.sessions.values()}
        members = exchange.replica.state.membership.members
        devices = sorted((members.keys() | sessions.keys()) - {self.device})
        return [self._peer_status(device, sessions.get(device)) for device in devices]

    def _peer_status(self, device: bytes, session: Session | None) -> PeerStatus:
        if session is None:
            return PeerStatus(device, False, False, "", None)
        address = self._links[session.link].address
        return PeerStatus(device, True, session.synced, address, session.since)

    def meets_anybody(self, mandate: bytes) -> bool:
        """Whether any other device of a mandate is there, of those that did not leave it."""
        held = self._held[mandate]
        return any(each.device not in held.left for each in held.exchange.sessions.values())

    def expected(self, mandate: bytes) -> tuple[bytes, ...]:
        """The other devices that have to do with a mandate: members, and whom its ticket names."""
        held = self._held[mandate]
        return tuple(sorted(set(self._wanted(held)) - {self.device}))

    def in_step(self, mandate: bytes) -> bool:
        """Tell whether every connected member has what is here, and we have all of theirs.

        That includes the content of the versions that are shown. True when nobody is connected;
        who has left the mandate does not count.
        """
        held = self._held[mandate]
        return not self._transfer.lacking(mandate) and all(
            session.synced
            for session in held.exchange.sessions.values()
            if session.told and session.device not in held.left
        )

    def exhausted(self, link: int, mandate: bytes) -> bool:
        """Tell whether a bundle that is being taken in holds no more of what is wanted."""
        return self._transfer.exhausted(link, mandate)

    def unfetched(self, mandate: bytes) -> frozenset[bytes]:
        """The files of a mandate of whose content something has not come."""
        return self._transfer.unfetched(mandate)

    def held_by(self, mandate: bytes, device: bytes) -> tuple[Tip, ...]:
        """What a device is known to have: what it wrote itself, and what it last said."""
        exchange = self._held[mandate].exchange
        replica = exchange.replica
        own = {log for log, each in replica.state.logs.items() if each == device}
        tips = {tip: None for tip in replica.tips() if tip.log in own}
        for session in exchange.sessions.values():
            if session.device == device:
                tips |= {tip: None for of_log in session.remote.values() for tip in of_log}
        return tuple(tips)

    def known_addresses(self, device: bytes) -> tuple[str, ...]:
        """Where a device may be dialled, the latest first; worth keeping over a restart."""
        return self._peering.addresses(device)
