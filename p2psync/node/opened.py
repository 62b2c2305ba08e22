"""A mandate that this node has open: its replica, its place on the disk, its work in progress."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2psync.core.files import FileState
from p2psync.core.mandate import Mandate
from p2psync.core.membership import MAY_WRITE
from p2psync.core.names import unique_names
from p2psync.core.ops import OpId
from p2psync.engine.replica import Replica
from p2psync.errors import MandateUnknown, P2PSyncError, StateReloaded
from p2psync.node.copies import Copies, Role
from p2psync.storage.rows import MandateRow


@dataclass(slots=True)
class Opened:
    """One mandate. ``lock`` is held while copies are read or written, and while it is folded
    anew.
    """

    replica: Replica
    row: MandateRow
    folder: Path
    copies: Copies = field(default_factory=Copies)
    lock: trio.Lock = field(default_factory=trio.Lock)
    live: bool = True
    """False once the disk failed: the memory may be ahead of the disk, another replica takes
    over.
    """
    subscribing: bool = False
    """Whether a command waits for the answer to this device's ticket."""
    jobs: dict[tuple[str, bytes, Role | None], None] = field(default_factory=dict)
    working: bool = False
    later: dict[tuple[str, bytes, Role | None], bool] = field(default_factory=dict)
    """Jobs that are tried again after a while; true for files in motion, soon at rest."""
    late: dict[bytes, None] = field(default_factory=dict)
    """Files that were attached here and get their copy in the mandate folder once others have
    them."""
    unwritten: dict[bytes, P2PSyncError] = field(default_factory=dict)
    """Files that could not be written here, and why."""
    unreadable: dict[tuple[bytes, Role], P2PSyncError] = field(default_factory=dict)
    """Copies that could not be read, and why."""
    conflicts: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    """Versions kept beside their file: their names there, and digests."""
    incomplete: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Files whose content is still on its way: bytes here, bytes in all."""
    delivered: dict[bytes, frozenset[OpId]] = field(default_factory=dict)
    """The heads of each file that the accounting was last known to have."""
    delivered_ms: dict[bytes, int] = field(default_factory=dict)
    """Since when it has them."""
    synced_ms: int = 0
    """When this device was in step with another one last; 0: not since the node started."""
    shelved: dict[bytes, str] | None = None
    """The names under which the copies in the mandate folder were last arranged."""
    seating: tuple[bytes | None, int] = field(init=False)
    """Who had the seat, and how often it was handed over, when people were last told."""
    _names: tuple[tuple[int, int], dict[bytes, str]] | None = None

    def __post_init__(self) -> None:
        self.seating = self.state.seating()

    def check_live(self) -> None:
        """Raise ``StateReloaded`` when another replica has taken over."""
        if not self.live:
            raise StateReloaded()

    def check_listed(self) -> None:
        """Raise ``MandateUnknown`` when the mandate was removed here while somebody waited, or
        ``StateReloaded``: nothing is written in it then.
        """
        self.check_live()
        if self.row.is_removed:
            raise MandateUnknown(mandate=self.name)

    @property
    def id(self) -> bytes:
        """The mandate's id, 32 bytes."""
        return self.replica.mandate

    @property
    def name(self) -> str:
        """The mandate's name; until its first entry came, the folder's, which is near to it."""
        return self.state.name or self.row.folder

    @property
    def by_ticket(self) -> bool:
        """Whether this device came by a ticket."""
        return self.row.by_ticket

    @property
    def refused(self) -> str:
        """The code with which a member refused this device's ticket; empty when none did."""
        return self.row.refused

    @property
    def closed(self) -> bool:
        """Whether the mandate was closed for everyone (B-REM-5)."""
        return bool(self.state.standing.closed)

    @property
    def frozen(self) -> bool:
        """Whether copies are neither taken up nor written: it is closed, or was removed here, or
        this device was removed from it."""
        return self.closed or self.row.is_removed or self.expelled

    @property
    def expelled(self) -> bool:
        """Whether entries say that this device was removed by others (B-ID-3)."""
        return self.replica.device in self.state.membership.removed

    @property
    def state(self) -> Mandate:
        """The fold."""
        return self.replica.state

    @property
    def shared(self) -> bool:
        """Whether others may subscribe, or this device did."""
        return self.by_ticket or self.state.shared

    @property
    def may_write(self) -> bool:
        """Whether this device's role lets it change files."""
        return self.state.membership.role(self.replica.device) in MAY_WRITE

    def names(self) -> dict[bytes, str]:
        """The name that each attached file is shown and written under; not to be changed."""
        mark = (id(self.state), self.state.arrangement)
        if self._names is None or self._names[0] != mark:
            files = [(file.id, file.info.name) for file in self.state.present_files()]
            self._names = (mark, unique_names(files))
        return self._names[1]

    def listed(self, files: Iterable[FileState] | None = None) -> list[FileState]:
        """Attached files, or these, in the order that people find them in: by name, then id."""
        names = self.names()
        return sorted(
            self.state.present_files() if files is None else files,
            key=lambda file: (names.get(file.id, file.info.name).casefold(), file.id),
        )

    def ours(self) -> list[tuple[str, bytes]]:
        """What this node wrote into the mandate folder: names and digests."""
        copies = [copy for (_, role), copy in self.copies.items() if role == "folder"]
        beside = [item for names in self.conflicts.values() for item in names.items()]
        return [*((copy.name, copy.digest) for copy in copies if copy.digest), *beside]

    def file_named(self, name: str) -> FileState | None:
        """The attached file shown under a name."""
        for file_id, shown in self.names().items():
            if shown == name:
                return self.state.files[file_id]
        return None


def bundles_key(mandate: bytes) -> str:
    """With what the settings begin that say what members had by their last bundles."""
    return f"bundle:{mandate.hex()}:"


def later_key(opened: Opened) -> str:
    """The setting that says what a subscription is to attach once this device is let in."""
    return f"attach-later:{opened.id.hex()}"
