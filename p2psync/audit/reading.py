"""Looks into the entries of an audit file, with the keys that it holds, and folds what they say."""

from collections import Counter
from dataclasses import dataclass, field, replace

from p2psync.audit.check import Check, short, where
from p2psync.audit.findings import note, problem
from p2psync.core import clock, entry, membership, ops
from p2psync.core.entry import Entry
from p2psync.core.mandate import Applied, Mandate
from p2psync.core.ops import Create, Lines, Observe, OpenLog, Operation, Post, Remove, Save, Unknown
from p2psync.core.records import SegmentReader
from p2psync.errors import BadInputError, CryptoError
from p2psync.limits import AUDIT_PROBLEMS_MAX, AUDIT_REPORT_SEGMENTS_MAX

_NOTHING = Observe()


@dataclass(slots=True)
class Reading:
    """Opens entries as they come; ``fold`` makes the mandate of them.

    With ``records`` everything is folded, as a node does. Without, lines and what receipts name of
    them are passed over: what is kept then does not grow with the records.
    """

    check: Check
    reader: SegmentReader
    records: bool = False
    whole: frozenset[bytes] = frozenset()
    """Devices whose entries are all kept: their cut is found by them."""
    segments: int = 0
    removed: set[bytes] = field(default_factory=set)
    """Devices that somebody removes: see ``again``."""
    operations: Counter[str] = field(default_factory=Counter)
    """How many of each kind there are."""
    applied: list[Applied] = field(default_factory=list)
    """The entries, with what is kept of them."""
    _epochs: dict[bytes, bytes] = field(default_factory=dict)
    _missing: Counter[bytes] = field(default_factory=Counter)
    _newer: int = 0

    def look(self, item: Entry, past: int | None, offset: int) -> int:
        """Open an entry; return its effective time (docs/spec/entry.md, "Time")."""
        check = self.check
        operations = self._open(item, offset) if check.keys else ()
        if item.seq == 0 and operations:
            self._opening(item, operations[0], offset)
        if past is None and not self._founds(operations):
            past = 0
        stamp = clock.effective(item.header.hlc, past)
        kept = operations
        if not self.records:
            kept = tuple([_without_records(each) for each in operations])
        if (
            self.records
            or item.seq == 0
            or kept.count(_NOTHING) != len(kept)
            or (self.whole and check.logs[item.log].device in self.whole)
        ):
            header = item.header
            self.applied.append(
                Applied(
                    *(item.id, item.log, item.seq, header.hlc, stamp, kept),
                    header.prev,
                    header.epoch,
                )
            )
        return stamp

    def again(self, check: Check) -> "Reading | None":
        """Return a reading for a second look, when the first kept too little to fold.

        What a removed device wrote counts up to a cut, and which entries that are is told by the
        chain of all of them; which devices are removed is known at the end only.
        """
        if self.records or not self.removed:
            return None
        return Reading(check, self.reader, whole=frozenset(self.removed))

    def _open(self, item: Entry, offset: int) -> tuple[Operation, ...]:
        if len(self._epochs) != len(self.check.keys):
            self._epochs = {entry.epoch_id(key): key for key in self.check.keys}
        key = self._epochs.get(item.header.epoch)
        if key is None:
            self._missing[item.header.epoch] += 1
            return ()
        try:
            operations = ops.decode(entry.open_payload(item, key))
        except (BadInputError, CryptoError):
            if len(self.check.notes) < AUDIT_PROBLEMS_MAX:
                self.check.notes.append(note("unreadable", where=where(item, offset)))
            return ()
        for each in operations:
            self.operations[type(each).__name__] += 1
            if type(each) is Lines:
                self.segments += sum(len(run.raws) for run in each.adds) + len(each.edits.raws)
            elif type(each) is Remove:
                self.removed.add(each.device)
            elif type(each) is Unknown:
                self._newer += 1
        if self.records and self.segments > AUDIT_REPORT_SEGMENTS_MAX:
            self._forget_records()
        return operations

    def _forget_records(self) -> None:
        """There are too many: go on without them."""
        self.records = False
        self.applied = [
            replace(each, operations=tuple(map(_without_records, each.operations)))
            for each in self.applied
        ]

    def _opening(self, item: Entry, first: Operation, offset: int) -> None:
        log = self.check.logs[item.log]
        if not isinstance(first, OpenLog) or first.device != log.device:
            self.check.wrong(problem("log-opening", where=where(item, offset)))

    def _founds(self, operations: tuple[Operation, ...]) -> bool:
        head = self.check.head
        first = operations[0] if operations else None
        return isinstance(first, OpenLog) and any(
            isinstance(each, Create)
            and each.device == first.device
            and head is not None
            and membership.mandate_id(each.device, each.salt) == head.mandate
            for each in operations
        )

    def fold(self) -> Mandate:
        """Fold all that was read, and note what does not fit together."""
        check = self.check
        assert check.head is not None
        state = Mandate.fold(check.head.mandate, self.reader, self.applied)
        for epoch, count in sorted(self._missing.items()):
            check.wrong(problem("key-missing", epoch=epoch.hex(), count=count))
        if self._newer:
            check.notes.append(note("newer", count=self._newer))
        if not state.founder:
            check.wrong(problem("founding"))
        manifest, members = check.manifest, state.membership
        if manifest is not None and members.past(manifest.device) is None:
            check.wrong(problem("exporter-stranger", device=short(manifest.device)))
        elif manifest is not None and manifest.device in members.removed:
            check.notes.append(note("exporter-removed", device=short(manifest.device)))
        for device, count in sorted(state.quarantined.items()):
            check.notes.append(note("quarantined", device=short(device), count=count))
        self._compare_contents(state)
        return state

    def _compare_contents(self, state: Mandate) -> None:
        for each in self.check.contents:
            content = each.content
            file = state.files.get(content.file)
            version = None
            if file is not None:
                version = file.versions.get((content.entry, content.index))
            if file is None or version is None:
                self.check.wrong(problem("content-unknown", digest=content.digest.hex()))
            elif (version.size_bytes, version.digest) != (each.size_bytes, each.digest):
                name = file.info.name if file.added is not None else content.file.hex()
                found = problem("content-changed", file=name, version=version.name)
                self.check.wrong(found)


def _without_records(operation: Operation) -> Operation:
    """What is left of an operation; in its place, so that the others keep their numbers."""
    match operation:
        case Lines() | Save(content=None):
            return _NOTHING
        case Post():
            return replace(operation, adds=(), drops=())
        case _:
            return operation
