"""What the options before the command choose, for one run of the command line."""

import os
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """The node's home, and how to speak."""

    home: Path
    json: bool
    language: str


_current: ContextVar[Settings] = ContextVar("p2psync_settings")


def use(settings: Settings) -> None:
    """Make these the settings of this run."""
    _current.set(settings)


def current() -> Settings:
    """Return the settings of this run."""
    return _current.get()


def default_home() -> Path:
    """Return ``P2PSYNC_HOME``, else the platform's folder for user data."""
    chosen = os.environ.get("P2PSYNC_HOME")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("p2psync", appauthor=False))
