"""docs/rules.md tells which test shows which rule: all rules, and only tests that run."""

import subprocess
import sys

from tests.rules import table


def collected(paths: list[str]) -> set[str]:
    """The tests that pytest finds in some files, without their parameters."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-o",
            "addopts=--import-mode=importlib",
            *paths,
        ],
        cwd=table.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {line.partition("[")[0] for line in ran.stdout.splitlines() if "::" in line}


def test_every_rule_stands_in_the_table_once_and_has_a_test() -> None:
    rows = table.rows()
    assert [row.rule for row in rows] == table.RULES
    assert [row.rule for row in rows if not row.tests] == []


def test_every_test_that_is_named_after_a_rule_stands_beside_it() -> None:
    """Run ``python -m tests.rules.table`` after a test came, went or was renamed."""
    assert {row.rule: list(row.tests) for row in table.rows()} == table.names()


def test_every_test_of_the_table_is_one_that_runs() -> None:
    named = {f"tests/rules/{test}" for row in table.rows() for test in row.tests}
    named |= {test for row in table.rows() for test in row.elsewhere}
    found = collected(sorted({test.partition("::")[0] for test in named}))
    assert named - found == set()
