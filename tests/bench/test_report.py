"""The page and the plots that are made of a run."""

import re
from pathlib import Path

import pytest

from scripts.benchmarks import report
from scripts.benchmarks.figures import read
from scripts.benchmarks.suite import CASES
from tests.bench.rig import results

COMMITTED = report.PAGE.parent / "performance" / "results.json"


def test_the_page_tells_what_its_run_found() -> None:
    page = report.PAGE.read_text("utf-8")
    assert report.replaced(page, report.sections(read(COMMITTED))) == page


def test_the_parts_of_a_page_are_replaced_and_nothing_else() -> None:
    begin, end = report.BEGIN.format(name="goals"), report.END.format(name="goals")
    page = f"before\n{begin}\nold\n{end}\nafter\n"
    once = report.replaced(page, {"goals": "new\n"})
    assert once == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"
    assert report.replaced(once, {"goals": "new\n"}) == once
    with pytest.raises(ValueError, match="no part for limits"):
        report.replaced(page, {"limits": "x"})


def test_goals_stand_beside_the_peers_of_the_same_run() -> None:
    first, second, third = report.goal_rows(results())
    assert first[1:5] == ("**6.00 ms**", "≤ 8.00 ms", "met", "rsync 3.25 ms")
    assert first[5] == "loopback, one byte there and back 0.020 ms (0.020 ms)"
    assert second[3:5] == ("1.50 of it", "")
    assert third[1:4] == ("**6,000/s**", "≥ 12,000/s", "0.50 of it")


def test_every_benchmark_and_limit_that_is_named_is_there() -> None:
    assert len({case.NAME for case in CASES}) == len(CASES)
    run = read(COMMITTED)
    limits = {each.measure for each in run.of("limits")}
    assert report.LIMITS_THERE.keys() <= limits
    for case in CASES:
        assert case.TITLE
        assert run.of(case.NAME), f"{case.NAME} is not in the run that is committed"
        assert set(getattr(case, "LIMITS", ())) <= limits


def test_the_run_names_no_machine() -> None:
    text = COMMITTED.read_text("utf-8")
    assert not re.search(r"(?<![\w.~-])/(work|root|home|tmp)/", text)


def test_a_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    marks = [(report.BEGIN.format(name=name), report.END.format(name=name)) for name in PARTS]
    page.write_text("".join(f"{begin}\n{end}\n" for begin, end in marks), "utf-8")
    report.write(results(), page)
    assert "| a fast one |" in page.read_text("utf-8")


PARTS = tuple(report.sections(results()))
