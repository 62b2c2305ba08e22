"""What the database keeps besides entries, as values, and how their compound fields are stored."""

from dataclasses import dataclass
from typing import Literal

from p2psync.core import codec
from p2psync.core.ops import OpId
from p2psync.storage.file_state import FileStat

Role = Literal["attached", "folder"]
Severity = Literal["message", "alert"]
Heads = tuple[OpId, ...]
REMOVED = "removed"
"""The word of ``MandateRow.state`` for a mandate that left this device's list."""
Position = tuple[bytes, bytes, int, bytes]
"""An entry in the index of a mandate: id, log, seq, prev; 32 bytes each, no prev at seq 0."""

_FIELD_BYTES_MAX = 1 << 20
_WRAP = 1 << 64


@dataclass(frozen=True, slots=True, repr=False)
class MandateRow:
    """One mandate of this user session, with the secrets that it takes to read and to join it.

    ``id`` and each of ``epoch_keys`` (the last is the current one) have 32 bytes. ``genesis`` is
    the id of the mandate's first entry as the ticket names it; ``admission_seed``, ``ticket_role``
    and ``ticket_expires_ms`` come from the ticket too. ``folder`` is the mandate folder's name.
    ``state`` is ``active``, ``waiting``, ``refused:CODE``, ``removed:`` with what the node notes
    of that, or another word of the node's.
    """

    id: bytes
    epoch_keys: tuple[bytes, ...]
    folder: str
    created_ms: int
    genesis: bytes | None = None
    by_ticket: bool = False
    admission_seed: bytes | None = None
    ticket_role: str | None = None
    ticket_expires_ms: int | None = None
    state: str = "active"

    @property
    def refused(self) -> str:
        """The code with which the ticket was refused; empty when it was not."""
        word, _, code = self.state.partition(":")
        return code if word == "refused" else ""

    @property
    def is_removed(self) -> bool:
        """Whether the mandate left this device's list."""
        return self.state.partition(":")[0] == REMOVED


@dataclass(frozen=True, slots=True, repr=False)
class OwnLogRow:
    """A log that this device opened: its public key and secret seed, 32 bytes each."""

    mandate: bytes
    log: bytes
    seed: bytes
    incarnation: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class CopyRow:
    """A file on this machine that stands for one file (16 bytes) of a mandate.

    ``heads`` are the versions that were last written there or taken from there, with the content's
    ``digest`` (32 bytes, or none before the first). ``stat`` is what the file was like then, when
    any later change must show in it; ``seen`` is what it was like when it was last looked at.
    ``writing`` names the heads and the digest of what is about to be written there. ``held`` is
    whatever the node notes of a save that waits for a person's word.
    """

    mandate: bytes
    file: bytes
    role: Role
    directory: str
    name: str
    heads: Heads = ()
    digest: bytes = b""
    stat: FileStat | None = None
    writing: tuple[Heads, bytes] | None = None
    held: bytes = b""
    seen: FileStat | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to keep: JSON text. An alert stays open until it is closed.

    With a ``key``, an alert of a mandate is not added while one with the same key is open. A
    ``lasting`` one holds until its cause is gone: nor is it added after a person closed it.
    """

    mandate: bytes | None
    severity: Severity
    json: str
    key: str | None = None
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class EventRow:
    """A kept event; ids rise by one. ``open`` holds for alerts that nobody closed.

    ``closed_by`` is ``person`` or ``cause``; ``closed_ms`` milliseconds since 1970.
    """

    id: int
    mandate: bytes | None
    severity: Severity
    json: str
    open: bool
    key: str | None = None
    closed_ms: int | None = None
    closed_by: str | None = None


@dataclass(frozen=True, slots=True)
class HookRow:
    """A hook: what it is and how far it has come, both JSON text; ``done`` is the last event that
    it need not be told any more.
    """

    id: int
    json: str
    done: int
    progress: str


# -- compound fields: canonical arrays, as on the wire ------------------------------------------


def dump_heads(heads: Heads) -> bytes:
    """Return versions as one field."""
    return codec.pack(heads)


def load_heads(data: bytes) -> Heads:
    """Read what ``dump_heads`` made; raises ``CodecError``."""
    heads: Heads = codec.unpack(data, _FIELD_BYTES_MAX)
    return heads


def dump_stat(stat: FileStat | None) -> bytes | None:
    """Return a stat as one field; inodes and devices may use all 64 bits."""
    if stat is None:
        return None
    return codec.pack(
        (stat.size_bytes, stat.mtime_ns, stat.ctime_ns, _signed(stat.inode), _signed(stat.device))
    )


def load_stat(data: bytes | None) -> FileStat | None:
    """Read what ``dump_stat`` made; raises ``CodecError``."""
    if data is None:
        return None
    size_bytes, mtime_ns, ctime_ns, inode, device = codec.unpack(data, _FIELD_BYTES_MAX)
    return FileStat(size_bytes, mtime_ns, ctime_ns, inode % _WRAP, device % _WRAP)


def dump_writing(writing: tuple[Heads, bytes] | None) -> bytes | None:
    """Return heads and digest as one field."""
    return None if writing is None else codec.pack(writing)


def load_writing(data: bytes | None) -> tuple[Heads, bytes] | None:
    """Read what ``dump_writing`` made; raises ``CodecError``."""
    if data is None:
        return None
    heads, digest = codec.unpack(data, _FIELD_BYTES_MAX)
    return heads, digest


def _signed(number: int) -> int:
    return number - _WRAP if number >= _WRAP // 2 else number
