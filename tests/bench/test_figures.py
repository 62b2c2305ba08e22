"""Figures, their JSON, and how they are told."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.benchmarks import profiles, tables
from scripts.benchmarks.figures import Goal, from_json, percentile, to_json
from scripts.benchmarks.syncs import calls
from scripts.benchmarks.wire import count
from tests.bench.rig import results


def test_what_a_run_found_comes_back_from_json() -> None:
    assert from_json(to_json(results())) == results()


def test_json_of_another_schema_is_refused() -> None:
    value = json.loads(to_json(results())) | {"schema": 99}
    with pytest.raises(ValueError, match="schema 99"):
        from_json(json.dumps(value))


def test_a_value_is_found_by_its_name() -> None:
    assert results().value("propagation", "p2psync", "median") == 6.0
    assert results().value("propagation", "p2psync", "none") is None


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([1.0], 95, 1.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        (range(1, 101), 95, 95),
        (range(1, 21), 95, 19),
        ([1.0, 2.0], 100, 2.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_percentiles(samples: Sequence[float], percent: float, expected: float) -> None:
    assert percentile(samples, percent) == expected


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 100))
def test_enough_samples_do_not_exceed_a_percentile(samples: list[float], percent: float) -> None:
    found = percentile(samples, percent)
    assert found in samples
    assert sum(each <= found for each in samples) >= len(samples) * percent / 100 * (1 - 1e-9)


def test_goals_bound_from_above_or_from_below() -> None:
    assert Goal("≤", 8).met_by(8)
    assert not Goal("≤", 8).met_by(8.1)
    assert Goal("≥", 60_000).met_by(70_000)
    assert not Goal("≥", 60_000).met_by(59_999)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.5, "ms", "1,234 ms"),
        (123.4, "ms", "123 ms"),
        (12.34, "s", "12.3 s"),
        (1.234, "", "1.23"),
        (0.01234, "s", "0.012 s"),
        (0.00001234, "s", "1.2e-05 s"),
        (0, "s", "0.000 s"),
        (60_000, "1/s", "60,000/s"),
    ],
)
def test_amounts_have_the_digits_that_count(value: float, unit: str, text: str) -> None:
    assert tables.with_unit(value, unit) == text


def test_rows_name_a_benchmark_once_and_tell_how_near_a_goal_is() -> None:
    assert tables.rows(results().figures) == [
        ("limits", "machine", "loopback, one byte there and back", "0.020 ms", "", ""),
        ("propagation", "p2psync", "median", "6.00 ms", "≤ 8.00 ms", "met"),
        ("", "p2psync", "95th", "30.0 ms", "≤ 20.0 ms", "1.50 of it"),
        ("", "rsync", "median", "3.25 ms", "", ""),
        ("records", "p2psync", "1 an entry, taken in", "6,000/s", "≥ 12,000/s", "0.50 of it"),
    ]


def test_tables() -> None:
    body = [("a", "bb"), ("ccc", "")]
    assert tables.plain(("x", "y"), body) == "x    y\n---  --\na    bb\nccc\n"
    assert tables.markdown(("x", "y"), body) == (
        "| x | y |\n| --- | --- |\n| a | bb |\n| ccc |  |\n"
    )


SS = """
0 0 127.0.0.1:40001 127.0.0.1:9000 users:(("python",pid=11,fd=7)) cubic rto:201 bytes_sent:5000 \
bytes_retrans:400 bytes_acked:4600 bytes_received:77 segs_out:9
0 0 [::ffff:127.0.0.1]:9000 [::ffff:127.0.0.1]:40001 users:(("syncthing",pid=22,fd=9)) cubic \
bytes_sent:77 bytes_received:4600
0 0 127.0.0.1:40002 127.0.0.1:9000 users:(("python",pid=33,fd=7)) cubic bytes_sent:900
0 0 127.0.0.1:9000 127.0.0.1:40002 users:(("syncthing",pid=22,fd=10)) cubic
0 0 127.0.0.1:50001 127.0.0.1:9001 users:(("python",pid=11,fd=8)) cubic bytes_sent:123456
"""


def test_bytes_between_two_processes_are_counted_without_what_was_sent_again() -> None:
    assert count(SS, {11}, {22}) == 4600
    assert count(SS, {22}, {11}) == 77
    assert count(SS, {11, 33}, {22}) == 5500
    assert count(SS, {11}, {44}) == 0


def test_a_wait_for_the_disk_that_is_told_in_two_lines_is_one() -> None:
    log = "12 fdatasync(5) = 0\n12 fsync(7 <unfinished ...>\n12 <... fsync resumed>) = 0\n"
    assert calls(log) == 2


def test_a_profile_counts_own_samples_and_those_below() -> None:
    samples = [
        "thread (0x1);main (p2psync/cli/main.py:3);read (p2psync/storage/disk.py:7) 30",
        "thread (0x1);main (p2psync/cli/main.py:9) 10",
    ]
    assert profiles.table(samples) == (
        "  own   all  function\n"
        "75.0% 75.0%  read (p2psync/storage/disk.py)\n"
        "25.0% 100.0%  main (p2psync/cli/main.py)\n"
    )
    assert profiles.table([]) == "no samples\n"
