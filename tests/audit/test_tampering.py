"""B-HIS-2: whatever is done to an audit file is found, by p2psync and by the small verifier."""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import audit
from p2psync.core.audit import Kind
from tests.audit.book import (
    KEYS,
    SCRIPT,
    Book,
    Device,
    Part,
    both,
    joined,
    parts,
    resealed,
    small_book,
    verified,
)


@cache
def keyed() -> bytes:
    return small_book().export()


@cache
def sealed() -> bytes:
    return small_book().export(keys=())


FILES = {"with keys": keyed, "without keys": sealed}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_both_take_a_good_file(file: Callable[[], bytes], folder: Path) -> None:
    assert both(file(), folder) == (True, True)


def test_the_small_verifier_is_small_and_stands_alone() -> None:
    text = SCRIPT.read_text("utf-8")
    assert len(text.splitlines()) < 200
    imported = {
        line.split()[1].partition(".")[0]
        for line in text.splitlines()
        if "import " in line and line.startswith(("import ", "from "))
    }
    assert imported <= {*("hashlib", "sys", "collections", "pathlib", "typing"), "msgpack", "nacl"}


def test_each_byte_of_a_small_file(folder: Path) -> None:
    """Every byte, changed in one bit, and with the digest at the end put right."""
    data = Book().found().export()
    assert both(data, folder) == (True, True)
    found = []
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        found.append(both(bytes(changed), folder))
    assert set(found) == {(False, False)}


@settings(max_examples=300, deadline=None)
@given(
    file=st.sampled_from(sorted(FILES)),
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(1, 255),
    reseal=st.booleans(),
)
def test_any_changed_byte(
    folder: Path, file: str, place: float, value: int, *, reseal: bool
) -> None:
    data = bytearray(FILES[file]())
    data[int(place * len(data))] ^= value
    changed = bytes(data)
    if reseal:
        try:
            changed = resealed(parts(changed))
        except ValueError:
            return
        except Exception:
            changed = bytes(data)
    if changed == FILES[file]():
        return
    assert both(changed, folder) == (False, False)


def dropped(some: list[Part]) -> Iterator[list[Part]]:
    """Every frame left out, one at a time."""
    for number in range(len(some)):
        yield some[:number] + some[number + 1 :]


def repeated(some: list[Part]) -> Iterator[list[Part]]:
    """Every frame twice, in a row, and once more at the end of its kind."""
    for number, part in enumerate(some):
        yield [*some[:number], part, *some[number:]]
        if part[0] is Kind.ENTRY:
            last = max(at for at, other in enumerate(some) if other[0] is Kind.ENTRY)
            yield [*some[: last + 1], part, *some[last + 1 :]]


def swapped(some: list[Part]) -> Iterator[list[Part]]:
    """Every two frames in each other's place."""
    for one, other in itertools.combinations(range(len(some)), 2):
        if some[one] != some[other]:
            out = list(some)
            out[one], out[other] = out[other], out[one]
            yield out


def without_logs(some: list[Part]) -> Iterator[list[Part]]:
    """Every log left out: its frame, its entries, or both."""
    for _, body in [part for part in some if part[0] is Kind.LOG]:
        log = audit.load_log(body).log
        for kinds in ({Kind.LOG}, {Kind.ENTRY}, {Kind.LOG, Kind.ENTRY}):
            yield [part for part in some if not (part[0] in kinds and log in part[1][:120])]


def cut_off(some: list[Part]) -> Iterator[list[Part]]:
    """Some of the last frames left out, and the end put behind the rest."""
    for number in range(1, len(some)):
        yield [*some[:number], some[-1]]
    yield [*some[:-2], *some[-1:]]


TAMPERED = (dropped, repeated, swapped, without_logs, cut_off)


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda each: each.__name__)
def test_frames_left_out_repeated_or_moved(
    tamper: Callable[[list[Part]], Iterator[list[Part]]], file: Callable[[], bytes], folder: Path
) -> None:
    """With and without the digest at the end put right, which anybody can do."""
    some = parts(file())
    wrong = []
    for number, changed in enumerate(tamper(some)):
        if changed == some:
            continue
        for data in (joined(changed), resealed(changed)):
            if data != file() and both(data, folder) != (False, False):
                wrong.append((number, both(data, folder)))
    assert wrong == []


@pytest.mark.parametrize("more", [b"\0", b"\x09\0\0\0\x20" + bytes(32), b"p2psync audit 1\n"])
def test_something_put_behind(more: bytes, folder: Path) -> None:
    assert both(keyed() + more, folder) == (False, False)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 20, 200, -33, -1])
def test_cut_off(length: int, folder: Path) -> None:
    assert both(keyed()[:length], folder) == (False, False)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(folder: Path, data: bytes, begin: bool) -> None:
    assert both(audit.MAGIC + data if begin else data, folder) == (False, False)


# -- a member that exports, and signs what it likes ----------------------------------------------

ANNA = Device("anna").signing


def entries(some: list[Part]) -> list[int]:
    return [number for number, part in enumerate(some) if part[0] is Kind.ENTRY]


def test_an_entry_that_others_stand_on_cannot_be_left_out_by_who_exports(folder: Path) -> None:
    some = parts(small_book().export())
    places = entries(some)
    for place in places[:-1]:
        data = resealed([*some[:place], *some[place + 1 :]], ANNA)
        assert both(data, folder) == (False, False)


def test_who_exports_can_leave_out_only_an_end_and_heads_tell(folder: Path) -> None:
    """What one file cannot prove: nothing refers to the last entry. Another member's heads do."""
    whole = small_book().export()
    some = parts(whole)
    last = entries(some)[-1]
    data = resealed([*some[:last], *some[last + 1 :]], ANNA)
    assert both(data, folder) == (True, True)
    found = verified(data)
    assert "tail" in {each.code for each in found.unproven}
    from p2psync.audit.verify import Wanted

    heads = verified(whole).check.manifest
    assert heads is not None
    missed = verified(data, Wanted(heads=heads.heads))
    assert [each.code for each in missed.requests] == ["head-missing"]
    assert missed.sound and not missed.verified and missed.exit_code == 3
    assert verified(whole, Wanted(heads=heads.heads)).verified


def test_order_against_causes_cannot_be_signed_by_who_exports(folder: Path) -> None:
    some = parts(keyed())
    places = entries(some)
    for one, other in itertools.pairwise(places):
        changed = list(some)
        changed[one], changed[other] = changed[other], changed[one]
        assert both(resealed(changed, ANNA), folder) == (False, False)


def test_a_log_with_what_stands_on_it_cannot_be_left_out_unseen(folder: Path) -> None:
    some = parts(keyed())
    ben = Device("ben").log_key.log
    changed = [
        part
        for part in some
        if not (part[0] is Kind.LOG and audit.load_log(part[1]).log == ben)
        and not (part[0] is Kind.ENTRY and ben in part[1][:120])
    ]
    assert both(resealed(changed, ANNA), folder) == (False, False)


def test_a_stranger_cannot_sign_an_export(folder: Path) -> None:
    """Somebody who got the file, keys and all, has no log in it."""
    data = resealed(parts(keyed()), Device("mallory").signing)
    assert both(data, folder) == (False, False)


def test_a_stranger_with_a_log_is_no_member() -> None:
    book = small_book()
    mallory = Device("mallory")
    book.write(mallory)
    found = verified(book.export(mallory))
    assert [each.code for each in found.check.problems] == ["exporter-stranger"]
    assert found.exit_code == 5


@pytest.mark.parametrize("keys", [(), KEYS[1:]])
def test_keys_left_out_by_who_exports(keys: tuple[bytes, ...], folder: Path) -> None:
    """Left out they are missed; with all of them left out the file says that it is sealed."""
    some = [part for part in parts(keyed()) if part[0] not in (Kind.KEY, Kind.CONTENT, Kind.PIECE)]
    at = entries(some)[0]
    changed = [*some[:at], *((Kind.KEY, key) for key in keys), *some[at:]]
    assert both(resealed(changed, ANNA), folder) == (False, False)


def test_content_put_in_place_of_another_is_found_by_who_can_read() -> None:
    some = [
        (kind, body[:-1] + b"X") if kind is Kind.PIECE else (kind, body)
        for kind, body in parts(keyed())
    ]
    found = verified(resealed(some, ANNA))
    assert [each.code for each in found.check.problems] == ["content-changed"]
