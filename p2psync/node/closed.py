"""What a closed mandate refuses (B-REM-5)."""

from collections.abc import Iterable

from p2psync.core.ops import Close, Describe, Leave, Operation, Reopen, Return
from p2psync.errors import MandateIsClosed
from p2psync.node import views
from p2psync.node.opened import Opened


def check_open(opened: Opened) -> None:
    """Raise ``MandateIsClosed`` while a closing holds."""
    closings = opened.state.standing.closed
    if closings:
        raise MandateIsClosed(
            mandate=opened.name,
            who=views.person(opened.state, closings[0].device),
            when=views.iso_of(closings[0].hlc)[:10],
        )


def check_may_write(opened: Opened, operations: Iterable[Operation]) -> None:
    """Raise ``MandateIsClosed`` for an entry that is not about the closing itself.

    How a person is called may be said any time, and everything goes along with a leaving.
    """
    if not opened.closed:
        return
    operations = list(operations)
    about_it = any(isinstance(each, Close | Reopen | Leave | Return) for each in operations)
    if not about_it and not all(isinstance(each, Describe) for each in operations):
        check_open(opened)
