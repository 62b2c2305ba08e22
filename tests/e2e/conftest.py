"""Two nodes that the tests share, for starting takes seconds, and a mandate for each test."""

from collections.abc import Iterator

import pytest

from tests.e2e.homes import Home, Pair, example, homes, share


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Home]]:
    """The accountant's node and the clerk's."""
    with homes(tmp_path_factory.mktemp("nodes"), "accountant", "clerk") as (accountant, clerk):
        yield accountant, clerk


@pytest.fixture
def two(nodes: tuple[Home, Home]) -> tuple[Home, Home]:
    """Both nodes, running."""
    for home in nodes:
        home.revive()
    return nodes


@pytest.fixture
def both(two: tuple[Home, Home], request: pytest.FixtureRequest) -> Pair:
    """A mandate of the test's own; the clerk has attached the first example of sales."""
    name = request.node.name.removeprefix("test_")[:40]
    return share(*two, name, example("atelier_2025_v1.ecf"))
