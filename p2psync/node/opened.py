"""A mandate that this node has open: its replica, its place on the disk, its work in progress."""

from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2psync.core.files import FileState
from p2psync.core.mandate import Mandate
from p2psync.core.names import unique_names
from p2psync.engine.replica import Replica
from p2psync.node.copies import Copy, Role
from p2psync.storage.rows import MandateRow


@dataclass(slots=True)
class Opened:
    """One mandate. ``lock`` is held while copies are read or written."""

    replica: Replica
    row: MandateRow
    folder: Path
    copies: dict[tuple[bytes, Role], Copy] = field(default_factory=dict)
    lock: trio.Lock = field(default_factory=trio.Lock)
    jobs: dict[tuple[str, bytes, Role | None], None] = field(default_factory=dict)
    working: bool = False
    unwritten: dict[bytes, str] = field(default_factory=dict)
    """Files that could not be written here, and why."""
    incomplete: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Files whose content is still on its way: bytes here, bytes in all."""
    shelved: dict[bytes, str] | None = None
    """The names under which the copies in the mandate folder were last arranged."""
    _names: tuple[tuple[int, int], dict[bytes, str]] | None = None

    @property
    def id(self) -> bytes:
        """The mandate's id, 32 bytes."""
        return self.replica.mandate

    @property
    def by_ticket(self) -> bool:
        """Whether this device came by a ticket."""
        return self.row.by_ticket

    @property
    def refused(self) -> str:
        """The code with which a member refused this device's ticket; empty when none did."""
        return self.row.refused

    @property
    def state(self) -> Mandate:
        """The fold."""
        return self.replica.state

    @property
    def shared(self) -> bool:
        """Whether others may subscribe, or this device did."""
        return self.by_ticket or self.state.shared

    def names(self) -> dict[bytes, str]:
        """The name that each attached file is shown and written under; not to be changed."""
        mark = (id(self.state), self.state.arrangement)
        if self._names is None or self._names[0] != mark:
            files = [(file.id, file.info.name) for file in self.state.present_files()]
            self._names = (mark, unique_names(files))
        return self._names[1]

    def file_named(self, name: str) -> FileState | None:
        """The attached file shown under a name."""
        for file_id, shown in self.names().items():
            if shown == name:
                return self.state.files[file_id]
        return None
