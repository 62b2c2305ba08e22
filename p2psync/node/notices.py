"""What people and programs are told: messages and alerts, kept with rising ids, streamed as they
come.

*Messages* pass by themselves, *alerts* stay until a person closes them (B-NOT-2), or their cause
is gone. An alert is raised once for each key until it is settled, however often its cause is met.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from p2psync.errors import P2PSyncError
from p2psync.limits import EVENTS_AT_ONCE_MAX, PROGRESS_WAITING_MAX
from p2psync.node.store import Raised, Settled, Store

Event = dict[str, Any]
AGAIN_SECONDS = 1.0
"""How long it waits before it tries again to keep what the disk refused."""


class Notices:
    """Raises events and hands them to whoever listens."""

    def __init__(self, store: Store, now: Callable[[], str]) -> None:
        """``now`` gives the time as ISO 8601 text."""
        self._store = store
        self._now = now
        self._changed = trio.Event()
        self._listeners: set[trio.MemorySendChannel[Event]] = set()
        self._waiting: list[Raised | Settled] = []
        self._at_work: list[Raised | Settled] = []
        """What is being kept just now."""
        self._work = trio.Event()
        self._told: set[tuple[bytes | None, str]] = set()
        """Alerts, by mandate and key, that were raised since the start and not settled."""
        self._open: set[tuple[bytes | None, str]] = set()
        """Kinds of alerts that may be open from before the start, by mandate."""

    async def load(self) -> None:
        """Learn which alerts are open from before."""
        for event in await self._store.open_alerts(None):
            mandate = event["mandate"]
            self._open.add((None if mandate is None else bytes.fromhex(mandate), event["type"]))

    # -- raising ------------------------------------------------------------------------------

    def message(
        self,
        kind: str,
        template: str,
        *,
        mandate: bytes | None = None,
        file: str | None = None,
        action: str | None = None,
        **params: str,
    ) -> None:
        """Tell something that passes by itself."""
        self._raise("message", kind, template, mandate, file, action, params, None)

    def alert_text(
        self,
        kind: str,
        template: str,
        *,
        key: str,
        mandate: bytes | None = None,
        file: str | None = None,
        action: str | None = None,
        **params: str,
    ) -> None:
        """Tell something that stays until a person closes it."""
        self._raise("alert", kind, template, mandate, file, action, params, key)

    def alert(
        self,
        kind: str,
        error: P2PSyncError,
        *,
        key: str,
        mandate: bytes | None = None,
        file: str | None = None,
        action: str | None = None,
    ) -> None:
        """Tell of an error as an alert, in the error's words."""
        self._raise("alert", kind, error.template, mandate, file, action, error.params, key)

    def settle(self, kind: str, *, key: str, mandate: bytes | None = None) -> None:
        """Close the alert with a key, if it is open, because its cause is gone."""
        if (mandate, key) in self._told or (mandate, kind) in self._open:
            self._told.discard((mandate, key))
            self._waiting.append(Settled(mandate, key))
            self._work.set()

    def disk_failed(self, error: P2PSyncError) -> None:
        """Tell that nothing can be written now, to who listens at once: it cannot be kept yet."""
        self.alert("disk-failed", error, key="disk-failed", action="mend-disk")
        for alert in self.unkept():
            if alert["type"] == "disk-failed":
                self._pass_on({name: value for name, value in alert.items() if name != "id"})

    def disk_works(self) -> None:
        """Tell that the disk can be written again."""
        self.settle("disk-failed", key="disk-failed")
        self.message("disk-works", "the disk can be written again")

    def unkept(self) -> list[Event]:
        """The open alerts that the disk has not taken yet; they have no id."""
        found: dict[tuple[str | None, str], Event] = {}
        for each in (*self._at_work, *self._waiting):
            match each:
                case Settled(mandate=mandate, key=key):
                    found.pop((None if mandate is None else mandate.hex(), key), None)
                case Raised(event=event, key=key) if key is not None:
                    found[(event["mandate"], key)] = {"id": None, **event}
        return list(found.values())

    def _raise(
        self,
        severity: str,
        kind: str,
        template: str,
        mandate: bytes | None,
        file: str | None,
        action: str | None,
        params: dict[str, str],
        key: str | None,
    ) -> None:
        if key is not None:
            if (mandate, key) in self._told:
                return
            self._told.add((mandate, key))
        filled = dict(params)
        if file is not None:
            filled.setdefault("file", file)
        event: Event = {
            "at": self._now(),
            "type": kind,
            "severity": severity,
            "mandate": None if mandate is None else mandate.hex(),
            "file": file,
            "template": template,
            "params": filled,
            "text": template.format_map(filled),
            "action": action,
        }
        self._waiting.append(Raised(event, key))
        self._work.set()

    def progress(
        self, done_bytes: int, total_bytes: int, *, mandate: bytes, file: str, phase: str
    ) -> None:
        """Tell how far something long has come; not kept, and dropped for slow listeners."""
        event = {
            "type": "progress",
            "mandate": mandate.hex(),
            "file": file,
            "done_bytes": done_bytes,
            "total_bytes": total_bytes,
            "phase": phase,
        }
        self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                continue

    async def run(self) -> None:
        """Keep what is raised, many in one transaction, then wake the listeners."""
        while True:
            if not self._waiting:
                self._work = trio.Event()
                await self._work.wait()
            self._at_work, self._waiting = self._waiting, []
            try:
                await self._store.add_events(self._at_work)
            except P2PSyncError:
                # The disk is full or failing; what cannot be kept is told all the same.
                await trio.sleep(AGAIN_SECONDS)
                self._waiting = (self._at_work + self._waiting)[-EVENTS_AT_ONCE_MAX:]
                self._at_work = []
                continue
            self._at_work = []
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def kept(self) -> None:
        """Return when all that was raised so far is kept."""
        while self._waiting or self._at_work:
            await self._changed.wait()

    # -- listening ----------------------------------------------------------------------------

    async def events(self, mandate: bytes | None, since: int | None) -> AsyncIterator[Event]:
        """Yield events with a higher id than ``since`` (none: from now on), and progress."""
        last = await self._store.last_event_id() if since is None else since
        send, receive = trio.open_memory_channel[Event](PROGRESS_WAITING_MAX)
        self._listeners.add(send)
        try:
            while True:
                changed = self._changed
                batch = await self._store.events_since(last, mandate, EVENTS_AT_ONCE_MAX)
                for event in batch:
                    last = event["id"]
                    yield event
                if batch:
                    continue
                event_or_none = await _next(receive, changed)
                if event_or_none is not None and mandate in (
                    None,
                    bytes.fromhex(event_or_none["mandate"] or ""),
                ):
                    yield event_or_none
        finally:
            self._listeners.discard(send)


async def _next(receive: "trio.MemoryReceiveChannel[Event]", changed: trio.Event) -> Event | None:
    """Return a passing event, or ``None`` when kept ones have come."""
    found: Event | None = None

    async def take() -> None:
        nonlocal found
        found = await receive.receive()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await changed.wait()
        nursery.cancel_scope.cancel()
    return found
