"""The floods' measures are printed at the end of the run."""

import resource
from collections.abc import Iterator

import pytest

from tests.network.floods.rig import Measure

DESCRIPTORS = 8192
_measured: list[str] = []


@pytest.fixture
def measure() -> Measure:
    return _measured.append


@pytest.fixture(autouse=True, scope="package")
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _measured:
        terminalreporter.section("floods")
        for line in _measured:
            terminalreporter.write_line(line)
