"""Every write, sync and rename of a story is tried as the moment of a crash and of a power cut.

``scripts/crash`` tries all points; here a fixed draw of them. See docs/testing.md.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crash import trace
from tests.crash.mutants import MUTANTS
from tests.crash.run import NORMAL
from tests.crash.story import NAMES, Json


@pytest.mark.parametrize("victim", NAMES)
def test_no_crash_and_no_power_cut_loses_anything(answers: dict[str, Json], victim: str) -> None:
    explored = answers[victim]["explored"]
    assert explored["violations"] == []
    assert explored["crashes"] >= 40
    assert explored["cuts"] > 80
    assert explored["states"] >= 100
    assert answers[victim]["syncs"] > 100


def test_programs_that_sync_nothing_lose_nothing_that_was_taken_up(
    answers: dict[str, Json],
) -> None:
    careless = answers["ben"]["careless"]
    assert careless["violations"] == []
    assert careless["states"] > 20


@pytest.mark.parametrize(
    ("victim", "mutant"),
    [
        *((victim, name) for name, (victim, _) in MUTANTS.items()),
        *((victim, f"{NORMAL} on {victim}") for victim in NAMES),
    ],
)
def test_what_would_lose_something_is_noticed(
    answers: dict[str, Json], victim: str, mutant: str
) -> None:
    assert answers[victim]["mutants"][mutant]["violations"]


def test_without_strace_the_suite_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(trace.NoStrace, match="apt-get install strace"):
        trace.record(tmp_path, ["true"])


def test_a_strace_that_may_not_trace_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = subprocess.CompletedProcess([], 1, "", "ptrace(...): Operation not permitted\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    with pytest.raises(trace.NoStrace, match="SYS_PTRACE"):
        trace.record(tmp_path, ["true"])
