"""Runs a worker: a program that uses parts of the product, which may be another checkout's."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.benchmarks.context import BenchmarkFailed, Context
from scripts.benchmarks.nodes import environment

_WORKERS = Path(__file__).resolve().parent / "workers"
_ERROR_LINES = 15


class Worker:
    """A worker that runs; each line that it prints is a JSON object."""

    def __init__(self, context: Context, name: str, *arguments: str, folder: Path) -> None:
        self._name = name
        self._errors = folder / f"{name}.err"
        with self._errors.open("ab") as log:
            self._process = context.processes.start(
                [context.tree.python, str(_WORKERS / f"{name}.py"), *arguments],
                folder=folder,
                environment=environment(context.tree),
                log=log,
                out=subprocess.PIPE,
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Gives what it prints until it ends; raises ``BenchmarkFailed`` when it ends badly."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)
        if self._process.wait():
            said = self._errors.read_text("utf-8", "replace").splitlines()[-_ERROR_LINES:]
            raise BenchmarkFailed(f"{self._name} failed: " + "\n".join(said))

    def line(self) -> dict[str, Any]:
        """Returns the next object that it prints."""
        for told in self:
            return told
        raise BenchmarkFailed(f"{self._name} ended early")
