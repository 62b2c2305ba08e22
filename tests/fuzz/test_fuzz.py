"""A short run of every fuzz target, and every input of the corpora without atheris."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import corpus, running
from tests.fuzz.target import Target
from tests.fuzz.targets import NAMES, find

SEED = 20_240_229
AT_ONCE = 2
SLOW_SECONDS = 600


@pytest.mark.parametrize("name", NAMES)
def test_every_input_of_the_corpus_holds(name: str) -> None:
    target = find(name)
    failed = []
    for data in corpus.inputs(target):
        try:
            target.run(data)
        except Exception as error:
            failed.append(f"{data!r}: {type(error).__name__}: {error}"[:400])
    assert failed == []


def test_a_run_of_every_target_finds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = [f"{'target':12} executions  inputs before  features"]
    trouble = []
    for target, before, ended in _runs(tmp_path):
        report.append(f"{target.name:12} {ended.executions:10} {before:14} {ended.covered:9}")
        if ended.code or ended.failed:
            trouble.append(f"{target.name}: {ended.output[-3000:]}")
        else:
            assert ended.executions >= target.short_runs, ended.output[-3000:]
    with capsys.disabled():
        print("\n" + "\n".join(report))  # noqa: T201 - the counts are what is to be seen
    assert trouble == []


def _runs(folder: Path) -> Iterator[tuple[Target, int, running.Ended]]:
    """Run all, two at a time, the longest first."""
    waiting = sorted(map(find, NAMES), key=lambda target: target.short_runs)
    active: list[tuple[Target, int, Path, subprocess.Popen[str]]] = []
    while waiting or active:
        while waiting and len(active) < AT_ONCE:
            target = waiting.pop(0)
            work = folder / target.name
            before = corpus.unpack(target, work / "corpus")
            # How long one input takes depends on what else the machine does.
            slow = f"-report_slow_units={SLOW_SECONDS}"
            options = (f"-runs={target.short_runs}", f"-seed={SEED}", slow)
            active.append((target, before, work, running.start(target, work, *options)))
        ended = next((each for each in active if each[3].poll() is not None), None)
        if ended is None:
            time.sleep(0.02)
            continue
        active.remove(ended)
        target, before, work, process = ended
        yield target, before, running.finish(process, work)
