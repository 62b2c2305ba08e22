"""The benchmarks in the order in which they run."""

from collections.abc import Iterator
from typing import Protocol

from scripts.benchmarks import machine
from scripts.benchmarks.cases import (
    audit,
    idle,
    large_file,
    mandates,
    many_files,
    one_more,
    pending,
    propagation,
    reading,
    records,
    relay,
    reopen,
    scattered,
    start,
    transport,
)
from scripts.benchmarks.context import Context
from scripts.benchmarks.figures import Figure


class Case(Protocol):
    """A module that answers one question."""

    NAME: str
    TITLE: str

    def run(self, context: Context) -> Iterator[Figure]:
        """Measures, and gives figures as they come."""


CASES: tuple[Case, ...] = (
    machine,
    propagation,
    large_file,
    many_files,
    scattered,
    records,
    one_more,
    reopen,
    pending,
    reading,
    audit,
    start,
    idle,
    mandates,
    transport,
    relay,
)
