"""By what a missing file is known again: each signal, and the bounds of a search."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import crypto
from p2psync.core.crdt import Value
from p2psync.formats import registry
from p2psync.node import searching
from p2psync.node.searching import SIGNALS, Budget, Candidate, Wanted, offered, search
from p2psync.storage.disk import birth_ns
from p2psync.storage.file_state import to_stat
from tests.node.rig import V1, V2


def wanted(path: Path, *, records: bool = False, identity: bool = True) -> Wanted:
    """What is known of a file that is there now."""
    data = path.read_bytes()
    format_ = registry.find(path.name, data)
    values = []
    if records:
        values = [
            Value((b"e" * 32, number), 0, segment.raw, format_.read_segment)
            for number, segment in enumerate(format_.parse(data).segments)
        ]
    return Wanted(
        b"f" * 16,
        path.parent,
        path.name,
        format_.name,
        to_stat(os.lstat(path)) if identity else None,
        ((len(data), crypto.content_digest(data)),),
        values,
    )


def found(what: Wanted, *others: Path, attached: tuple[Path, ...] = ()) -> list[Candidate]:
    return search([what], others, attached, what.directory / "mandates")[what.file]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "desk" / "a.ecf"
    path.parent.mkdir()
    path.write_bytes(V1)
    return path


def test_a_renamed_file_is_known_without_reading_it(file: Path) -> None:
    what = wanted(file)
    new = file.rename(file.with_name("b.ecf"))
    (candidate,) = search([what], (), (), file, Budget(bytes=0))[what.file]
    assert (candidate.path, candidate.signals) == (new, ("identity", "content"))
    assert offered([candidate]) is candidate


def test_a_file_that_was_renamed_and_saved_is_known_by_its_records(file: Path) -> None:
    what = wanted(file, records=True)
    new = file.rename(file.with_name("b.ecf"))
    with new.open("r+b") as open_file:
        open_file.truncate()
        open_file.write(V2)
    (candidate,) = found(what)
    assert candidate.signals == ("identity", "records")
    assert candidate.agreeing == 2


def test_content_and_records_are_one_signal(file: Path) -> None:
    what = wanted(file, records=True, identity=False)
    file.rename(file.with_name("b.ecf"))
    (candidate,) = found(what)
    assert (candidate.signals, candidate.agreeing) == (("content",), 1)
    assert offered([candidate]) is None
    assert Candidate(file, ("content", "records")).agreeing == 1


def test_a_copy_on_another_disk_has_the_name_and_the_content(file: Path, tmp_path: Path) -> None:
    what = wanted(file)
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / "a.ecf"
    shutil.copy2(file, copy)
    file.unlink()
    (candidate,) = found(what)
    assert candidate.signals == ("content", "name")
    assert offered([candidate]) == candidate


def test_another_file_that_got_the_inode_is_not_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made after ours was last seen."""
    what = wanted(file)
    assert what.seen is not None
    file.rename(file.with_name("b.ecf"))
    born = what.seen.ctime_ns + 1
    monkeypatch.setattr(searching, "birth_ns", lambda path: born)
    (candidate,) = found(what)
    assert candidate.signals == ("content",)
    monkeypatch.setattr(searching, "birth_ns", lambda path: None)  # a system that does not tell
    assert found(what)[0].signals == ("identity", "content")


def test_the_system_tells_when_a_file_was_made(file: Path) -> None:
    made = birth_ns(os.fspath(file))
    file.write_bytes(V2)
    assert birth_ns(os.fspath(file)) == made
    assert made is None or made <= os.lstat(file).st_ctime_ns
    assert birth_ns(os.fspath(file.with_name("nothing"))) is None


def test_it_looks_near_and_where_other_files_are(file: Path, tmp_path: Path) -> None:
    what = wanted(file)
    places = {
        "below": file.parent / "2025",
        "above": tmp_path,
        "beside": tmp_path / "renamed",
        "elsewhere": tmp_path / "far" / "away",
    }
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
        moved = file.rename(place / "b.ecf")
        assert [each.path for each in found(what, places["elsewhere"])] == [moved]
        moved.rename(file)
    hidden = tmp_path / ".trash"
    too_far = tmp_path / "x" / "y" / "z"
    for place in (hidden, too_far, file.parent / "mandates"):
        place.mkdir(parents=True)
        moved = file.rename(place / "b.ecf")
        assert found(what, place) == [] if place.name == "mandates" else found(what) == []
        moved.rename(file)


def test_a_folder_that_is_gone_is_looked_for_by_its_files(file: Path, tmp_path: Path) -> None:
    what = wanted(file)
    new = file.parent.rename(tmp_path / "renamed")
    (candidate,) = found(what)
    assert candidate.path == new / "a.ecf"
    assert candidate.signals == ("identity", "content", "name")


def test_a_folder_far_above_that_was_renamed_is_found(file: Path, tmp_path: Path) -> None:
    deep = tmp_path / "desk" / "clients" / "acme" / "2025"
    deep.mkdir(parents=True)
    what = wanted(file.rename(deep / "a.ecf"))
    (tmp_path / "desk").rename(tmp_path / "office")
    (candidate,) = found(what)
    assert candidate.path == tmp_path / "office" / "clients" / "acme" / "2025" / "a.ecf"


def test_of_attached_files_only_the_very_file_counts(file: Path) -> None:
    what = wanted(file)
    other = file.with_name("b.ecf")
    shutil.copy2(file, other)
    file.rename(file.with_name("c.ecf"))
    both = (other, file.with_name("c.ecf"))
    (candidate,) = found(what, attached=both)
    assert candidate.path == file.with_name("c.ecf")
    assert candidate.attached
    assert offered([candidate]) is None


def test_links_folders_and_devices_are_no_candidates(file: Path, tmp_path: Path) -> None:
    what = wanted(file)
    aim = file.rename(tmp_path / ".aim")
    (file.parent / "b.ecf").symlink_to(aim)
    (file.parent / "c.ecf").mkdir()
    os.mkfifo(file.parent / "d.ecf")
    assert found(what) == []


@pytest.mark.parametrize(
    ("budget", "count"),
    [
        (Budget(names=5), 5),
        (Budget(bytes=3 * len(V1)), 3),
        (Budget(folders=1), 20),
        (Budget(), 21),
    ],
)
def test_a_search_is_bounded(file: Path, budget: Budget, count: int) -> None:
    what = wanted(file, identity=False)
    file.unlink()
    for number in range(20):
        file.with_name(f"copy {number:02}.ecf").write_bytes(V1)
    (file.parent.parent / "b.ecf").write_bytes(V1)
    assert len(search([what], (), (), file, budget)[what.file]) == count


def test_one_search_finds_many(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    several = []
    for number in range(50):
        path = old / f"{number}.ecf"
        path.write_bytes(V1 + b"%d" % number)
        several.append(wanted(path))
    several = [replace(each, file=bytes([number]) * 16) for number, each in enumerate(several)]
    new = old.rename(tmp_path / "new")
    out = search(several, (), (), tmp_path / "mandates")
    for each in several:
        best = offered(out[each.file])
        assert best is not None
        assert best.path == new / each.name


@given(st.lists(st.lists(st.sampled_from(SIGNALS), unique=True, max_size=4), max_size=5))
def test_at_most_one_is_offered_and_never_for_one_reason(found: list[list[str]]) -> None:
    """B-MIG-1."""
    candidates = [
        Candidate(Path(f"/{number}"), tuple(each for each in SIGNALS if each in signals))
        for number, signals in enumerate(found)
    ]
    best = offered(candidates)
    strong = [each for each in candidates if each.agreeing >= 2]
    assert (best is None) == (len(strong) != 1)
    if best is not None:
        assert best.signals != ("content", "records")
