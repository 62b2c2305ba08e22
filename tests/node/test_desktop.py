"""Desktop notifications over a fake screen (B-NOT-3)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from p2psync.errors import DesktopMissing, DesktopSilent
from p2psync.node.desktop import (
    AGAIN_SECONDS,
    APART_SECONDS,
    Desktop,
    lacking,
)
from p2psync.node.notices import Notices
from p2psync.node.store import Store
from p2psync.node.views import iso
from p2psync.storage.database import Database
from tests.fakes.clock import FakeClock
from tests.fakes.receiver import until


@dataclass
class FakeScreen:
    shown: list[tuple[str, str, bool]] = field(default_factory=list)
    opened: int = 0
    broken: bool = False

    def __call__(self) -> "FakeScreen":
        self.opened += 1
        return self

    def close(self) -> None:
        self.opened -= 1

    def show(self, title: str, text: str, *, urgent: bool) -> None:
        if self.broken:
            raise DesktopSilent
        self.shown.append((title, text, urgent))


@dataclass
class Desk:
    desktop: Desktop
    notices: Notices
    clock: FakeClock
    screen: FakeScreen

    async def settled(self) -> None:
        await self.notices.kept()
        await trio.testing.wait_all_tasks_blocked(0.01)


@asynccontextmanager
async def desk(root: Path, missing: DesktopMissing | None = None) -> AsyncIterator[Desk]:
    clock, screen = FakeClock(), FakeScreen()
    with Database.open(root / "p2psync.db") as database:
        store = Store(database)
        notices = Notices(store, lambda: iso(clock.now_ms()), lambda _m, _d: ("Acme", None))
        desktop = Desktop(store, notices, clock, screen, lambda: missing)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notices.run)
            nursery.start_soon(desktop.run)
            await until(lambda: bool(notices.on_kept))
            with trio.fail_after(30):
                yield Desk(desktop, notices, clock, screen)
            nursery.cancel_scope.cancel()


async def test_alerts_and_what_asks_for_a_person_are_shown(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.notices.message("file-attached", "{who} attached it", who="Anna")
        here.notices.message("records-waiting", "{count} wait", count="3")
        here.notices.alert_text("no-room", "<b>no & room\x1b[31m</b>", key="no-room")
        await until(lambda: len(here.screen.shown) == 2)
        assert here.screen.shown == [
            ("Acme", "3 wait", False),
            ("Acme", "‹b›no & room [31m‹/b›", True),
        ]
        assert here.screen.opened == 1


async def test_many_are_counted_in_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.notices.message("posted", "first")
        await until(lambda: here.clock.sleeps == [APART_SECONDS])
        for number in range(500):
            here.notices.alert_text("no-room", "no room", key=f"{number}")
        await here.settled()
        assert len(here.screen.shown) == 1
        await here.clock.advance(APART_SECONDS)
        await until(lambda: len(here.screen.shown) == 2)
        text = "500 new messages and alerts: see p2psync messages"
        assert here.screen.shown[-1] == ("p2psync", text, True)


async def test_a_screen_that_does_not_answer_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.screen.broken = True
        here.notices.message("posted", "lost")
        await until(lambda: here.clock.sleeps == [AGAIN_SECONDS])
        here.screen.broken = False
        here.notices.message("posted", "old by then")
        await here.settled()
        await here.clock.advance(AGAIN_SECONDS)
        here.notices.message("posted", "new")
        await until(lambda: bool(here.screen.shown))
        assert [text for _, text, _ in here.screen.shown] == ["new"]
        assert here.screen.opened == 1  # the broken one is closed


async def test_it_is_switched_off_and_on_for_good(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        assert await here.desktop.view() == {"desktop": "on"}
        assert await here.desktop.switch(on=False) == {"desktop": "off"}
        here.notices.message("posted", "unseen")
        await here.settled()
        assert here.screen.opened == 0
    async with desk(tmp_path) as here:
        assert await here.desktop.view() == {"desktop": "off"}
        here.screen.broken = True
        with pytest.raises(DesktopSilent):
            await here.desktop.switch(on=True)
        assert await here.desktop.view() == {"desktop": "off"}
        here.screen.broken = False
        assert await here.desktop.switch(on=True) == {"desktop": "on"}
        assert here.screen.shown == [("p2psync", "desktop notifications are on", False)]


async def test_without_a_session_nothing_is_opened(tmp_path: Path) -> None:
    async with desk(tmp_path, DesktopMissing()) as here:
        here.notices.message("posted", "unseen")
        await here.settled()
        view = await here.desktop.view()
        assert view["desktop"] == "off"
        assert view["cause"]["text"] == "there is no desktop session to show notifications in"
        with pytest.raises(DesktopMissing):
            await here.desktop.switch(on=True)
        assert here.screen.opened == 0


def test_what_is_missing_is_told_without_loading_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert lacking({}) is not None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert lacking({}) is not None
    assert lacking({"XDG_RUNTIME_DIR": str(tmp_path)}) is not None
    assert lacking({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}) is None
    (tmp_path / "bus").touch()
    assert lacking({"XDG_RUNTIME_DIR": str(tmp_path)}) is None
