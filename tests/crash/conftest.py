"""Two jobs beside each other, for all tests of this folder; their counts are printed at the end."""

import pytest

from tests.crash import run
from tests.crash.story import Json

JOBS = {
    "anna": ("--points", "150", "--mutants"),
    "ben": ("--points", "130", "--mutants", "--careless"),
}
_lines: list[str] = []


@pytest.fixture(scope="session")
def answers() -> dict[str, Json]:
    """What each machine's job found."""
    jobs = {name: run.start("--victim", name, *options) for name, options in JOBS.items()}
    try:
        found = {name: run.finish(job) for name, job in jobs.items()}
    finally:
        for job in jobs.values():
            with job:  # closes its pipe and waits for it
                job.kill()
    _lines.extend(run.told(name, [answer]) for name, answer in found.items())
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts."""
    for line in _lines:
        terminalreporter.write_line(f"crash points of {line}")
