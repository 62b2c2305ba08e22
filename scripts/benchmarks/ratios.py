"""Two checkouts beside each other: how much slower or faster each figure is, and how sure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scripts.benchmarks.figures import OURS, Figure
from scripts.benchmarks.tables import plain, with_unit

HEAD = ("what", "measure", "base", "this tree", "ratio", "lowest..highest", "")


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure in both checkouts, a value for each round."""

    benchmark: str
    measure: str
    unit: str
    base: tuple[float, ...]
    this: tuple[float, ...]
    higher_is_better: bool

    @property
    def rounds(self) -> tuple[float, ...]:
        """How much worse this tree is, round by round: above 1 is worse."""
        pairs = zip(self.base, self.this, strict=True)
        if self.higher_is_better:
            return tuple(_ratio(base, this) for base, this in pairs)
        return tuple(_ratio(this, base) for base, this in pairs)

    @property
    def median(self) -> float:
        """The middle one of the rounds."""
        return statistics.median(self.rounds)

    def is_worse(self, tolerance: float) -> bool:
        """Tells whether it is worse by more than the machine's noise may explain."""
        return self.median > tolerance


def _ratio(value: float, reference: float) -> float:
    if not reference:
        return 1.0 if not value else float("inf")
    return value / reference


def ratios(
    base: Sequence[Iterable[Figure]], this: Sequence[Iterable[Figure]]
) -> tuple[list[Ratio], list[str]]:
    """Pairs the rounds of both; returns what both have in every round, and what not both have."""
    sides = [[_comparable(figures) for figures in rounds] for rounds in (base, this)]
    keys = dict.fromkeys(key for rounds in sides for figures in rounds for key in figures)
    found, missing = [], []
    for key in keys:
        if not all(key in figures for rounds in sides for figures in rounds):
            missing.append(f"{key[0]}: {key[1]}")
            continue
        values = [tuple(figures[key].value for figures in rounds) for rounds in sides]
        example = sides[0][0][key]
        found.append(Ratio(*key, example.unit, values[0], values[1], example.better == "higher"))
    return found, missing


def _comparable(figures: Iterable[Figure]) -> dict[tuple[str, str], Figure]:
    return {
        (each.benchmark, each.measure): each
        for each in figures
        if each.subject == OURS and each.compared
    }


def table(found: Sequence[Ratio], tolerance: float) -> str:
    """Returns what people see of a comparison."""
    rows = []
    for each in found:
        verdict = "WORSE" if each.is_worse(tolerance) else ""
        if each.median < 1 / tolerance:
            verdict = "better"
        rows.append(
            (
                each.benchmark,
                each.measure,
                with_unit(statistics.median(each.base), each.unit),
                with_unit(statistics.median(each.this), each.unit),
                f"{each.median:.2f}",
                f"{min(each.rounds):.2f}..{max(each.rounds):.2f}",
                verdict,
            )
        )
    return plain(HEAD, rows)
