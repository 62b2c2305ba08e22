"""What the engine is told (events) and what it wants done (effects).

Effects are run in list order. A ``Send…`` never goes before the ``Persist`` that it depends on
(architecture.md: "persist, then send"). Links are numbered by whoever runs the effects.
"""

from dataclasses import dataclass
from typing import Literal

from p2psync.core.changes import Change
from p2psync.core.files import Touch
from p2psync.core.ops import OpId
from p2psync.errors import P2PSyncError

# -- events -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Courier:
    """A bundle on its way in, and what has come of it so far (see ``engine.courier``).

    ``entries``: how many were new; ``lacking``: logs of which the writer has more than is here now.
    ``refusal``: why the newcomer that wrote it is not admitted; ``mistake``: what no honest writer
    writes.
    """

    mandate: bytes
    entries: int = 0
    lacking: int = 0
    admitted: bool = False
    refusal: P2PSyncError | None = None
    mistake: str = ""
    heard: bool = False
    """All entries came; content is asked for from then on."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link to a device is there; its key was proven by the handshake."""

    link: int
    device: bytes
    outbound: bool
    address: str
    courier: "Courier | None" = None
    """Set when no device is at the other end, but a bundle that it wrote."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A link has ended; ``clean`` when the peer ended it on purpose."""

    link: int
    clean: bool


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A frame came over a link."""

    link: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class DialFailed:
    """No address of a device answered; ``cause`` is a text for people."""

    device: bytes
    cause: str


@dataclass(frozen=True, slots=True)
class Sighted:
    """Discovery, a ticket or a member says where a device may be dialled.

    ``mandates`` are those that the device showed to hold the key of, when that is known.
    """

    device: bytes
    addresses: tuple[str, ...]
    mandates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunksKnown:
    """The answer to ``FindChunks``: the addresses of these that are not here."""

    mandate: bytes
    version: OpId
    missing: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ContentLost:
    """A version whose content was here is not whole any more: it is to be fetched again."""

    mandate: bytes
    file: bytes
    version: OpId


@dataclass(frozen=True, slots=True)
class ReferencesLoaded:
    """The answer to ``LoadReferences``: the 64-byte references that the given chunks list."""

    mandate: bytes
    version: OpId
    references: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; nothing else happened."""


Event = (
    LinkUp
    | LinkDown
    | FrameReceived
    | DialFailed
    | Sighted
    | ChunksKnown
    | ContentLost
    | ReferencesLoaded
    | Tick
)

# -- effects ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as the log store keeps it: mandate, id, log and prev have 32 bytes each."""

    mandate: bytes
    id: bytes
    log: bytes
    seq: int
    prev: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Derived:
    """What the fold makes of entries, to be kept in the same transaction.

    ``stamps`` are the effective times of entries (32 bytes) that were folded; ``things`` are names
    and values of ``core.kept`` and of the replica, ``None`` for what is gone; ``check`` (64 bits)
    is the sum over all things that are kept then. ``whole``: what was kept before does not count.
    """

    version: int
    stamps: tuple[tuple[bytes, int], ...]
    touches: tuple[Touch, ...]
    things: tuple[tuple[bytes, bytes | None], ...]
    check: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Persist:
    """Make entries durable before any later effect runs."""

    entries: tuple[StoredEntry, ...]
    mandate: bytes = b""
    derived: Derived | None = None


@dataclass(frozen=True, slots=True)
class Refold:
    """Read all persisted entries of a mandate and give them to ``Replica.refold``."""

    mandate: bytes


@dataclass(frozen=True, slots=True)
class KeepLogKey:
    """Make the secret seed (32 bytes) of a new log of this device durable, before its entries."""

    mandate: bytes
    log: bytes
    seed: bytes
    incarnation: int


@dataclass(frozen=True, slots=True)
class KeepEpochKey:
    """Make the key of an epoch (32 bytes) durable, before what only it opens."""

    mandate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class KeepAddresses:
    """Keep devices' signed addresses over a restart, each in place of the one before.

    Pairs of device (32 bytes) and record; nothing depends on their being durable.
    """

    records: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class CloseLog:
    """Note durably that this device writes no more to one of its logs."""

    mandate: bytes
    log: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk belongs in a version's content: the ``number``-th piece of so many bytes.

    ``digest`` is that of the piece's plaintext.
    """

    file: bytes
    version: OpId
    size_bytes: int
    number: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class StoreChunk:
    """Keep a sealed chunk that fits its address.

    With ``places`` it is put there, and need not outlast a crash; without, it lists references and
    is made durable.
    """

    mandate: bytes
    address: bytes
    data: bytes
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class FindChunks:
    """Ask which chunks of a version are not here; answered by ``ChunksKnown``.

    ``references`` are 64 bytes each; ``lists`` when they name chunks that list the content's.
    """

    mandate: bytes
    file: bytes
    version: OpId
    size_bytes: int
    references: bytes
    lists: bool


@dataclass(frozen=True, slots=True)
class LoadReferences:
    """Open chunks that list references (in order); answered by ``ReferencesLoaded``."""

    mandate: bytes
    version: OpId
    references: bytes


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send one frame."""

    link: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class SendEntries:
    """Read entries from the log store and send them, in order, in frames of bounded size."""

    link: int
    handle: int
    mandate: bytes
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendOpening:
    """Read the first entries of this device's log and send them, to be admitted: one frame."""

    link: int
    handle: int
    mandate: bytes
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendChunks:
    """Seal chunks anew from the files that hold them and send them; say which are missing."""

    link: int
    handle: int
    mandate: bytes
    addresses: tuple[bytes, ...]
    ahead: bool = False
    """Whether they go before the entry that names them; others let entries pass."""


@dataclass(frozen=True, slots=True)
class CloseLink:
    """End a link; ``error`` says what the peer did wrong, empty for a clean end."""

    link: int
    error: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to reach a device; answered by ``LinkUp`` or ``DialFailed``."""

    device: bytes
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """The mandate's fold changed: write files, tell people."""

    mandate: bytes
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class ContentReady:
    """All chunks of a version are here: its file can be written."""

    mandate: bytes
    file: bytes
    version: OpId


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the content of a version has come."""

    mandate: bytes
    file: bytes
    version: OpId
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class PeerChanged:
    """A member came on line, went off line, or is in step now."""

    mandate: bytes
    device: bytes
    state: Literal["online", "offline", "synced"]


@dataclass(frozen=True, slots=True)
class Refused:
    """A member refused this device's ticket; ``code`` is the code of a ``TicketError``."""

    mandate: bytes
    device: bytes
    code: str


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A member says that this device was removed (B-ID-3).

    ``by`` removed it, as a signed entry shows; ``None`` when nobody here can tell. ``hlc`` is when.
    """

    mandate: bytes
    device: bytes
    """Who says so."""
    by: bytes | None = None
    hlc: int = 0


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that a person should hear of: a stable code and what it is about."""

    mandate: bytes | None
    code: str
    device: bytes | None = None
    detail: str = ""


Effect = (
    Persist
    | Refold
    | KeepLogKey
    | KeepEpochKey
    | KeepAddresses
    | CloseLog
    | StoreChunk
    | FindChunks
    | LoadReferences
    | SendFrame
    | SendEntries
    | SendOpening
    | SendChunks
    | CloseLink
    | Dial
    | Changed
    | ContentReady
    | Progress
    | PeerChanged
    | Refused
    | Dismissed
    | Warn
)
