"""What all tests share."""

import os
import signal

import pytest
from hypothesis import settings

from p2psync.i18n import set_language
from tests.longest import LONGEST

EXAMPLES = 40
"""Of each property test that names no number of its own; docs/testing.md says how to have more."""
# A deadline asserts how long an example takes, which depends on what else the machine does.
settings.register_profile(
    "p2psync", deadline=None, max_examples=int(os.environ.get("P2PSYNC_EXAMPLES", EXAMPLES))
)
settings.load_profile("p2psync")


def pytest_configure() -> None:
    """Let what the tests start be interrupted, also where they run in a shell's background: such a
    shell has its jobs ignore SIGINT, and they pass that on."""
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        os.environ.pop(name, None)  # nodes of tests show nothing on the desktop of who runs them
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup() -> None:
    """Begin each test in English: command lines that ran in this process chose a language."""
    set_language("en")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, and leave the others in their order."""
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))
