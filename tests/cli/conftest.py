"""The command line under test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.rig import CommandLine, served


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("P2PSYNC_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "P2PSYNC_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    home = tmp_path / "home"
    home.mkdir()
    with served(home) as service:
        yield CommandLine(home, service, capsys)


@pytest.fixture
def acme(cli: CommandLine) -> CommandLine:
    """The same, with a mandate called Acme."""
    cli.json("mandate", "create", "Acme")
    return cli
