"""The demo plays to its end, checks what it shows, and leaves nothing behind however it ends."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2psync.i18n import places

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "scripts" / "lib" / "demo.py"
SECONDS_MAX = 120


def start(folder: Path, language: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(DEMO)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("LC_")},
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "TMPDIR": str(folder),
            "LANG": language,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def processes_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text("utf-8", "replace"))
        except OSError:
            continue
    return found


def test_demo_plays_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path, "fr_CH.UTF-8")
    said, wrong = demo.communicate(timeout=SECONDS_MAX)
    assert (demo.returncode, wrong) == (0, ""), said + wrong
    assert "identiques à l'octet près : 2 fichiers" in said
    assert "\033" not in said, "colours are for terminals"
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_that_is_ended_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    demo = start(tmp_path, "C.UTF-8")
    deadline = time.monotonic() + SECONDS_MAX
    while not [each for each in processes_in(tmp_path) if "\0run\0" in each]:
        assert demo.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    demo.send_signal(number)
    _said, wrong = demo.communicate(timeout=SECONDS_MAX)
    assert (demo.returncode, wrong) == (130, "FAILED: interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_demo_speaks_french_in_full() -> None:
    french = runpy.run_path(str(DEMO), run_name="demo")["FRENCH"]
    assert isinstance(french, dict)
    assert {english for english, text in french.items() if places(english) != places(text)} == set()
