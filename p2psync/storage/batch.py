"""What one transaction can write."""

import sqlite3
from collections.abc import Sequence

from p2psync.engine.effects import Persist, StoredEntry
from p2psync.limits import ADDRESSES_PER_PEER_MAX, CONTACT_DEVICES_MAX
from p2psync.storage import events, fold, hooks
from p2psync.storage.entries import EntryWriter
from p2psync.storage.fold import Pending
from p2psync.storage.highwater import Mark
from p2psync.storage.rows import (
    CopyRow,
    MandateRow,
    NewEvent,
    dump_heads,
    dump_stat,
    dump_writing,
)


class Batch:
    """The writes of one transaction: all are durable when its ``with`` block ends, or none is.

    Made by ``Database.batch``. A method that raises a storage error undoes the
    transaction.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        writer: EntryWriter,
        own_logs: set[tuple[bytes, bytes]],
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._own_logs = own_logs
        self._ends: dict[bytes, Mark] = {}
        self._pending: dict[bytes, Pending] = {}
        self._removed: list[bytes] = []

    @property
    def marks(self) -> tuple[Mark, ...]:
        """How far own logs came by this batch."""
        return tuple(self._ends.values())

    @property
    def removed(self) -> tuple[bytes, ...]:
        """The mandates that this batch deleted."""
        return tuple(self._removed)

    # -- mandates and their keys ----------------------------------------------------------------

    def add_mandate(self, row: MandateRow) -> None:
        """Add a mandate, or replace all that is known of it, its entries apart."""
        number = self._writer.number(row.id)
        self._connection.execute(
            "INSERT INTO mandate (number, genesis, by_ticket, admission_seed, ticket_role, "
            "ticket_expires_ms, created_ms, folder, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (number) DO UPDATE SET genesis = excluded.genesis, "
            "by_ticket = excluded.by_ticket, admission_seed = excluded.admission_seed, "
            "ticket_role = excluded.ticket_role, ticket_expires_ms = excluded.ticket_expires_ms, "
            "created_ms = excluded.created_ms, folder = excluded.folder, state = excluded.state",
            (
                number,
                row.genesis,
                row.by_ticket,
                row.admission_seed,
                row.ticket_role,
                row.ticket_expires_ms,
                row.created_ms,
                row.folder,
                row.state,
            ),
        )
        self._connection.execute("DELETE FROM epoch_key WHERE mandate = ?", (number,))
        self._connection.executemany(
            "INSERT INTO epoch_key (mandate, place, key) VALUES (?, ?, ?)",
            [(number, place, key) for place, key in enumerate(row.epoch_keys)],
        )

    update_mandate = add_mandate

    def add_epoch_key(self, mandate: bytes, key: bytes) -> None:
        """Make a key (32 bytes) the current one of a mandate that is there."""
        self._connection.execute(
            "INSERT INTO epoch_key (mandate, place, key) "
            "SELECT ?1, 1 + ifnull(max(place), -1), ?2 FROM epoch_key WHERE mandate = ?1",
            (self._writer.number(mandate), key),
        )

    def set_state(self, mandate: bytes, state: str) -> None:
        """Change a mandate's state; nothing happens when it is not there."""
        self._connection.execute(
            "UPDATE mandate SET state = ? WHERE number = ?", (state, self._writer.number(mandate))
        )

    def delete_mandate(self, mandate: bytes) -> None:
        """Delete a mandate with its keys, entries and all else but the history of its events."""
        self.finish()
        number = self._writer.number(mandate)
        fold.drop(self._connection, number)
        logs = self._connection.execute("SELECT log FROM own_log WHERE mandate = ?", (number,))
        self._own_logs.difference_update((mandate, log) for (log,) in logs.fetchall())
        self._connection.execute("DELETE FROM mandate WHERE number = ?", (number,))
        for table in ("own_log", "copy", "seen", "note", "arrival"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE mandate = ?",  # noqa: S608 # fixed names
                (number,),
            )
        self._writer.drop(number)
        self._removed.append(mandate)

    def keep_log_key(
        self, mandate: bytes, log: bytes, seed: bytes, incarnation: int, *, closed: bool = False
    ) -> None:
        """Keep the secret seed (32 bytes) of a log that this device opened; idempotent."""
        self._connection.execute(
            "INSERT INTO own_log (mandate, log, seed, incarnation, closed) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (log) DO NOTHING",
            (self._writer.number(mandate), log, seed, incarnation, closed),
        )
        self._own_logs.add((mandate, log))

    def close_log(self, log: bytes) -> None:
        """Note that nothing more is written to an own log (a fork, a clone, a restored backup)."""
        self._connection.execute("UPDATE own_log SET closed = 1 WHERE log = ?", (log,))

    # -- entries ----------------------------------------------------------------------------------

    def add_entries(self, entries: Sequence[StoredEntry]) -> None:
        """Add entries in this order, each after its ``prev``; known ones stay where they are."""
        self._writer.add(entries)
        self._note_ends(entries)

    def persist(self, effect: Persist) -> None:
        """Add entries and what is kept of their fold; written together with others at the end."""
        mandate = effect.mandate or effect.entries[0].mandate
        self._pending.setdefault(mandate, Pending()).take(effect)

    def drop_fold(self, mandate: bytes) -> None:
        """Throw away what is kept of a mandate's fold."""
        fold.drop(self._connection, self._writer.number(mandate))

    def finish(self) -> None:
        """Write what was put off; whoever commits calls it."""
        pending, self._pending = self._pending, {}
        for mandate, each in pending.items():
            each.write(self._connection, self._writer, mandate)
            self._note_ends(each.entries)

    def _note_ends(self, entries: Sequence[StoredEntry]) -> None:
        for entry in entries:
            if (entry.mandate, entry.log) in self._own_logs:
                known = self._ends.get(entry.log)
                if known is None or known.seq < entry.seq:
                    self._ends[entry.log] = Mark(entry.mandate, entry.log, entry.seq)

    # -- copies of files --------------------------------------------------------------------------

    def put_copy(self, row: CopyRow) -> None:
        """Add or replace what is known of a copy."""
        self._connection.execute(
            "INSERT OR REPLACE INTO copy (mandate, file, role, directory, name, heads, digest, "
            "stat, writing, held, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._writer.number(row.mandate),
                row.file,
                row.role,
                row.directory,
                row.name,
                dump_heads(row.heads),
                row.digest,
                dump_stat(row.stat),
                dump_writing(row.writing),
                row.held,
                dump_stat(row.seen),
            ),
        )

    def delete_copy(self, mandate: bytes, file: bytes, role: str) -> None:
        """Forget a copy; nothing happens when it is not known."""
        self._connection.execute(
            "DELETE FROM copy WHERE mandate = ? AND file = ? AND role = ?",
            (self._writer.number(mandate), file, role),
        )

    def put_note(self, mandate: bytes, file: bytes, mark: bytes, json: str) -> None:
        """Note what was found out of a file's content; ``mark`` tells of which content."""
        self._connection.execute(
            "INSERT OR REPLACE INTO note (mandate, file, mark, json) VALUES (?, ?, ?, ?)",
            (self._writer.number(mandate), file, mark, json),
        )

    # -- peers ------------------------------------------------------------------------------------

    def put_contact(self, device: bytes, address: str, last_ok_ms: int) -> None:
        """Note where a device (32 bytes) answered, and when; 0 for an address that is only told.

        Of each device the ``ADDRESSES_PER_PEER_MAX`` newest stay, of all devices the
        ``CONTACT_DEVICES_MAX`` that answered last.
        """
        self._connection.execute(
            "INSERT INTO contact (device, address, last_ok_ms) VALUES (?, ?, ?) "
            "ON CONFLICT (device, address) DO UPDATE "
            "SET last_ok_ms = max(last_ok_ms, excluded.last_ok_ms)",
            (device, address, last_ok_ms),
        )
        self._connection.execute(
            "DELETE FROM contact WHERE device = ?1 AND address NOT IN (SELECT address FROM contact "
            "WHERE device = ?1 ORDER BY last_ok_ms DESC, address LIMIT ?2)",
            (device, ADDRESSES_PER_PEER_MAX),
        )
        self._connection.execute(
            "DELETE FROM contact WHERE (SELECT count(DISTINCT device) FROM contact) > ?1 "
            "AND device NOT IN (SELECT device FROM contact GROUP BY device "
            "ORDER BY max(last_ok_ms) DESC, device LIMIT ?1)",
            (CONTACT_DEVICES_MAX,),
        )

    def put_seen(self, mandate: bytes, device: bytes, at_ms: int) -> None:
        """Note that a device has to do with a mandate and was there at a time; 0 for never."""
        self._connection.execute(
            "INSERT INTO seen (mandate, device, last_ms) VALUES (?, ?, ?) "
            "ON CONFLICT (mandate, device) DO UPDATE SET last_ms = max(last_ms, excluded.last_ms)",
            (self._writer.number(mandate), device, at_ms),
        )

    # -- events -----------------------------------------------------------------------------------

    def add_events(self, new: Sequence[NewEvent]) -> list[int | None]:
        """Keep events; return their ids, ``None`` for an alert that is open already."""
        return events.add(self._connection, self._writer.number, new)

    def close_alert(self, event_id: int, at_ms: int | None = None) -> bool:
        """Close an alert; tell whether it was open."""
        return events.close(self._connection, event_id, at_ms)

    def close_alert_key(
        self, mandate: bytes | None, key: str, at_ms: int | None = None
    ) -> int | None:
        """Settle the alert with a key (its cause is gone); return its id if it was open."""
        number = None if mandate is None else self._writer.number(mandate)
        return events.close_key(self._connection, number, key, at_ms)

    # -- hooks ----------------------------------------------------------------------------------

    def add_hook(self, json: str, done: int, progress: str) -> int:
        """Add a hook that is to hear of events after ``done``; return its id."""
        return hooks.add(self._connection, json, done, progress)

    def note_hook(self, hook: int, done: int, progress: str) -> None:
        """Note how far a hook has come."""
        hooks.note(self._connection, hook, done, progress)

    def delete_hook(self, hook: int) -> bool:
        """Delete a hook; tell whether it was there."""
        return hooks.delete(self._connection, hook)

    # -- settings ---------------------------------------------------------------------------------

    def drop_settings(self, prefix: str) -> None:
        """Take away all settings whose key begins so."""
        self._connection.execute(
            "DELETE FROM setting WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
        )

    def put_setting(self, key: str, value: str | None) -> None:
        """Set a setting; ``None`` takes it away."""
        if value is None:
            self._connection.execute("DELETE FROM setting WHERE key = ?", (key,))
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", (key, value)
            )
