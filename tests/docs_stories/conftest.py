"""The command line that all stories type at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked import serve


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``p2psync`` in it, for ``PATH``."""
    with serve(tmp_path_factory.mktemp("bin")) as folder:
        yield folder
