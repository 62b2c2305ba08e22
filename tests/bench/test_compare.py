"""Two commits beside each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.benchmarks import ratios
from scripts.benchmarks.__main__ import arguments
from scripts.benchmarks.compare import NAMES, rounds
from scripts.benchmarks.context import Context, Tree
from scripts.benchmarks.figures import Figure, Results
from scripts.benchmarks.run import measure
from scripts.benchmarks.suite import CASES
from tests.bench.rig import surroundings


def seconds(value: float, measure: str = "time", subject: str = "p2psync") -> Figure:
    return Figure("large-file", subject, measure, value, "s")


def rate(value: float) -> Figure:
    return Figure("transport", "p2psync", "rate", value, "MB/s", better="higher")


def test_a_ratio_above_one_is_worse_whatever_the_figure() -> None:
    found, missing = ratios.ratios(
        [[seconds(2), rate(100)], [seconds(2), rate(100)], [seconds(4), rate(100)]],
        [[seconds(3), rate(50)], [seconds(2), rate(50)], [seconds(2), rate(200)]],
    )
    assert missing == []
    time, speed = found
    assert time.rounds == (1.5, 1.0, 0.5)
    assert time.median == 1.0
    assert speed.rounds == (2.0, 2.0, 0.5)
    assert speed.median == 2.0
    assert [each.is_worse(1.25) for each in found] == [False, True]


def test_a_median_that_is_as_bad_as_is_tolerated_is_tolerated() -> None:
    [ratio], _ = ratios.ratios([[seconds(4)]], [[seconds(5)]])
    assert not ratio.is_worse(1.25)
    assert ratio.is_worse(1.24)


def test_something_that_appears_from_nothing_is_worse() -> None:
    [ratio], _ = ratios.ratios([[seconds(0)]], [[seconds(1)]])
    assert ratio.is_worse(100)
    [same], _ = ratios.ratios([[seconds(0)]], [[seconds(0)]])
    assert same.median == 1


def test_only_our_figures_are_compared_and_what_is_lost_is_told() -> None:
    loose = Figure("propagation", "p2psync", "95th", 20, "ms", compared=False)
    found, missing = ratios.ratios(
        [[seconds(2), seconds(9, "lost"), seconds(1, subject="rsync"), loose]],
        [[seconds(2), seconds(1, subject="rsync"), loose]],
    )
    assert [each.measure for each in found] == ["time"]
    assert missing == ["large-file: lost"]


def test_the_table_tells_the_spread_and_the_verdict() -> None:
    found, _ = ratios.ratios(
        [[seconds(2), rate(100)], [seconds(2), rate(100)]],
        [[seconds(3), rate(150)], [seconds(4), rate(150)]],
    )
    _, _, slower, faster = ratios.table(found, 1.25).splitlines()
    assert slower.split() == "large-file time 2.00 s 3.50 s 1.75 1.50..2.00 WORSE".split()
    assert faster.split() == "transport rate 100 MB/s 150 MB/s 0.67 0.67..0.67 better".split()


def test_the_trees_are_measured_in_turn_and_take_turns_in_going_first(tmp_path: Path) -> None:
    base, order = Tree(tmp_path), []

    def fake(context: Context, names: Sequence[str]) -> Results:
        order.append((context.tree is base, tuple(names)))
        return Results({}, [seconds(len(order))])

    with surroundings(tmp_path) as context:
        both = rounds(context, base, ["large-file"], 3, fake)
    assert order == [(each, ("large-file",)) for each in (True, False, False, True, True, False)]
    [ratio], _ = ratios.ratios(*both)
    assert (ratio.base, ratio.this) == ((1, 4, 5), (2, 3, 6))


def test_the_product_of_another_checkout_is_measured(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "p2psync").mkdir(parents=True)
    (other / "p2psync" / "__init__.py").write_text("raise SystemExit('another checkout')\n")
    with surroundings(tmp_path) as context:
        found = measure(replace(context, tree=Tree(other)), ["records"])
    assert "another checkout" in found.failures["records"]


def test_what_is_compared_is_there() -> None:
    assert set(NAMES) <= {case.NAME for case in CASES}


def test_only_known_benchmarks_are_taken() -> None:
    assert arguments(["--only", "start", "--only", "idle"]).only == ["start", "idle"]
    with pytest.raises(SystemExit):
        arguments(["--only", "nothing"])
