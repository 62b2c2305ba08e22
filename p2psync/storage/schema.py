"""The tables of the database and the steps that lead to them: docs/spec/storage.md."""

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x70327073
"""``p2ps``: tells file(1), and us, whose database it is."""

PLACE_BITS = 40
"""An entry's place is its mandate's number, shifted by this, plus its rank of arrival."""
BUCKET_BITS = 12
"""Entries of consecutive places share a bucket of the lookup by id."""
LOOKUP_KEY_BYTES = 8

Migration = tuple[str, ...]

_FIRST: Migration = (
    # Never reused, so that nothing of a mandate that was removed is taken for another's.
    """
    CREATE TABLE mandate_number (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 32)
    ) STRICT
    """,
    """
    CREATE TABLE mandate (
        number INTEGER PRIMARY KEY REFERENCES mandate_number,
        genesis BLOB,
        by_ticket INTEGER NOT NULL,
        admission_seed BLOB,
        ticket_role TEXT,
        ticket_expires_ms INTEGER,
        created_ms INTEGER NOT NULL,
        folder TEXT NOT NULL,
        state TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE epoch_key (
        mandate INTEGER NOT NULL REFERENCES mandate ON DELETE CASCADE,
        place INTEGER NOT NULL,
        key BLOB NOT NULL CHECK (length(key) = 32),
        PRIMARY KEY (mandate, place)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE own_log (
        mandate INTEGER NOT NULL REFERENCES mandate_number,
        incarnation INTEGER NOT NULL,
        log BLOB NOT NULL UNIQUE CHECK (length(log) = 32),
        seed BLOB NOT NULL CHECK (length(seed) = 32),
        closed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mandate, incarnation, log)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE log (
        number INTEGER PRIMARY KEY,
        mandate INTEGER NOT NULL REFERENCES mandate_number,
        log BLOB NOT NULL CHECK (length(log) = 32),
        UNIQUE (mandate, log)
    ) STRICT
    """,
    # No foreign keys on the next three: they take every entry, and one writer fills them together.
    """
    CREATE TABLE entry (
        place INTEGER PRIMARY KEY,
        log INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        id BLOB NOT NULL CHECK (length(id) = 32),
        prev BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX entry_by_seq ON entry (log, seq)",
    "CREATE TABLE raw (place INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT",
    """
    CREATE TABLE lookup (
        bucket INTEGER NOT NULL,
        key BLOB NOT NULL,
        place INTEGER NOT NULL,
        PRIMARY KEY (bucket, key, place)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE copy (
        mandate INTEGER NOT NULL REFERENCES mandate_number,
        file BLOB NOT NULL CHECK (length(file) = 16),
        role TEXT NOT NULL,
        directory TEXT NOT NULL,
        name TEXT NOT NULL,
        heads BLOB NOT NULL,
        digest BLOB NOT NULL,
        stat BLOB,
        writing BLOB,
        held BLOB NOT NULL,
        PRIMARY KEY (mandate, file, role)
    ) STRICT
    """,
    """
    CREATE TABLE contact (
        device BLOB NOT NULL CHECK (length(device) = 32),
        address TEXT NOT NULL,
        last_ok_ms INTEGER NOT NULL,
        PRIMARY KEY (device, address)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE seen (
        mandate INTEGER NOT NULL REFERENCES mandate_number,
        device BLOB NOT NULL CHECK (length(device) = 32),
        last_ms INTEGER NOT NULL,
        PRIMARY KEY (mandate, device)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        mandate INTEGER REFERENCES mandate_number,
        severity TEXT NOT NULL,
        key TEXT,
        open INTEGER NOT NULL,
        json TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX event_by_mandate ON event (mandate, id)",
    "CREATE INDEX event_open ON event (id) WHERE open",
    "CREATE UNIQUE INDEX event_key ON event (ifnull(mandate, 0), key) WHERE open",
    "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
)

_FOLD: Migration = (
    "ALTER TABLE entry ADD COLUMN stamp INTEGER",
    "CREATE INDEX entry_waiting ON entry (place) WHERE stamp IS NULL",
    """
    CREATE TABLE fold (
        mandate INTEGER PRIMARY KEY REFERENCES mandate_number,
        version INTEGER NOT NULL,
        last INTEGER,
        checksum BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE thing (
        mandate INTEGER NOT NULL,
        name BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (mandate, name)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE touch (
        mandate INTEGER NOT NULL,
        file BLOB NOT NULL,
        place INTEGER NOT NULL,
        number INTEGER NOT NULL,
        records INTEGER NOT NULL,
        added INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        PRIMARY KEY (mandate, file, place, number)
    ) STRICT, WITHOUT ROWID
    """,
)

_NOTES: Migration = (
    """
    CREATE TABLE note (
        mandate INTEGER NOT NULL,
        file BLOB NOT NULL,
        mark BLOB NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (mandate, file)
    ) STRICT, WITHOUT ROWID
    """,
)

_TOLD: Migration = (
    "ALTER TABLE event ADD COLUMN closed_ms INTEGER",
    "ALTER TABLE event ADD COLUMN closed_by TEXT",
    # 1: until it is closed; 2: until its cause is gone, also when somebody closed it before.
    "ALTER TABLE event ADD COLUMN holds INTEGER NOT NULL DEFAULT 0",
    "UPDATE event SET holds = 1 WHERE open AND key IS NOT NULL",
    "DROP INDEX event_key",
    "CREATE UNIQUE INDEX event_holds ON event (ifnull(mandate, 0), key) WHERE holds",
    """
    CREATE TABLE hook (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        json TEXT NOT NULL,
        done INTEGER NOT NULL,
        progress TEXT NOT NULL
    ) STRICT
    """,
)

SEEN: Migration = (
    "ALTER TABLE copy ADD COLUMN seen BLOB",
    "UPDATE copy SET seen = stat",
)

_ARRIVED: Migration = (
    """
    CREATE TABLE arrival (
        mandate INTEGER NOT NULL,
        place INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (mandate, place)
    ) STRICT, WITHOUT ROWID
    """,
    # What was there before came some time before now.
    """
    INSERT INTO arrival (mandate, place, at_ms)
    SELECT place >> 40, max(place), CAST(strftime('%s', 'now') AS INTEGER) * 1000
    FROM entry GROUP BY place >> 40
    """,
)

MIGRATIONS: tuple[Migration, ...] = (_FIRST, _FOLD, _NOTES, _TOLD, SEEN, _ARRIVED)
"""Step ``n`` leads from version ``n`` to ``n + 1``; a step that was released never changes."""

VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open database; 0 for an empty one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a database up to the last version, each step in one transaction with its number.

    Two processes that do so at once both succeed. Raises ``sqlite3.Error``; then the database has
    the version of the last step that succeeded.
    """
    while version_of(connection) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(connection)
            if version < len(migrations):
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
