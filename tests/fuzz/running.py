"""Starts atheris in a process of its own and reads what it says at its end."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Target

ROOT = Path(__file__).resolve().parents[2]
RSS_MEGABYTES_MAX = 700
RUN_SECONDS_MAX = 20
"""One input that takes longer, or more memory, counts as a failure."""
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"\bcov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: ``failed`` inputs are in the folder of artifacts, ``output`` is all said."""

    executions: int
    covered: int
    corpus: int
    failed: tuple[Path, ...]
    code: int
    output: str


def start(target: Target, work: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run over ``work/corpus``; failures go to ``work/failed``."""
    (work / "corpus").mkdir(parents=True, exist_ok=True)
    (work / "failed").mkdir(exist_ok=True)
    command = (sys.executable, "-m", "tests.fuzz.run", target.name)
    again = work / "again"
    again.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    again.chmod(0o700)
    return subprocess.Popen(
        [
            *command,
            str(work / "corpus"),
            f"-artifact_prefix={work / 'failed'}/",
            f"-rss_limit_mb={RSS_MEGABYTES_MAX}",
            f"-timeout={RUN_SECONDS_MAX}",
            "-print_final_stats=1",
            *options,
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONWARNINGS": "ignore",
            "FUZZ_AGAIN": str(again),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def finish(process: subprocess.Popen[str], work: Path) -> Ended:
    """Wait for a run's end."""
    output, _ = process.communicate()
    executed = _EXECUTED.findall(output)
    covered = _COVERED.findall(output)
    return Ended(
        int(executed[-1]) if executed else 0,
        int(covered[-1][1]) if covered else 0,
        int(covered[-1][2]) if covered else 0,
        tuple(sorted((work / "failed").iterdir())),
        process.returncode,
        output,
    )
