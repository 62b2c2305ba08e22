"""Fetching the content of files: which chunks are missing, who is asked, when all is here.

A version's references are known first; whoever keeps contents then says which chunks are not here,
and these are asked of every connected peer that may have them, a bounded number at a time. A chunk
is checked against its address and put where it belongs. Large files list their references in
chunks of their own, which are fetched before.
Specification: docs/spec/wire.md.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from p2psync.core import crypto
from p2psync.core.files import Version
from p2psync.core.ops import CHUNK_REFERENCE_BYTES, OpId
from p2psync.engine import wire
from p2psync.engine.desk import Desk
from p2psync.engine.effects import (
    ContentReady,
    FindChunks,
    LoadReferences,
    Place,
    Progress,
    StoreChunk,
    Warn,
)
from p2psync.errors import WireError
from p2psync.limits import (
    CHUNK_BYTES,
    CHUNK_SECONDS_MAX,
    CHUNKS_UNREQUESTED_MAX,
    CHUNKS_WANTED_MAX,
    FILE_CHUNKS_MAX,
    LISTED_CHUNKS_MAX,
)

REFERENCES_PER_CHUNK = CHUNK_BYTES // CHUNK_REFERENCE_BYTES
REFILL = CHUNKS_WANTED_MAX // 2
"""More chunks are asked for when no more than this are still to come."""
AVOID_SECONDS = 5
"""How long a peer that has none of what was asked for is not asked for the same file."""
PROGRESS_CHUNKS = 16

FetchKey = tuple[bytes, OpId]
"""A mandate and a version."""


@dataclass(slots=True)
class Fetch:
    """One version's content on its way."""

    mandate: bytes
    file: bytes
    version: OpId
    size_bytes: int
    references: bytes
    stage: Literal["lists", "content"]
    """Whether ``references`` are those of chunks that list references, or of the content."""
    device: bytes
    """Who saved it."""
    listed: int = 0
    """How many chunks it takes up of those that are listed at a time."""
    found: bool = False
    """Whether it is known what is not here."""
    counted: bool = False
    """Whether peers are told that this is still being fetched."""
    missing: dict[bytes, list[int]] = field(default_factory=dict)
    """Addresses that are not here, and at which places of the content they belong."""
    queue: deque[bytes] = field(default_factory=deque)
    """Those of ``missing`` that nobody is being asked for; may name some that came since."""
    reported_chunks: int = 0

    @property
    def key(self) -> FetchKey:
        """What it is known by."""
        return self.mandate, self.version

    def places(self, numbers: Iterable[int]) -> tuple[Place, ...]:
        """Where a chunk of the content with these numbers belongs; nowhere for a list."""
        if self.stage == "lists":
            return ()
        return tuple(
            Place(self.file, self.version, self.size_bytes, number, self._digest(number))
            for number in numbers
        )

    def _digest(self, number: int) -> bytes:
        end = (number + 1) * CHUNK_REFERENCE_BYTES
        return self.references[end - 32 : end]


@dataclass(slots=True)
class Source:
    """A link that chunks may come over."""

    device: bytes = b""
    """Who is at its other end; known from the first ``open`` on."""
    handles: dict[bytes, int] = field(default_factory=dict)
    """The handle of each mandate whose chunks the peer gives."""
    asked: dict[bytes, bytes] = field(default_factory=dict)
    """Addresses asked for, and for which mandate."""
    avoid: dict[FetchKey, None] = field(default_factory=dict)
    early: dict[bytes, bytes] = field(default_factory=dict)
    """Chunks that came before the entry that names them."""


@dataclass(slots=True)
class Transfer:
    """All transfers of this device; ``me`` is its key."""

    me: bytes
    desk: Desk
    _fetches: dict[FetchKey, Fetch] = field(default_factory=dict)
    _wanted: dict[bytes, dict[FetchKey, None]] = field(default_factory=dict)
    _sources: dict[int, Source] = field(default_factory=dict)
    _queued: dict[bytes, dict[FetchKey, None]] = field(default_factory=dict)
    """By mandate, the fetches whose queue is not empty, in the order in which they are served."""
    _ready: set[FetchKey] = field(default_factory=set)
    _listed: Counter[bytes] = field(default_factory=Counter)
    """By device, how many chunks its versions' lists name that are read now."""
    _unlisted: dict[bytes, deque[FetchKey]] = field(default_factory=dict)
    """By device, versions whose lists are here and wait to be read."""
    _by_file: dict[tuple[bytes, bytes], dict[FetchKey, None]] = field(default_factory=dict)
    _lacking: Counter[bytes] = field(default_factory=Counter)
    _touched: dict[bytes, None] = field(default_factory=dict)

    # -- what is wanted -------------------------------------------------------------------------

    def lacking(self, mandate: bytes) -> int:
        """How many versions of a mandate are not whole yet, or not known to be."""
        return self._lacking[mandate]

    def unfetched(self, mandate: bytes) -> frozenset[bytes]:
        """The files of a mandate of whose content something has not come."""
        return frozenset(each.file for key, each in self._fetches.items() if key[0] == mandate)

    def touched(self) -> list[bytes]:
        """The mandates for which ``lacking`` changed since this was last asked."""
        touched, self._touched = list(self._touched), {}
        return touched

    def want(self, mandate: bytes, file: bytes, heads: Iterable[Version]) -> None:
        """Fetch the content of a file's heads; stop fetching what is no head any more."""
        current: set[FetchKey] = set()
        for version in heads:
            key = (mandate, version.id)
            current.add(key)
            if version.content is not None and key not in self._fetches and key not in self._ready:
                self._start(mandate, file, version)
        for key in list(self._by_file.get((mandate, file), ())):
            if key not in current:
                self._drop(self._fetches[key])

    def forget(self, mandate: bytes) -> None:
        """Stop everything for a mandate that is removed here."""
        for fetch in list(self._fetches.values()):
            if fetch.mandate == mandate:
                self._drop(fetch)
        self._ready = {key for key in self._ready if key[0] != mandate}

    def _start(self, mandate: bytes, file: bytes, version: Version) -> None:
        content = version.content
        assert content is not None
        chunks = chunk_count(version.size_bytes)
        lists = -(-chunks // REFERENCES_PER_CHUNK)
        expected = lists if content.indirect else chunks
        if len(content.references) != expected * CHUNK_REFERENCE_BYTES or chunks > FILE_CHUNKS_MAX:
            self._invalid(mandate, version)
            return
        fetch = Fetch(
            mandate,
            file,
            version.id,
            version.size_bytes,
            content.references,
            "lists" if content.indirect else "content",
            version.device,
        )
        if not content.indirect and self._came_along(fetch):
            return
        self._fetches[fetch.key] = fetch
        self._by_file.setdefault((mandate, file), {})[fetch.key] = None
        if version.device != self.me:  # what we saved is in our chunk store, until it says no
            self._count(fetch)
        self._find(fetch)

    def _came_along(self, fetch: Fetch) -> bool:
        """Finish at once when the peer sent the content ahead of the entry."""
        if len(fetch.references) > CHUNKS_UNREQUESTED_MAX * CHUNK_REFERENCE_BYTES:
            return False
        needed = _numbered(addresses_of(fetch.references))
        sources = self._sources.values()
        holders = [next((s for s in sources if each in s.early), None) for each in needed]
        if None in holders:
            return False
        for (address, numbers), holder in zip(needed.items(), holders, strict=True):
            if holder is not None:
                data = holder.early.pop(address)
                self.desk.out.append(
                    StoreChunk(fetch.mandate, address, data, fetch.places(numbers))
                )
        self._ready.add(fetch.key)
        self.desk.out.append(ContentReady(fetch.mandate, fetch.file, fetch.version))
        return True

    def _count(self, fetch: Fetch) -> None:
        fetch.counted = True
        self._lacking[fetch.mandate] += 1
        self._touched[fetch.mandate] = None

    def _invalid(self, mandate: bytes, version: Version) -> None:
        """The author's references do not fit the size: nobody can have such content."""
        self._ready.add((mandate, version.id))
        self.desk.out.append(
            Warn(mandate, "content-invalid", version.device, version.name),
        )

    def _find(self, fetch: Fetch) -> None:
        fetch.found = False
        fetch.reported_chunks = 0
        self.desk.out.append(
            FindChunks(
                fetch.mandate,
                fetch.file,
                fetch.version,
                fetch.size_bytes,
                fetch.references,
                fetch.stage == "lists",
            )
        )

    def on_known(self, mandate: bytes, version: OpId, missing: Sequence[bytes]) -> None:
        """Take the answer to ``FindChunks``."""
        fetch = self._fetches.get((mandate, version))
        if fetch is None or fetch.found:
            return
        fetch.found = True
        if missing and not fetch.counted:
            self._count(fetch)
        numbered = _numbered(addresses_of(fetch.references))
        fetch.missing = {address: numbered[address] for address in missing}
        fetch.queue = deque(fetch.missing)
        if fetch.queue:
            self._enqueue(fetch.key)
        for address in fetch.missing:
            self._wanted.setdefault(address, {})[fetch.key] = None
        early = False
        for source in self._sources.values():
            for address in [address for address in source.early if address in fetch.missing]:
                early = True
                self._store(address, source.early.pop(address))
        if not early:
            self._advance(fetch)
        self.pump()

    def on_lost(self, mandate: bytes, file: bytes, version: OpId) -> None:
        """What was whole is so no more; ``want`` then fetches it again."""
        self._ready.discard((mandate, version))

    def on_references(self, mandate: bytes, version: OpId, references: bytes) -> None:
        """Take the references that a version's list chunks hold."""
        fetch = self._fetches.get((mandate, version))
        if fetch is None or fetch.stage != "lists":
            return
        if len(references) != chunk_count(fetch.size_bytes) * CHUNK_REFERENCE_BYTES:
            self._drop(fetch)
            self._ready.add(fetch.key)
            self.desk.out.append(Warn(mandate, "content-invalid", None, version[0].hex()[:16]))
            return
        fetch.stage, fetch.references = "content", references
        self._find(fetch)

    def _advance(self, fetch: Fetch) -> None:
        """Go on when nothing is missing any more."""
        if fetch.key not in self._fetches or not fetch.found:
            return
        if fetch.missing:
            self._report(fetch)
        elif fetch.stage == "lists":
            self._unlisted.setdefault(fetch.device, deque()).append(fetch.key)
            self._list_more(fetch.device)
        else:
            self._drop(fetch)
            self._ready.add(fetch.key)
            self.desk.out.append(ContentReady(fetch.mandate, fetch.file, fetch.version))

    def _list_more(self, device: bytes) -> None:
        """Read lists of a device's versions while there is room: each chunk that they name takes
        memory, whether anybody has it or not, and few bytes can stand for very many."""
        waiting = self._unlisted.get(device)
        while waiting:
            fetch = self._fetches.get(waiting[0])
            chunks = 0 if fetch is None else chunk_count(fetch.size_bytes)
            if self._listed[device] and self._listed[device] + chunks > LISTED_CHUNKS_MAX:
                return
            waiting.popleft()
            if fetch is not None and fetch.stage == "lists" and not fetch.listed:
                fetch.listed = chunks
                self._listed[device] += chunks
                load = LoadReferences(fetch.mandate, fetch.version, fetch.references)
                self.desk.out.append(load)
        self._unlisted.pop(device, None)

    def _report(self, fetch: Fetch) -> None:
        if fetch.stage == "lists":
            return
        total = chunk_count(fetch.size_bytes)
        done = total - len(fetch.missing)
        if done - fetch.reported_chunks >= max(PROGRESS_CHUNKS, total // 100):
            fetch.reported_chunks = done
            self.desk.out.append(
                Progress(
                    fetch.mandate,
                    fetch.file,
                    fetch.version,
                    min(done * CHUNK_BYTES, fetch.size_bytes),
                    fetch.size_bytes,
                )
            )

    def _drop(self, fetch: Fetch) -> None:
        del self._fetches[fetch.key]
        if fetch.listed:
            self._listed[fetch.device] -= fetch.listed
            self._list_more(fetch.device)
        self._dequeue(fetch.key)
        siblings = self._by_file[(fetch.mandate, fetch.file)]
        del siblings[fetch.key]
        if not siblings:
            del self._by_file[(fetch.mandate, fetch.file)]
        if fetch.counted:
            self._lacking[fetch.mandate] -= 1
            self._touched[fetch.mandate] = None
        for address in fetch.missing:
            wanting = self._wanted[address]
            del wanting[fetch.key]
            if not wanting:
                del self._wanted[address]
        for link, source in self._sources.items():
            if source.avoid.pop(fetch.key, 0) is None:
                self.desk.timers.cancel(("avoid", link, fetch.mandate, *fetch.version))

    # -- who gives ------------------------------------------------------------------------------

    def open(self, link: int, device: bytes, handle: int, mandate: bytes) -> None:
        """A peer may be asked for a mandate's chunks."""
        source = self._sources.setdefault(link, Source())
        source.device = device
        source.handles[mandate] = handle
        self.pump()

    def exhausted(self, link: int, mandate: bytes) -> bool:
        """Tell whether a peer has given all that it has of what is wanted of a mandate now."""
        source = self._sources.get(link)
        return (source is None or not source.asked) and all(
            fetch.found and fetch.missing and (source is None or fetch.key in source.avoid)
            for fetch in self._fetches.values()
            if fetch.mandate == mandate
        )

    def close(self, link: int, mandate: bytes) -> None:
        """A peer gives a mandate's chunks no more."""
        source = self._sources.get(link)
        if source is None:
            return
        source.handles.pop(mandate, None)
        lost = [address for address, asked_for in source.asked.items() if asked_for == mandate]
        self._give_back(source, lost)
        if not source.asked:
            self.desk.timers.cancel(("chunks", link))
        self.pump()

    def drop(self, link: int) -> None:
        """A link is gone."""
        source = self._sources.pop(link, None)
        if source is None:
            return
        self.desk.timers.cancel(("chunks", link))
        for mandate, version in source.avoid:
            self.desk.timers.cancel(("avoid", link, mandate, *version))
        self._give_back(source, list(source.asked))
        self.pump()

    def _give_back(self, source: Source, addresses: Iterable[bytes]) -> None:
        """Put addresses that did not come to the end of the queues."""
        for address in addresses:
            source.asked.pop(address, None)
            for key in self._wanted.get(address, {}):
                self._fetches[key].queue.append(address)
                self._enqueue(key)

    def pump(self) -> None:
        """Ask every peer for as many chunks as are allowed at a time."""
        if not self._queued:
            return
        for link, source in self._with_room():
            for mandate in list(self._queued):
                if len(source.asked) >= CHUNKS_WANTED_MAX:
                    break
                handle = source.handles.get(mandate)
                if handle is not None and (wanted := self._assign(source, mandate)):
                    self.desk.send(link, wire.ChunkWant(handle, tuple(wanted)))
                    self.desk.after(("chunks", link), CHUNK_SECONDS_MAX)

    def _with_room(self) -> list[tuple[int, Source]]:
        """The links to ask, first those to who saved what is next: others may not have it yet, and
        one that stands still would keep us waiting until its link is cut."""
        found = [each for each in self._sources.items() if len(each[1].asked) <= REFILL]
        if len(found) > 1:
            savers = {self._fetches[next(iter(keys))].device for keys in self._queued.values()}
            found.sort(key=lambda each: each[1].device not in savers)
        return found

    def _assign(self, source: Source, mandate: bytes) -> list[bytes]:
        """Take addresses off the queues of a mandate to ask a peer for them."""
        wanted: list[bytes] = []
        emptied: list[FetchKey] = []
        for key in self._queued.get(mandate, ()):
            if len(source.asked) >= CHUNKS_WANTED_MAX:
                break
            if key in source.avoid:
                continue
            fetch = self._fetches[key]
            while fetch.queue and len(source.asked) < CHUNKS_WANTED_MAX:
                address = fetch.queue.popleft()
                asked = any(address in other.asked for other in self._sources.values())
                if address in fetch.missing and not asked:
                    source.asked[address] = mandate
                    wanted.append(address)
            if not fetch.queue:
                emptied.append(key)
        for key in emptied:
            self._dequeue(key)
        return wanted

    def _enqueue(self, key: FetchKey) -> None:
        self._queued.setdefault(key[0], {})[key] = None

    def _dequeue(self, key: FetchKey) -> None:
        queued = self._queued.get(key[0], {})
        queued.pop(key, None)
        if not queued:
            self._queued.pop(key[0], None)

    # -- what comes -----------------------------------------------------------------------------

    def on_chunk(self, link: int, address: bytes, data: bytes) -> None:
        """Take a chunk; raises ``WireError`` when it is not what its address says."""
        if crypto.chunk_address(data) != address:
            raise WireError(cause="a chunk that does not fit its address")
        source = self._sources.setdefault(link, Source())
        if source.asked.pop(address, None) is not None:
            if source.asked:
                self.desk.after(("chunks", link), CHUNK_SECONDS_MAX)
            else:
                self.desk.timers.cancel(("chunks", link))
        if address in self._wanted:
            self._store(address, data)
            self.pump()
        else:
            source.early.pop(address, None)
            source.early[address] = data
            if len(source.early) > CHUNKS_UNREQUESTED_MAX:
                del source.early[next(iter(source.early))]

    def _store(self, address: bytes, data: bytes) -> None:
        fetches = [self._fetches[key] for key in self._wanted.pop(address)]
        for fetch in fetches:
            places = fetch.places(fetch.missing.pop(address))
            self.desk.out.append(StoreChunk(fetch.mandate, address, data, places))
        for fetch in fetches:
            self._advance(fetch)

    def on_missing(self, link: int, addresses: Sequence[bytes]) -> None:
        """A peer does not have chunks: ask others, and for a while not this one."""
        source = self._sources.get(link)
        if source is None:
            return
        lost = [address for address in addresses if address in source.asked]
        self._shun(link, source, lost)
        if not source.asked:
            self.desk.timers.cancel(("chunks", link))
        self.pump()

    def chunks_due(self, link: int) -> None:
        """A peer sent none of the chunks that it was asked for: ask others."""
        source = self._sources.get(link)
        if source is not None:
            self._shun(link, source, list(source.asked))
            self.pump()

    def _shun(self, link: int, source: Source, addresses: Sequence[bytes]) -> None:
        for address in addresses:
            for key in self._wanted.get(address, {}):
                source.avoid[key] = None
                self.desk.after(("avoid", link, key[0], *key[1]), AVOID_SECONDS)
        self._give_back(source, addresses)

    def avoid_due(self, link: int, key: FetchKey) -> None:
        """A peer may be asked again."""
        source = self._sources.get(link)
        if source is not None:
            source.avoid.pop(key, None)
            self.pump()

    def complete(self, link: int, mandate: bytes) -> None:
        """A peer says that it has all of a mandate's content now."""
        source = self._sources.get(link)
        if source is not None:
            for key in [key for key in source.avoid if key[0] == mandate]:
                del source.avoid[key]
                self.desk.timers.cancel(("avoid", link, key[0], *key[1]))
            self.pump()


def chunk_count(size_bytes: int) -> int:
    """How many chunks a file of that size has."""
    return -(-size_bytes // CHUNK_BYTES)


def _numbered(addresses: Iterable[bytes]) -> dict[bytes, list[int]]:
    """Each address with its places in the sequence."""
    numbers: dict[bytes, list[int]] = {}
    for number, address in enumerate(addresses):
        numbers.setdefault(address, []).append(number)
    return numbers


def addresses_of(references: bytes) -> list[bytes]:
    """The addresses in a string of 64-byte references."""
    step = CHUNK_REFERENCE_BYTES
    return [references[start : start + 32] for start in range(0, len(references), step)]
