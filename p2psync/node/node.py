"""The running node: opens the mandates, feeds the engine, runs its effects in one nursery."""

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, assert_never

import trio

from p2psync.core import ops
from p2psync.core.changes import (
    Change,
    DoublePosted,
    FileAdded,
    FileDetached,
    FileExpected,
    FilePlaced,
    FilePosted,
    FileRegistered,
    FileReturned,
    FileSaved,
    HoldAnswered,
    MandateChanged,
    MandateClosed,
    MandateRenamed,
    MandateShared,
    MemberJoined,
    MemberLeft,
    MemberReadmitted,
    MemberRemoved,
    MemberWaiting,
    NewerVersion,
    PolicyChanged,
    RelayNamed,
    SaveHeld,
    SeatChanged,
)
from p2psync.core.crypto import SigningKey
from p2psync.core.ops import OpId
from p2psync.engine.effects import (
    Changed,
    ChunksKnown,
    CloseLink,
    CloseLog,
    ContentLost,
    ContentReady,
    Dial,
    DialFailed,
    Dismissed,
    Effect,
    FindChunks,
    KeepAddresses,
    KeepEpochKey,
    KeepLogKey,
    LoadReferences,
    PeerChanged,
    Persist,
    Progress,
    ReferencesLoaded,
    Refold,
    Refused,
    SendChunks,
    SendEntries,
    SendFrame,
    SendOpening,
    Sighted,
    StoreChunk,
    Tick,
    Warn,
)
from p2psync.engine.engine import Engine
from p2psync.engine.ports import DiscoverableMandate, Discovery, Link, Sighting, Transport
from p2psync.engine.replica import OwnLog, Replica, Secrets
from p2psync.errors import NotAdmitting, P2PSyncError, StorageError
from p2psync.formats import registry
from p2psync.node import copies as disk
from p2psync.node import news, posting_news, validity, views
from p2psync.node.closed import check_may_write
from p2psync.node.contents import Contents
from p2psync.node.delivery import Delivery
from p2psync.node.desktop import Desktop
from p2psync.node.detaching import Detaching
from p2psync.node.doubts import Doubts
from p2psync.node.holding import Holding
from p2psync.node.hooks import Hooks
from p2psync.node.identity import Identity, LockedKey, check_person_name
from p2psync.node.key_file import KeyFile
from p2psync.node.links import Links, Send
from p2psync.node.members import Members
from p2psync.node.missing import Missing
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened, bundles_key, later_key
from p2psync.node.pieces import Known, Pieces
from p2psync.node.places import Places
from p2psync.node.proxies import ProxyUse
from p2psync.node.reach import reached
from p2psync.node.refusals import refusal
from p2psync.node.relays import Relays
from p2psync.node.removal import Removal
from p2psync.node.rendezvous import Rendezvous
from p2psync.node.retention import Retention, key_of
from p2psync.node.runner import InBatch, Runner, Ticket, Work, wall_ms
from p2psync.node.shelf import Shelf
from p2psync.node.silence import Silence
from p2psync.node.store import Store, Surroundings
from p2psync.node.suggestions import Suggestions, said_key
from p2psync.node.timing import Clock
from p2psync.node.ways import Ways
from p2psync.storage.contents import ContentStore
from p2psync.storage.database import Batch
from p2psync.storage.probe import try_writing
from p2psync.storage.rows import MandateRow

RECOVER_SECONDS = 5.0
ROOM_SECONDS = 30.0
"""How long content waits that the disk has no room for."""
Contacts = Mapping[bytes, tuple[str, ...]]
"""Devices that have to do with a mandate, and where each may be dialled."""
logger = logging.getLogger(__name__)


class Network(Protocol):
    """What the node needs to go on line and off."""

    async def start(self) -> int | None:
        """Go on line."""

    async def stop(self) -> None:
        """Go off line."""


class Node:
    """All mandates of one user session, over one link per peer (B-MAN-7)."""

    def __init__(
        self,
        *,
        identity: Identity,
        key_file: KeyFile,
        store: Store,
        contents: ContentStore,
        mandates_folder: Path,
        entropy: Callable[[int], bytes],
        nursery: trio.Nursery,
        clock: Clock | None = None,
    ) -> None:
        """``clock`` is what waits for hours and days goes by; this machine's, unless told."""
        self.identity = identity
        self.on_admitted: Callable[[Opened], Awaitable[None]] | None = None
        """Called in a task of its own when a member has let this device into a mandate."""
        self.on_saved: Callable[[Opened, bytes], None] | None = None
        """Called when a file has a new version."""
        self.on_posted: Callable[[Opened, Sequence[bytes]], None] | None = None
        """Called with the files of a receipt that was made or taken back."""
        self.online: Network | None = None
        self._key_file = key_file
        self.store = store
        self.pieces = Pieces(contents)
        self._contents = contents
        self._asked: dict[bytes, list[FindChunks]] = {}
        """Which versions' content the engine asks for, by mandate, until somebody looks."""
        self.mandates_folder = mandates_folder
        self.entropy = entropy
        self.opened: dict[bytes, Opened] = {}
        self.transport: Transport | None = None
        self.discovery: Discovery | None = None
        self.failure: StorageError | None = None
        """Why nothing can be written now; ``None`` when the disk works."""
        self.pulse = trio.Event()
        """Set, and replaced, whenever something changed that somebody may wait for."""
        self.watch_changed = trio.Event()
        self.unwatched: Callable[[], Collection[Path]] = tuple
        """The folders of which the system tells nothing, for it watches no more."""
        self._on_line = trio.Event()
        self._watched: dict[Path, dict[bytes, None]] = {}
        """The mandates with copies in each directory, as of the last ``targets``."""
        self._met: dict[tuple[bytes, bytes], None] = {}
        """Mandates and members that came or went, until that is noted."""
        self._noting = False
        self.incompatible: set[bytes] = set()
        """Members whose p2psync speaks another version of the protocol (B-VAL-2)."""
        self._nursery = nursery
        self.engine = Engine(identity.device, entropy, self.addresses, writes_files=True)
        self.runner = Runner(
            self.engine, store, self.pieces.store, self._perform, self._disk_failed
        )
        self.runner.ahead = self._ahead
        self.links = Links(self.runner, self.frames, self._frames_at_once)
        clock = clock or Clock()
        self.notices = Notices(store, lambda: views.iso(clock.now_ms()), self._named)
        self.detaching = Detaching(self)
        self.holding = Holding(self)
        self.retention = Retention(self, clock)
        self.removal = Removal(self, clock)
        self.relays = Relays(self)
        self.ways = Ways(self)
        self.rendezvous = Rendezvous(self)
        self.proxy = ProxyUse(self)
        self.doubts = Doubts(self)
        self.members = Members(self)
        self.silence = Silence(self.notices, clock, lambda: self.opened, self._meets_nobody)
        self.hooks = Hooks(
            store, self.notices, clock, entropy, mandates_folder.parent, identity.device
        )
        self.desktop = Desktop(store, self.notices, clock)
        self.delivery = Delivery(store)
        self.suggestions = Suggestions(
            store, self.notices, nursery, lambda: self.opened, self._pulse
        )
        self.missing = Missing(
            self.notices,
            Contents(store, self.pieces, self.runner.flushed),
            nursery,
            lambda: self.opened,
            mandates_folder,
            self._pulse,
            lambda opened, copy: self.shelf.look_at(opened, copy),
        )
        self.shelf = Shelf(
            self.runner,
            store,
            self.pieces,
            self.notices,
            nursery,
            self.watch_soon,
            self._pulse,
            self.own_effects,
            self._written,
            self._content_lost,
            self.missing,
            lambda opened: self.engine.holds(opened.id) and not self.engine.in_step(opened.id),
        )
        self.places = Places(self)

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open all mandates and begin to run effects."""
        self._nursery.start_soon(self.runner.run)
        self._nursery.start_soon(self.runner.keep_time, self._tick)
        self._nursery.start_soon(self.notices.run)
        self._nursery.start_soon(self.pieces.keep_recent_for_a_moment)
        await self.notices.load()
        self.notices.settle("disk-failed", key="disk-failed")
        self._tell_locked()
        self.silence.start(await self.store.last_met())
        self._nursery.start_soon(self.silence.run)
        await self.relays.load()
        await self.hooks.load()
        self._nursery.start_soon(self.hooks.run)
        await self.retention.load()
        self._nursery.start_soon(self.retention.run)
        overtaken = await self.store.close_overtaken_logs(self.mandates_folder.parent)
        read = await self._read_all()
        await trio.to_thread.run_sync(self._clear_up, [opened for opened, _ in read])
        self._admit_all(read)
        await self._load_addresses()
        self._nursery.start_soon(self.removal.run)
        if overtaken:
            self.notices.alert_text(
                "machine-restored",
                "this home was restored or copied: it goes on with new logs, nothing is lost",
                key="machine-restored",
            )

    def _admit_all(self, read: Sequence[tuple[Opened, Contacts]]) -> None:
        for opened, contacts in read:
            if opened.row.is_removed:
                self.removal.admit(opened, contacts)
                continue
            self.admit_opened(opened, contacts)
            if self.identity.device in opened.state.standing.left():
                self._nursery.start_soon(self.removal.say_back, opened)
        self.update_discovery()

    def _clear_up(self, mandates: Sequence[Opened]) -> None:
        self.pieces.sweep(mandates)
        for opened in mandates:
            disk.remove_leftovers(opened.folder, partial(self.pieces.rescue, opened))

    async def _read_all(self) -> list[tuple[Opened, Contacts]]:
        """Read all mandates from the disk; one that cannot be read does not keep out the others."""
        out = []
        beside = await self.store.surroundings()
        for row in await self.store.mandates():
            try:
                opened = await self._read(row, beside)
                self.notices.settle("mandate-unreadable", mandate=row.id, key="mandate-unreadable")
                out.append((opened, beside.contacts.get(row.id, {})))
            except StorageError:
                raise
            except P2PSyncError as error:
                self.notices.alert(
                    "mandate-unreadable", error, mandate=row.id, key="mandate-unreadable"
                )
        return out

    def look_at_all(self) -> None:
        """Compare every copy with its file: at the start, after an overflow, now and then."""
        for opened in self.opened.values():
            self.look_at_mandate(opened)
            opened.replica.release()

    def look_at_mandate(self, opened: Opened) -> None:
        """Compare every copy of a mandate with its file."""
        for copy in opened.copies.values():
            self.shelf.look_at(opened, copy)
        left = {file for file, role in opened.copies if role == "folder"}
        for file_id in sorted(left | {file.id for file in opened.state.present_files()}):
            self.shelf.write_out(opened, file_id)

    def hint(self, directory: Path, name: str | None) -> None:
        """The watcher saw something at a name, or anywhere in a directory."""
        self.suggestions.hint(directory, name)
        for mandate in self._watched.get(directory, ()):
            opened = self.opened.get(mandate)
            if opened is None:
                continue
            if name is not None:
                for copy in opened.copies.at(os.fspath(directory), name):
                    self.shelf.look_at(opened, copy)
                continue
            for copy in opened.copies.values():
                if copy.directory == directory:
                    self.shelf.look_at(opened, copy)

    def targets(self) -> dict[Path, set[str]]:
        """Directories to watch, with the names in them that matter."""
        wanted: dict[Path, set[str]] = {}
        self._watched = {}
        for opened in self.opened.values():
            if opened.frozen:
                continue
            files = opened.state.files
            for copy in opened.copies.values():
                if (file := files.get(copy.file)) is not None and not file.present and file.added:
                    continue  # it is detached: what happens to it is no concern
                if copy.role == "folder" and not copy.digest and copy.file not in opened.unwritten:
                    continue  # it is still to be written, and watched from then on
                wanted.setdefault(copy.directory, set()).add(copy.name)
                self._watched.setdefault(copy.directory, {})[opened.id] = None
        for directory, names in self.suggestions.targets().items():
            wanted.setdefault(directory, set()).update(names)
        return wanted

    def start_soon(self, run: Callable[[], Awaitable[object]]) -> None:
        """Run something beside the rest, as long as the node lives; its mistakes end it alone."""
        self._nursery.start_soon(self._run_guarded, run)

    async def _run_guarded(self, run: Callable[[], Awaitable[object]]) -> None:
        try:
            await run()
        except Exception:
            logger.exception("a task beside the rest failed")

    def watch_soon(self) -> None:
        """What is watched changed."""
        self.watch_changed.set()

    def _tick(self) -> None:
        self.runner.feed(Tick())

    # -- mandates -----------------------------------------------------------------------------

    def replica(self, row: MandateRow, own_logs: Sequence[OwnLog]) -> Replica:
        """Make the replica of a mandate, without entries yet."""
        return Replica(
            row.id,
            self.identity.signer,
            Secrets(row.epoch_keys, row.admission_seed, tuple(own_logs)),
            registry.read_segment,
            self.entropy,
            ops.Describe(self.identity.name, self.identity.machine),
        )

    async def _read(self, row: MandateRow, beside: Surroundings) -> Opened:
        replica = self.replica(row, beside.own_logs.get(row.id, ()))
        await self.store.load(replica)
        opened = Opened(replica, row, self.mandates_folder / row.folder)
        for copy in beside.copies.get(row.id, ()):
            opened.copies[(copy.file, copy.role)] = copy
        return opened

    def admit_opened(self, opened: Opened, contacts: Contacts) -> None:
        """Join a mandate to the engine and the watcher."""
        self.opened[opened.id] = opened
        self.store.attach(opened.replica)
        self.pieces.admit(opened)
        self.runner.hand_in(
            self.engine.add(opened.replica, contacts, trio.current_time(), wall_ms())
        )
        if opened.state.stale:
            self._nursery.start_soon(self._refold, opened.id)
        self.silence.admit(opened)
        self.places.admit(opened)
        self.watch_soon()

    def leave_engine(self, opened: Opened) -> None:
        """Take a mandate out of the engine, to be joined anew."""
        self.runner.hand_in(self.engine.remove(opened.id, trio.current_time(), wall_ms()))

    def hide_in_engine(self, opened: Opened) -> None:
        """Go on telling others of a mandate that was removed here, and nothing else."""
        self.runner.hand_in(self.engine.hide(opened.id, trio.current_time(), wall_ms()))

    def admit_hidden(self, opened: Opened, contacts: Contacts) -> None:
        """Join a mandate that was removed here to the engine alone."""
        self.store.attach(opened.replica)
        now = trio.current_time()
        effects = self.engine.add(opened.replica, contacts, now, wall_ms(), hidden=True)
        self.runner.hand_in(effects)

    def left_list(self, opened: Opened) -> None:
        """A mandate is on this device's list no more."""
        self.silence.forget(opened.id)
        self.update_discovery()
        self.watch_soon()
        self._pulse()

    async def forget(self, opened: Opened) -> None:
        """Take a mandate that never came to be off this node again, with the copies made of it."""
        opened.live = False
        if self.opened.pop(opened.id, None) is not None:
            self.leave_engine(opened)
        self.silence.forget(opened.id)
        self.update_discovery()
        self.watch_soon()
        with suppress(P2PSyncError):
            await self.runner.hand_in([self.deletion(opened)]).wait()
        self.suggestions.forget(opened.id)
        with suppress(P2PSyncError):
            await self.relays.forget(opened.id)
        async with opened.lock:
            await trio.to_thread.run_sync(disk.remove_folder, opened.folder, opened.ours())
            await trio.to_thread.run_sync(self.pieces.forget, opened.id)
        self._pulse()

    def deletion(self, opened: Opened) -> InBatch:
        """What takes a mandate, and all that is kept beside it, out of the database."""
        return InBatch(partial(_delete, opened))

    def author(self, opened: Opened, *entries: Sequence[ops.Operation]) -> Ticket:
        """Write entries, in one transaction; the ticket is done when they are durable and on
        their way.

        Raises ``StateReloaded`` when the disk failed since the mandate was looked up,
        ``MandateUnknown`` when it was removed here since, and ``MandateIsClosed``.
        """
        self.check_writable()
        opened.check_listed()
        for operations in entries:
            check_may_write(opened, operations)
        work: list[Effect] = []
        try:
            for operations in entries:
                effects = opened.replica.author(operations, wall_ms())
                work += self.own_effects(opened.id, effects)
        finally:
            # What is in memory goes to the disk, whatever came of the rest.
            ticket = self.runner.hand_in(work)
        return ticket

    def keep_row(self, opened: Opened) -> InBatch:
        """What makes the mandate's row durable, for a transaction with more in it."""
        opened.row = replace(opened.row, epoch_keys=opened.replica.secrets.epoch_keys)
        row = opened.row
        return InBatch(lambda batch: batch.add_mandate(row))

    def set_state(self, opened: Opened, state: str) -> None:
        """Note what became of a mandate, over a restart."""
        opened.row = replace(opened.row, state=state)
        self._nursery.start_soon(self._keep_row, opened)

    def own_effects(self, mandate: bytes, effects: list[Effect]) -> list[Effect]:
        """Have what this device wrote sent to whoever is connected; return all effects."""
        return self.engine.publish(mandate, effects, trio.current_time(), wall_ms())

    def _written(self, mandate: bytes, file: bytes) -> None:
        """Tell the members that a file of theirs is on this disk now."""
        effects = self.engine.written(mandate, file, trio.current_time(), wall_ms())
        if effects:
            self.runner.hand_in(effects)

    def check_writable(self) -> None:
        """Raise what keeps the disk from being written, if anything does."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # one error, raised again and again

    # -- the network --------------------------------------------------------------------------

    def goes_online(self, transport: Transport) -> None:
        """The network is on: dials that waited for it go out."""
        self.transport = transport
        self._on_line.set()

    def goes_offline(self, transport: Transport) -> None:
        """That network is off; after a quick stop and start the next one may be on already."""
        if self.transport is transport:
            self.transport = None
            self.discovery = None
            self._on_line = trio.Event()

    def moved(self) -> None:
        """This machine has other addresses: members and relays hear of it now, and who is away is
        called at once."""
        self.relays.renew()
        now = trio.current_time()
        self.runner.hand_in(self.engine.moved(now, wall_ms()))

    def _meets_nobody(self, opened: Opened) -> Literal["", "waiting", "offline"]:
        """Why a mandate that is to meet other devices does not, if so."""
        if not opened.shared or opened.state.standing.closed or self.identity.locked:
            return ""
        if opened.expelled:
            return ""
        if not opened.replica.is_member(self.identity.device):
            return "" if opened.refused else "waiting"
        others = opened.state.standing.going_on(opened.state.membership.members)
        if others <= {self.identity.device} or self.engine.meets_anybody(opened.id):
            return ""
        return "offline"

    def _held(self, mandate: bytes) -> Opened | None:
        """A mandate, removed here or not."""
        return self.opened.get(mandate) or self.removal.hidden.get(mandate)

    def _named(self, mandate: bytes | None, device: bytes | None) -> tuple[str | None, str | None]:
        """The names of a mandate and of a device, for events."""
        opened = None if mandate is None else self._held(mandate)
        if device is None:
            who = None
        elif opened is not None:
            who = views.person(opened.state, device)
        else:
            who = self.identity.name if device == self.identity.device else None
        return None if opened is None else opened.name, who

    def addresses(self) -> tuple[str, ...]:
        """Where this node can be dialled now."""
        return () if self.transport is None else self.transport.addresses()

    def connected(self) -> list[dict[str, Any]]:
        """The devices that a link is up with, each once."""
        found: dict[bytes, dict[str, Any]] = {}
        paces = self.links.paces()
        for opened in self.opened.values():
            for peer in self.engine.peers(opened.id):
                if peer.online:
                    found.setdefault(
                        peer.device,
                        {
                            "device": peer.device.hex(),
                            "name": views.person(opened.state, peer.device),
                            "address": peer.address,
                            "reached": reached(peer, self.relays.host_of),
                            "pace": paces[peer.device].view() if peer.device in paces else None,
                        },
                    )
        return [found[device] for device in sorted(found)]

    async def accept(self, link: Link) -> None:
        """Serve a link until it ends; whatever a peer does ends its link and nothing else."""
        try:
            await self.links.serve(link)
        except Exception:
            logger.exception("a link with %s failed", link.device.hex()[:16])

    def sighted(self, sighting: Sighting) -> None:
        """Discovery saw a device."""
        self.runner.feed(Sighted(sighting.device, sighting.addresses))

    def known(self, device: bytes) -> bool:
        """Whether a device is a member of any mandate here."""
        every = (*self.opened.values(), *self.removal.in_engine())
        return any(opened.replica.is_member(device) for opened in every)

    def update_discovery(self) -> None:
        """Tell discovery which mandates to show and whom to look for, and relays whom to call."""
        self.relays.look_again()
        self.rendezvous.wake()
        if self.discovery is None:
            return
        wanted = []
        hidden = {opened.id: opened for opened in self.removal.in_engine()}
        for _, opened in sorted((self.opened | hidden).items()):
            if opened.shared:
                devices = self.engine.expected(opened.id)
                newest, *older = opened.replica.discovery_keys
                wanted.append(DiscoverableMandate(newest, devices))
                # Who was away still shows itself by the key that it has; whoever was removed, too.
                wanted += [DiscoverableMandate(key, devices, announced=False) for key in older]
        self.discovery.update(wanted)

    async def _dial(self, effect: Dial) -> None:
        # Not a failure, after which a member would be left alone for a while: while the node starts
        # or nobody is signed in, the first dial waits for the network.
        while self.transport is None:
            await self._on_line.wait()
        try:
            addresses = self.relays.usable(effect.addresses)
            link = await self.transport.dial(effect.device, addresses)
        except (P2PSyncError, OSError) as error:
            text = error.text if isinstance(error, P2PSyncError) else str(error)
            self.runner.feed(DialFailed(effect.device, text))
            return
        await self.accept(link)

    # -- effects ------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SendFrame() | SendEntries() | SendOpening() | SendChunks():
                self.links.send(effect)
            case CloseLink(link=link, error=error):
                self.links.close(link, error)
            case Dial():
                self._nursery.start_soon(self._dial, effect)
            case Changed(mandate=mandate, changes=changes):
                self._changed(mandate, changes)
            case Refold(mandate=mandate):
                self._nursery.start_soon(self._refold, mandate)
            case FindChunks():
                self._ask(effect)
            case LoadReferences():
                self._nursery.start_soon(self._load_references, effect)
            case ContentReady(mandate=mandate, file=file, version=version):
                self.pieces.whole(version)
                if opened := self.opened.get(mandate):
                    opened.incomplete.pop(file, None)
                    self.shelf.write_out(opened, file)
            case Progress():
                self._progress(effect)
            case KeepAddresses(records=records):
                self._nursery.start_soon(self._keep_addresses, records)
            case PeerChanged():
                self._peer_changed(effect)
            case Refused(mandate=mandate, code=code):
                if opened := self.opened.get(mandate):
                    self._refused(opened, code)
            case Dismissed(mandate=mandate):
                if opened := self.opened.get(mandate):
                    self.members.on_dismissed(opened, effect)
            case Warn(code="other-protocol", device=bytes() as device):
                self.incompatible.add(device)
                news.other_protocol(self.notices, self.opened.values(), device)
            case Warn():
                news.warn(self.notices, self.opened.get(effect.mandate or b""), effect)
            case Persist() | KeepLogKey() | KeepEpochKey() | CloseLog() | StoreChunk():
                raise AssertionError("the runner makes these durable itself")
            case _:
                assert_never(effect)
        self._pulse()

    def _ahead(self, work: Sequence[Work]) -> Sequence[Work]:
        """Begin to write out what came while it is made durable; it takes its name after that."""
        chunks = [effect for effect in work if isinstance(effect, StoreChunk)]
        stored = bool(chunks) and self.pieces.store_small(chunks)
        for effect in work:
            match effect:
                case Changed(mandate=mandate, changes=changes) if mandate in self.opened:
                    opened = self.opened[mandate]
                    for change in changes:
                        if isinstance(change, FileSaved) and _of_records(opened, change):
                            self.shelf.write_out(opened, change.file)
                case ContentReady(mandate=mandate, file=file_id) if stored:
                    self.pieces.whole(effect.version)
                    if opened_ := self.opened.get(mandate):
                        self.shelf.write_out(opened_, file_id)
                case _:
                    pass
        if not stored:
            return work
        return tuple([effect for effect in work if not isinstance(effect, StoreChunk)])

    def _pulse(self) -> None:
        pulse, self.pulse = self.pulse, trio.Event()
        pulse.set()

    def look_again(self) -> None:
        """Have who waits for something look at it again."""
        self._pulse()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; looked at whenever something changed."""
        while not condition():
            await self.pulse.wait()

    async def _refold(self, mandate: bytes) -> None:
        opened = self._held(mandate)
        while opened is not None and opened.live:
            try:
                async with opened.lock:  # nobody is to work with files of the fold that goes
                    raws = await self.store.entries(mandate)
                    if not opened.live or not self.engine.holds(mandate):
                        return  # one that was removed is folded anew when it comes back
                    now = trio.current_time()
                    self.runner.hand_in(self.engine.refold(mandate, raws, now, wall_ms()))
            except StorageError:
                await trio.sleep(RECOVER_SECONDS)
                continue
            placed = {file_id for file_id, _ in opened.copies}
            for file_id in sorted(placed | {file.id for file in opened.state.present_files()}):
                self.shelf.write_out(opened, file_id)
            return

    async def frames(
        self, send: SendEntries | SendOpening | SendChunks
    ) -> AsyncGenerator[bytes, None]:
        """Yield the frames that a send stands for, read piece by piece."""
        if isinstance(send, SendChunks):
            opened = self._held(send.mandate)
            if opened is None:
                return
            frames = self.pieces.frames(opened, send)
        else:
            frames = self.store.frames(send)
        async with aclosing(frames):
            async for frame in frames:
                yield frame

    def _frames_at_once(self, send: Send) -> Sequence[bytes] | None:
        match send:
            case SendFrame(frame=frame):
                return [frame]
            case SendChunks():
                return self.pieces.recent_frames(send)
            case _:
                return self.store.fresh_frames(send)

    def _ask(self, effect: FindChunks) -> None:
        """Tell the engine what of a version is here: at once what a copy holds, the rest soon."""
        opened = self.opened.get(effect.mandate)
        if opened is None:
            return
        if self.pieces.asked(opened, effect):
            self.runner.feed(ChunksKnown(effect.mandate, effect.version, ()))
            return
        if effect.mandate not in self._asked:
            self._asked[effect.mandate] = []
            self._nursery.start_soon(self._find_chunks, opened)
        self._asked[effect.mandate].append(effect)

    async def _find_chunks(self, opened: Opened) -> None:
        """Look for what was asked for, all of it in one go."""
        wanted = self._asked.pop(opened.id)
        refused: list[FindChunks] = []
        known: list[Known] = []
        try:
            known = await self.pieces.find(opened, wanted)
            self.notices.settle("cannot-read-chunks", mandate=opened.id, key="cannot-read-chunks")
        except P2PSyncError as error:
            self._cannot_read_chunks(opened.id, error)
            refused = wanted
        for each in known:
            if isinstance(each, ChunksKnown):
                self.runner.feed(each)
                continue
            refused.append(each[0])
            self.notices.alert("no-room", each[1], mandate=opened.id, key="no-room")
        if refused:
            await trio.sleep(ROOM_SECONDS)
            for effect in refused:
                self._ask(effect)
        else:
            self.notices.settle("no-room", mandate=opened.id, key="no-room")

    async def _load_references(self, effect: LoadReferences) -> None:
        try:
            references = await trio.to_thread.run_sync(
                self.pieces.listed, effect.mandate, effect.references
            )
        except P2PSyncError as error:
            self._cannot_read_chunks(effect.mandate, error)
            return
        self.runner.feed(ReferencesLoaded(effect.mandate, effect.version, references))

    def _cannot_read_chunks(self, mandate: bytes, error: P2PSyncError) -> None:
        self.notices.alert("cannot-read-chunks", error, mandate=mandate, key="cannot-read-chunks")

    def _content_lost(self, opened: Opened, file: bytes, version: OpId) -> None:
        """A content is not where it was to be: let the engine fetch it again."""
        if self.pieces.lost(version):
            self.runner.feed(ContentLost(opened.id, file, version))

    def _progress(self, effect: Progress) -> None:
        opened = self.opened.get(effect.mandate)
        if opened is None:
            return
        opened.incomplete[effect.file] = (effect.done_bytes, effect.total_bytes)
        file = opened.state.files.get(effect.file)
        self.notices.progress(
            effect.done_bytes,
            effect.total_bytes,
            mandate=effect.mandate,
            file=file.info.name if file is not None and file.added else "",
            phase="receiving",
        )

    def _peer_changed(self, effect: PeerChanged) -> None:
        opened = self.opened.get(effect.mandate)
        if effect.state != "offline" and effect.device in self.incompatible:
            self.incompatible.discard(effect.device)
            key = f"other-protocol:{effect.device.hex()}"
            self.notices.settle("other-protocol", key=key)
        if opened is None and effect.state == "synced":
            self.removal.on_synced(effect.mandate, effect.device)
        if opened is not None and effect.state == "synced":
            opened.synced_ms = wall_ms()
            self._delivered(opened)
        if opened is not None and opened.late and self.engine.in_step(opened.id):
            self.shelf.copy_late(opened)  # the last that lacked something has it, or has gone
        if opened is not None and effect.state != "synced":
            self.silence.met(opened)
        if effect.state != "synced":
            self.ways.look_at(effect.device)
            self._met[(effect.mandate, effect.device)] = None
            if not self._noting:
                self._noting = True
                self._nursery.start_soon(self._note_peers)

    def _delivered(self, opened: Opened) -> None:
        """Note what the accounting has while it is in step (B-POS-4)."""
        seat = opened.state.seat()
        if any(peer.device == seat and peer.synced for peer in self.engine.peers(opened.id)):
            is_idle = not self.delivery.unkept
            if self.delivery.reached(opened, wall_ms()) and is_idle:
                self._nursery.start_soon(self.delivery.keep_soon)

    async def _note_peers(self) -> None:
        """Keep when and where members were reached; it only helps the next start.

        One transaction for all that a link brings: its mandates may be many.
        """
        while self._met:
            met, self._met = self._met, {}
            devices = {device: None for _, device in met}
            addresses = {each: self.engine.known_addresses(each) for each in devices}
            # Whatever has to be durable meets the same trouble, and says so.
            with suppress(StorageError):
                await self.store.reached(met, addresses)
        self._noting = False

    async def _keep_addresses(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep signed addresses; without them the next start only finds members more slowly."""
        with suppress(StorageError):
            await self.store.put_addresses(dict(records))

    async def _load_addresses(self) -> None:
        """Take up the signed addresses of members that were kept; forget those of others."""
        kept = await self.store.addresses()
        own = self.identity.device
        gone = {each: None for each in kept if each != own and not self.known(each)}
        if gone:
            with suppress(StorageError):
                await self.store.put_addresses(gone)
        raws = [raw for device, raw in kept.items() if device not in gone]
        self.runner.hand_in(self.engine.load_addresses(raws, trio.current_time(), wall_ms()))

    def _refused(self, opened: Opened, code: str) -> None:
        if code == NotAdmitting.code:
            return  # that member cannot tell: another one will
        error = refusal(opened.row, code)
        if error is None:
            return  # that member may not admit; another one may
        opened.row = replace(opened.row, state=f"refused:{code}")
        self._nursery.start_soon(self._keep_row, opened)
        if opened.subscribing:
            return  # who waits for the answer gets it as an error
        self.notices.alert(
            "ticket-refused", error, mandate=opened.id, action="new-ticket", key="ticket-refused"
        )

    async def _keep_row(self, opened: Opened) -> None:
        if opened.live:
            with suppress(P2PSyncError):
                await self.runner.hand_in([self.keep_row(opened)]).wait()

    def _admitted(self, opened: Opened) -> None:
        """This device became a member: an earlier refusal is over."""
        if opened.refused:
            opened.row = replace(opened.row, state="active")
            self._nursery.start_soon(self._keep_row, opened)
        self.notices.settle("ticket-refused", mandate=opened.id, key="ticket-refused")
        self.silence.meeting(opened)
        if self.on_admitted is not None:
            self._nursery.start_soon(self.on_admitted, opened)

    # -- what entries changed -----------------------------------------------------------------

    def _changed(self, mandate: bytes, changes: Sequence[Change]) -> None:
        opened = self.opened.get(mandate)
        if opened is None:
            return
        members = False
        for change in changes:
            match change:
                case FileAdded(file=file_id):
                    self.shelf.write_out(opened, file_id)
                    file = opened.state.files.get(file_id)
                    if file is not None and file.added is not None:
                        news.file_added(self.notices, opened, file)
                case FileSaved(file=file_id, version=version):
                    self.shelf.write_out(opened, file_id)
                    file = opened.state.files.get(file_id)
                    if self.on_saved is not None:
                        self.on_saved(opened, file_id)
                    if file is not None and (saved := file.versions.get(version)):
                        self._look_at_clock(opened, saved.device, saved.hlc)
                case MemberJoined(device=device):
                    members = True
                    if device == self.identity.device:
                        self._admitted(opened)
                    else:
                        news.member_joined(self.notices, opened, device)
                case MemberRemoved(device=device, by=by):
                    self.holding.gone(opened, device)
                    members = True
                    self.members.on_removed(opened, device, by)
                    posting_news.seat_changed(self.notices, opened, by)
                case MemberReadmitted(device=device):
                    members = True
                    self.members.on_readmitted(opened, device)
                    posting_news.seat_changed(self.notices, opened, device)
                case SeatChanged(device=device):
                    posting_news.seat_changed(self.notices, opened, device)
                case MandateShared(device=device):
                    members = True
                    news.mandate_shared(self.notices, opened, device)
                case MandateChanged():
                    members = True
                case MandateClosed(device=device, reopened=reopened):
                    members = True
                    self.removal.on_closed(opened, device, reopened=reopened)
                case MemberLeft(device=device, returned=returned):
                    members = True
                    self.holding.gone(opened, device)
                    self.removal.on_left(opened, device, returned=returned)
                case FileDetached():
                    self.detaching.on_detached(opened, change)
                case FileReturned():
                    self.detaching.on_returned(opened, change)
                case FilePlaced():
                    self.places.placed(opened, change)
                case MandateRenamed(device=device, before=before):
                    news.mandate_renamed(self.notices, opened, device, before)
                case FileRegistered(file=file_id):
                    news.program_registered(self.notices, opened, file_id)
                    self._validity_changed(opened)
                case PolicyChanged():
                    news.policy_changed(self.notices, opened)
                    self._validity_changed(opened)
                case RelayNamed():
                    self.relays.on_named(opened, change)
                case SaveHeld() | HoldAnswered():
                    self.holding.told(opened, change)
                case FileExpected():
                    pass
                case FilePosted(receipt=receipt, retracted=retracted):
                    posting_news.posted(self.notices, opened, change)
                    made = opened.state.receipts.get(receipt)
                    if made is not None:
                        self.detaching.on_posted(opened, made.files)
                    if made is not None and self.on_posted is not None:
                        self.on_posted(opened, made.files)
                    if made is not None and not retracted:
                        self._look_at_clock(opened, made.device, made.hlc)
                case DoublePosted(file=file_id, receipts=receipts):
                    if file := opened.state.files.get(file_id):
                        posting_news.double_posted(self.notices, opened, file, receipts)
                case NewerVersion():
                    news.newer_version(self.notices, opened)
                case MemberWaiting():
                    members = True
                case _:
                    assert_never(change)
        self.silence.changed(opened, changes)
        if members:
            self.update_discovery()

    def _validity_changed(self, opened: Opened) -> None:
        """What was refused may be taken now, or the other way round (B-VAL-1)."""
        validity.tell(self.notices, opened)
        for copy in opened.copies.values():
            self.shelf.look_at(opened, copy)

    def _look_at_clock(self, opened: Opened, device: bytes, hlc: int) -> None:
        if device != self.identity.device:
            news.clock_seen(self.notices, opened, device, hlc, wall_ms())

    # -- identity -----------------------------------------------------------------------------

    async def set_name(self, name: str) -> None:
        """Give this device's person a name, in every mandate (B-ID-1)."""
        check_person_name(name)
        self.check_writable()
        await self.store.put_setting("name", name)
        self.identity.name = name
        describe = ops.Describe(name, self.identity.machine)
        for opened in list(self.opened.values()):
            opened.replica.describe = describe
            if opened.live and not (self.identity.locked and opened.replica.needs_key):
                await self.author(opened, [describe]).wait()

    async def lock(self, passphrase: str | None) -> None:
        """Forget the secret key until ``unlock``: shared mandates do not sync meanwhile."""
        if self.identity.locked:
            return
        await self._key_file.protect(self.identity, passphrase)
        if self.online is not None:
            await self.online.stop()
        self._use(LockedKey.of(self.identity.device))
        self._tell_locked()

    def _tell_locked(self) -> None:
        if self.identity.locked:
            self.notices.alert_text(
                "identity-locked",
                "nobody is signed in: shared mandates do not sync",
                key="identity-locked",
                device=self.identity.device,
            )
        else:
            self.notices.settle("identity-locked", key="identity-locked")

    async def unlock(self, passphrase: str) -> None:
        """Open the secret key and go on line again."""
        if self.identity.locked:
            await self._key_file.unlock(self.identity, passphrase)
            self._use(self.identity.signer)
            self.notices.settle("identity-locked", key="identity-locked")
            if self.online is not None:
                await self.online.start()

    def _use(self, signer: SigningKey) -> None:
        self.identity.signer = signer
        for opened in (*self.opened.values(), *self.removal.hidden.values()):
            opened.replica.signing = signer

    # -- trouble with the disk ----------------------------------------------------------------

    def _disk_failed(self, error: StorageError) -> None:
        """Nothing was acknowledged: forget what is only in memory, and try again from time to
        time.
        """
        self.failure = error
        self.notices.disk_failed(error)
        for opened in (*self.opened.values(), *self.removal.hidden.values()):
            opened.live = False
        self.links.close_all()
        self._nursery.start_soon(self._recover, error)
        self._pulse()

    async def _recover(self, error: StorageError) -> None:
        """Once the disk works, go on from what is on it, with an engine that knows no more."""
        place = error.params.get("path", "")
        while True:
            await trio.sleep(RECOVER_SECONDS)
            try:
                if place:  # what failed may lie elsewhere than the database
                    await trio.to_thread.run_sync(try_writing, place)
                await self.store.try_writing()
                fresh = await self._read_all()
            except StorageError as again:
                self.failure = again
                continue
            break
        self.links.close_all()
        self.engine = Engine(self.identity.device, self.entropy, self.addresses, writes_files=True)
        self.opened = {}
        self.removal.forget_all()
        self.runner.resume(self.engine)
        self.failure = None
        self._admit_all(fresh)
        with suppress(StorageError):
            await self._load_addresses()
        self.notices.disk_works()
        self.look_at_all()
        self._pulse()


def _of_records(opened: Opened, saved: FileSaved) -> bool:
    """Whether a version is made of records, which came with it."""
    file = opened.state.files.get(saved.file)
    version = None if file is None else file.versions.get(saved.version)
    return version is not None and version.content is None


def _delete(opened: Opened, batch: Batch) -> None:
    batch.delete_mandate(opened.id)
    for key in (later_key(opened), said_key(opened.id), key_of(opened.id)):
        batch.put_setting(key, None)
    batch.drop_settings(bundles_key(opened.id))
