"""The database when disk, file or process fail: nothing half, and words that help."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from p2psync.errors import (
    AccessDenied,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseForeign,
    DatabaseNewer,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    FolderMissing,
    StorageError,
    SystemTooOld,
)
from p2psync.storage import rows, schema
from p2psync.storage import sqlite as sqlite_module
from p2psync.storage.database import Database, HighWater, NewEvent
from p2psync.storage.file_state import FileStat
from p2psync.storage.sqlite import check, connect, sqlite_errors, storage_error
from tests.storage.conftest import unprivileged
from tests.storage.database_rig import LOG, MANDATE, SEED, chain, entry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p2psync.db"


def fill(path: Path, count: int = 200) -> None:
    with Database.open(path) as database, database.batch() as batch:
        batch.add_entries(chain(count))


# -- the process is killed ------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from p2psync.storage.database import Database, HighWater, NewEvent
from tests.storage.database_rig import LOG, MANDATE, SEED, chain
path = Path(sys.argv[1])
with Database.open(path, HighWater(path.with_name("marks"))) as database:
    seq = database.count(MANDATE)
    for _ in sys.stdin if "in turns" in sys.argv else iter(int, 1):
        with database.batch() as batch:
            batch.keep_log_key(MANDATE, LOG, SEED, 0)
            batch.add_entries(chain(5, start=seq))
            batch.add_events([NewEvent(MANDATE, "message", str(seq))])
        seq += 5
        print(seq, flush=True)
"""


@contextmanager
def writer(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes batches without end, or one for each line it reads: "in turns"."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


def sound(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_was_acknowledged_is_there_after_a_kill(path: Path) -> None:
    acknowledged = 0
    for batches in (3, 17, 40):
        with writer(path) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(batches)]
            process.kill()
            lines += process.stdout.readlines()
        acknowledged = int([line for line in lines if line.endswith("\n")][-1])
        with (
            closing(HighWater(path.with_name("marks"))) as marks,
            Database.open(path, marks) as database,
        ):
            count = database.count(MANDATE)
            assert count >= acknowledged
            assert count % 5 == 0
            assert list(database.raws(MANDATE)) == [item.raw for item in chain(count)]
            assert [row.id for row in database.events_since(0, 9999)] == list(
                range(1, count // 5 + 1)
            )
            assert database.behind() == ()
        sound(path)


def test_a_copy_taken_at_any_moment_of_a_commit_opens_with_whole_batches(
    path: Path, tmp_path: Path
) -> None:
    """What is on the disk after each step of a commit is what a crash would leave there."""
    copies = []
    with Database.open(path) as database:
        for start in range(0, 60, 20):
            with database.batch() as batch:
                for seq in range(start, start + 20):
                    batch.add_entries([entry(seq)])
                    copy = tmp_path / f"copy-{seq}"
                    copy.mkdir()
                    for file in (path, Path(f"{path}-wal")):
                        shutil.copy(file, copy)
                    copies.append((start, copy / path.name))
    for whole, copied in copies:
        with Database.open(copied) as database:
            assert database.count(MANDATE) == whole


def test_a_log_that_was_cut_off_anywhere_opens_with_whole_batches(
    path: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy.db"
    Database.open(path).close()
    with Database.open(path) as database:
        for start in range(0, 60, 20):
            with database.batch() as batch:
                batch.add_entries(chain(20, start=start))
        content, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    counts = []
    for kept in [*range(0, len(log), 1_500), len(log)]:
        copied.write_bytes(content)
        Path(f"{copied}-wal").write_bytes(log[:kept])
        with Database.open(copied) as database:
            counts.append(database.count(MANDATE))
            assert len(list(database.raws(MANDATE))) == counts[-1]
    assert counts == sorted(counts)
    assert set(counts) == {0, 20, 40, 60}


# -- the disk is full, read-only, broken ----------------------------------------------------------


def test_a_full_disk_refuses_the_batch_whole_and_works_again_when_there_is_space(
    path: Path,
) -> None:
    with Database.open(path) as database:
        with database.batch() as batch:
            batch.add_entries(chain(10))
            pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
        database._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        with pytest.raises(DiskFull) as caught, database.batch() as batch:
            batch.add_events([NewEvent(None, "message", "{}")])
            batch.add_entries(chain(5_000, start=10))
        assert str(path) in caught.value.text
        assert database.count(MANDATE) == 10
        assert database.last_event_id() == 0
        database._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        with database.batch() as batch:
            batch.add_entries(chain(5_000, start=10))
        assert database.count(MANDATE) == 5_010


LIMITED = """
import resource, sys
from pathlib import Path
from p2psync.errors import StorageError
from p2psync.storage.database import Database
from tests.storage.database_rig import MANDATE, chain
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
with Database.open(Path(sys.argv[1])) as database:
    seq = 0
    try:
        while True:
            with database.batch() as batch:
                batch.add_entries(chain(50, start=seq))
            seq += 50
    except StorageError as error:
        first = error.code
    for _ in range(3):
        try:
            with database.batch() as batch:
                batch.add_entries(chain(2000, start=seq))
        except StorageError as error:
            pass
        else:
            raise AssertionError
    assert database.count(MANDATE) == seq
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with database.batch() as batch:
        batch.add_entries(chain(50, start=seq))
    print(first, seq + 50)
"""


def test_a_limit_that_the_system_sets_is_survived(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, count = done.stdout.split()
    assert code in ("disk-full", "disk-failed")
    with Database.open(path) as database:
        assert list(database.raws(MANDATE)) == [item.raw for item in chain(int(count))]
    sound(path)


def test_a_read_only_disk_is_named(path: Path) -> None:
    fill(path)
    uri = f"file:{path}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection,
        pytest.raises(DiskReadOnly) as caught,
        sqlite_errors(path),
    ):
        connection.execute("DELETE FROM raw")
    assert str(path) in caught.value.text


def test_a_file_that_may_not_be_written_is_named(path: Path) -> None:
    fill(path)
    path.chmod(0o400)
    with unprivileged(path.parent, path), pytest.raises(AccessDenied):
        Database.open(path)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Database.open(tmp_path / "gone" / "p2psync.db")
    assert "gone" in caught.value.text


def test_why_the_system_refuses_is_found_out(path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    error.sqlite_errorname = "SQLITE_IOERR_WRITE"
    assert isinstance(storage_error(error, path), DiskFailed)
    assert list(path.parent.iterdir()) == []
    gone = path.parent / "gone" / path.name
    found = storage_error(error, gone)
    assert isinstance(found, DiskFailed | FolderMissing)
    path.parent.chmod(0o500)
    with unprivileged(path.parent):
        assert isinstance(storage_error(error, path), AccessDenied)


def test_our_own_mistakes_are_no_storage_errors(path: Path) -> None:
    with Database.open(path) as database:
        with pytest.raises(sqlite3.IntegrityError), database.batch() as batch:
            batch.put_seen(MANDATE, b"too short", 1)
        with pytest.raises(sqlite3.OperationalError), database.batch():
            database._connection.execute("SELECT nonsense FROM nowhere")
    with pytest.raises(sqlite3.ProgrammingError):
        database.mandates()


# -- the file is not what it was ------------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    content = b"Dear Anna, this is no database. " * 200
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged) as caught:
        Database.open(path)
    assert str(path) in caught.value.text
    assert "backup" in caught.value.hint
    assert path.read_bytes() == content


def test_a_damaged_page_is_found_when_it_is_read(path: Path) -> None:
    fill(path, 2_000)
    data = bytearray(path.read_bytes())
    for start in range(8 * 4096, len(data), 4096):
        data[start : start + 200] = os.urandom(200)
    path.write_bytes(data)
    with pytest.raises(DatabaseDamaged), Database.open(path) as database:
        list(database.index(MANDATE))
        list(database.raws(MANDATE))


def test_after_a_crash_the_file_is_looked_through_before_it_is_used(
    path: Path, tmp_path: Path
) -> None:
    fill(path, 2_000)
    copied = tmp_path / "copy.db"
    with Database.open(path) as database:
        database.try_writing()
        shutil.copy(path, copied)
        shutil.copy(f"{path}-wal", f"{copied}-wal")
    data = bytearray(copied.read_bytes())
    data[-4096:-3000] = os.urandom(1096)
    copied.write_bytes(data)
    with pytest.raises(DatabaseDamaged):
        Database.open(copied)


def test_looking_through_a_large_file_ends_in_bounded_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, 2_000)
    with closing(connect(path)) as connection:
        assert check(connection, path)
        monkeypatch.setattr(sqlite_module, "DATABASE_CHECK_SECONDS_MAX", -1)
        monkeypatch.setattr(sqlite_module, "_CHECK_STEPS", 10)
        assert not check(connection, path)
        assert connection.execute("SELECT count(*) FROM raw").fetchone() == (2_000,)


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    fill(path, 1)


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.db"
    fill(target, 1)
    path.symlink_to(target)
    with pytest.raises(StorageError):
        Database.open(path)


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmark (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(DatabaseForeign):
        Database.open(path)
    assert path.read_bytes() == before


def test_a_newer_database_is_left_alone(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(DatabaseNewer) as caught:
        Database.open(path)
    assert f"has version {schema.VERSION + 1}" in caught.value.text
    assert path.read_bytes() == before


def test_an_old_sqlite_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(SystemTooOld):
        Database.open(path)


# -- migrations -----------------------------------------------------------------------------------

NEXT: schema.Migration = (
    "ALTER TABLE setting ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "UPDATE setting SET note = 'kept ' || value",
)


def test_a_step_changes_all_or_nothing(path: Path) -> None:
    with Database.open(path) as database, database.batch() as batch:
        batch.put_setting("name", "Anna")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        broken = (*schema.MIGRATIONS, (*NEXT, "SELECT nonsense FROM nowhere"))
        with pytest.raises(sqlite3.OperationalError):
            schema.migrate(connection, broken)
        assert schema.version_of(connection) == schema.VERSION
        assert connection.execute("SELECT * FROM setting").fetchall() == [("name", "Anna")]
        schema.migrate(connection, (*schema.MIGRATIONS, NEXT))
        assert schema.version_of(connection) == schema.VERSION + 1
        assert connection.execute("SELECT note FROM setting").fetchall() == [("kept Anna",)]
        schema.migrate(connection, (*schema.MIGRATIONS, NEXT))
        assert schema.version_of(connection) == schema.VERSION + 1


def test_what_a_copy_was_like_last_is_taken_over_from_before_that_was_kept(path: Path) -> None:
    place = schema.MIGRATIONS.index(schema.SEEN)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.migrate(connection, schema.MIGRATIONS[:place])
        connection.execute("INSERT INTO mandate_number (number, id) VALUES (1, ?)", (bytes(32),))
        for role, stat in (("attached", rows.dump_stat(FileStat(1, 2, 3, 4, 5))), ("folder", None)):
            connection.execute(
                "INSERT INTO copy (mandate, file, role, directory, name, heads, digest, stat, held)"
                " VALUES (1, ?, ?, '/desk', 'a', ?, x'', ?, x'')",
                (bytes(16), role, rows.dump_heads(()), stat),
            )
    with Database.open(path) as database:
        attached, folder = database.copies()
    assert attached.seen == attached.stat == FileStat(1, 2, 3, 4, 5)
    assert (folder.seen, folder.stat) == (None, None)


# -- another process ------------------------------------------------------------------------------


def test_a_lock_that_another_program_keeps_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "DATABASE_BUSY_SECONDS_MAX", 0)
    with (
        Database.open(path) as database,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy), database.batch() as batch:
            batch.add_entries(chain(1))
        assert database.count(MANDATE) == 0
        other.execute("ROLLBACK")
        with database.batch() as batch:
            batch.keep_log_key(MANDATE, LOG, SEED, 0)
            batch.add_entries(chain(1))
        assert database.count(MANDATE) == 1


def test_two_processes_write_in_turns(path: Path) -> None:
    """No node does so (the home's lock); but neither loses anything when it happens.

    Each pair of batches is begun together and contends; the other process waits for the next pair,
    since one that writes without end may keep the lock for as long as it likes.
    """
    with writer(path, "in turns") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "5\n"
        with Database.open(path) as database:
            for seq in range(20):
                process.stdin.write("\n")
                process.stdin.flush()
                with database.batch() as batch:
                    batch.add_entries([entry(seq, log=SEED)])
                assert process.stdout.readline() == f"{(seq + 2) * 5}\n"
    with Database.open(path) as database:
        ids = [position[0] for position in database.index(MANDATE)]
        assert len(ids) == 20 + 21 * 5
        assert len(ids) == len(set(ids)) == database.count(MANDATE)
        assert {entry(seq, log=SEED).id for seq in range(20)} <= set(ids)
    sound(path)
