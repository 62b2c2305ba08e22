"""The database against a model that is plain lists and dicts, over restarts and undone batches."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from p2psync.engine.effects import StoredEntry
from p2psync.storage.database import CopyRow, Database, HighWater, Mark, NewEvent
from p2psync.storage.file_state import FileStat
from tests.storage.database_rig import FILE, MANDATE, OTHER, SEED, entry, name

MANDATES = st.sampled_from([MANDATE, OTHER])
LOGS = st.sampled_from([name("log", number) for number in range(3)])
ENTRIES = st.builds(
    lambda mandate, log, seq, branch: entry(seq, mandate=mandate, log=log, branch=branch),
    MANDATES,
    LOGS,
    st.integers(0, 5),
    st.integers(0, 1),
)
WORD = st.integers(0, (1 << 64) - 1)
BYTES = st.binary(max_size=40)
OP = st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 4095))
HEADS = st.lists(OP, max_size=3).map(tuple)
STATS = st.builds(
    FileStat,
    st.integers(0, 1 << 50),
    st.integers(-(1 << 62), 1 << 62),
    st.integers(-(1 << 62), 1 << 62),
    WORD,
    WORD,
)
COPIES = st.builds(
    CopyRow,
    MANDATES,
    st.sampled_from([FILE, bytes(16)]),
    st.sampled_from(["attached", "folder"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    HEADS,
    BYTES,
    st.none() | STATS,
    st.none() | st.tuples(HEADS, BYTES),
    BYTES,
    st.none() | STATS,
)
EVENTS = st.builds(
    NewEvent,
    st.none() | MANDATES,
    st.sampled_from(["message", "alert"]),
    st.sampled_from(["{}", '{"text": "\N{SNOWMAN}"}']),
    st.none() | st.sampled_from(["missing", "held"]),
)


class DatabaseModel(RuleBasedStateMachine):
    """Every rule is one batch."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.marks = HighWater(Path(self.folder.name) / "marks")
        self.database = self.open()
        self.entries: dict[bytes, list[StoredEntry]] = {MANDATE: [], OTHER: []}
        self.copies: dict[tuple[bytes, bytes, str], CopyRow] = {}
        self.events: list[tuple[NewEvent, bool]] = []
        self.own: dict[bytes, bytes] = {}
        self.high: dict[bytes, int] = {}

    def open(self) -> Database:
        return Database.open(Path(self.folder.name) / "p2psync.db", self.marks)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.marks.close()
            self.folder.cleanup()

    @rule(entries=st.lists(ENTRIES, max_size=8))
    def add_entries(self, entries: list[StoredEntry]) -> None:
        with self.database.batch() as batch:
            batch.add_entries(entries)
        for item in entries:
            if item not in self.entries[item.mandate]:
                self.entries[item.mandate].append(item)
            if self.own.get(item.log) == item.mandate:
                self.high[item.log] = max(self.high.get(item.log, -1), item.seq)

    @rule(entries=st.lists(ENTRIES, max_size=8), copy=COPIES, event=EVENTS, mandate=MANDATES)
    def fail(
        self, entries: list[StoredEntry], copy: CopyRow, event: NewEvent, mandate: bytes
    ) -> None:
        try:
            with self.database.batch() as batch:
                batch.add_entries(entries)
                batch.put_copy(copy)
                batch.add_events([event])
                batch.keep_log_key(mandate, name("undone"), SEED, 0)
                batch.delete_mandate(mandate)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    @rule(copy=COPIES)
    def put_copy(self, copy: CopyRow) -> None:
        with self.database.batch() as batch:
            batch.put_copy(copy)
        self.copies[(copy.mandate, copy.file, copy.role)] = copy

    @rule(copy=COPIES)
    def delete_copy(self, copy: CopyRow) -> None:
        with self.database.batch() as batch:
            batch.delete_copy(copy.mandate, copy.file, copy.role)
        self.copies.pop((copy.mandate, copy.file, copy.role), None)

    @rule(events=st.lists(EVENTS, max_size=4))
    def add_events(self, events: list[NewEvent]) -> None:
        expected: list[int | None] = []
        for event in events:
            alert = event.severity == "alert"
            twin = any(
                is_open and (old.mandate, old.key) == (event.mandate, event.key)
                for old, is_open in self.events
            )
            if alert and event.key is not None and twin:
                expected.append(None)
            else:
                self.events.append((event, alert))
                expected.append(len(self.events))
        assert self.database.add_events(events) == expected

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def close_alert(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(1, len(self.events)))
        event, is_open = self.events[at - 1]
        assert self.database.close_alert(at) == is_open
        self.events[at - 1] = (event, False)

    @rule(mandate=MANDATES, log=LOGS)
    def own_a_log(self, mandate: bytes, log: bytes) -> None:
        if log not in self.own and not any(
            item.log == log for items in self.entries.values() for item in items
        ):
            with self.database.batch() as batch:
                batch.keep_log_key(mandate, log, SEED, 0)
            self.own[log] = mandate

    @rule(mandate=MANDATES)
    def delete_mandate(self, mandate: bytes) -> None:
        with self.database.batch() as batch:
            batch.delete_mandate(mandate)
        self.entries[mandate] = []
        self.copies = {key: copy for key, copy in self.copies.items() if key[0] != mandate}
        for log in [log for log, owner in self.own.items() if owner == mandate]:
            del self.own[log]
            self.high.pop(log, None)

    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.database = self.open()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "database"):
            return
        for mandate, items in self.entries.items():
            index = [(item.id, item.log, item.seq, item.prev) for item in items]
            assert list(self.database.index(mandate)) == index
            assert list(self.database.raws(mandate)) == [item.raw for item in items]
            assert self.database.count(mandate) == len(items)
            ids = [item.id for item in reversed(items)]
            assert list(self.database.find(mandate, ids)) == ids
        by_key = {(row.mandate, row.file, row.role): row for row in self.database.copies()}
        assert by_key == self.copies
        rows = self.database.events_since(0, 1000)
        assert [row.id for row in rows] == list(range(1, len(self.events) + 1))
        assert [(row.mandate, row.severity, row.json, row.open) for row in rows] == [
            (event.mandate, event.severity, event.json, is_open) for event, is_open in self.events
        ]
        marks = {Mark(self.own[log], log, seq) for log, seq in self.high.items()}
        assert set(self.marks.marks()) == marks
        assert self.database.behind() == ()


TestDatabaseModel = DatabaseModel.TestCase
TestDatabaseModel.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)
