"""Two devices that save files of a format while apart, and meet."""

from dataclasses import dataclass, field

from p2psync.core.crdt import SegmentSet
from p2psync.core.crypto import digest
from p2psync.core.diff import diff
from p2psync.core.files import apply_lines
from p2psync.core.ops import Lines
from p2psync.formats import registry
from p2psync.formats.base import Format

_FILE = b"f" * 16


@dataclass
class Device:
    """One side: what it knows of a file."""

    form: Format
    log: bytes
    state: SegmentSet = field(init=False)
    known: list[tuple[bytes, int, Lines]] = field(default_factory=list)
    stamp: int = 0

    def __post_init__(self) -> None:
        self.state = SegmentSet(registry.read_segment, self.form.name)

    def save(self, data: bytes) -> None:
        """Take up a save; what is shown then is just that."""
        segments = self.form.parse(data).segments
        for operation in diff(_FILE, list(self.state.shown()), segments, self.log):
            self.stamp += 1
            entry = digest(b"entry", self.log, self.stamp.to_bytes(8, "big"))
            self.take((entry, self.stamp, operation))
        assert self.state.emit() == data

    def learn(self, other: "Device") -> None:
        """Take all that the other one knows."""
        for change in [change for change in other.known if change not in self.known]:
            self.take(change)
            self.stamp = max(self.stamp, change[1])

    def take(self, change: tuple[bytes, int, Lines]) -> None:
        """Take one change."""
        self.known.append(change)
        apply_lines(self.state, [change])


def saved_apart(form: Format, base: bytes, left: bytes, right: bytes) -> bytes:
    """What two devices have after both saved on the same base and met: the same bytes."""
    one, other = Device(form, b"a" * 32), Device(form, b"b" * 32)
    one.save(base)
    other.learn(one)
    one.save(left)
    other.save(right)
    one.learn(other)
    other.learn(one)
    merged = one.state.emit()
    assert merged == other.state.emit()
    late = Device(form, b"c" * 32)
    for device in (other, one):
        late.learn(device)
    assert late.state.emit() == merged
    return merged
