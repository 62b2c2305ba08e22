"""What a soak makes of its rows; that nodes live through it is for scripts/soak."""

import json
from pathlib import Path

import pytest

from tests.soak import summary
from tests.soak.watch import Rows


def sample(t: float, node: int = 0, life: int = 1, rss: float = 1e6, fds: int = 20) -> summary.Row:
    named = {"node": node, "life": life, "rss": rss, "fds": fds, "threads": 8, "cpu": t, "db": 0}
    return {"t": t, "kind": "sample", **named}


def arrival(t: float, ms: float, *, calm: bool = True) -> summary.Row:
    return {"t": t, "kind": "arrival", "ms": ms, "calm": calm}


def test_a_steady_rise_is_told_as_it_is() -> None:
    samples = [sample(t, rss=50e6 + t * 1000) for t in range(1000)]
    found = summary.growth(samples, "rss")
    assert found.an_hour == pytest.approx(3_600_000)
    assert (found.start, found.most) == (50e6 + 9000, 50e6 + 999_000)
    assert found.start < found.tenth < found.end <= found.most


def test_a_slope_needs_two_moments() -> None:
    assert summary.slope([]) == summary.slope([(1, 5)]) == summary.slope([(1, 5), (1, 9)]) == 0
    assert summary.slope([(0, 1), (2, 5)]) == 2


def test_quantiles_are_values_that_were_seen() -> None:
    assert summary.quantile([4, 1, 3, 2], 0.5) == 2
    assert summary.quantile(list(range(1, 101)), 0.95) == 95
    assert summary.quantile([7], 0.95) == 7


def test_a_run_that_was_cut_has_its_rows(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows")
    rows.write("begin", nodes=3)
    rows.close()
    with (tmp_path / "rows").open("a") as file:
        file.write('{"kind": "sam')
    assert [each["nodes"] for each in summary.read(tmp_path / "rows")] == [3]


def test_the_text_counts_what_was_done_and_what_was_not() -> None:
    action = {"t": 1, "kind": "action", "name": "save"}
    rows: list[summary.Row] = [
        {"t": 0, "kind": "begin", "nodes": 1, "seed": 4, "hours": 1},
        {**action, "outcome": "done"},
        {**action, "outcome": "done"},
        {**action, "outcome": "cut off"},
        {"t": 2, "kind": "fault", "name": "kill"},
        {"t": 3, "kind": "problem", "text": "a posting\nwas lost"},
        *(sample(t) for t in range(4, 10)),
        arrival(5, 10),
        arrival(700, 30),
        arrival(701, 9000, calm=False),
    ]
    told = summary.text(json.loads(json.dumps(rows)))
    assert "2 done (2 save); 1 cut off" in told
    assert "faults: 1 (1 kill)" in told
    assert "problems: 1\n  - a posting was lost" in told
    assert "| 0 to 10 | 1 | 10 ms | 10 ms | 10 ms | 0 | | |  |" in told
    assert "| 10 to 20 | 1 | 30 ms | 30 ms | 30 ms | 1 | 9,000 ms | 9,000 ms | 9,000 ms |" in told
    widths = {line.count("|") for line in told.splitlines() if line.startswith("|")}
    assert widths == {12, 10}


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{summary.BEGIN}\nold\n{summary.END}\nafter\n"
    assert summary.replaced(page, "new\n") == (
        f"before\n{summary.BEGIN}\n\nnew\n\n{summary.END}\nafter\n"
    )
    with pytest.raises(ValueError, match="no part for a soak"):
        summary.replaced("before", "new")
