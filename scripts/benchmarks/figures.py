"""What a run finds out: figures, their goals, and the JSON that carries them."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

SCHEMA = 1
OURS = "p2psync"
MACHINE = "machine"
Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What docs/performance.md promises: at most (or at least) this value."""

    relation: Literal["≤", "≥"]
    value: float

    def met_by(self, value: float) -> bool:
        """Tells whether a measured value reaches the goal."""
        return value <= self.value if self.relation == "≤" else value >= self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value: of which benchmark, of which program, of what.

    ``subject`` is ``p2psync``, the name of a peer, or ``machine``. ``samples`` are the single
    measurements behind ``value``, in the order in which they were made, when there are several.
    ``compared``: whether two commits are told apart by it.
    """

    benchmark: str
    subject: str
    measure: str
    value: float
    unit: str
    better: Better = "lower"
    goal: Goal | None = None
    samples: tuple[float, ...] = ()
    compared: bool = True


@dataclass(slots=True)
class Results:
    """All figures of one run, with the facts of the machine that it ran on."""

    facts: dict[str, str]
    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """What went wrong, by the name of the benchmark."""
    profiles: dict[str, str] = field(default_factory=dict)

    def of(self, benchmark: str, subject: str | None = None) -> list[Figure]:
        """Returns the figures of one benchmark, of one subject or of all."""
        return [
            each
            for each in self.figures
            if each.benchmark == benchmark and subject in (None, each.subject)
        ]

    def value(self, benchmark: str, subject: str, measure: str) -> float | None:
        """Returns one value, or ``None`` when it was not measured."""
        for each in self.of(benchmark, subject):
            if each.measure == measure:
                return each.value
        return None


def to_json(results: Results) -> str:
    """Returns the results as an indented JSON object."""
    value = {
        "schema": SCHEMA,
        "facts": results.facts,
        "figures": [asdict(each) for each in results.figures],
        "failures": results.failures,
        "profiles": results.profiles,
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Results:
    """Reads what ``to_json`` wrote; raises ``ValueError`` for anything else."""
    value: dict[str, Any] = json.loads(text)
    if value.get("schema") != SCHEMA:
        raise ValueError(f"results of schema {value.get('schema')}, expected {SCHEMA}")
    figures = [
        Figure(
            **{
                **each,
                "goal": Goal(**each["goal"]) if each["goal"] else None,
                "samples": tuple(each["samples"]),
            }
        )
        for each in value["figures"]
    ]
    return Results(value["facts"], figures, value["failures"], value["profiles"])


def read(path: Path) -> Results:
    """Reads a file of results."""
    return from_json(path.read_text("utf-8"))


def percentile(samples: Sequence[float], percent: float) -> float:
    """Returns the smallest sample that at least ``percent`` of them do not exceed."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread_of(
    benchmark: str,
    subject: str,
    samples: Sequence[float],
    unit: str,
    *,
    median_goal: Goal | None = None,
    high_goal: Goal | None = None,
) -> list[Figure]:
    """Returns the median and the 95th percentile of some samples, as two figures."""
    kept = tuple(round(each, 3) for each in samples)
    return [
        Figure(
            *(benchmark, subject, "median", statistics.median(samples), unit),
            goal=median_goal,
            samples=kept,
        ),
        Figure(
            *(benchmark, subject, "95th", percentile(samples, 95), unit),
            goal=high_goal,
            compared=False,
        ),
    ]
