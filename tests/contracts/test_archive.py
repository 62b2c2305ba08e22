"""The archive of entries and fold: the one in memory and the one in the database answer alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from p2psync.core.files import POSTED, TAKEN, Touch
from p2psync.core.frontier import Known
from p2psync.engine.effects import Derived, Persist, StoredEntry
from p2psync.engine.ports import Archive, Kept
from p2psync.storage.database import Database
from tests.engine.archive import Fold, MemoryArchive
from tests.storage.database_rig import FILE, LOG, MANDATE, OTHER, chain, entry, name

OTHER_LOG = bytes([9]) * 32


class Home(Protocol):
    """Where things are kept."""

    def persist(self, *effects: Persist) -> None:
        """Keep some effects, all or none."""

    def archive(self) -> Archive:
        """What answers."""

    def kept(self) -> Kept | None:
        """What is kept of the fold."""


class Memory:
    """The one of the tests."""

    def __init__(self) -> None:
        self.entries: dict[bytes, StoredEntry] = {}
        self.fold = Fold()

    def persist(self, *effects: Persist) -> None:
        for effect in effects:
            for stored in effect.entries:
                self.entries.setdefault(stored.id, stored)
            if effect.derived is not None:
                self.fold.take(effect.derived, len(self.entries))

    def archive(self) -> MemoryArchive:
        return MemoryArchive(self.entries, MANDATE, self.fold)

    def kept(self) -> Kept | None:
        return self.archive().kept()


@dataclass
class Stored:
    """The one of the node."""

    database: Database

    def persist(self, *effects: Persist) -> None:
        with self.database.batch() as batch:
            for effect in effects:
                batch.persist(effect)

    def archive(self) -> Archive:
        archive = self.database.archive(MANDATE)
        assert archive is not None
        return archive

    def kept(self) -> Kept | None:
        return self.database.kept(MANDATE)


@pytest.fixture(params=["memory", "stored"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    if request.param == "memory":
        yield Memory()
    else:
        with Database.open(tmp_path / "p2psync.db") as database:
            with database.batch() as batch:  # another mandate's numbers come first
                batch.add_entries(chain(2, mandate=OTHER))
            yield Stored(database)


def derived(
    entries: list[StoredEntry],
    *touches: Touch,
    check: int = 7,
    whole: bool = False,
    **things: bytes | None,
) -> Derived:
    """What is kept beside entries: a stamp for each, and the rest as given."""
    stamps = tuple((stored.id, 1000 + stored.seq) for stored in entries)
    named = tuple((key.encode(), value) for key, value in things.items())
    return Derived(1, stamps, touches, named, check, whole)


def test_entries_are_found_by_place_and_by_id(home: Home) -> None:
    mine, other = chain(5), chain(3, log=OTHER_LOG)
    home.persist(Persist(tuple(mine), MANDATE, derived(mine)), Persist(tuple(other), MANDATE, None))
    archive = home.archive()
    assert archive.at(LOG, 2) == [Known(mine[2].id, LOG, 2, mine[2].prev, 1002)]
    assert archive.at(LOG, 5) == []
    assert archive.at(b"?" * 32, 0) == []
    assert archive.where(other[1].id) == Known(other[1].id, OTHER_LOG, 1, other[1].prev, None)
    assert archive.where(b"?" * 32) is None
    assert list(archive.chain(LOG, 1, 4)) == [each.id for each in mine[1:4]]
    assert archive.raws([mine[3].id, b"?" * 32]) == {mine[3].id: mine[3].raw}
    assert list(archive.waiting()) == [each.raw for each in other]


def test_branches_come_in_order_of_arrival(home: Home) -> None:
    main, branch = chain(3), entry(2, branch=1)
    home.persist(Persist((*main, branch), MANDATE, derived([*main, branch])))
    home.persist(Persist((entry(3),), MANDATE, derived([entry(3)])))
    archive = home.archive()
    assert [known.id for known in archive.at(LOG, 2)] == [main[2].id, branch.id]
    ids = [*[each.id for each in main], branch.id, entry(3).id]
    assert [known.id for known in archive.branches(LOG)] == ids


def test_what_waited_is_folded_later(home: Home) -> None:
    first, second = chain(2)
    home.persist(Persist((first, second), MANDATE, derived([first])))
    assert list(home.archive().waiting()) == [second.raw]
    home.persist(Persist((), MANDATE, derived([second])))
    assert list(home.archive().waiting()) == []
    known = home.archive().where(second.id)
    assert known is not None
    assert known.stamp == 1001


def test_what_touched_a_file_comes_in_order_of_arrival(home: Home) -> None:
    mine = chain(4)
    posted = Touch(FILE, mine[3].id, POSTED)
    saved = Touch(FILE, mine[1].id, 0, 5, 2, 1)
    again = Touch(FILE, mine[1].id, 4, 6, 1, 0)
    taken = Touch(FILE, mine[0].id, TAKEN)
    elsewhere = Touch(bytes(16), mine[2].id, 0, 1, 1, 0)
    home.persist(Persist(tuple(mine[:1]), MANDATE, derived(mine[:1])))
    home.persist(
        Persist(tuple(mine[1:]), MANDATE, derived(mine[1:], posted, again, saved, taken, elsewhere))
    )
    archive = home.archive()
    found = [(each.entry, each.number) for each in archive.touching(FILE)]
    assert found == [
        (mine[0].id, TAKEN),
        (mine[1].id, 0),
        (mine[1].id, 4),
        (mine[3].id, POSTED),
    ]
    versions = list(archive.versions(FILE))
    assert [tuple(each) for each in versions] == [
        (mine[1].id, 0, 5, 2, 1, mine[1].raw, 1001),
        (mine[1].id, 4, 6, 1, 0, mine[1].raw, 1001),
    ]
    assert list(archive.versions(FILE, mine[1].id)) == versions
    assert list(archive.versions(FILE, mine[3].id)) == []
    assert list(archive.versions(FILE, b"?" * 32)) == []


def test_many_touches_come_in_pages(home: Home) -> None:
    mine = chain(600)
    touches = [Touch(FILE, stored.id, stored.seq % 3, 1, 1, 0) for stored in mine]
    home.persist(Persist(tuple(mine), MANDATE, derived(mine, *touches)))
    found = [(each.entry, each.number) for each in home.archive().touching(FILE)]
    assert found == [(touch.entry, touch.index) for touch in touches]


def test_the_last_word_on_each_thing_is_kept(home: Home) -> None:
    mine = chain(3)
    assert home.kept() is None
    home.persist(
        Persist(tuple(mine[:1]), MANDATE, derived(mine[:1], a=b"1", b=b"1")),
        Persist(tuple(mine[1:2]), MANDATE, derived(mine[1:2], a=b"2", b=None, c=b"3")),
    )
    assert home.kept() == Kept(1, 7, {b"a": b"2", b"c": b"3"})
    home.persist(Persist(tuple(mine[2:]), MANDATE, derived(mine[2:], check=1 << 63, a=None)))
    assert home.kept() == Kept(1, 1 << 63, {b"c": b"3"})


def test_made_anew_it_replaces_all(home: Home) -> None:
    mine = chain(2)
    touch = Touch(FILE, mine[0].id, 0, 1, 1, 0)
    home.persist(Persist(tuple(mine), MANDATE, derived(mine, touch, a=b"1", b=b"2")))
    anew = Touch(FILE, mine[1].id, 0, 1, 1, 0)
    home.persist(Persist((), MANDATE, derived(mine, anew, check=9, whole=True, c=b"3")))
    assert home.kept() == Kept(1, 9, {b"c": b"3"})
    assert [each.entry for each in home.archive().touching(FILE)] == [mine[1].id]


def test_entries_that_came_without_it_make_it_worthless(home: Home) -> None:
    """An older p2psync wrote into this home, and knows of no fold."""
    home.persist(Persist(tuple(chain(1)), MANDATE, derived(chain(1), a=b"1")))
    home.persist(Persist(tuple(chain(1, start=1)), MANDATE, None))
    assert home.kept() is None


def test_what_goes_wrong_leaves_entries_and_fold_as_they_were(tmp_path: Path) -> None:
    with Database.open(tmp_path / "p2psync.db") as database:
        home = Stored(database)
        home.persist(Persist(tuple(chain(1)), MANDATE, derived(chain(1), a=b"1")))
        with pytest.raises(ZeroDivisionError), database.batch() as batch:
            batch.persist(
                Persist(
                    tuple(chain(1, start=1)), MANDATE, derived(chain(1, start=1), check=8, a=b"2")
                )
            )
            batch.finish()
            raise ZeroDivisionError
        assert home.kept() == Kept(1, 7, {b"a": b"1"})
        assert database.count(MANDATE) == 1


def test_what_was_found_wrong_is_not_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "p2psync.db"
    with Database.open(path) as database:
        home = Stored(database)
        home.persist(Persist(tuple(chain(1)), MANDATE, derived(chain(1), a=b"1")))
        home.archive().distrust()
        assert home.kept() is None
    with Database.open(path) as database:
        assert database.kept(MANDATE) is None


def test_a_mandate_that_is_deleted_takes_its_fold_along(tmp_path: Path) -> None:
    with Database.open(tmp_path / "p2psync.db") as database:
        with database.batch() as batch:
            touch = Touch(FILE, name(MANDATE, LOG, 0, 0), 0, 1, 1, 0)
            batch.persist(Persist(tuple(chain(1)), MANDATE, derived(chain(1), touch, a=b"1")))
            batch.delete_mandate(MANDATE)
        assert database.kept(MANDATE) is None
        rows = database._reader.rows("SELECT 1 FROM thing UNION ALL SELECT 1 FROM touch")
        assert rows == []
