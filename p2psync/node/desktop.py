"""Desktop notifications (B-NOT-3): alerts, and messages worth an interruption, on this desktop.

The library (``desktop-notifier``, the extra ``p2psync[desktop]``) is imported when the first one is
shown, in a thread; without it, without a session, or when it is switched off, nothing is loaded.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import trio

from p2psync.errors import DesktopLibraryMissing, DesktopMissing, DesktopSilent
from p2psync.limits import POPUPS_WAITING_MAX
from p2psync.node.event_types import EVENT_TYPES
from p2psync.node.notices import Event, Notices
from p2psync.node.store import Store
from p2psync.node.timing import Clock

Json = dict[str, Any]
SETTING = "desktop"
APART_SECONDS = 3.0
"""Popups come at most so often; what comes meanwhile is shown together."""
TOGETHER_MAX = 3
"""More than so many at a time are only counted."""
SHOW_SECONDS_MAX = 10.0
AGAIN_SECONDS = 600.0
"""How long a desktop that could not be reached is left alone."""
POPUP_TEXTS = {
    "counted": "{count} new messages and alerts: see p2psync messages",
    "on": "desktop notifications are on",
}


class Screen(Protocol):
    """What shows a notification; blocks, and raises ``DesktopMissing``."""

    def show(self, title: str, text: str, *, urgent: bool) -> None:
        """Show one; ``urgent`` ones stay until somebody closes them."""

    def close(self) -> None:
        """Let go of the desktop."""


class NotifierScreen:
    """The desktop through ``desktop-notifier``; its calls come from one thread at a time.

    The library wants an asyncio loop. The connection stays open from one notification to the next:
    some desktops take away what somebody showed who is gone.
    """

    def __init__(self) -> None:
        try:
            from desktop_notifier import DesktopNotifier, Urgency
        except ImportError as error:
            raise DesktopLibraryMissing from error
        self._urgency = {False: Urgency.Normal, True: Urgency.Critical}
        self._loop = asyncio.new_event_loop()
        self._notifier = DesktopNotifier(app_name="p2psync", notification_limit=20)

    def show(self, title: str, text: str, *, urgent: bool) -> None:
        """Show one."""
        shown: list[bool] = []
        # The library logs why it cannot, and raises nothing.
        send = self._notifier.send(
            title=title,
            message=text,
            urgency=self._urgency[urgent],
            on_dispatched=lambda: shown.append(True),
        )
        self._loop.run_until_complete(send)
        if not shown:
            raise DesktopSilent

    def close(self) -> None:
        """Let go of the desktop."""
        # The library has no way to end its connection.
        bus = getattr(getattr(self._notifier, "_backend", None), "bus", None)
        if bus is not None:
            bus.disconnect()
        self._loop.close()


def lacking(environment: Mapping[str, str] | None = None) -> DesktopMissing | None:
    """What keeps this process from showing anything, as far as can be told without trying."""
    values = os.environ if environment is None else environment
    if importlib.util.find_spec("desktop_notifier") is None:
        return DesktopLibraryMissing()
    if sys.platform.startswith("linux") and not values.get("DBUS_SESSION_BUS_ADDRESS"):
        runtime = values.get("XDG_RUNTIME_DIR")
        if not runtime or not Path(runtime, "bus").exists():
            return DesktopMissing()
    return None


class Desktop:
    """Shows events on the desktop of this user session."""

    def __init__(
        self,
        store: Store,
        notices: Notices,
        clock: Clock,
        screen: Callable[[], Screen] = NotifierScreen,
        missing: Callable[[], DesktopMissing | None] = lacking,
    ) -> None:
        """``screen`` opens the desktop, in a thread; ``missing`` tells what keeps it from that."""
        self._store = store
        self._notices = notices
        self._clock = clock
        self._open = screen
        self._missing = missing
        self._screen: Screen | None = None
        self._waiting: list[Event] = []
        self._over = 0
        self._work = trio.Event()
        self._lock = trio.Lock()
        self.on = False
        self.render: Callable[[Event], Event] = lambda event: event

    async def run(self) -> None:
        """Show what comes until cancelled."""
        self.on = self._missing() is None and await self._store.setting(SETTING) != "off"
        self._notices.on_kept.append(self._heard)
        try:
            await self._show_what_comes()
        finally:
            screen, self._screen = self._screen, None
            if screen is not None and not self._lock.locked():
                screen.close()

    async def _show_what_comes(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            waiting, self._waiting = self._waiting, []
            over, self._over = self._over, 0
            try:
                await self._show_all(waiting, over)
            except DesktopMissing:
                await self._clock.sleep(AGAIN_SECONDS)
                self._waiting, self._over = [], 0  # what is old interrupts nobody
                self._work = trio.Event()
            else:
                await self._clock.sleep(APART_SECONDS)

    def _heard(self, events: Sequence[Event]) -> None:
        if not self.on:
            return
        for event in events:
            known = EVENT_TYPES.get(event["type"])
            if known is None or not known.shown:
                continue
            if len(self._waiting) < POPUPS_WAITING_MAX:
                self._waiting.append(event)
            else:
                self._over += 1
            self._work.set()

    async def _show_all(self, events: Sequence[Event], over: int) -> None:
        if len(events) + over > TOGETHER_MAX:
            urgent = any(event["severity"] == "alert" for event in events)
            await self._show(_counted(len(events) + over), urgent=urgent)
            return
        for event in events:
            await self._show(event, urgent=event["severity"] == "alert")

    async def _show(self, event: Event, *, urgent: bool) -> None:
        said = self.render(event)
        title = event.get("mandate_name") or "p2psync"
        async with self._lock:
            if self._screen is None:
                self._screen = await trio.to_thread.run_sync(self._open)
            screen = self._screen

            def show() -> None:
                screen.show(_plain(title), _plain(said["text"]), urgent=urgent)

            try:
                with trio.move_on_after(SHOW_SECONDS_MAX) as scope:
                    await trio.to_thread.run_sync(
                        show,
                        abandon_on_cancel=True,  # type: ignore[call-arg]  # newer than the stubs
                    )
            except DesktopMissing:
                self._screen = None
                await trio.to_thread.run_sync(screen.close)
                raise
            if scope.cancelled_caught:
                self._screen = None  # that thread may go on with it
                raise DesktopSilent

    # -- commands -----------------------------------------------------------------------------

    async def view(self) -> Json:
        """Whether notifications are shown, and if not, why."""
        lacks = self._missing()
        wanted = await self._store.setting(SETTING) != "off"
        answer: Json = {"desktop": "on" if wanted and lacks is None else "off"}
        if lacks is not None:
            answer["cause"] = {
                "text": lacks.text,
                "template": lacks.template,
                "params": lacks.params,
            }
        return answer

    async def switch(self, *, on: bool) -> Json:
        """Switch them on, which shows one, or off; raises ``DesktopMissing``."""
        if on:
            lacks = self._missing()
            if lacks is not None:
                raise lacks
            await self._show(_event(POPUP_TEXTS["on"], {}), urgent=False)
        await self._store.put_setting(SETTING, "on" if on else "off")
        self.on = on
        return await self.view()


def _counted(count: int) -> Event:
    return _event(POPUP_TEXTS["counted"], {"count": str(count)})


def _event(template: str, params: Mapping[str, str]) -> Event:
    return {"text": template.format_map(params), "template": template, "params": dict(params)}


def _plain(text: str) -> str:
    """Return a text of others without control characters, and without what a desktop takes for
    markup.
    """
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown.translate({ord("<"): "‹", ord(">"): "›"})
