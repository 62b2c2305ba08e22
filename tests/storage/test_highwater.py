"""High-water marks and fingerprint: a restored or copied home is noticed (B-ID-4)."""

import shutil
import stat
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.storage import highwater as highwater_module
from p2psync.storage.database import Database, HighWater, Mark
from p2psync.storage.fingerprint import MachineFacts, fingerprint, machine_facts
from p2psync.storage.highwater import SLOT_BYTES, decode, encode
from tests.storage.database_rig import LOG, MANDATE, OTHER, SEED, chain, name

SPECIFICATION = Path(__file__).resolve().parents[2] / "docs" / "spec" / "storage.md"
IDS = st.binary(min_size=32, max_size=32)
MARKS = st.builds(Mark, IDS, IDS, st.integers(0, (1 << 48) - 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marks"


def marks_in(path: Path) -> tuple[Mark, ...]:
    with closing(HighWater(path)) as marks:
        return marks.marks()


@given(MARKS)
def test_a_slot_comes_back(mark: Mark) -> None:
    assert len(encode(mark)) == SLOT_BYTES
    assert decode(encode(mark)) == mark


@given(MARKS, st.integers(0, SLOT_BYTES - 1), st.integers(1, 255))
def test_a_slot_with_any_byte_changed_counts_as_free(mark: Mark, at: int, flip: int) -> None:
    slot = bytearray(encode(mark))
    slot[at] ^= flip
    assert decode(bytes(slot)) is None


@given(MARKS, MARKS, st.integers(1, SLOT_BYTES - 1))
def test_a_torn_slot_is_one_of_the_two_or_free(old: Mark, new: Mark, cut: int) -> None:
    torn = encode(new)[:cut] + encode(old)[cut:]
    assert decode(torn) in (old, new, None)


@given(st.binary(max_size=SLOT_BYTES))
def test_strange_bytes_are_free(data: bytes) -> None:
    assert decode(data) is None


def test_the_bytes_are_those_of_the_specification() -> None:
    """docs/spec/storage.md, "High-water marks" and "Fingerprint"."""
    text = SPECIFICATION.read_text("utf-8")
    mark = Mark(bytes(range(32)), bytes(range(32, 64)), 258)
    slot = encode(mark)
    assert slot[:72] == bytes(range(64)) + bytes.fromhex("0000000000000102")
    assert f"`{slot[72:88].hex()}`" in text
    assert not any(slot[88:])
    facts = MachineFacts("0123456789abcdef0123456789abcdef", 131_073)
    assert f"`{fingerprint(facts)}`" in text


def test_marks_are_raised_and_never_lowered(path: Path) -> None:
    high, other = Mark(MANDATE, LOG, 9), Mark(OTHER, SEED, 0)
    with closing(HighWater(path)) as marks:
        marks.raise_to([Mark(MANDATE, LOG, 3), other])
        marks.raise_to([high])
        marks.raise_to([Mark(MANDATE, LOG, 8)])
        assert marks.marks() == (high, other)
        marks.close()
    assert marks_in(path) == (high, other)
    assert path.stat().st_size == 2 * SLOT_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_slot_is_used_again(path: Path) -> None:
    with closing(HighWater(path)) as marks:
        marks.raise_to([Mark(MANDATE, LOG, 3), Mark(OTHER, SEED, 4)])
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data + b"half a slot")
    with closing(HighWater(path)) as marks:
        assert marks.marks() == (Mark(OTHER, SEED, 4),)
        marks.raise_to([Mark(MANDATE, LOG, 5), Mark(MANDATE, name("log"), 6)])
    assert len(marks_in(path)) == 3
    assert path.stat().st_size == 3 * SLOT_BYTES


def test_of_two_slots_for_one_log_the_higher_counts(path: Path) -> None:
    low, high = Mark(MANDATE, LOG, 1), Mark(MANDATE, LOG, 2)
    for slots in ((low, high), (high, low)):
        path.write_bytes(b"".join(map(encode, slots)))
        assert marks_in(path) == (high,)


def test_the_number_of_marks_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highwater_module, "HIGH_WATER_MARKS_MAX", 2)
    with closing(HighWater(path)) as marks:
        marks.raise_to([Mark(MANDATE, name(number), 0) for number in range(3)])
        assert len(marks.marks()) == 2
        marks.drop(MANDATE)
        marks.raise_to([Mark(OTHER, name(number), 0) for number in range(3)])
        assert len(marks.marks()) == 2
    assert path.stat().st_size == 2 * SLOT_BYTES


# -- together with the database -------------------------------------------------------------------


def write(database: Database, *, start: int, count: int) -> None:
    with database.batch() as batch:
        batch.keep_log_key(MANDATE, LOG, SEED, 0)
        batch.add_entries(chain(count, start=start))
        batch.add_entries(chain(3, log=name("somebody else's log")))


def test_a_database_from_a_backup_is_behind(tmp_path: Path, path: Path) -> None:
    """B-ID-4."""
    database_path, backup = tmp_path / "p2psync.db", tmp_path / "backup.db"
    with closing(HighWater(path)) as marks:
        with Database.open(database_path, marks) as database:
            write(database, start=0, count=5)
            assert database.behind() == ()
        shutil.copy(database_path, backup)
        with Database.open(database_path, marks) as database:
            assert database.behind() == ()
            write(database, start=5, count=2)
            assert database.behind() == ()
    with closing(HighWater(path)) as marks:
        with Database.open(database_path, marks) as database:
            assert database.behind() == ()
        shutil.copy(backup, database_path)
        with Database.open(database_path, marks) as database:
            assert database.behind() == (Mark(MANDATE, LOG, 6),)
            with database.batch() as batch:
                batch.close_log(LOG)
            assert database.behind() == ()


def test_a_log_without_any_entry_left_is_behind(tmp_path: Path, path: Path) -> None:
    with closing(HighWater(path)) as marks:
        marks.raise_to([Mark(MANDATE, LOG, 0), Mark(MANDATE, name("unknown log"), 7)])
        with Database.open(tmp_path / "p2psync.db", marks) as database:
            assert database.behind() == ()
            with database.batch() as batch:
                batch.keep_log_key(MANDATE, LOG, SEED, 0)
            assert database.behind() == (Mark(MANDATE, LOG, 0),)


def test_a_batch_that_was_undone_raises_no_mark(tmp_path: Path, path: Path) -> None:
    with (
        closing(HighWater(path)) as marks,
        Database.open(tmp_path / "p2psync.db", marks) as database,
    ):
        write(database, start=0, count=1)
        with pytest.raises(ZeroDivisionError), database.batch() as batch:
            batch.add_entries(chain(3, start=1))
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), database.batch() as batch:
            batch.keep_log_key(MANDATE, name("log"), SEED, 1)
            raise ZeroDivisionError
        with database.batch() as batch:
            batch.add_entries(chain(1, log=name("log")))
        assert marks.marks() == (Mark(MANDATE, LOG, 0),)


def test_an_entry_of_another_mandate_raises_no_mark(tmp_path: Path, path: Path) -> None:
    with (
        closing(HighWater(path)) as marks,
        Database.open(tmp_path / "p2psync.db", marks) as database,
    ):
        with database.batch() as batch:
            batch.keep_log_key(MANDATE, LOG, SEED, 0)
            batch.add_entries(chain(3, mandate=OTHER))
        assert marks.marks() == ()


def test_a_removed_mandate_takes_its_marks_along(tmp_path: Path, path: Path) -> None:
    with (
        closing(HighWater(path)) as marks,
        Database.open(tmp_path / "p2psync.db", marks) as database,
    ):
        write(database, start=0, count=4)
        with database.batch() as batch:
            batch.delete_mandate(MANDATE)
        assert marks.marks() == ()
        with database.batch() as batch:
            batch.add_entries(chain(4))
        assert marks.marks() == ()
        assert database.behind() == ()


def test_marks_that_cannot_be_written_do_not_harm_a_commit(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marks = HighWater(path)
    with Database.open(tmp_path / "p2psync.db", marks) as database:
        marks.close()
        write(database, start=0, count=4)
        assert database.count(MANDATE) == 7
    assert "marks" in caplog.text


def test_without_marks_nothing_is_behind(tmp_path: Path) -> None:
    with Database.open(tmp_path / "p2psync.db") as database:
        write(database, start=0, count=4)
        assert database.behind() == ()


# -- fingerprint ----------------------------------------------------------------------------------


def test_another_machine_or_another_place_has_another_fingerprint() -> None:
    here = MachineFacts("3c9e1f", 77)
    prints = [
        fingerprint(facts)
        for facts in (here, MachineFacts("3c9e10", 77), MachineFacts("3c9e1f", 78))
    ]
    assert len(set(prints)) == 3
    assert fingerprint(MachineFacts("3c9e1f\n", 77)) == prints[0]
    assert "3c9e1f" not in prints[0]
    assert fingerprint(MachineFacts("", 0)) != fingerprint(MachineFacts("0", 0))


def test_a_home_that_was_copied_has_another_fingerprint(tmp_path: Path) -> None:
    """B-ID-4."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    shutil.copytree(home, copy)
    before = fingerprint(machine_facts(home))
    assert fingerprint(machine_facts(copy)) != before
    home.rename(tmp_path / "renamed")
    assert fingerprint(machine_facts(tmp_path / "renamed")) == before
    assert machine_facts(tmp_path / "gone").home_inode == 0
