"""The recorder sees all calls; the states after a cut are those that a disk can have."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crash.disk import (
    DATA_ALONE,
    EVERYTHING,
    EXTREMES,
    NAMES_ALONE,
    NOTHING,
    Disk,
    Survival,
    drawn,
)
from tests.crash.trace import (
    Naming,
    Node,
    NotUnderstood,
    Operation,
    Recording,
    Resize,
    Sync,
    What,
    Write,
    record,
)

EVERY_CALL = """
import os, sys, threading
os.chdir("/")
root = sys.argv[1]
def at(name): return os.path.join(root, name)
def work(name):
    descriptor = os.open(at(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    for number in range(50):
        os.pwrite(descriptor, bytes([number]) * 700, number * 300)
    os.fsync(descriptor)
    os.close(descriptor)
threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(3)]
for each in threads: each.start()
for each in threads: each.join()
os.mkdir(at("d"))
folder = os.open(at("d"), os.O_RDONLY | os.O_DIRECTORY)
one = os.open("one", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640, dir_fd=folder)
os.write(one, b'say "hello\\n\\0\\xff')
os.writev(one, [b"a" * 600, b"b"])
again = os.dup(one)
os.lseek(again, 5, os.SEEK_SET)
os.write(one, b"HELLO")
os.ftruncate(one, 300)
os.posix_fallocate(one, 0, 900)
os.fdatasync(one)
os.close(one); os.write(again, b"dup"); os.close(again)
with open(at("d/two"), "ab") as two: two.write(b"x" * 10_000)
with open(at("d/two"), "ab") as two: two.write(b"y")
os.rename("two", "three", src_dir_fd=folder, dst_dir_fd=folder)
os.link(at("d/three"), at("four")); os.unlink(at("four"))
source = os.open(at("d/three"), os.O_RDONLY)
into = os.open(at("copy"), os.O_RDWR | os.O_CREAT, 0o600)
os.copy_file_range(source, into, 5000, 1, 7); os.sendfile(into, source, 0, 100)
os.mkdir(at("e")); os.rmdir(at("e"))
os.replace(at("copy"), at("d/one")); os.fsync(folder); os.fchmod(into, 0o644)
os.chmod(at("d"), 0o711)
os.chmod("three", 0o600, dir_fd=folder)
os.sync()
"""


def recorded(root: Path, script: str) -> Recording:
    root.mkdir()
    (root / "was").mkdir()
    (root / "was" / "there").write_bytes(b"before")
    return record(root, [sys.executable, "-I", "-S", "-c", script, str(root)])


def test_every_call_is_seen_and_can_be_played_again(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "root", EVERY_CALL)
    recording.check_complete()
    disk = Disk(recording)
    for operation in recording.operations:
        disk.play(operation)
    found = {path: data for path, (_, data) in disk.running(0).items() if data is not None}
    assert found == {
        str(path.relative_to(recording.root)): path.read_bytes()
        for path in recording.root.rglob("*")
        if path.is_file()
    }
    assert disk.after_cut(0, NOTHING) == disk.running(0), "sync(2) came last"
    assert disk.unsynced(0) == 0


@pytest.mark.parametrize(
    "script",
    [
        "import mmap,os; f=open(r+'/was/there','r+b'); mmap.mmap(f.fileno(), 0)[:3]=b'new'",
        "import os; os.symlink('x', r+'/link')",
        "import os; os.truncate(r+'/was/there', 1)",
        "import os; os.rename(r+'/was/there', r+'.gone'); os.remove(r+'.gone')",
        "import os; os.open(r+'/x', os.O_CREAT|os.O_WRONLY|os.O_DSYNC, 0o600)",
    ],
)
def test_what_cannot_be_played_again_is_never_passed_over(tmp_path: Path, script: str) -> None:
    with pytest.raises(NotUnderstood):
        recorded(tmp_path / "root", "import sys; r=sys.argv[1]\n" + script)


def test_what_another_process_did_makes_the_recording_incomplete(tmp_path: Path) -> None:
    script = "import subprocess,sys; subprocess.run(['touch', sys.argv[1]+'/x'])"
    recording = recorded(tmp_path / "root", script)
    with pytest.raises(NotUnderstood, match="x was not recorded"):
        recording.check_complete()


# -- states -------------------------------------------------------------------------------------

FOLDER, OTHER, FILE, NEW = 1, 2, 3, 4


def of(*operations: tuple[What, int]) -> Disk:
    """A disk with ``f/file`` (1,024 bytes of ``o``), ``g``, and what was done since."""
    before = {
        0: Node(0o700, names={"f": FOLDER, "g": OTHER}),
        FOLDER: Node(0o700, names={"file": FILE}),
        OTHER: Node(0o700, names={}),
        FILE: Node(0o600, bytearray(b"o" * 1024)),
    }
    after = {**before, NEW: Node(0o600)}
    made = [Operation(what, began) for what, began in operations]
    machines = {0: 0, FOLDER: FOLDER, FILE: FOLDER, NEW: FOLDER, OTHER: OTHER}
    disk = Disk(Recording(Path(), before, made, after, machines))
    for operation in made:
        disk.play(operation)
    return disk


def files(disk: Disk, survival: Survival) -> dict[str, bytes]:
    tree = disk.after_cut(0, survival)
    return {path: data for path, (_, data) in tree.items() if data is not None}


def test_a_write_that_began_after_the_sync_did_is_not_covered() -> None:
    first, second = Write(FILE, 0, b"1" * 512), Write(FILE, 512, b"2" * 512)
    disk = of((first, 0), (second, 1), (Sync(FILE), 1))
    assert files(disk, NOTHING)["f/file"] == b"1" * 512 + b"o" * 512


def test_a_new_file_needs_its_folder_synced_too() -> None:
    named = Naming(((FOLDER, "new", NEW),))
    operations: list[tuple[What, int]] = [(named, 0), (Write(NEW, 0, b"n"), 1), (Sync(NEW), 2)]
    assert "f/new" not in files(of(*operations), NOTHING)
    assert files(of(*operations), NAMES_ALONE)["f/new"] == b"n"
    assert files(of(*operations, (Sync(FOLDER), 3)), NOTHING)["f/new"] == b"n"


def test_names_without_data_are_files_of_zeros_and_data_without_names_nothing() -> None:
    disk = of((Naming(((FOLDER, "new", NEW),)), 0), (Write(NEW, 0, b"n" * 9), 1))
    assert files(disk, NAMES_ALONE)["f/new"] == bytes(9)
    assert "f/new" not in files(disk, DATA_ALONE)


def test_the_disk_of_one_machine_is_synced_and_no_other() -> None:
    write = (Write(FILE, 0, b"new"), 0)
    for machine, old in ((FOLDER, False), (OTHER, True), (0, False)):
        found = files(of(write, (Sync(machine, disk=True), 1)), NOTHING)["f/file"]
        assert (found == b"o" * 1024) is old


def test_an_exchange_is_one_step() -> None:
    swap = Naming(((FOLDER, "file", NEW), (FOLDER, "tmp", FILE)))
    disk = of(
        (Naming(((FOLDER, "tmp", NEW),)), 0), (Write(NEW, 0, b"n"), 1), (Sync(NEW), 2), (swap, 3)
    )
    for seed in range(50):
        found = files(disk, drawn(seed))
        assert found["f/file"] in (b"n", b"o" * 1024)
        if found["f/file"] == b"n":
            assert found["f/tmp"] == b"o" * 1024


def test_a_rename_to_another_folder_never_loses_the_file() -> None:
    move = Naming(((OTHER, "file", FILE), (FOLDER, "file", None)))
    for synced in (FOLDER, OTHER):
        for survival in (*EXTREMES, EVERYTHING, *map(drawn, range(50))):
            found = files(of((move, 0), (Sync(synced), 1)), survival)
            assert b"o" * 1024 in found.values()
            assert ("g/file" in found) or synced is not OTHER


STEPS = st.lists(
    st.one_of(
        st.builds(Write, st.just(FILE), st.integers(0, 3000), st.binary(min_size=1, max_size=1500)),
        st.builds(Resize, st.just(FILE), st.integers(0, 3000)),
        st.just(Sync(FILE)),
    ),
    max_size=8,
)


@given(STEPS, st.integers(0, 1000))
def test_each_sector_is_in_a_state_that_it_was_in_since_the_last_sync(
    steps: list[What], seed: int
) -> None:
    states = [b"o" * 1024]
    durable = 0
    for what in steps:
        last = states[-1]
        if isinstance(what, Write):
            last = last.ljust(what.offset, b"\0")
            last = last[: what.offset] + what.data + last[what.offset + len(what.data) :]
        elif isinstance(what, Resize):
            last = last[: what.size].ljust(what.size, b"\0")
        else:
            durable = len(states) - 1
        states.append(last)
    disk = of(*((what, number) for number, what in enumerate(steps)))
    found = files(disk, drawn(seed))["f/file"]
    possible = states[durable:]
    assert len(found) in {len(state) for state in possible}
    for start in range(0, len(found), 512):
        sector = found[start : start + 512]
        seen = {state[start : start + 512].ljust(512, b"\0")[: len(sector)] for state in possible}
        assert sector in seen
    assert files(disk, EVERYTHING)["f/file"] == states[-1]
    assert files(disk, NOTHING)["f/file"] == states[durable]
