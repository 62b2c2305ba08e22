"""What people and programs are told: messages and alerts, kept with rising ids, streamed as they
come.

*Messages* pass by themselves, *alerts* stay until a person closes them (B-NOT-2), or their cause
is gone. An alert is raised once for each key until it is settled, however often its cause is met.
Types, severities and actions: ``event_types``.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import trio

from p2psync.errors import P2PSyncError
from p2psync.limits import EVENTS_AT_ONCE_MAX, PROGRESS_WAITING_MAX
from p2psync.node.event_types import EVENT_TYPES
from p2psync.node.store import Raised, Settled, Store
from p2psync.storage.events import EVERYTHING, Wanted

Event = dict[str, Any]
Names = Callable[[bytes | None, bytes | None], tuple[str | None, str | None]]
"""The names of a mandate and of a device, as far as they are known."""
AGAIN_SECONDS = 1.0
"""How long it waits before it tries again to keep what the disk refused."""
logger = logging.getLogger(__name__)


def _nobody(mandate: bytes | None, device: bytes | None) -> tuple[str | None, str | None]:
    return None, None


class Notices:
    """Raises events and hands them to whoever listens."""

    def __init__(self, store: Store, now: Callable[[], str], names: Names = _nobody) -> None:
        """``now`` gives the time as ISO 8601 text."""
        self._store = store
        self._now = now
        self.names = names
        self._changed = trio.Event()
        self._listeners: set[trio.MemorySendChannel[Event]] = set()
        self._waiting: list[Raised | Settled] = []
        self._at_work: list[Raised | Settled] = []
        """What is being kept just now."""
        self._work = trio.Event()
        self._told: set[tuple[bytes | None, str]] = set()
        """Alerts, by mandate and key, that hold."""
        self.on_kept: list[Callable[[Sequence[Event]], None]] = []
        """Called with events that were just kept, in order; must not wait, nor raise."""

    async def load(self) -> None:
        """Learn which alerts hold from before."""
        self._told |= set(await self._store.holding_alerts())

    # -- raising ------------------------------------------------------------------------------

    def message(
        self,
        kind: str,
        template: str,
        *,
        mandate: bytes | None = None,
        file: str | None = None,
        device: bytes | None = None,
        action: str | None = None,
        data: Mapping[str, object] | None = None,
        **params: str,
    ) -> None:
        """Tell something that passes by itself.

        ``device`` is who caused it, or whom it is about; ``data`` is for programs.
        """
        self._raise("message", kind, template, mandate, file, device, action, params, None, data)

    def alert_text(
        self,
        kind: str,
        template: str,
        *,
        key: str,
        mandate: bytes | None = None,
        file: str | None = None,
        device: bytes | None = None,
        action: str | None = None,
        data: Mapping[str, object] | None = None,
        **params: str,
    ) -> None:
        """Tell something that stays until a person closes it."""
        self._raise("alert", kind, template, mandate, file, device, action, params, key, data)

    def alert(
        self,
        kind: str,
        error: P2PSyncError,
        *,
        key: str,
        mandate: bytes | None = None,
        file: str | None = None,
        device: bytes | None = None,
        action: str | None = None,
    ) -> None:
        """Tell of an error as an alert, in the error's words."""
        params = error.params
        self._raise("alert", kind, error.template, mandate, file, device, action, params, key, None)

    def settle(self, kind: str, *, key: str, mandate: bytes | None = None) -> None:
        """Close the alert with a key, if it is open, because its cause is gone."""
        del kind  # it reads well where it is called
        if (mandate, key) in self._told:
            self._told.discard((mandate, key))
            self._waiting.append(Settled(mandate, key))
            self._work.set()

    def settle_all(self, mandate: bytes, *parts: str) -> None:
        """Settle the alerts of a mandate that is no concern of this device any more.

        With ``parts``, such as a file's id in hex: those whose key contains all of them.
        """
        for of, key in list(self._told):
            if of == mandate and all(part in key for part in parts):
                self.settle("", mandate=of, key=key)

    def holds(self, key: str, mandate: bytes | None = None) -> bool:
        """Whether the alert with a key was raised and its cause is not known to be gone."""
        return (mandate, key) in self._told

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
        device: bytes | None,
        action: str | None,
        params: dict[str, str],
        key: str | None,
        data: Mapping[str, object] | None,
    ) -> None:
        if key is not None:
            if (mandate, key) in self._told:
                return
            self._told.add((mandate, key))
        known = EVENT_TYPES.get(kind)
        if known is None:
            logger.error("the event type %s is not in the table", kind)
        event = self.event(
            severity, kind, template, params, mandate=mandate, file=file, device=device, data=data
        )
        event["action"] = known.action if action is None and known is not None else action
        self._waiting.append(Raised(event, key, known is not None and bool(known.settled)))
        self._work.set()

    def event(
        self,
        severity: str,
        kind: str,
        template: str,
        params: Mapping[str, str],
        *,
        mandate: bytes | None = None,
        file: str | None = None,
        device: bytes | None = None,
        data: Mapping[str, object] | None = None,
    ) -> Event:
        """Return an event of now, in the shape of docs/spec/api.md, without an id."""
        file = None if file is None else _utf8(file)
        filled = {name: _utf8(value) for name, value in params.items()}
        if file is not None:
            filled.setdefault("file", file)
        mandate_name, device_name = self.names(mandate, device)
        return {
            "at": self._now(),
            "type": kind,
            "severity": severity,
            "mandate": None if mandate is None else mandate.hex(),
            "mandate_name": mandate_name,
            "file": file,
            "device": None if device is None else device.hex(),
            "device_name": device_name,
            "template": template,
            "params": filled,
            "text": template.format_map(filled),
            "action": None,
            "data": _utf8(dict(data or {})),
        }

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
                ids = await self._store.add_events(self._at_work)
            except P2PSyncError:
                # The disk is full or failing; what cannot be kept is told all the same.
                await trio.sleep(AGAIN_SECONDS)
                self._waiting = (self._at_work + self._waiting)[-EVENTS_AT_ONCE_MAX:]
                self._at_work = []
                continue
            done, self._at_work = self._at_work, []
            changed, self._changed = self._changed, trio.Event()
            changed.set()
            self._tell_kept(done, ids)

    def _tell_kept(self, done: Sequence[Raised | Settled], ids: Sequence[int | None]) -> None:
        kept: list[Event] = []
        for each, number in zip(done, ids, strict=True):
            match each:
                case Raised(event=event) if number is not None:
                    kept.append({"id": number, **event})
                case Settled(mandate=mandate) if number is not None:
                    self.closed(number, None if mandate is None else mandate.hex(), "cause")
                case _:
                    pass
        for tell in self.on_kept if kept else ():
            tell(kept)

    def closed(self, alert: int, mandate: str | None, by: str) -> None:
        """Tell who listens now that an alert is closed."""
        self._pass_on({"type": "alert-closed", "alert": alert, "mandate": mandate, "by": by})

    async def kept(self) -> None:
        """Return when all that was raised so far is kept."""
        while self._waiting or self._at_work:
            await self._changed.wait()

    # -- listening ----------------------------------------------------------------------------

    async def events(self, mandate: bytes | None, since: int | None) -> AsyncIterator[Event]:
        """Yield events with a higher id than ``since`` (none: from now on), and passing news.

        Who asks for what was forgotten meanwhile, or for what never was (the database is older
        than the reader), is told with a ``gap`` first.
        """
        newest = await self._store.last_event_id()
        last = newest if since is None else since
        if last > newest:
            yield {"type": "gap", "mandate": None, "since": last, "first": newest + 1}
            last = newest
        wanted = EVERYTHING if mandate is None else Wanted(mandate)
        lost = 0
        send, receive = trio.open_memory_channel[Event](PROGRESS_WAITING_MAX)
        self._listeners.add(send)
        try:
            while True:
                changed = self._changed
                found = await self._store.events_since(last, wanted, EVENTS_AT_ONCE_MAX)
                if 0 < last < found.forgotten != lost:
                    lost = found.forgotten
                    yield {"type": "gap", "mandate": None, "since": last, "first": lost + 1}
                for event in found.events:
                    last = event["id"]
                    yield event
                if found.events:
                    continue
                last = max(last, found.newest)
                event_or_none = await _next(receive, changed)
                if event_or_none is not None and mandate in (
                    None,
                    bytes.fromhex(event_or_none["mandate"] or ""),
                ):
                    yield event_or_none
        finally:
            self._listeners.discard(send)
            send.close()
            receive.close()


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


def _utf8(value: Any) -> Any:
    """The same, where every text can be kept and sent: names of files may be any bytes."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {name: _utf8(each) for name, each in value.items()}
        case list() | tuple():
            return [_utf8(each) for each in value]
        case _:
            return value
