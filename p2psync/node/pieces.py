"""Where the pieces of contents that are synchronised whole are on this machine.

Nothing is stored twice that a file itself holds: a peer is served from the attached file or the
copy in the mandate folder, each piece checked by its digest and sealed anew. Besides these there
are contents on their way, old versions, and for a moment what was just saved.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import trio

from p2psync.core import crypto
from p2psync.core.files import FileState, Version
from p2psync.core.ops import CHUNK_REFERENCE_BYTES, Chunked, OpId
from p2psync.engine import wire
from p2psync.engine.effects import ChunksKnown, FindChunks, SendChunks, StoreChunk
from p2psync.engine.replica import Replica
from p2psync.errors import ChunkMissing, CryptoError, DiskFull
from p2psync.limits import CHUNK_BYTES, RECENT_BYTES_MAX
from p2psync.node import heap
from p2psync.node.copies import Role
from p2psync.node.opened import Opened
from p2psync.storage.contents import ContentStore
from p2psync.storage.kept import KeptVersions
from p2psync.storage.pieces import OpenFiles

ROLES: tuple[Role, ...] = ("folder", "attached")
Known = ChunksKnown | tuple[FindChunks, DiskFull]
"""What is not here of a version, or that there is no room for it."""
RECENT_SECONDS = 20.0
"""What was saved is sent from memory for at least so long, and at most twice."""
STORED_AT_ONCE_BYTES = 64 * 1024
"""Of small contents that are opened where everything else waits: a thread would take longer."""
SERVED_AT_ONCE = 8
"""Pieces that are read and sealed in one go while those before are sent."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the content of one version may be: under a name among what comes in, or in files."""

    version: Version
    name: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Spot:
    """One piece: where its content may be, its number and its plaintext's digest."""

    where: Whereabouts
    number: int
    digest: bytes

    @property
    def length(self) -> int:
        return min(CHUNK_BYTES, self.where.version.size_bytes - self.number * CHUNK_BYTES)


def incoming_name(version: OpId) -> str:
    """Under which name a version's content is put together."""
    return f"{version[0].hex()}{version[1]:04x}"


class Pieces:
    """The pieces of all contents of this node."""

    def __init__(self, contents: ContentStore) -> None:
        self._contents = contents
        self._replicas: dict[bytes, Replica] = {}
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()
        self.recent_bytes = 0
        """The size of the sealed pieces that are kept in memory for now."""
        self._aged = 0
        """How many of the recent pieces were there when they were last aged."""
        self._remembered = trio.Event()
        self._lock = Lock()
        self._spots: dict[bytes, dict[bytes, _Spot]] = {}
        self._stale: set[bytes] = set()
        self._doubted: set[OpId] = set()
        self._awaited: set[OpId] = set()
        self._whole: set[OpId] = set()
        self._spoilt: set[OpId] = set()
        self._coming: dict[tuple[bytes, bytes], set[OpId]] = {}
        self._pool = ThreadPoolExecutor(2, "pieces")

    # -- what the node tells --------------------------------------------------------------------

    def admit(self, opened: Opened) -> None:
        """Serve a mandate."""
        self._replicas[opened.id] = opened.replica
        self._stale.add(opened.id)

    def _secrets(self, mandate: bytes) -> tuple[bytes, ...]:
        """What the chunks of a mandate may be sealed with, one for each epoch; in any thread."""
        return self._replicas[mandate].chunk_secrets

    def forget(self, mandate: bytes) -> None:
        """A mandate is gone from here."""
        self._replicas.pop(mandate, None)
        self._spots.pop(mandate, None)
        for key in [key for key in self._coming if key[0] == mandate]:
            for version in self._coming.pop(key):
                self._drop(version)
        self._contents.kept.forget(mandate)

    def moved(self, opened: Opened) -> None:
        """A copy holds something else than it did."""
        self._stale.add(opened.id)

    def remember(self, sealed: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep sealed pieces (address and bytes) for a moment; the oldest go first."""
        with self._lock:
            for address, data in sealed:
                if address not in self._recent:
                    self._recent[address] = data
                    self.recent_bytes += len(data)
            while self.recent_bytes > RECENT_BYTES_MAX:
                self._forget_oldest()
        self._remembered.set()

    async def keep_recent_for_a_moment(self) -> None:
        """Let go of sealed pieces that nobody is likely to ask for any more, until cancelled."""
        while True:
            await self._remembered.wait()
            await trio.sleep(RECENT_SECONDS)
            with self._lock:
                while self._aged > 0:
                    self._forget_oldest()
                self._aged = len(self._recent)
                if not self._recent:
                    self._remembered = trio.Event()
            heap.give_back()

    def _forget_oldest(self) -> None:
        self.recent_bytes -= len(self._recent.popitem(last=False)[1])
        self._aged = max(0, self._aged - 1)

    def sweep(self, mandates: Iterable[Opened]) -> None:
        """Let go of content that was on its way and is no head any more; blocks."""
        wanted = {
            incoming_name(version)
            for opened in mandates
            for file in opened.state.files.values()
            for version in file.heads
        }
        for name in self._contents.incoming.names():
            if name not in wanted:
                self._contents.incoming.drop(name)

    def placed(self, version: OpId) -> None:
        """A content that came in has its place."""
        self._drop(version)

    def _drop(self, version: OpId) -> None:
        for marks in (self._doubted, self._awaited, self._whole, self._spoilt):
            marks.discard(version)
        self._contents.incoming.drop(incoming_name(version))

    def asked(self, opened: Opened, wanted: FindChunks) -> bool:
        """Note that the engine asks for a version's content; tell whether a copy has it."""
        if wanted.lists or wanted.version in self._doubted or not self._in_copy(opened, wanted):
            self._awaited.add(wanted.version)
            return False
        return True

    def _in_copy(self, opened: Opened, wanted: FindChunks) -> bool:
        file = opened.state.files.get(wanted.file)
        version = None if file is None else file.versions.get(wanted.version)
        return version is not None and any(
            copy.digest == version.digest and not copy.missing
            for role in ROLES
            if (copy := opened.copies.get((wanted.file, role)))
        )

    def whole(self, version: OpId) -> None:
        """All of a content is here."""
        self._awaited.discard(version)
        self._whole.add(version)

    def lost(self, version: OpId) -> bool:
        """A content was not where it was to be: look at each piece of it the next time.

        Tells whether the engine believes that it is here.
        """
        if version in self._awaited:
            return False
        self._whole.discard(version)
        self._doubted.add(version)
        return True

    def check_here(self, version: OpId) -> None:
        """Raise ``ChunkMissing`` while a content is on its way, ``CryptoError`` when its author
        lied about it.
        """
        if version in self._spoilt:
            raise CryptoError(cause="a chunk holds something else")
        if version in self._awaited:
            raise ChunkMissing(address=version[0].hex())

    # -- where --------------------------------------------------------------------------------

    def where(self, opened: Opened, file: bytes, version: Version) -> Whereabouts:
        """All places where a version's content may be."""
        paths = [
            copy.path
            for role in ROLES
            if (copy := opened.copies.get((file, role))) and copy.digest == version.digest
        ]
        for name, digest in opened.conflicts.get(file, {}).items():
            if digest == version.digest:
                paths.append(opened.folder / name)
        paths.append(self._contents.kept.path(opened.id, version.digest))
        return Whereabouts(version, incoming_name(version.id), tuple(paths))

    def moving(self, where: Whereabouts) -> str | None:
        """The path of a whole content that came in and can be moved to its place; blocks."""
        if where.version.id not in self._whole:
            return None
        return self._contents.incoming.release(where.name)

    def kept_as(self, mandate: bytes, digest: bytes) -> "partial[None]":
        """How a file with that content is kept as an old version: called with its path."""
        return partial(self._keep, mandate, digest)

    def _keep(self, mandate: bytes, digest: bytes, path: str) -> None:
        self._contents.kept.take(path, mandate, digest)

    @property
    def kept(self) -> KeptVersions:
        """The contents of old versions."""
        return self._contents.kept

    def was_dropped(self, mandate: bytes, digest: bytes) -> bool:
        """Whether an old version was here, and the policy of retention let it go; blocks."""
        return self._contents.kept.was_dropped(mandate, digest)

    def rescue(self, opened: Opened, path: str, digest: bytes) -> None:
        """Keep what a crash left of a file that was replaced, if it is an old version; blocks.

        The power or the process can go after a new file took its name, and before the old one was
        moved to the old versions.
        """
        known = any(
            version.content is not None and version.digest == digest
            for file in opened.state.files.values()
            for version in file.versions.values()
        )
        if known and not self._contents.kept.has(opened.id, digest):
            self._contents.kept.take(path, opened.id, digest, synced=True)

    def _spots_of(self, opened: Opened) -> dict[bytes, _Spot]:
        """The pieces that the copies of a mandate's files hold, by address; blocks."""
        if opened.id not in self._stale:
            return self._spots.get(opened.id, {})
        self._stale.discard(opened.id)
        spots: dict[bytes, _Spot] = {}
        for (file_id, _), copy in list(opened.copies.items()):
            file = opened.state.files.get(file_id)
            if file is None or not copy.digest:
                continue
            for version in map(file.versions.get, copy.heads):
                if version is None or version.content is None or version.digest != copy.digest:
                    continue
                where = self.where(opened, file_id, version)
                try:
                    references = self.references(opened.id, version.content)
                except (ChunkMissing, CryptoError):
                    continue
                for number, (address, digest) in enumerate(split_references(references)):
                    spots[address] = _Spot(where, number, digest)
        self._spots[opened.id] = spots
        return spots

    # -- reading ------------------------------------------------------------------------------

    def references(self, mandate: bytes, content: Chunked) -> bytes:
        """The references of a content's own pieces, 64 bytes each; blocks.

        Raises ``ChunkMissing`` while a list of them is not here.
        """
        if not content.indirect:
            return content.references
        return self.listed(mandate, content.references)

    def listed(self, mandate: bytes, references: bytes) -> bytes:
        """What chunks that list references hold; blocks."""
        secrets = self._secrets(mandate)
        return b"".join(
            crypto.open_chunk_of(secrets, digest, self._contents.chunks.get(address))
            for address, digest in split_references(references)
        )

    def read(self, mandate: bytes, where: Whereabouts) -> Iterator[bytes]:
        """Yield a version's content; blocks. Raises ``ChunkMissing`` when a piece is not here."""
        assert where.version.content is not None
        references = self.references(mandate, where.version.content)
        with OpenFiles() as files:
            for number, (address, digest) in enumerate(split_references(references)):
                piece = self._piece(files, mandate, address, _Spot(where, number, digest))
                if piece is None:
                    raise ChunkMissing(address=address.hex())
                yield piece

    def keep(self, mandate: bytes, where: Whereabouts) -> None:
        """See that a version outlasts the files that hold it now; blocks."""
        kept = self._contents.kept
        digest = where.version.digest
        if not kept.has(mandate, digest):
            kept.write(mandate, digest, self.read(mandate, where))

    def keep_lists(self, lists: Sequence[tuple[bytes, bytes]]) -> None:
        """Make chunks that list references durable (address and bytes); blocks."""
        self._contents.chunks.put_many(lists)

    def _piece(self, files: OpenFiles, mandate: bytes, address: bytes, spot: _Spot) -> bytes | None:
        recent = self._recent.get(address)
        if recent is not None:
            return crypto.open_chunk_of(self._secrets(mandate), spot.digest, recent)
        piece = self._in_incoming(spot)
        return self._in_paths(files, spot) if piece is None else piece

    def _in_incoming(self, spot: _Spot) -> bytes | None:
        offset, length = spot.number * CHUNK_BYTES, spot.length
        piece = self._contents.incoming.piece(spot.where.name, offset, length)
        right = len(piece) == length and crypto.content_digest(piece) == spot.digest
        return piece if right else None

    def _in_paths(self, files: OpenFiles, spot: _Spot) -> bytes | None:
        offset, length = spot.number * CHUNK_BYTES, spot.length
        for path in spot.where.paths:
            piece = files.piece(path, offset, length)
            if len(piece) == length and crypto.content_digest(piece) == spot.digest:
                return piece
        return None

    # -- for the engine -------------------------------------------------------------------------

    async def find(self, opened: Opened, wanted: Sequence[FindChunks]) -> list[Known]:
        """Tell what of some versions is not here, or that there is no room for it.

        Pieces that other versions have are put where they belong. Raises storage errors.
        """
        open_questions: list[tuple[FindChunks, Whereabouts | None]] = []
        for each in wanted:
            file = opened.state.files.get(each.file)
            version = None if file is None else file.versions.get(each.version)
            if file is None or version is None:
                continue  # overtaken by a new fold, which asks again
            self._let_go(opened.id, file)
            if each.lists:
                open_questions.append((each, None))
            else:
                self._coming.setdefault((opened.id, each.file), set()).add(each.version)
                open_questions.append((each, self.where(opened, each.file, version)))
        if not open_questions:
            return []
        return await trio.to_thread.run_sync(self._find, opened, open_questions)

    def _let_go(self, mandate: bytes, file: FileState) -> None:
        """Drop what is on its way to a version that is no head any more."""
        coming = self._coming.get((mandate, file.id))
        if coming is not None:
            for version in [version for version in coming if version not in file.heads]:
                coming.discard(version)
                self._drop(version)

    def _find(
        self, opened: Opened, questions: Sequence[tuple[FindChunks, Whereabouts | None]]
    ) -> list[Known]:
        spots = self._spots_of(opened)
        chunks = self._contents.chunks
        known: list[Known] = []
        taken = 0
        with OpenFiles() as files:
            for each, where in questions:
                missing: dict[bytes, None] = {}
                outside: list[_Spot] = []
                for number, (address, digest) in enumerate(split_references(each.references)):
                    if address in missing:
                        continue
                    if where is None:
                        here = chunks.has(address)
                    else:
                        spot = _Spot(where, number, digest)
                        here = self._have(files, opened.id, address, spot, spots, outside)
                    if not here:
                        missing[address] = None
                if where is not None and (missing or self._contents.incoming.has(where.name)):
                    # What is moved into place once it is whole must have every piece.
                    for spot in outside:
                        piece = self._in_paths(files, spot)
                        if piece is not None:
                            self._put(spot, piece)
                if missing:
                    needed = each.size_bytes if where else len(missing) * CHUNK_BYTES
                    try:
                        chunks.check_room(taken + needed)
                    except DiskFull as error:
                        known.append((each, error))
                        continue
                    taken += needed
                known.append(ChunksKnown(opened.id, each.version, tuple(missing)))
        return known

    def _have(
        self,
        files: OpenFiles,
        mandate: bytes,
        address: bytes,
        spot: _Spot,
        spots: dict[bytes, _Spot],
        outside: list[_Spot],
    ) -> bool:
        """Tell whether a piece is here. It stands then among what comes in, or is added to
        ``outside``: it is where the whole content may be.
        """
        if self._in_incoming(spot) is not None:
            return True
        if self._in_paths(files, spot) is not None:
            outside.append(spot)
            return True
        recent = self._recent.get(address)
        elsewhere = spots.get(address)
        piece = None
        if recent is not None:
            piece = crypto.open_chunk_of(self._secrets(mandate), spot.digest, recent)
        elif elsewhere is not None and elsewhere.digest == spot.digest:
            piece = self._piece(files, mandate, address, elsewhere)
        if piece is None or len(piece) != spot.length:
            return False
        self._put(spot, piece)
        return True

    def _put(self, spot: _Spot, piece: bytes) -> None:
        where = spot.where
        self._contents.incoming.put(
            where.name, where.version.size_bytes, spot.number * CHUNK_BYTES, piece
        )

    def store_small(self, chunks: Sequence[StoreChunk]) -> bool:
        """Do ``store`` for what stays in memory, without blocking; false when it does not."""
        size = sum([len(chunk.data) for chunk in chunks])
        whole = all(chunk.places for chunk in chunks) and all(
            place.size_bytes <= CHUNK_BYTES for chunk in chunks for place in chunk.places
        )
        if not whole or size > STORED_AT_ONCE_BYTES or not self._contents.incoming.in_memory(size):
            return False
        self.store(chunks)
        return True

    def store(self, chunks: Sequence[StoreChunk]) -> None:
        """Put what came where it belongs; blocks. What lists references is durable then."""
        lists: list[tuple[bytes, bytes]] = []
        for chunk in chunks:
            if chunk.mandate not in self._replicas:
                continue
            secrets = self._secrets(chunk.mandate)
            if not chunk.places:
                lists.append((chunk.address, chunk.data))
            for place in chunk.places:
                offset = place.number * CHUNK_BYTES
                try:
                    piece = crypto.open_chunk_of(secrets, place.digest, chunk.data)
                except CryptoError:
                    piece = b""
                if len(piece) == min(CHUNK_BYTES, place.size_bytes - offset):
                    name = incoming_name(place.version)
                    self._contents.incoming.put(name, place.size_bytes, offset, piece)
                else:
                    self._spoilt.add(place.version)  # its author lied about it
        if lists:
            self._contents.chunks.put_many(lists)

    def recent_frames(self, send: SendChunks) -> list[bytes] | None:
        """The frames that carry a few pieces when all were just sealed; ``None`` else."""
        recent = [self._recent.get(address) for address in send.addresses[:SERVED_AT_ONCE]]
        if len(recent) < len(send.addresses) or None in recent:
            return None
        return [
            wire.chunk_frame(send.handle, address, data or b"")
            for address, data in zip(send.addresses, recent, strict=True)
        ]

    async def frames(self, opened: Opened, send: SendChunks) -> AsyncGenerator[bytes, None]:
        """Yield the frames that carry some pieces; the next are read while these are sent."""
        missing: list[bytes] = []
        recent = self.recent_frames(send)
        if recent is not None:
            for frame in recent:
                yield frame
            return
        starts = range(0, len(send.addresses), SERVED_AT_ONCE)
        groups = [send.addresses[start : start + SERVED_AT_ONCE] for start in starts]
        under_way: Future[list[bytes | None]] = self._pool.submit(self._sealed, opened, groups[0])
        for number, group in enumerate(groups):
            found = await trio.to_thread.run_sync(under_way.result)
            if number + 1 < len(groups):
                under_way = self._pool.submit(self._sealed, opened, groups[number + 1])
            for address, data in zip(group, found, strict=True):
                if data is None:
                    missing.append(address)
                else:
                    yield wire.chunk_frame(send.handle, address, data)
        if missing:
            yield wire.chunks_missing_frame(send.handle, missing)

    def _sealed(self, opened: Opened, addresses: Sequence[bytes]) -> list[bytes | None]:
        with OpenFiles() as files:
            return [self._seal(files, opened, address) for address in addresses]

    def _seal(self, files: OpenFiles, opened: Opened, address: bytes) -> bytes | None:
        recent = self._recent.get(address)
        if recent is not None:
            return recent
        spot = self._spots.get(opened.id, {}).get(address) or self._spots_of(opened).get(address)
        if spot is not None:
            piece = self._piece(files, opened.id, address, spot)
            if piece is not None:
                for secret in self._secrets(opened.id):
                    sealed = crypto.seal_chunk(secret, piece)[0]
                    if crypto.chunk_address(sealed) == address:
                        return sealed
        try:
            return self._contents.chunks.get(address)
        except ChunkMissing:
            return None


def split_references(references: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (address, plaintext digest), 32 bytes each."""
    for start in range(0, len(references), CHUNK_REFERENCE_BYTES):
        reference = references[start : start + CHUNK_REFERENCE_BYTES]
        yield reference[:32], reference[32:]
