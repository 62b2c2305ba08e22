"""Hooks: a command or a webhook that is told of events (B-NOT-3).

The kept events themselves are the queue: each hook remembers the last event that it need not be
told any more, so what waits survives a restart and takes no room. A hook is told of its events in
the order of their ids, one at a time, at least once; the next one waits until the one before was
taken or given up.
"""

import datetime
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2psync.errors import HooksTooMany, HookUnknown, StorageError
from p2psync.limits import (
    HOOK_COMMANDS_AT_ONCE_MAX,
    HOOKS_MAX,
    WEBHOOK_EVENT_SECONDS_MAX,
    WEBHOOK_REFUSED_TRIES_MAX,
    WEBHOOKS_AT_ONCE_MAX,
)
from p2psync.node import calling
from p2psync.node.calling import Outcome
from p2psync.node.event_types import expand, known
from p2psync.node.notices import Event, Notices
from p2psync.node.store import Store
from p2psync.node.timing import Clock
from p2psync.node.views import iso
from p2psync.storage.events import Wanted

Json = dict[str, Any]
Render = Callable[[Event, str], Event]
"""Puts an event into a language, without its template."""
RETRY_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14400)
"""How long a webhook that failed so many times in a row is left alone; the last one repeats."""
COMMAND_FAILURES_TOLD = 3
WEBHOOK_FAILURES_TOLD = 5
"""Failures in a row after which an alert tells of them."""
DISK_AGAIN_SECONDS = 5.0
_EVENTS_READ = 100
logger = logging.getLogger(__name__)


def in_english(event: Event, language: str) -> Event:
    """Return an event as it was raised, without its template."""
    del language
    return {name: value for name, value in event.items() if name not in ("template", "params")}


@dataclass(frozen=True, slots=True, repr=False)
class Hook:
    """What a hook is: which events, and what is called. Holds a secret."""

    id: int
    mandate: str | None
    """The mandate's id in hex; ``None`` for all."""
    events: tuple[str, ...]
    """As the person chose them: types, or words that stand for several."""
    argv: tuple[str, ...] = ()
    url: str = ""
    secret: str = ""
    language: str = "en"

    def wanted(self) -> Wanted:
        """The events that it hears of: not its own failures, which would never end."""
        mandate = None if self.mandate is None else bytes.fromhex(self.mandate)
        return Wanted(mandate, tuple(sorted(expand(known(self.events)))), but_hook=self.id)

    @property
    def target(self) -> str:
        """What it calls, as people see it."""
        return self.url or " ".join(self.argv)


@dataclass(slots=True)
class Progress:
    """How far a hook has come, and how it fares."""

    failures: int = 0
    """Failures in a row."""
    tries: int = 0
    """How often the next event was tried."""
    next_ms: int = 0
    """Not called again before."""
    lost: int = 0
    """Events that were given up."""
    off: bool = False
    """The receiver wants no more."""
    last: Json | None = None
    """How the last call ended."""


@dataclass(slots=True)
class _Running:
    hook: Hook
    done: int
    progress: Progress
    wanted: Wanted
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    work: trio.Event = field(default_factory=trio.Event)

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Whether this hook is to be told of an event."""
        return (
            self.hook.mandate in (None, event["mandate"])
            and event["type"] in (self.wanted.types or ())
            and event["data"].get("hook") != self.hook.id
        )


class Hooks:
    """Keeps the hooks of a node and calls them; each in a task of its own."""

    def __init__(
        self,
        store: Store,
        notices: Notices,
        clock: Clock,
        entropy: Callable[[int], bytes],
        home: Path,
        device: bytes,
    ) -> None:
        """``device`` makes the ids of webhooks differ from those of other nodes."""
        self._store = store
        self._notices = notices
        self._clock = clock
        self._entropy = entropy
        self._home = home
        self._device = device
        self._running: dict[int, _Running] = {}
        self._nursery: trio.Nursery | None = None
        self._commands = trio.CapacityLimiter(HOOK_COMMANDS_AT_ONCE_MAX)
        self._webhooks = trio.CapacityLimiter(WEBHOOKS_AT_ONCE_MAX)
        self.render: Render = in_english

    async def load(self) -> None:
        """Learn of the hooks; before ``run``."""
        for row in await self._store.hooks():
            said = json.loads(row.json)
            said |= {name: tuple(said[name]) for name in ("events", "argv")}
            hook = Hook(id=row.id, **said)
            progress = Progress(**json.loads(row.progress))
            self._running[row.id] = _Running(hook, row.done, progress, hook.wanted())

    async def run(self) -> None:
        """Call hooks until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._notices.on_kept.append(self._heard)
            for each in self._running.values():
                nursery.start_soon(self._serve, each)
            await trio.sleep_forever()

    def _start(self, each: _Running) -> None:
        self._running[each.hook.id] = each
        if self._nursery is not None:
            self._nursery.start_soon(self._serve, each)

    # -- commands -----------------------------------------------------------------------------

    async def add(
        self,
        mandate: bytes | None,
        events: Sequence[str],
        command: Sequence[str],
        url: str,
        secret: str,
        language: str,
        *,
        allow_http: bool,
    ) -> Json:
        """Add a hook that hears of what happens from now on; tells its secret if it was made here.

        Raises ``EventTypeUnknown``, ``HookProgramMissing``, ``HookUrlBad``, ``HookUrlPlain``,
        ``HookSecretBad``, ``HooksTooMany``.
        """
        expand(events)
        argv: tuple[str, ...] = ()
        made = ""
        if url:
            calling.check_url(url, allow_http=allow_http)
            if not secret:
                made = secret = calling.new_secret(self._entropy(calling.SECRET_BYTES))
            calling.read_secret(secret)
        else:
            argv = await trio.to_thread.run_sync(calling.find_program, command)
        if len(self._running) >= HOOKS_MAX:
            raise HooksTooMany(limit=HOOKS_MAX)
        said: Json = {
            "mandate": None if mandate is None else mandate.hex(),
            "events": tuple(dict.fromkeys(events)),
            "argv": argv,
            "url": url,
            "secret": secret.strip(),
            "language": language,
        }
        done = await self._store.last_event_id()
        text = json.dumps(said, ensure_ascii=False)
        number = await self._store.add_hook(text, done, json.dumps(asdict(Progress())))
        hook = Hook(id=number, **said)
        each = _Running(hook, done, Progress(), hook.wanted())
        self._start(each)
        view = await self._view(each)
        return {**view, "secret": made} if made else view

    async def all(self) -> list[Json]:
        """Describe all hooks, oldest first."""
        return [await self._view(each) for each in list(self._running.values())]

    async def remove(self, hook: int) -> None:
        """Remove a hook; raises ``HookUnknown``. A call under way is broken off."""
        each = self._find(hook)
        await self._store.delete_hook(hook)
        self._running.pop(hook, None)
        each.scope.cancel()
        self._notices.settle("hook-failed", key=_failed_key(hook))

    async def test(self, hook: int) -> Json:
        """Call a hook now with an event of its own; raises ``HookUnknown``."""
        each = self._find(hook)
        mandate = None if each.hook.mandate is None else bytes.fromhex(each.hook.mandate)
        event = self._notices.event(
            "message",
            "hook-test",
            template="this is a test of hook {hook}",
            params={"hook": str(hook)},
            mandate=mandate,
        )
        outcome = await self._call(each.hook, {"id": None, **event})
        return {"id": hook, **outcome.view()}

    def _find(self, hook: int) -> _Running:
        each = self._running.get(hook)
        if each is None:
            raise HookUnknown(hook=hook)
        return each

    async def _view(self, each: _Running) -> Json:
        hook, progress = each.hook, each.progress
        mandate = None if hook.mandate is None else bytes.fromhex(hook.mandate)
        state = "off" if progress.off else "failing" if progress.failures else "ok"
        return {
            "id": hook.id,
            "mandate": hook.mandate,
            "mandate_name": self._notices.names(mandate, None)[0],
            "events": list(hook.events),
            "command": list(hook.argv) or None,
            "url": hook.url or None,
            "state": state if progress.last else "new",
            "waiting": 0
            if progress.off
            else await self._store.count_events(each.done, each.wanted),
            "failures": progress.failures,
            "lost": progress.lost,
            "last": progress.last,
        }

    # -- telling ------------------------------------------------------------------------------

    def _heard(self, events: Sequence[Event]) -> None:
        for each in self._running.values():
            if any(each.wants(event) for event in events):
                each.work.set()

    async def _serve(self, each: _Running) -> None:
        with each.scope:
            while not each.progress.off:
                each.work = trio.Event()
                try:
                    events = await self._next(each)
                    for event in events:
                        await self._tell(each, event)
                except StorageError:
                    # The disk failed; an event that was told may be told again.
                    await self._clock.sleep(DISK_AGAIN_SECONDS)
                    continue
                except Exception:
                    logger.exception("hook %d failed", each.hook.id)
                    await self._clock.sleep(RETRY_SECONDS[-1])
                    continue
                if not events:
                    await each.work.wait()

    async def _next(self, each: _Running) -> Sequence[Event]:
        found = await self._store.events_since(each.done, each.wanted, _EVENTS_READ)
        return found.events

    async def _tell(self, each: _Running, event: Event) -> None:
        """Call a hook with an event until it is taken, or given up."""
        while True:
            now = self._clock.now_ms()
            # A clock that was set back does not put a call off for longer than it was to be.
            wait_ms = min(each.progress.next_ms - now, RETRY_SECONDS[-1] * 1000)
            if wait_ms > 0:
                await self._clock.sleep(wait_ms / 1000)
            outcome = await self._call(each.hook, event)
            over = self._note(each, event, outcome)
            text = json.dumps(asdict(each.progress), ensure_ascii=False)
            await self._store.note_hook(each.hook.id, each.done, text)
            if over or each.progress.off:
                return

    def _note(self, each: _Running, event: Event, outcome: Outcome) -> bool:
        """Take down how a call ended; tell whether the event is dealt with."""
        hook, progress = each.hook, each.progress
        now = self._clock.now_ms()
        progress.last = {"at": iso(now), "event": event["id"], **outcome.view()}
        progress.next_ms = 0
        if outcome.ok:
            progress.failures = progress.tries = 0
            each.done = event["id"]
            self._notices.settle("hook-failed", key=_failed_key(hook.id))
            return True
        progress.failures += 1
        progress.tries += 1
        over = True
        if hook.url and not outcome.gone:
            delay = RETRY_SECONDS[min(progress.failures, len(RETRY_SECONDS)) - 1]
            delay = max(delay, outcome.after_seconds)
            progress.next_ms = now + delay * 1000
            refused = outcome.refused and progress.tries >= WEBHOOK_REFUSED_TRIES_MAX
            over = refused or _age_seconds(event, now) > WEBHOOK_EVENT_SECONDS_MAX
        if over:
            each.done = event["id"]
            progress.tries = 0
            progress.lost += 1
        progress.off = outcome.gone
        told = WEBHOOK_FAILURES_TOLD if hook.url else COMMAND_FAILURES_TOLD
        if progress.failures >= told or progress.off:
            self._notices.alert_text(
                "hook-failed",
                "hook {hook} ({target}) failed {failures} times, the last time with: {cause}",
                key=_failed_key(hook.id),
                data={"hook": hook.id},
                hook=str(hook.id),
                target=hook.target,
                failures=str(progress.failures),
                cause=outcome.view()["text"],
            )
        return over

    async def _call(self, hook: Hook, event: Event) -> Outcome:
        shown = self.render(event, hook.language)
        if hook.url:
            body = {"type": shown["type"], "timestamp": shown["at"], "data": shown}
            async with self._webhooks:
                return await calling.call_webhook(
                    hook.url,
                    calling.read_secret(hook.secret),
                    self._message_id(shown),
                    _dump(body),
                    self._clock.now_ms() // 1000,
                )
        env = calling.environment(shown, self._home)
        async with self._commands:
            return await calling.run_command(hook.argv, _dump(shown) + b"\n", env)

    def _message_id(self, event: Event) -> str:
        """The same for each try; another one for another event, also after a restored backup."""
        text = f"{self._device.hex()} {event['id']} {event['at']} {event['type']}"
        return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _failed_key(hook: int) -> str:
    return f"hook-failed:{hook}"


def _age_seconds(event: Event, now_ms: int) -> float:
    raised = datetime.datetime.fromisoformat(event["at"])
    return now_ms / 1000 - raised.timestamp()


def _dump(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
