"""What carries the benchmarks: processes, arrivals, contents; and runs of next to no size."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from scripts.benchmarks import content, first_sync, machine
from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.context import ROOT, BenchmarkFailed, Sizes
from scripts.benchmarks.peers import rsync, syncthing
from scripts.benchmarks.processes import Processes, cpu_seconds, family, peak_mb, resident_mb
from scripts.benchmarks.run import limits_again, measure, slowest
from tests.bench.rig import results, surroundings

SECONDS_MAX = 120
LOOPBACK_CASES = ("propagation", "scattered", "records", "one-more", "transport", "relay")


def begin(processes: Processes, code: str, folder: Path) -> "subprocess.Popen[bytes]":
    return processes.start(
        [sys.executable, "-c", code], folder=folder, environment={}, out=subprocess.PIPE
    )


def test_children_since_a_mark_are_ended(tmp_path: Path) -> None:
    processes = Processes()
    code = "import time; print(1, flush=True); time.sleep(1000)"
    before = begin(processes, code, tmp_path)
    mark = processes.mark()
    after = begin(processes, code, tmp_path)
    for child in (before, after):
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
    processes.end(mark)
    assert after.poll() == -signal.SIGTERM
    assert before.poll() is None
    processes.end()
    assert before.poll() == -signal.SIGTERM


def test_a_child_of_a_child_counts_too(tmp_path: Path) -> None:
    processes = Processes()
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\nimport time; time.sleep(1000)"
    )
    try:
        parent = begin(processes, code, tmp_path)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert family(parent.pid) == [parent.pid, child]
        assert cpu_seconds(parent.pid) > 0
        assert 0 < resident_mb(child) < resident_mb(parent.pid)
        assert peak_mb(parent.pid) > 0
    finally:
        processes.end()


def test_threads_that_have_ended_count(tmp_path: Path) -> None:
    processes = Processes()
    code = (
        "import threading, time\n"
        "def work():\n    while time.thread_time() < 0.2: pass\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
        "print(1, flush=True); time.sleep(1000)"
    )
    try:
        child = begin(processes, code, tmp_path)
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu_seconds(child.pid) >= 0.2
    finally:
        processes.end()


def test_files_arrive_when_they_are_whole(tmp_path: Path) -> None:
    (tmp_path / "early").write_bytes(b"12345")
    with Arrivals(tmp_path) as arrivals:
        arrivals.all_of(["early"], 5, 10)
        (tmp_path / "other").write_bytes(b"12345")
        (tmp_path / ".part").write_bytes(b"12345")
        (tmp_path / ".part").rename(tmp_path / "late")
        arrivals.all_of(["early", "late"], 5, 10)
        with pytest.raises(BenchmarkFailed, match="1 of 2 files"):
            arrivals.all_of(["early", "never"], 5, 0)


def test_contents_are_the_same_for_one_seed(tmp_path: Path) -> None:
    one, two = (content.write_many(tmp_path / name, 2, 3_000, seed=1) for name in ("one", "two"))
    first_sync.check_same(one, tmp_path / "two")
    two[0].write_bytes(bytes(3_000))
    with pytest.raises(BenchmarkFailed, match="before it was whole"):
        first_sync.check_same(one, tmp_path / "two")


def test_each_save_of_records_has_one_more() -> None:
    first, second = islice(content.record_saves(20_000), 2)
    assert 19_000 < len(first) <= 20_000
    assert second.startswith(first)
    assert len(second.splitlines()) == len(first.splitlines()) + 1
    many = next(content.record_saves(0, 500))
    assert len(many.splitlines()) == 502


def test_scattered_changes_are_as_many_as_asked_for_and_the_last_block(tmp_path: Path) -> None:
    [path] = content.write_many(tmp_path / "old", 1, 64 * 4096, seed=1)
    (tmp_path / "new").mkdir()
    changed = content.scattered(path, tmp_path / "new", 8, 4096, seed=2).read_bytes()
    old = path.read_bytes()
    blocks = [n for n in range(64) if old[n * 4096 :][:4096] != changed[n * 4096 :][:4096]]
    assert len(blocks) == 8
    assert blocks[-1] == 63


def test_the_machine_is_described_without_its_name(tmp_path: Path) -> None:
    found = machine.facts(tmp_path)
    assert {"processor", "cores", "system", "file system", "Python"} <= found.keys()
    assert not any("/" in value for value in found.values())


def test_the_benchmark_farthest_from_its_goal_is_profiled() -> None:
    assert slowest(results()) == "propagation"


@pytest.mark.parametrize("name", LOOPBACK_CASES)
def test_a_benchmark_of_next_to_no_size_runs(tmp_path: Path, name: str) -> None:
    with surroundings(tmp_path) as context:
        found = measure(context, [name])
    assert found.failures == {}
    assert all(each.value > 0 for each in found.figures), found.figures
    assert any(each.goal is not None for each in found.figures) or name == "transport"
    left = [path.name for path in tmp_path.iterdir()]
    assert left == []


def test_the_limits_of_the_machine_are_measured_twice_and_the_better_counts(
    tmp_path: Path,
) -> None:
    with surroundings(tmp_path) as context:
        found = measure(context, ["limits"])
        first = [each.value for each in found.figures]
        limits_again(context, found)
    assert len(first) > 10
    for value, each in zip(first, found.figures, strict=True):
        assert each.samples[0] == value
        assert each.value == (max if each.better == "higher" else min)(each.samples)


def test_a_benchmark_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    with surroundings(tmp_path, Sizes(records=-1)) as context:
        found = measure(context, ["records"])
    assert list(found.failures) == ["records"]


def test_peers_say_their_version_or_nothing() -> None:
    for version in (syncthing.version(), rsync.version()):
        assert not version or version[0].isdigit()


def test_ctrl_c_ends_everything_and_leaves_nothing(tmp_path: Path) -> None:
    bench = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "scripts.benchmarks", "--quick"),
            *("--only", "propagation", "--dir", str(tmp_path)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + SECONDS_MAX
    while not any("p2psync" in each for each in processes_in(tmp_path)):
        assert bench.poll() is None, bench.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bench.send_signal(signal.SIGINT)
    _, said = bench.communicate(timeout=SECONDS_MAX)
    assert bench.returncode == 130, said
    assert "interrupted" in said
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def processes_in(folder: Path) -> list[str]:
    """The commands that run in a folder or below."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = (process / "cwd").readlink()
            if place != folder and place.is_relative_to(folder):
                found.append((process / "cmdline").read_text("utf-8", "replace"))
        except OSError:
            continue
    return found
