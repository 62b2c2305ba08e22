"""B-HIS-2: what is said of an audit file that holds, and what a file made on purpose cannot do."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from p2psync.audit.account import account
from p2psync.audit.check import Check
from p2psync.audit.frames import frames
from p2psync.audit.verify import Wanted
from p2psync.core import audit, codec, entry, membership, ops
from p2psync.core.audit import Head, Kind, Log
from p2psync.core.crypto import SigningKey
from p2psync.errors import AuditFileError
from p2psync.limits import AUDIT_PROBLEMS_MAX
from tests.audit.book import (
    FILE,
    KEYS,
    NOW_MS,
    Book,
    Device,
    Part,
    both,
    parts,
    resealed,
    seed,
    small_book,
    verified,
)


def codes(data: bytes, wanted: Wanted | None = None) -> list[str]:
    """What is wrong with a file."""
    return [each.code for each in verified(data, wanted).check.problems]


# -- what is in it ------------------------------------------------------------------------------


def test_entries_of_several_epochs_are_read_with_their_keys(tmp_path: Path) -> None:
    """After a renewal of keys: the file has each that its entries need."""
    book = Book().found()
    book.epoch = 1
    ben = book.join("ben")
    book.save(ben, "1000 1.00 | new")
    data = book.export(keys=KEYS)
    assert both(data, tmp_path) == (True, True)
    state = verified(data).state
    assert state is not None and len(state.membership.members) == 2
    for keys in (KEYS[:1], KEYS[1:]):
        assert "key-missing" in codes(book.export(keys=keys))
        assert both(book.export(keys=keys), tmp_path) == (False, False)
    assert both(book.export(keys=()), tmp_path) == (True, True)


def test_a_key_that_no_entry_needs_yet_is_no_fault(tmp_path: Path) -> None:
    assert both(Book().found().export(keys=KEYS), tmp_path) == (True, True)


def test_a_forked_log_is_kept_with_both_ends_and_told(tmp_path: Path) -> None:
    """B-ID-4: a copied machine wrote two entries at one place; nothing of it is lost."""
    book = Book().found()
    key = book.anna.log_key
    before = [each for each in book.entries if each.log == key.log][-2]
    book.entries.append(book.build(key, before, [ops.Rename("Other")], sign=True))
    data = book.export()
    assert both(data, tmp_path) == (True, True)
    found = verified(data)
    assert [each.code for each in found.check.notes] == ["fork"]
    assert found.check.manifest is not None and len(found.check.manifest.heads) == 2


def test_each_end_of_a_fork_needs_its_own_signature(tmp_path: Path) -> None:
    book = Book().found()
    key = book.anna.log_key
    before = [each for each in book.entries if each.log == key.log][-2]
    book.entries.append(book.build(key, before, [ops.Rename("Other")], sign=False))
    assert codes(book.export()) == ["signature"]
    assert both(book.export(), tmp_path) == (False, False)


def test_one_signature_covers_what_came_before(tmp_path: Path) -> None:
    book = Book().found()
    for number in range(20):
        book.save(book.anna, f"1000 {number}.00 | x", sign=False)
    assert codes(book.export()) == ["signature"]
    book.save(book.anna, "1000 1.00 | last")
    assert both(book.export(), tmp_path) == (True, True)


def test_what_nobody_can_read_counts_for_nothing_and_is_told(tmp_path: Path) -> None:
    book = Book().found()
    key = book.anna.log_key
    end = [each for each in book.entries if each.log == key.log][-1]
    for number, payload in enumerate((b"\x91\xc0", codec.pack([[999, 1]]))):
        made = entry.build(
            key,
            mandate=book.mandate,
            seq=end.seq + 1,
            prev=end.id,
            deps=[],
            hlc=NOW_MS << 16,
            epoch_key=KEYS[0],
            payload=payload,
            entropy=bytes([number]) * 32,
        )
        book.entries.append(made)
        end = made
    data = book.export()
    assert both(data, tmp_path) == (True, True)
    assert [each.code for each in verified(data).check.notes] == ["unreadable", "newer"]


def test_what_was_left_out_because_it_waits_is_told() -> None:
    found = verified(small_book().export(waiting=3))
    assert found.verified
    assert "waiting" in {each.code for each in found.unproven}


def test_a_device_that_nobody_admitted_is_covered_and_no_member() -> None:
    book = small_book()
    book.write(Device("carl"), ops.Observe())
    found = verified(book.export())
    assert found.verified and found.state is not None
    assert len(found.state.membership.members) == 2 and len(found.check.logs) == 3


def test_the_account_of_a_mandate() -> None:
    book = small_book()
    found = verified(book.export(), records=True)
    told = account(found)
    assert told.has_records
    assert [(each.name, each.admitted_by) for each in told.members] == [
        ("Anna", ""),
        ("Ben", "Anna"),
    ]
    assert [(each.name, each.records) for each in told.files] == [("a.ecf", 4), ("p.png", None)]


def test_too_many_records_for_a_report_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2psync.audit.reading.AUDIT_REPORT_SEGMENTS_MAX", 3)
    found = verified(small_book().export(), records=True)
    assert found.verified
    told = account(found)
    assert not told.has_records
    assert {each.records for each in told.files} == {None}


def test_without_records_nothing_of_them_is_kept() -> None:
    book = Book().found()
    for number in range(50):
        book.save(book.anna, f"1000 {number}.00 | x")
    found = verified(book.export())
    assert found.verified and found.reading is not None
    assert len(found.reading.applied) == 3
    assert found.reading.segments == 50


# -- who lies -----------------------------------------------------------------------------------


def test_another_founder() -> None:
    some = parts(small_book().export())
    head = Head(audit.load_head(some[0][1]).mandate, Device("eve").signing.public, b"s" * 16)
    data = resealed([(Kind.HEAD, audit.dump_head(head)), *some[1:]], Device("anna").signing)
    assert codes(data) == ["founder"]


def test_a_mandate_that_nobody_founded() -> None:
    book = Book()
    book.write(book.anna, ops.Share())
    assert "founding" in codes(book.export())


def test_a_log_of_another_device(tmp_path: Path) -> None:
    """The certificate is genuine, of another device that helps; the log says whose it is."""
    book = small_book()
    ben = Device("ben")
    helper = Device("helper")
    log = ben.log_key.log
    certificate = membership.certify_log(helper.signing, book.mandate, log, 0)
    book.logs[log] = Log(log, helper.signing.public, 0, certificate)
    assert codes(book.export()) == ["log-opening"]
    assert both(book.export(), tmp_path) == (False, False)


def test_a_certificate_that_does_not_hold(tmp_path: Path) -> None:
    book = small_book()
    log = Device("ben").log_key.log
    book.logs[log] = Log(log, Device("ben").signing.public, 0, bytes(64))
    assert "log-certificate" in codes(book.export())
    assert both(book.export(), tmp_path) == (False, False)


def test_an_entry_of_another_mandate(tmp_path: Path) -> None:
    book, other = small_book(), Book(Device("zoe"))
    book.entries.append(other.write(other.anna))
    book.logs |= other.logs
    assert "entry-mandate" in codes(book.export())
    assert both(book.export(), tmp_path) == (False, False)


# -- who means harm to the reader ----------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
def test_a_length_that_is_not_there_takes_no_memory(kind: Kind) -> None:
    """Four gigabytes are announced; a reader that believed it would ask for them."""
    some = [(kind, b"\xff\xff\xff\xff")]
    data = audit.MAGIC + bytes([kind]) + some[0][1]
    tracemalloc.start()
    try:
        assert codes(data) == ["damaged"]
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_content(tmp_path: Path) -> None:
    """40 MB of pieces pass through a reader that keeps none of them."""

    def blocks() -> bytes:
        some: list[Part] = parts(small_book().export())
        at = next(number for number, part in enumerate(some) if part[0] is Kind.PIECE)
        return resealed([*some[:at], *[(Kind.PIECE, bytes(1 << 17))] * 320, *some[at:]])

    path = tmp_path / "file"
    path.write_bytes(blocks())
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            check = Check()
            for frame in frames(file):
                check.take(frame)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert "changed" in {each.code for each in check.problems}


@pytest.mark.parametrize(
    ("limit", "many"),
    [
        ("AUDIT_ENTRIES_MAX", lambda book: book.export()),
        ("AUDIT_LOGS_MAX", lambda book: book.export()),
        ("AUDIT_KEYS_MAX", lambda book: book.export(keys=KEYS)),
        ("AUDIT_CONTENTS_MAX", lambda book: book.export()),
        ("AUDIT_HEADS_MAX", lambda book: book.export()),
    ],
)
def test_each_number_is_bounded(
    limit: str, many: Callable[[Book], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = small_book()
    book.write(Device("carl"), ops.Observe())
    data = many(book)
    monkeypatch.setattr(f"p2psync.audit.check.{limit}", 1 if limit != "AUDIT_CONTENTS_MAX" else 0)
    assert "damaged" in codes(data)


def test_problems_are_counted_when_there_are_many() -> None:
    book = Book().found()
    for number in range(100):
        book.save(book.anna, f"1000 {number}.00 | x")
    some = parts(book.export())
    first = next(number for number, part in enumerate(some) if part[0] is Kind.ENTRY)
    changed = [
        (kind, body[:-65] + b"\0" + body[-64:]) if kind is Kind.ENTRY else (kind, body)
        for kind, body in [*some[: first + 1], *some[first + 1 :]]
    ]
    found = verified(resealed(changed))
    assert len(found.check.problems) == AUDIT_PROBLEMS_MAX and found.check.unlisted > 0


def test_another_version_says_so() -> None:
    data = small_book().export().replace(b"audit 1\n", b"audit 2\n", 1)
    with pytest.raises(AuditFileError, match="its version is 2"):
        list(frames(io.BytesIO(data)))


def test_a_frame_that_no_reader_takes_is_not_written() -> None:
    with pytest.raises(AuditFileError):
        audit.frame(Kind.KEY, bytes(33))
    with pytest.raises(AuditFileError):
        audit.frame(Kind.PIECE, b"")


def test_an_export_by_ben_says_that_it_is_his() -> None:
    found = verified(small_book().export(Device("ben")))
    assert found.verified and found.check.manifest is not None
    assert found.check.manifest.device == SigningKey.from_seed(seed("ben")).public
    [said] = [each.text for each in found.proven if each.code == "unchanged"]
    assert "Ben" in said and FILE.hex() not in said


# -- who was removed ----------------------------------------------------------------------------


def removed(book: Book, ben: Device) -> Book:
    """Ben writes twice; he is removed with a cut after the first."""
    first = book.save(ben, "1000 1.00 | counts")
    book.write(book.anna, ops.Remove(ben.signing.public, (first.id,)))
    book.save(ben, "2000 2.00 | does not")
    return book


def test_a_cut_is_found_without_keeping_all_entries() -> None:
    """Both ways of reading say who is a member and how much does not count."""
    book = Book().found()
    ben = book.join("ben")
    carl = book.join("carl")
    for number in range(20):
        book.save(ben, f"1000 {number}.00 | x")
        book.save(carl, f"1000 {number}.00 | y")
    removed(book, ben)
    data = book.export()
    few, every = verified(data), verified(data, records=True)
    for found in (few, every):
        assert found.verified and found.state is not None
        assert found.state.quarantined == {ben.signing.public: 1}
        assert [each.code for each in found.check.notes] == ["quarantined"]
    assert few.state is not None and every.state is not None
    assert few.state.membership == every.state.membership
    assert few.reading is not None and every.reading is not None
    assert len(few.reading.applied) < len(every.reading.applied)
    told = account(every)
    assert [(each.name, each.removed_by) for each in told.members] == [
        ("Anna", ""),
        ("Ben", "Anna"),
        ("Carl", ""),
    ]
    assert [each.records for each in told.files] == [41]


def test_an_export_by_who_was_removed_says_so(tmp_path: Path) -> None:
    book = Book().found()
    ben = book.join("ben")
    removed(book, ben)
    data = book.export(ben)
    assert both(data, tmp_path) == (True, True)
    found = verified(data)
    assert {each.code for each in found.check.notes} == {"exporter-removed", "quarantined"}
