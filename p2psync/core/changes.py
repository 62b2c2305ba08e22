"""What an entry changed in a mandate, for whoever tells people."""

from dataclasses import dataclass

from p2psync.core.ops import OpId


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A device became a member."""

    device: bytes


@dataclass(frozen=True, slots=True)
class MemberWaiting:
    """A device shows the secret of an invitation and waits for a member to admit it."""

    device: bytes
    invitation: bytes


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A device was removed (B-ID-3): what it writes from now on does not count."""

    device: bytes
    by: bytes
    """Who removed it."""


@dataclass(frozen=True, slots=True)
class MemberReadmitted:
    """The removal of a device was undone: it is what it was, and all that it wrote counts."""

    device: bytes


@dataclass(frozen=True, slots=True)
class FileAdded:
    """A file was attached."""

    file: bytes


@dataclass(frozen=True, slots=True)
class FileSaved:
    """A file has a new version."""

    file: bytes
    version: OpId


@dataclass(frozen=True, slots=True)
class FileDetached:
    """A file was detached, or was to be: it is still ``present`` when the detaching did not see
    all of its versions."""

    file: bytes
    detach: OpId
    device: bytes
    """Who did so."""


@dataclass(frozen=True, slots=True)
class FileReturned:
    """A detached file is attached again: its detaching was undone, or a version came that the
    detaching did not see."""

    file: bytes
    undone: bool
    device: bytes
    """Who undid it, or saved."""


@dataclass(frozen=True, slots=True)
class SaveHeld:
    """A device holds a save back until a person answers (B-HIS-3)."""

    file: bytes
    hold: OpId
    device: bytes


@dataclass(frozen=True, slots=True)
class HoldAnswered:
    """Somebody said what is to become of a save that is held back, or its device what became of
    it."""

    file: bytes
    hold: OpId
    device: bytes
    """Who said so."""


@dataclass(frozen=True, slots=True)
class FilePlaced:
    """A file has another name, folder or device."""

    file: bytes
    device: bytes
    """Who said so, and has the file now."""
    before: tuple[bytes, str, str] | None
    """The device, folder and name before; ``None`` while nobody attached it."""


@dataclass(frozen=True, slots=True)
class FileRegistered:
    """A program registered itself as the one that writes a file (B-VAL-1)."""

    file: bytes


@dataclass(frozen=True, slots=True)
class FileExpected:
    """How often a file promises to be saved changed."""

    file: bytes


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A device removed the mandate from its list, or undid that."""

    device: bytes
    returned: bool = False


@dataclass(frozen=True, slots=True)
class MandateClosed:
    """The mandate was closed for everyone, or that was undone (B-REM-5)."""

    device: bytes
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class MandateShared:
    """The mandate became a shared one (B-MAN-4)."""

    device: bytes


@dataclass(frozen=True, slots=True)
class SeatChanged:
    """The seat was claimed or handed over (B-POS-7)."""

    device: bytes
    """Who did so."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """Which programs' files are taken changed (B-VAL-1)."""


@dataclass(frozen=True, slots=True)
class RelayNamed:
    """A relay (its key) is to be used by all, at other addresses, or not any more (B-NET-2).

    ``known``: it was to be used before; ``used``: it is to be used now.
    """

    relay: bytes
    device: bytes
    """Who says so."""
    known: bool
    used: bool


@dataclass(frozen=True, slots=True)
class FilePosted:
    """A receipt was made, or retracted."""

    receipt: OpId
    device: bytes
    """Who did so."""
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class DoublePosted:
    """Receipts that took the same records while apart (B-POS-6)."""

    file: bytes
    receipts: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class MandateChanged:
    """Who is a member, or the description of a device, changed."""


@dataclass(frozen=True, slots=True)
class MandateRenamed:
    """The mandate has another name than before."""

    device: bytes
    """Who said so."""
    before: str


@dataclass(frozen=True, slots=True)
class NewerVersion:
    """An operation that this version does not know, and who wrote it."""

    device: bytes
    code: int


Change = (
    MemberJoined
    | MemberWaiting
    | MemberRemoved
    | MemberReadmitted
    | FileAdded
    | FileSaved
    | FileDetached
    | FileReturned
    | SaveHeld
    | HoldAnswered
    | FilePlaced
    | FileRegistered
    | FileExpected
    | FilePosted
    | DoublePosted
    | MandateChanged
    | MandateRenamed
    | MandateShared
    | MandateClosed
    | SeatChanged
    | PolicyChanged
    | RelayNamed
    | MemberLeft
    | NewerVersion
)
