"""The floods' measures are printed at the end of the run."""

import pytest

_measured: list[str] = []


@pytest.fixture
def measure() -> list[str]:
    return _measured


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _measured:
        terminalreporter.section("floods of the engine and the API")
        for line in _measured:
            terminalreporter.write_line(line)
