"""The database on real files: what goes in comes out, in order, once, and is the user's alone."""

import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from p2psync.limits import ADDRESSES_PER_PEER_MAX
from p2psync.storage import batch as batch_module
from p2psync.storage import entries as entries_module
from p2psync.storage import events as events_module
from p2psync.storage import schema
from p2psync.storage.database import CopyRow, Database, MandateRow, NewEvent, OwnLogRow
from p2psync.storage.events import Wanted
from p2psync.storage.file_state import FileStat
from tests.storage.database_rig import (
    DEVICE,
    FILE,
    LOG,
    MANDATE,
    OTHER,
    SEED,
    chain,
    entry,
    name,
)

ROW = MandateRow(
    id=MANDATE,
    epoch_keys=(name("epoch", 1), name("epoch", 2)),
    folder="Atelier",
    created_ms=1_800_000_000_000,
    genesis=name("genesis"),
    by_ticket=True,
    admission_seed=SEED,
    ticket_role="writer",
    ticket_expires_ms=1_800_001_000_000,
    state="waiting",
)
COPY = CopyRow(
    mandate=MANDATE,
    file=FILE,
    role="attached",
    directory="/home/anna/Comptes",
    name="atelier é.ecf",
    heads=((name("head", 1), 0), (name("head", 2), 7)),
    digest=name("content"),
    stat=FileStat(20_000, 1_800_000_000_123_456_789, 5, (1 << 64) - 3, 1 << 63),
    writing=(((name("head", 3), 1),), name("merged")),
    held=b"held",
    seen=FileStat(20_001, 1_800_000_000_223_456_789, 6, (1 << 64) - 3, 1 << 63),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p2psync.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(path) as opened:
        yield opened


# -- the file -----------------------------------------------------------------------------------


def test_only_the_user_can_read_any_of_its_files(database: Database, path: Path) -> None:
    with database.batch() as batch:
        batch.put_setting("name", "Anna")
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == [path.name, f"{path.name}-shm", f"{path.name}-wal"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    Database.open(path).close()
    path.chmod(0o644)
    with Database.open(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_commits_are_flushed_so_that_a_power_cut_takes_nothing_back(database: Database) -> None:
    def pragma(name: str) -> object:
        return database._connection.execute(f"PRAGMA {name}").fetchone()[0]

    full = 2
    assert pragma("synchronous") == full
    assert pragma("journal_mode") == "wal"
    assert pragma("foreign_keys") == 1
    assert pragma("fullfsync") == 1
    assert pragma("application_id") == schema.APPLICATION_ID
    assert pragma("user_version") == schema.VERSION


def test_closing_leaves_one_file_and_may_be_repeated(path: Path) -> None:
    database = Database.open(path)
    database.add_events([NewEvent(None, "message", "{}")])
    database.close()
    database.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_log_beside_it_stays_bounded(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries_module, "_PAGE_RAWS", 1)
    database._connection.execute("PRAGMA wal_autocheckpoint = 8")
    with database.batch() as batch:
        batch.add_entries(chain(2))
    reading = database.raws(MANDATE)
    next(reading)
    wal = Path(f"{path}-wal")
    sizes = set()
    for number in range(60):
        with database.batch() as batch:
            batch.put_setting("big", str(number) * 4000)
        sizes.add(wal.stat().st_size)
    # A reader in the middle of its work does not keep the log from being used again.
    assert max(sizes) < 64 * 4096
    assert len(list(reading)) == 1


# -- batches ------------------------------------------------------------------------------------


def test_a_batch_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.batch() as batch:
        batch.add_mandate(ROW)
        batch.keep_log_key(MANDATE, LOG, SEED, 0)
        batch.add_entries(chain(3))
        batch.put_copy(COPY)
        batch.add_events([NewEvent(MANDATE, "alert", "{}", "key")])
        batch.put_setting("name", "Anna")
        raise ZeroDivisionError
    assert database.mandates() == []
    assert database.own_logs() == []
    assert list(database.index(MANDATE)) == []
    assert database.copies() == []
    assert database.last_event_id() == 0
    assert database.settings() == {}
    with database.batch() as batch:
        batch.add_entries(chain(3))
        assert batch.add_events([NewEvent(MANDATE, "alert", "{}", "key")]) == [1]
    assert database.count(MANDATE) == 3


def test_trying_to_write_changes_nothing_that_is_seen(database: Database) -> None:
    database.try_writing()
    assert database.setting("tried") == ""


# -- mandates and keys ----------------------------------------------------------------------------


def test_a_mandate_comes_back_as_it_was(path: Path) -> None:
    plain = MandateRow(OTHER, (name("epoch", 3),), "Garage", 5)
    with Database.open(path) as database, database.batch() as batch:
        batch.add_mandate(ROW)
        batch.add_mandate(plain)
    with Database.open(path) as database:
        assert database.mandates() == [ROW, plain]
        assert database.mandate(MANDATE) == ROW
        assert database.mandate(name("unknown")) is None


def test_a_mandate_can_be_changed(database: Database) -> None:
    with database.batch() as batch:
        batch.add_mandate(ROW)
        batch.add_epoch_key(MANDATE, name("epoch", 3))
        batch.set_state(MANDATE, "refused:ticket-expired")
    changed = database.mandate(MANDATE)
    keys = (*ROW.epoch_keys, name("epoch", 3))
    assert changed == replace(ROW, epoch_keys=keys, state="refused:ticket-expired")
    assert (ROW.refused, changed.refused) == ("", "ticket-expired")
    with database.batch() as batch:
        batch.update_mandate(ROW)
    assert database.mandates() == [ROW]


def test_secrets_are_not_shown_when_a_row_is_printed() -> None:
    own = OwnLogRow(MANDATE, LOG, SEED, 0)
    assert "x04" not in repr(ROW) + repr(own)


def test_a_deleted_mandate_leaves_only_the_history_of_its_events(database: Database) -> None:
    with database.batch() as batch:
        for mandate in (MANDATE, OTHER):
            batch.add_mandate(replace(ROW, id=mandate))
            batch.keep_log_key(mandate, name(mandate), SEED, 0)
            batch.add_entries(chain(3, mandate=mandate, log=name(mandate)))
            batch.put_copy(replace(COPY, mandate=mandate))
            batch.put_seen(mandate, DEVICE, 7)
        batch.add_events([NewEvent(MANDATE, "message", "{}")])
    with database.batch() as batch:
        batch.delete_mandate(MANDATE)
    assert [row.id for row in database.mandates()] == [OTHER]
    assert [row.mandate for row in database.own_logs()] == [OTHER]
    assert database.own_logs(MANDATE) == []
    assert database.copies(MANDATE) == []
    assert database.last_seen(MANDATE) == {}
    assert list(database.raws(MANDATE)) == []
    assert database.count(MANDATE) == 0
    assert database.find(MANDATE, [entry(0, log=name(MANDATE)).id]) == {}
    assert [row.mandate for row in database.events_since(0, 9)] == [MANDATE]
    assert database.count(OTHER) == len(list(database.index(OTHER))) == 3
    with database.batch() as batch:
        batch.add_mandate(ROW)
        batch.add_entries(chain(2, log=name(MANDATE)))
    again = [(item.id, item.log, item.seq, item.prev) for item in chain(2, log=name(MANDATE))]
    assert list(database.index(MANDATE)) == again


def test_own_logs_are_kept_once_and_can_be_closed(database: Database) -> None:
    second = name("log", 2)
    with database.batch() as batch:
        batch.keep_log_key(MANDATE, second, SEED, 1)
        batch.keep_log_key(MANDATE, LOG, SEED, 0)
        batch.keep_log_key(MANDATE, LOG, bytes(32), 9)
        batch.close_log(LOG)
    first, last = database.own_logs(MANDATE)
    assert first == OwnLogRow(MANDATE, LOG, SEED, 0, closed=True)
    assert last == OwnLogRow(MANDATE, second, SEED, 1, closed=False)


# -- entries --------------------------------------------------------------------------------------


def test_entries_come_back_in_the_order_in_which_they_came(path: Path) -> None:
    second = name("log", 2)
    came = [
        *chain(2),
        *chain(3, log=second),
        *chain(1, mandate=OTHER),
        *chain(2, start=2),
        entry(1, branch=1),
    ]
    with Database.open(path) as database:
        for start in range(0, len(came), 3):
            with database.batch() as batch:
                batch.add_entries(came[start : start + 3])
    with Database.open(path) as database:
        mine = [item for item in came if item.mandate == MANDATE]
        assert list(database.index(MANDATE)) == [
            (item.id, item.log, item.seq, item.prev) for item in mine
        ]
        assert list(database.raws(MANDATE)) == [item.raw for item in mine]
        assert (database.count(MANDATE), database.count(OTHER)) == (8, 1)
        wanted = [mine[5].id, mine[0].id, name("unknown"), mine[7].id]
        found = database.find(MANDATE, wanted)
        assert list(found.items()) == [(item.id, item.raw) for item in (mine[5], mine[0], mine[7])]
        assert database.find(OTHER, wanted) == {}


def test_an_entry_that_is_there_stays_where_it_is(database: Database) -> None:
    entries = chain(4)
    with database.batch() as batch:
        batch.add_entries(entries[:3])
        batch.add_entries([*entries[1:], entries[3], entry(2, branch=1), entry(2, branch=1)])
    with database.batch() as batch:
        batch.add_entries([entries[0], entry(2, branch=1)])
    expected = [*entries, entry(2, branch=1)]
    assert list(database.raws(MANDATE)) == [item.raw for item in expected]
    assert database.count(MANDATE) == 5


def test_entries_are_found_across_buckets(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries_module, "BUCKET_BITS", 2)
    monkeypatch.setattr(entries_module, "LOOKUP_KEY_BYTES", 1)
    came = chain(300)
    for start in range(0, 300, 7):
        with database.batch() as batch:
            batch.add_entries(came[start : start + 7])
    for order in (came, came[::-1], came[::37] + came[::41]):
        found = database.find(MANDATE, [item.id for item in order])
        assert found == {item.id: item.raw for item in order}
    assert database.find(MANDATE, [name("unknown")]) == {}


def test_long_logs_are_read_in_pages(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries_module, "_PAGE_ROWS", 7)
    monkeypatch.setattr(entries_module, "_PAGE_RAWS", 3)
    late = name("log", 2)
    came = [*chain(21), *chain(5, log=late)]
    with database.batch() as batch:
        batch.add_entries(came)
    assert [position[0] for position in database.index(MANDATE)] == [item.id for item in came]
    assert list(database.raws(MANDATE)) == [item.raw for item in came]


def test_what_comes_while_a_log_is_read_does_not_disturb_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries_module, "_PAGE_RAWS", 2)
    with database.batch() as batch:
        batch.add_entries(chain(5))
    reading = database.raws(MANDATE)
    start = [next(reading), next(reading)]
    with database.batch() as batch:
        batch.add_entries(chain(1, mandate=OTHER))
        batch.add_entries(chain(3, start=5))
    assert [*start, *reading] == [item.raw for item in chain(8)]


def test_an_unknown_mandate_holds_nothing(database: Database) -> None:
    assert list(database.index(OTHER)) == []
    assert list(database.raws(OTHER)) == []
    assert (database.count(OTHER), database.find(OTHER, [bytes(32)])) == (0, {})
    assert database.copy(OTHER, FILE, "folder") is None
    assert database.copies(OTHER) == []


# -- copies, contacts, settings -------------------------------------------------------------------


def test_a_copy_comes_back_as_it_was(path: Path) -> None:
    bare = CopyRow(MANDATE, FILE, "folder", "/home/anna/p2psync/Atelier", "atelier.ecf")
    with Database.open(path) as database, database.batch() as batch:
        batch.put_copy(COPY)
        batch.put_copy(replace(bare, name="old"))
        batch.put_copy(bare)
        batch.put_copy(replace(bare, mandate=OTHER))
    with Database.open(path) as database:
        assert database.copies(MANDATE) == [COPY, bare]
        assert database.copies() == [COPY, bare, replace(bare, mandate=OTHER)]
        assert database.copy(MANDATE, FILE, "attached") == COPY
        with database.batch() as batch:
            batch.delete_copy(MANDATE, FILE, "attached")
        assert database.copies(MANDATE) == [bare]


def test_of_each_device_the_newest_addresses_are_kept(database: Database) -> None:
    addresses = [f"/ip4/192.0.2.{number}/tcp/4001" for number in range(ADDRESSES_PER_PEER_MAX + 4)]
    with database.batch() as batch:
        batch.put_contact(OTHER, addresses[0], 0)
        for at, address in enumerate(addresses):
            batch.put_contact(DEVICE, address, at)
        batch.put_contact(DEVICE, addresses[-2], 1_000)
        batch.put_contact(DEVICE, addresses[-2], 5)
    newest = [addresses[-2], addresses[-1], *addresses[-3:3:-1]]
    assert database.contacts() == {OTHER: (addresses[0],), DEVICE: tuple(newest)}


def test_the_number_of_devices_with_addresses_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CONTACT_DEVICES_MAX", 3)
    devices = [name("device", number) for number in range(5)]
    with database.batch() as batch:
        batch.put_contact(devices[0], "/ip4/192.0.2.1/tcp/1", 100)
        for at, device in enumerate(devices[1:], 1):
            batch.put_contact(device, "/ip4/192.0.2.2/tcp/1", at)
    assert database.contacts().keys() == {devices[0], devices[3], devices[4]}


def test_last_seen_never_goes_back(database: Database) -> None:
    with database.batch() as batch:
        batch.put_seen(MANDATE, DEVICE, 7)
        batch.put_seen(MANDATE, DEVICE, 3)
        batch.put_seen(MANDATE, OTHER, 0)
        batch.put_seen(OTHER, DEVICE, 9)
    assert database.last_seen(MANDATE) == {DEVICE: 7, OTHER: 0}


def test_settings_are_put_and_taken_away(database: Database) -> None:
    with database.batch() as batch:
        batch.put_setting("name", "Anna")
        batch.put_setting("name", "Änna")
        batch.put_setting("port", "4001")
        batch.put_setting("port", None)
    assert database.settings() == {"name": "Änna"}
    assert (database.setting("name"), database.setting("port")) == ("Änna", None)


# -- events ---------------------------------------------------------------------------------------


def test_event_ids_rise_by_one_also_over_failures_and_restarts(path: Path) -> None:
    event = NewEvent(MANDATE, "message", json.dumps({"text": "é"}))
    with Database.open(path) as database:
        assert database.add_events([event, event]) == [1, 2]
        with pytest.raises(ZeroDivisionError), database.batch() as batch:
            batch.add_events([event])
            raise ZeroDivisionError
        assert database.add_events([event]) == [3]
    with Database.open(path) as database:
        assert database.add_events([event]) == [4]
        assert database.last_event_id() == 4
        rows = database.events_since(1, 2)
        assert [(row.id, row.mandate, row.json, row.open) for row in rows] == [
            (2, MANDATE, event.json, False),
            (3, MANDATE, event.json, False),
        ]


def test_events_of_one_mandate_can_be_asked_for(database: Database) -> None:
    database.add_events([NewEvent(owner, "message", "{}") for owner in (MANDATE, None, OTHER)])
    assert [row.id for row in database.events_since(0, 9, Wanted(OTHER))] == [3]
    assert [row.mandate for row in database.events_since(0, 9)] == [MANDATE, None, OTHER]


def test_an_alert_stays_open_until_it_is_closed_and_is_not_raised_twice(
    database: Database,
) -> None:
    """B-NOT-2."""
    alert = NewEvent(MANDATE, "alert", "{}", "missing:1")
    same_elsewhere = replace(alert, mandate=None)
    assert database.add_events([alert, alert, same_elsewhere, same_elsewhere]) == [1, None, 2, None]
    assert [row.id for row in database.open_alerts()] == [1, 2]
    assert [row.id for row in database.open_alerts(MANDATE)] == [1]
    assert database.close_alert(1)
    assert not database.close_alert(1)
    assert not database.close_alert(77)
    assert database.add_events([alert]) == [3]
    with database.batch() as batch:
        assert batch.close_alert_key(MANDATE, "missing:1")
        assert not batch.close_alert_key(MANDATE, "missing:1")
        assert not batch.close_alert_key(None, "missing:2")
        assert batch.close_alert_key(None, "missing:1")
    assert database.open_alerts() == []
    assert [row.open for row in database.events_since(0, 9)] == [False, False, False]


def test_a_message_cannot_be_closed_and_may_repeat_a_key(database: Database) -> None:
    message = NewEvent(MANDATE, "message", "{}", "key")
    assert database.add_events([message, message]) == [1, 2]
    assert not database.close_alert(1)


def test_the_history_is_bounded_but_open_alerts_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.add_events([NewEvent(None, "alert", "{}"), NewEvent(None, "alert", "{}")])
    database.close_alert(2)
    database.add_events([NewEvent(None, "message", "{}")] * 8)
    with database.batch():
        events_module.trim(database._connection, 10, kept=3)
    assert [row.id for row in database.events_since(0, 99)] == [1, 8, 9, 10]
    monkeypatch.setattr(events_module, "_TRIM_EVERY", 1)
    monkeypatch.setattr(events_module, "EVENTS_KEPT_MAX", 3)
    database.add_events([NewEvent(None, "message", "{}")])
    assert [row.id for row in database.events_since(0, 99)] == [1, 9, 10, 11]
    assert database.last_event_id() == 11


def test_the_number_of_open_alerts_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "ALERTS_OPEN_MAX", 2)
    assert database.add_events([NewEvent(None, "alert", "{}")] * 4) == [1, 2, 3, 4]
    assert [row.id for row in database.open_alerts()] == [1, 2]
    assert [row.severity for row in database.events_since(0, 9)] == ["alert"] * 4


# -- threads and processes ------------------------------------------------------------------------


def test_threads_may_write_and_read_at_once(database: Database) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            log = name("log", number)
            for seq in range(20):
                with database.batch() as batch:
                    batch.add_entries([entry(seq, log=log)])
                    batch.add_events([NewEvent(None, "message", "{}")])
                assert entry(seq, log=log).id in database.find(MANDATE, [entry(seq, log=log).id])
                assert next(database.index(MANDATE))[2] == 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert database.count(MANDATE) == 120
    assert [row.id for row in database.events_since(0, 999)] == list(range(1, 121))


def test_two_who_have_it_open_do_not_harm_each_other(path: Path) -> None:
    """The home's lock keeps a second node away; should that fail, the database still holds."""
    second = name("log", 2)
    with Database.open(path) as one, Database.open(path) as other:
        for seq in range(10):
            with one.batch() as batch:
                batch.add_entries([entry(seq)])
            with other.batch() as batch:
                batch.add_entries([entry(seq), entry(seq, log=second), entry(0, mandate=OTHER)])
        expected = [entry(seq, log=log).raw for seq in range(10) for log in (LOG, second)]
        assert list(one.raws(MANDATE)) == list(other.raws(MANDATE)) == expected
        assert one.count(OTHER) == 1


def test_sqlite_finds_nothing_wrong_after_all_this(path: Path) -> None:
    with Database.open(path) as database:
        for start in range(0, 300, 30):
            with database.batch() as batch:
                batch.add_mandate(ROW)
                batch.add_entries(chain(30, start=start))
                batch.put_copy(COPY)
                batch.add_events([NewEvent(MANDATE, "alert", "{}", str(start))])
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


@pytest.mark.parametrize("step", [1, 7, 250])
def test_many_entries_are_found_in_the_order_asked_for(database: Database, step: int) -> None:
    """However they lie: together, scattered, of several logs, some of them unknown."""
    one, other = chain(700), chain(700, log=bytes([8]) * 32)
    with database.batch() as batch:
        for start in range(0, 700, 50):
            batch.add_entries([*one[start : start + 50], *other[start : start + 50]])
    wanted = [*one[::-1][::step], *other[::step], *one[3::step]]
    ids = [b"?" * 32, *[each.id for each in wanted], b"!" * 32]
    found = database.find(MANDATE, ids)
    assert list(found) == list(dict.fromkeys(each.id for each in wanted))
    assert found == {each.id: each.raw for each in wanted}
