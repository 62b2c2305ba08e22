"""The watcher on a real disk, with every notifier; no test waits for longer than it has to."""

import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.storage import watcher as watcher_module
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder
from p2psync.storage.notify import (
    FolderGone,
    InotifyNotifier,
    LibraryNotifier,
    NoNotifier,
    Notifier,
    Overflow,
    Tell,
    Touched,
    parse_inotify,
)
from p2psync.storage.stability import Touch
from p2psync.storage.watcher import ALL, Hint, Watcher

DEADLINE_S = 20
NAME = "Ventes.ecf"

NOTIFIERS: list[Callable[[], Notifier]] = [
    InotifyNotifier,
    lambda: LibraryNotifier(step_ms=5, timeout_ms=20),
    NoNotifier,
]


class Watching:
    """A running watcher, and the hints that came."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    async def hint(self, directory: Path, name: str | None) -> None:
        """Wait for one hint; others before it are let pass."""
        with trio.fail_after(DEADLINE_S):
            async for hint in self.watcher:
                if hint == Hint(directory, name):
                    return

    async def every_hint(self, directory: Path, names: Collection[str]) -> None:
        """Wait until each of these names was hinted: the first look at them is over."""
        left = {Hint(directory, name) for name in names}
        with trio.fail_after(DEADLINE_S):
            while left:
                left.discard(await anext(self.watcher))

    async def settle(self, directory: Path, marker: str) -> list[Hint]:
        """Return all hints up to that of a file made now, which is a target."""
        seen: list[Hint] = []
        replace(directory / marker, os.urandom(8))
        with trio.fail_after(DEADLINE_S):
            async for hint in self.watcher:
                if hint == Hint(directory, marker):
                    return seen
                seen.append(hint)
        raise AssertionError


@asynccontextmanager
async def running(notifier: Notifier, rescan_s: float = 3600) -> AsyncIterator[Watching]:
    watcher = Watcher(notifier, rescan_s=rescan_s, unwatched_scan_s=0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        yield Watching(watcher)
        nursery.cancel_scope.cancel()


@pytest.fixture(params=NOTIFIERS, ids=["inotify", "library", "scans"])
def watching(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Watching]:
    return running(request.param())


def replace(path: Path, content: bytes) -> None:
    """Save as good programs do."""
    other = path.with_name(f"{path.name}.tmp")
    other.write_bytes(content)
    other.replace(path)


def write_in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


async def test_each_new_target_is_hinted_present_or_not(
    watching: AbstractAsyncContextManager[Watching], tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(b"abc")
    async with watching as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME, "missing"])})
        await at.hint(tmp_path, "missing")
    async with running(NoNotifier()) as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME, "missing"])})
        await at.hint(tmp_path, NAME)


async def test_a_new_name_costs_no_look_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = watcher_module._stat

    def counted(directory: Path, name: str) -> FileStat | None:
        looked.append(name)
        return real(directory, name)

    names = frozenset(f"{number}.bin" for number in range(500))
    async with running(InotifyNotifier()) as at:
        at.watcher.set_targets({tmp_path: names})
        await at.every_hint(tmp_path, names)
        monkeypatch.setattr(watcher_module, "_stat", counted)
        (tmp_path / "new.bin").write_bytes(b"new")
        at.watcher.set_targets({tmp_path: names | {"new.bin"}})
        await at.hint(tmp_path, "new.bin")
        assert not set(looked) & names


@pytest.mark.parametrize("save", [replace, write_in_place])
async def test_saves_are_hinted(
    watching: AbstractAsyncContextManager[Watching],
    tmp_path: Path,
    save: Callable[[Path, bytes], None],
) -> None:
    """B-ATT-1: each save is taken up."""
    path = tmp_path / NAME
    path.write_bytes(b"content")
    async with watching as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME])})
        await at.hint(tmp_path, NAME)
        for number in range(3):
            save(path, f"save {number}".encode())
            await at.hint(tmp_path, NAME)


async def test_a_save_by_our_own_folder_is_hinted_without_its_temporary_file(
    watching: AbstractAsyncContextManager[Watching], tmp_path: Path
) -> None:
    async with watching as at:
        at.watcher.set_targets({tmp_path: ALL})
        with Folder.open(tmp_path) as folder:
            first = folder.replace(NAME, [b"one"], None)
            await at.hint(tmp_path, NAME)
            folder.replace(NAME, [b"two"], first)
            await at.hint(tmp_path, NAME)
        seen = await at.settle(tmp_path, "marker")
    assert not [hint for hint in seen if (hint.name or "").startswith(TEMPORARY_PREFIX)]


async def test_a_file_that_goes_away_is_hinted(
    watching: AbstractAsyncContextManager[Watching], tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"content")
    async with watching as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME])})
        await at.hint(tmp_path, NAME)
        path.rename(tmp_path / "other")
        await at.hint(tmp_path, NAME)
        (tmp_path / "other").rename(path)
        await at.hint(tmp_path, NAME)
        path.unlink()
        await at.hint(tmp_path, NAME)


async def test_other_names_and_folders_below_are_let_be(
    watching: AbstractAsyncContextManager[Watching], tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    async with watching as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME, "marker"])})
        await at.hint(tmp_path, NAME)
        (tmp_path / "other.ecf").write_bytes(b"x")
        (tmp_path / "below" / NAME).write_bytes(b"x")
        seen = await at.settle(tmp_path, "marker")
    assert {hint.name for hint in seen} <= {"marker", NAME}
    assert Hint(tmp_path, NAME) not in seen


async def test_targets_may_change_at_any_time_and_nothing_is_lost(
    watching: AbstractAsyncContextManager[Watching], tmp_path: Path
) -> None:
    """A save in one folder at the very time at which another folder comes or goes."""
    folders = [tmp_path / str(number) for number in range(10)]
    for folder in folders:
        folder.mkdir()
        (folder / NAME).write_bytes(b"content")
    async with watching as at:
        for number, folder in enumerate(folders):
            at.watcher.set_targets({there: frozenset([NAME]) for there in folders[: number + 1]})
            await at.hint(folder, NAME)
            replace(folders[0] / NAME, f"save {number}".encode())
            await at.hint(folders[0], NAME)
        at.watcher.set_targets({folders[0]: frozenset([NAME, "marker"])})
        replace(folders[1] / NAME, b"not a target any more")
        seen = await at.settle(folders[0], "marker")
        assert Hint(folders[1], NAME) not in seen


async def test_a_folder_that_vanishes_is_hinted_as_such_and_picked_up_when_it_returns(
    watching: AbstractAsyncContextManager[Watching], tmp_path: Path
) -> None:
    """B-MIG-1: nothing is said of its files meanwhile."""
    place = tmp_path / "stick"
    place.mkdir()
    (place / NAME).write_bytes(b"content")
    async with watching as at:
        at.watcher.set_targets({place: frozenset([NAME])})
        await at.hint(place, NAME)
        place.rename(tmp_path / "pulled out")
        await at.hint(place, None)
        (tmp_path / "pulled out").rename(place)
        await at.hint(place, None)
        replace(place / NAME, b"saved after the return")
        await at.hint(place, NAME)


async def test_another_folder_at_the_same_place_is_watched_instead(tmp_path: Path) -> None:
    """The parent was swapped: the system tells nothing about the folder below it."""
    for parent in ("home", "other"):
        (tmp_path / parent / "in").mkdir(parents=True)
        (tmp_path / parent / "in" / NAME).write_bytes(b"content")
    place = tmp_path / "home" / "in"
    async with running(InotifyNotifier(), rescan_s=0.01) as at:
        at.watcher.set_targets({place: frozenset([NAME])})
        await at.hint(place, NAME)
        (tmp_path / "home").rename(tmp_path / "old")
        (tmp_path / "other").rename(tmp_path / "home")
        await at.hint(place, NAME)
        replace(place / NAME, b"new")
        await at.hint(place, NAME)


async def test_a_change_that_the_system_does_not_tell_is_found_by_the_rescan(
    tmp_path: Path,
) -> None:
    class Deaf(NoNotifier):
        def watch(self, directory: Path) -> bool:
            return True

    path = tmp_path / NAME
    path.write_bytes(b"content")
    async with running(Deaf()) as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME])})
        await at.hint(tmp_path, NAME)
        replace(path, b"unnoticed")
        at.watcher.rescan()
        await at.hint(tmp_path, NAME)
    async with running(Deaf(), rescan_s=0.01) as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME])})
        await at.hint(tmp_path, NAME)
        replace(path, b"unnoticed too")
        await at.hint(tmp_path, NAME)


async def test_after_lost_events_everything_is_compared(tmp_path: Path) -> None:
    class Overflowing(NoNotifier):
        tell: Tell | None = None

        def watch(self, directory: Path) -> bool:
            return True

        async def run(self, tell: Tell) -> None:
            self.tell = tell
            await trio.sleep_forever()

    path = tmp_path / NAME
    path.write_bytes(b"content")
    notifier = Overflowing()
    async with running(notifier) as at:
        at.watcher.set_targets({tmp_path: frozenset([NAME])})
        await at.hint(tmp_path, NAME)
        replace(path, b"lost")
        assert notifier.tell is not None
        notifier.tell([Overflow()])
        await at.hint(tmp_path, NAME)


async def test_folders_that_the_system_cannot_watch_are_scanned(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"content")
    watcher = Watcher(InotifyNotifier(), unwatched_scan_s=0.01, unwatchable=lambda _path: True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        at = Watching(watcher)
        watcher.set_targets({tmp_path: frozenset([NAME])})
        await at.hint(tmp_path, NAME)
        replace(path, b"on a network drive")
        await at.hint(tmp_path, NAME)
        nursery.cancel_scope.cancel()


async def test_a_thousand_folders(tmp_path: Path) -> None:
    """B-MAN-7."""
    folders = [tmp_path / str(number) for number in range(1000)]
    for folder in folders:
        folder.mkdir()
        (folder / NAME).touch()
    async with running(InotifyNotifier()) as at:
        at.watcher.set_targets(dict.fromkeys(folders, frozenset([NAME])))
        left = {Hint(folder, NAME) for folder in folders}
        with trio.fail_after(DEADLINE_S):
            async for hint in at.watcher:
                left.discard(hint)
                if not left:
                    break
        replace(folders[999] / NAME, b"new")
        await at.hint(folders[999], NAME)


async def test_equal_hints_wait_as_one(tmp_path: Path) -> None:
    watcher = Watcher(NoNotifier())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        watcher.set_targets({tmp_path: frozenset([NAME])})
        with trio.fail_after(DEADLINE_S):
            assert await watcher.__anext__() == Hint(tmp_path, NAME)
        for _ in range(5):
            watcher._on_news([Touched(tmp_path, NAME, Touch.WHOLE)])
        assert await watcher.__anext__() == Hint(tmp_path, NAME)
        with trio.move_on_after(0) as scope:
            await watcher.__anext__()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


# -- inotify itself ---------------------------------------------------------------------------


async def test_inotify_tells_whole_files_from_those_being_written(tmp_path: Path) -> None:
    notifier = InotifyNotifier()
    assert notifier.watch(tmp_path)
    news: list[object] = []
    told = trio.Event()

    def tell(items: object) -> None:
        assert isinstance(items, list)
        news.extend(items)
        if FolderGone(tmp_path) in items:
            told.set()

    file = (tmp_path / NAME).open("wb")
    file.write(b"abc")
    file.flush()
    file.close()
    (tmp_path / NAME).rename(tmp_path / "b")
    (tmp_path / "b").unlink()
    os.rmdir(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run, tell)
        with trio.fail_after(DEADLINE_S):
            await told.wait()
        nursery.cancel_scope.cancel()
    assert news == [
        Touched(tmp_path, NAME, Touch.WRITTEN),
        Touched(tmp_path, NAME, Touch.WRITTEN),
        Touched(tmp_path, NAME, Touch.WHOLE),
        Touched(tmp_path, NAME, Touch.GONE),
        Touched(tmp_path, "b", Touch.WHOLE),
        Touched(tmp_path, "b", Touch.GONE),
        FolderGone(tmp_path),
    ]
    assert not notifier.watch(tmp_path)


async def test_one_folder_under_two_paths_is_told_under_both(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    notifier = InotifyNotifier()
    assert notifier.watch(tmp_path / "real")
    assert notifier.watch(tmp_path / "link")
    news: list[object] = []
    told = trio.Event()

    def tell(items: object) -> None:
        assert isinstance(items, list)
        news.extend(items)
        told.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run, tell)
        for touched, watched in ((2, None), (1, tmp_path / "link")):
            if watched is not None:
                notifier.unwatch(watched)
            news.clear()
            told = trio.Event()
            (tmp_path / "real" / str(touched)).mkdir()
            with trio.fail_after(DEADLINE_S):
                await told.wait()
            assert len(news) == touched
        nursery.cancel_scope.cancel()


def test_inotify_records_are_parsed() -> None:
    data = bytes.fromhex(
        "01000000 08000000 00000000 10000000"  # watch 1, close-write, cookie 0, 16 bytes of name
        "56656e7465732e656366000000000000"  # Ventes.ecf, padded
        "ffffffff 00400000 00000000 00000000"  # overflow
    )
    events = list(parse_inotify(data))
    assert [(event.watch, event.mask, event.name) for event in events] == [
        (1, 0x8, "Ventes.ecf"),
        (-1, 0x4000, ""),
    ]
