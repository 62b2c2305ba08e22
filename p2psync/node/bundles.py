"""Writes and takes in bundles: members sync by a file on a stick (B-NET-4)."""

import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2psync import __version__
from p2psync.core import bundle, crypto, entry, epochs
from p2psync.core.bundle import Manifest, Sealer
from p2psync.core.files import Version
from p2psync.core.frontier import Tip
from p2psync.core.membership import MAY_INVITE
from p2psync.core.ops import SealedKey
from p2psync.engine import wire
from p2psync.engine.courier import HANDLE
from p2psync.engine.effects import Courier, SendChunks, SendEntries, SendOpening
from p2psync.engine.replica import Replica
from p2psync.errors import (
    BadInputError,
    BundleBroken,
    BundleFromRemoved,
    BundleFromStranger,
    BundleInvalid,
    BundleNotAdmitted,
    BundleNothing,
    ChunkMissing,
    CryptoError,
    MandateUnknown,
    NotAdmitting,
)
from p2psync.limits import (
    BUNDLE_CHUNKS_MAX,
    BUNDLE_LACKING_MAX,
    BUNDLE_SLOTS_MAX,
    FRONTIER_TIPS_MAX,
    MEMBERS_MAX,
)
from p2psync.node import find, views
from p2psync.node.closed import check_belongs
from p2psync.node.courier import BundleLink
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import Opened, bundles_key
from p2psync.node.paths import local_path
from p2psync.node.pieces import split_references
from p2psync.node.runner import wall_ms
from p2psync.storage import bundles
from p2psync.storage.bundles import BundleFile, Spot

Json = dict[str, Any]
_TELL_SECONDS = 0.2
_CHUNKS_AT_ONCE = 64


@dataclass(slots=True)
class _Found:
    """What stands in a bundle, as far as it can be told without taking it."""

    mandate: bytes
    entries: int = 0
    tips: tuple[Tip, ...] = ()
    opens: bool = False
    chunks: dict[bytes, Spot] = field(default_factory=dict)
    _heard: bool = False

    def look(self, spot: Spot, frame: bytes) -> None:
        """Look at a frame; raises ``BundleInvalid`` for one that no honest writer writes."""
        try:
            message = wire.decode(frame)
            match message:
                case wire.Opening(raws=raws) if spot.number == 0:
                    self.opens = True
                    self._entries(raws)
                case wire.Entries(raws=raws) if not self._heard:
                    self.entries += len(raws)
                    self._entries(raws)
                case wire.Frontier(tips=tips) if not self._heard:
                    self._heard, self.tips = True, tips
                case wire.Chunk(address=address, data=data) if self._heard:
                    if crypto.chunk_address(data) != address:
                        raise BundleInvalid(cause=f"record {spot.number} is another chunk")
                    if len(self.chunks) >= BUNDLE_CHUNKS_MAX:
                        raise BundleInvalid(cause=f"more than {BUNDLE_CHUNKS_MAX} chunks")
                    self.chunks[address] = spot
                case None:
                    pass
                case _:
                    raise BundleInvalid(cause=f"record {spot.number} has no place there")
        except BundleInvalid:
            raise
        except BadInputError as error:
            raise BundleInvalid(cause=f"record {spot.number}: {error.text}") from None

    def _entries(self, raws: Iterable[bytes]) -> None:
        for raw in raws:
            if entry.decode(raw).header.mandate != self.mandate:
                raise BundleInvalid(cause="an entry of another mandate")


@dataclass(slots=True)
class _Plan:
    """What a bundle will hold: entries in causal order, and the chunks of contents by file."""

    ids: list[bytes]
    tips: tuple[Tip, ...]
    versions: list[tuple[bytes, Version]]
    """The contents that are wanted there, each with its file."""
    opening: tuple[bytes, ...]
    partial: bool
    needed_bytes: int
    contents: list[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=list)
    lacking: dict[bytes, None] = field(default_factory=dict)
    entries: int = 0
    chunks: int = 0


class Bundles:
    """What ``NodeService`` hands on about bundles."""

    def __init__(self, node: Node, mandates: Mandates) -> None:
        self._node = node
        self._mandates = mandates

    # -- export -------------------------------------------------------------------------------

    async def export(
        self, mandate: str, output: str, member: str | None, since: str | None
    ) -> Json:
        """Write a mandate's entries and current contents into a new file.

        Without what ``member`` is known to have, and without what an earlier bundle (``since``, its
        path) holds. Raises ``BundleNothing`` when nothing is left then, ``NotOverwritten``,
        ``IdentityLocked`` and storage errors.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.identity.check_unlocked()
        if opened.expelled:
            check_belongs(opened)
        device = None if member is None else find.member(opened, member)
        place = await trio.to_thread.run_sync(local_path, output)
        self._mandates.attaching.check_apart([place])
        known: dict[Tip, None] = {}
        wanted: set[bytes] = set()
        if device is not None:
            said, wanted = await self._heard_from(opened, device)
            known |= dict.fromkeys([*node.engine.held_by(opened.id, device), *said])
        if since is not None:
            known |= dict.fromkeys(await self._told_in(opened, since))
        await node.runner.flushed()
        partial = device is not None or since is not None
        ids = opened.replica.causal(self._paths(opened, known))
        plan = self._plan(opened, ids, partial, wanted)
        await trio.to_thread.run_sync(self._find_chunks, opened.id, plan)
        if not plan.ids and not plan.contents:
            raise BundleNothing(mandate=opened.name)
        now = wall_ms()
        head, sealer = self._sealer(opened.replica)
        frames = self._frames(opened, plan, place.name)

        def blocks() -> Iterator[bytes]:
            yield head
            while True:
                try:
                    frame = trio.from_thread.run(frames.__anext__)
                except StopAsyncIteration:
                    break
                yield sealer.seal(frame)
            # The members and keys belong to the event loop.
            manifest = trio.from_thread.run_sync(self._manifest, opened, plan, now)
            yield sealer.finish(manifest, node.identity.signer)

        async with aclosing(frames):
            size = await trio.to_thread.run_sync(bundles.write, place, blocks(), plan.needed_bytes)
        names = opened.names()
        return {
            "path": str(place),
            "mandate": opened.id.hex(),
            "name": opened.name,
            "at": views.iso(now),
            "partial": plan.partial,
            "for": None if device is None else views.person(opened.state, device),
            "entries": plan.entries,
            "contents": len(plan.contents) - len(plan.lacking),
            "lacking": [names[file] for file in plan.lacking if file in names],
            "bytes": size,
        }

    async def _heard_from(self, opened: Opened, device: bytes) -> tuple[list[Tip], set[bytes]]:
        """What a device's last bundle said that it has, and of which files it had not all."""
        said = json.loads(await self._node.store.setting(_key(opened.id, device)) or "{}")
        tips = [
            Tip(bytes.fromhex(log), seq, bytes.fromhex(head))
            for log, seq, head in said.get("tips", ())
        ]
        return tips, {bytes.fromhex(file) for file in said.get("lacking", ())}

    async def _told_in(self, opened: Opened, since: str) -> tuple[Tip, ...]:
        """What an earlier bundle of the mandate holds, or builds on."""
        path = await trio.to_thread.run_sync(local_path, since)
        found, candidate = _Found(opened.id), _candidate(opened)

        def read() -> None:
            with BundleFile.open(path, [candidate]) as file:
                file.check(found.look)

        await trio.to_thread.run_sync(read)
        return found.tips

    def _paths(self, opened: Opened, known: Iterable[Tip]) -> list[list[bytes]]:
        """The entries of each branch that are not known there."""
        replica = opened.replica
        points: dict[bytes, list[tuple[int, bytes]]] = {}
        for tip in known:
            points.setdefault(tip.log, []).append((tip.seq, tip.head))
        paths = [replica.path(tip, points.get(tip.log, ())) for tip in replica.tips()]
        return [path for path in paths if path]

    def _plan(self, opened: Opened, ids: list[bytes], partial: bool, wanted: set[bytes]) -> _Plan:
        """What goes into a bundle, but for the chunks, which are looked for on the disk."""
        replica, new = opened.replica, set(ids)
        versions = [
            (file.id, version)
            for file in opened.state.present_files()
            for version in file.heads.values()
            if version.content is not None
            and (not partial or version.id[0] in new or file.id in wanted)
        ]
        newcomer = not replica.is_member(self._node.identity.device)
        return _Plan(
            ids,
            replica.tips()[:FRONTIER_TIPS_MAX],
            versions,
            replica.opening() if newcomer and replica.has_ticket else (),
            partial,
            sum(version.size_bytes for _, version in versions) + 512 * len(ids),
        )

    def _find_chunks(self, mandate: bytes, plan: _Plan) -> None:
        """Learn of which chunks the contents are; blocks."""
        for file, version in plan.versions:
            addresses = self._addresses(mandate, version)
            if addresses is None:
                plan.lacking[file] = None
            plan.contents.append((file, addresses or ()))

    def _addresses(self, mandate: bytes, version: Version) -> tuple[bytes, ...] | None:
        """The chunks of a version, those that list others first; ``None`` when a list is not
        here."""
        content = version.content
        assert content is not None
        try:
            references = self._node.pieces.references(mandate, content)
        except (ChunkMissing, CryptoError):
            return None
        lists = content.references if content.indirect else b""
        return tuple(address for address, _ in split_references(lists + references))

    async def _frames(self, opened: Opened, plan: _Plan, name: str) -> AsyncGenerator[bytes, None]:
        node = self._node
        if plan.opening:
            async for frame in node.frames(SendOpening(0, HANDLE, opened.id, plan.opening)):
                yield frame
        told = _Telling(node, opened.id, name, "exporting", plan.needed_bytes)
        if plan.ids:
            async with aclosing(
                node.frames(SendEntries(0, HANDLE, opened.id, tuple(plan.ids)))
            ) as frames:
                async for frame in frames:
                    message = wire.decode(frame)
                    plan.entries += len(message.raws) if isinstance(message, wire.Entries) else 0
                    told.add(len(frame))
                    yield frame
        yield wire.encode(wire.Frontier(HANDLE, plan.tips))
        for file, addresses in plan.contents:
            for start in range(0, len(addresses), _CHUNKS_AT_ONCE):
                group = addresses[start : start + _CHUNKS_AT_ONCE]
                async with aclosing(node.frames(SendChunks(0, HANDLE, opened.id, group))) as frames:
                    async for frame in frames:
                        if isinstance(wire.decode(frame), wire.ChunkMissing):
                            plan.lacking[file] = None
                            continue
                        plan.chunks += 1
                        told.add(len(frame))
                        yield frame

    def _sealer(self, replica: Replica) -> tuple[bytes, Sealer]:
        entropy = self._node.entropy
        key = entropy(32)
        head = bundle.dump_head(
            replica.mandate, replica.keys()[-BUNDLE_SLOTS_MAX:], entropy(bundle.NONCE_BYTES), key
        )
        return head, Sealer(key, head)

    def _manifest(self, opened: Opened, plan: _Plan, now: int) -> Manifest:
        replica = opened.replica
        keys: tuple[SealedKey, ...] = ()
        if not plan.opening and replica.is_member(replica.device):
            others = sorted(opened.state.membership.members.keys() - {replica.device})
            keys = tuple(
                epochs.seal_to(each, replica.epoch_key, opened.id, self._node.entropy(32))
                for each in others[:MEMBERS_MAX]
            )
        return Manifest(
            opened.id,
            replica.device,
            now,
            plan.partial,
            plan.entries,
            plan.chunks,
            tuple(plan.lacking)[:BUNDLE_LACKING_MAX],
            entry.epoch_id(replica.epoch_key) if keys else b"",
            keys,
            f"p2psync {__version__}",
        )

    # -- import -------------------------------------------------------------------------------

    async def take(self, source: str) -> Json:
        """Take in a bundle: all of it is checked before anything of it is taken.

        Raises ``BundleInvalid``, ``BundleForeign``, ``BundleFromRemoved``, ``BundleFromStranger``,
        ``BundleNotAdmitted`` and storage errors; ``MandateUnknown`` when the mandate is removed
        meanwhile.
        """
        node = self._node
        node.check_writable()
        node.identity.check_unlocked()
        path = await trio.to_thread.run_sync(local_path, source)
        candidates = [_candidate(opened) for opened in node.opened.values()]
        file = await trio.to_thread.run_sync(BundleFile.open, path, candidates)
        with file:
            opened = find.mandate(node.opened.values(), file.mandate.hex())
            found = _Found(opened.id)
            manifest = await trio.to_thread.run_sync(file.check, found.look)
            if not self._is_here(opened):
                raise MandateUnknown(mandate=opened.name)
            self._check_writer(opened, path, manifest, found)
            before = _versions(opened)
            told = _Telling(node, opened.id, path.name, "importing", file.size_bytes)
            carried = Courier(opened.id)
            ahead = self._keys(opened.replica, manifest)
            link = BundleLink(file, manifest.device, found.chunks, ahead, told.at, node.look_again)
            await self._serve(opened, link, carried)
        self._raise(opened, path, carried, link)
        await self._keep(opened, manifest, found)
        await node.runner.flushed()
        return self._taken(opened, manifest, found, carried, before)

    def _check_writer(self, opened: Opened, path: Path, manifest: Manifest, found: _Found) -> None:
        replica, state = opened.replica, opened.state
        if replica.was_removed(manifest.device):
            machine = views.machine(state, manifest.device)
            raise BundleFromRemoved(path=str(path), machine=machine, mandate=opened.name)
        newcomer = state.membership.past(replica.device) is None
        if not newcomer and not replica.is_member(manifest.device):
            if not found.opens:
                raise BundleFromStranger(path=str(path), mandate=opened.name)
            if not state.membership.may(replica.device, MAY_INVITE):
                raise BundleNotAdmitted(path=str(path), cause=NotAdmitting().text)

    def _keys(self, replica: Replica, manifest: Manifest) -> tuple[bytes, ...]:
        """The frame that tells the key of the newest epoch, when it was sealed to this device."""
        mine = [each.sealed for each in manifest.keys if each.device == replica.device]
        if not mine:
            return ()
        key = epochs.open_sealed(
            self._node.identity.signer, mine[0], replica.mandate, manifest.epoch
        )
        return () if key is None else (wire.encode(wire.Keys(HANDLE, (key,))),)

    async def _serve(self, opened: Opened, link: BundleLink, carried: Courier) -> None:
        """Have the engine take what comes, then ask for content until there is no more."""
        node = self._node
        numbers: list[int] = []

        def done() -> bool:
            if carried.mistake or carried.refusal is not None or not self._is_here(opened):
                return True
            return carried.heard and node.engine.exhausted(numbers[0], opened.id)

        async with trio.open_nursery() as nursery:

            async def finish() -> None:
                await node.wait_for(lambda: bool(numbers) and done())
                link.finish()

            nursery.start_soon(finish)
            await node.links.serve(link, carried, numbers.append)
            nursery.cancel_scope.cancel()

    def _is_here(self, opened: Opened) -> bool:
        """Whether the mandate was not removed meanwhile."""
        return self._node.opened.get(opened.id) is opened

    def _raise(self, opened: Opened, path: Path, carried: Courier, link: BundleLink) -> None:
        if carried.refusal is not None:
            raise BundleNotAdmitted(path=str(path), cause=carried.refusal.text)
        if carried.mistake:
            raise BundleBroken(path=str(path), cause=carried.mistake)
        if link.error is not None:
            raise link.error
        if self._node.runner.broken is not None:
            raise self._node.runner.broken
        if not self._is_here(opened):
            raise MandateUnknown(mandate=opened.name)

    async def _keep(self, opened: Opened, manifest: Manifest, found: _Found) -> None:
        """Remember what the writer has: what is written for it leaves that out."""
        if manifest.device == self._node.identity.device:
            return
        said = {
            "tips": [[tip.log.hex(), tip.seq, tip.head.hex()] for tip in found.tips],
            "lacking": [file.hex() for file in manifest.lacking],
        }
        key = _key(opened.id, manifest.device)
        await self._node.store.put_setting(key, json.dumps(said))

    def _taken(
        self,
        opened: Opened,
        manifest: Manifest,
        found: _Found,
        carried: Courier,
        before: dict[bytes, frozenset[Any]],
    ) -> Json:
        names = opened.names()
        after = _versions(opened)
        engine = self._node.engine
        lacking = sorted(names[file] for file in engine.unfetched(opened.id) if file in names)
        return {
            "mandate": opened.id.hex(),
            "name": opened.name,
            "from": views.person(opened.state, manifest.device),
            "machine": views.machine(opened.state, manifest.device),
            "device": manifest.device.hex(),
            "at": views.iso(manifest.at_ms),
            "partial": manifest.partial,
            "entries": found.entries,
            "new": carried.entries,
            "admitted": carried.admitted,
            "files": [
                name
                for file, name in sorted(names.items(), key=lambda each: each[1])
                if after.get(file) != before.get(file)
            ],
            "gaps": carried.lacking,
            "lacking": lacking,
        }


class _Telling:
    """Tells people now and then how far a bundle has come; in any thread of the event loop."""

    def __init__(self, node: Node, mandate: bytes, name: str, phase: str, total: int) -> None:
        self._node = node
        self._mandate = mandate
        self._name = name
        self._phase = phase
        self._total = total
        self._done = 0
        self._last = time.monotonic()

    def add(self, count: int) -> None:
        """So many bytes more."""
        self.at(self._done + count)

    def at(self, done: int) -> None:
        """So many bytes in all."""
        self._done = done
        now = time.monotonic()
        if now - self._last > _TELL_SECONDS:
            self._last = now
            self._node.notices.progress(
                min(done, self._total),
                self._total,
                mandate=self._mandate,
                file=self._name,
                phase=self._phase,
            )


def _versions(opened: Opened) -> dict[bytes, frozenset[Any]]:
    """The heads of each attached file."""
    return {file.id: frozenset(file.heads) for file in opened.state.present_files()}


def _candidate(opened: Opened) -> bundles.Candidate:
    return opened.id, opened.replica.keys()


def _key(mandate: bytes, device: bytes) -> str:
    return bundles_key(mandate) + device.hex()
