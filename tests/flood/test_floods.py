"""Floods of the engine: memory and time stay bounded, and who is honest is served meanwhile."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from p2psync.limits import WANT_SECONDS_MAX

ROOT = Path(__file__).resolve().parents[2]

GROWN_MIB_MAX = {
    # Entries are on the machine's "disk" too, which is memory here.
    "entry_storm": 400,
    "chunk_lists": 250,
    "waiting_for_ever": 250,
    "unsigned": 60,
    "made_up_logs": 60,
    "whole_logs": 60,
    "offers": 30,
    "ugly_names": 150,
    "forks": 30,
    "openings": 60,
}
"""Without the bounds most of these grow by a gigabyte or more."""
SCALE = "0.2"
_SECONDS_MAX = 300


@pytest.mark.parametrize("name", GROWN_MIB_MAX)
def test_flood(name: str, measure: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.flood.floods", name, SCALE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS_MAX,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    measure.append(
        f"{name:18} {found['frames']:6} frames, {found['sent_mib']:6.1f} MiB sent, memory grown by "
        f"{found['grown_mib']:5.1f} MiB, {found['honest']:4} honest entries went through, "
        f"longest step {found['step_ms']:.0f} ms"
    )
    assert found["grown_mib"] <= GROWN_MIB_MAX[name], found
    # Whoever asked for something waits so long for it; no step may take that away.
    assert found["step_ms"] < 1000 * WANT_SECONDS_MAX, found
    assert found["honest"] >= 2
