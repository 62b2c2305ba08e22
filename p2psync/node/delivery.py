"""What the accounting has of each file, and since when (B-POS-4); known after a restart, too."""

from typing import Any

import trio

from p2psync.node.opened import Opened
from p2psync.node.store import Store

_NOTE = b"delivered"
"""In place of a file: one note tells of all files of a mandate."""
_MARK = b"1"
NOTE_SECONDS = 2.0


class Delivery:
    """Notes what reached the device with the seat."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loaded: set[bytes] = set()
        self._keeping = trio.Lock()
        self.unkept: dict[bytes, Opened] = {}
        """Mandates of which there is something to note."""

    def reached(self, opened: Opened, now_ms: int) -> bool:
        """The device with the seat has all that this one has; tell whether that is new."""
        came = {
            file.id: frozenset(file.heads)
            for file in opened.state.present_files()
            if opened.delivered.get(file.id) != frozenset(file.heads)
        }
        if not came:
            return False
        opened.delivered |= came
        opened.delivered_ms |= dict.fromkeys(came, now_ms)
        self.unkept[opened.id] = opened
        return True

    async def keep_soon(self) -> None:
        """Note it after a while: who saves often shall not wait for it."""
        await trio.sleep(NOTE_SECONDS)
        await self.keep()

    async def keep(self) -> None:
        """Note it."""
        async with self._keeping:
            while self.unkept:
                _, opened = self.unkept.popitem()
                await self.load(opened)
                if opened.live:
                    await self._store.put_note(opened.id, _NOTE, _MARK, _note(opened))

    async def load(self, opened: Opened) -> None:
        """Take up what was noted before the start, where nothing newer is known."""
        if opened.id in self._loaded:
            return
        noted: Any = await self._store.note(opened.id, _NOTE, _MARK)
        self._loaded.add(opened.id)
        for name, (at_ms, heads) in (noted or {}).items():
            file = bytes.fromhex(name)
            if file not in opened.delivered:
                opened.delivered[file] = frozenset(
                    (bytes.fromhex(entry), number) for entry, number in heads
                )
                opened.delivered_ms[file] = at_ms


def _note(opened: Opened) -> dict[str, object]:
    return {
        file.hex(): [
            opened.delivered_ms.get(file, 0),
            [[entry.hex(), number] for entry, number in sorted(heads)],
        ]
        for file, heads in opened.delivered.items()
    }
