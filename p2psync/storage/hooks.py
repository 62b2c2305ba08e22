"""Hooks in the database: what each is, and how far down the events it has come (B-NOT-3)."""

import sqlite3

from p2psync.storage.rows import HookRow
from p2psync.storage.sqlite import Reader


def add(connection: sqlite3.Connection, json: str, done: int, progress: str) -> int:
    """Add a hook; return its id, which is never given again."""
    hook = connection.execute(
        "INSERT INTO hook (json, done, progress) VALUES (?, ?, ?)", (json, done, progress)
    ).lastrowid
    assert hook is not None
    return hook


def note(connection: sqlite3.Connection, hook: int, done: int, progress: str) -> None:
    """Note how far a hook has come; nothing happens when it is gone."""
    connection.execute(
        "UPDATE hook SET done = ?, progress = ? WHERE id = ?", (done, progress, hook)
    )


def delete(connection: sqlite3.Connection, hook: int) -> bool:
    """Delete a hook; tell whether it was there."""
    return connection.execute("DELETE FROM hook WHERE id = ?", (hook,)).rowcount == 1


def rows(reader: Reader) -> list[HookRow]:
    """Return all hooks, oldest first."""
    found = reader.rows("SELECT id, json, done, progress FROM hook ORDER BY id")
    return [HookRow(*row) for row in found]
