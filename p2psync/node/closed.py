"""What a closed mandate refuses (B-REM-5), and one from which this device was removed (B-ID-3)."""

from collections.abc import Iterable

from p2psync.core import clock
from p2psync.core.ops import Close, Describe, Leave, Operation, Reopen, Return
from p2psync.errors import MandateIsClosed, RemovedByOthers
from p2psync.node import views
from p2psync.node.dismissal import Dismissal
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


def check_belongs(opened: Opened) -> None:
    """Raise ``RemovedByOthers`` when this device was removed, as it was told or as entries say."""
    dismissal = Dismissal.of(opened.row)
    removal = opened.state.membership.removed.get(opened.replica.device)
    if dismissal is None and removal is None:
        return
    if dismissal is None and removal is not None:
        by = removal.by[0][1]
        at_ms = clock.milliseconds(removal.stamp)
        dismissal = Dismissal(by, views.person(opened.state, by), at_ms)
    assert dismissal is not None
    raise RemovedByOthers(
        mandate=opened.name, who=dismissal.who, when=views.iso(dismissal.at_ms)[:10]
    )


def check_may_write(opened: Opened, operations: Iterable[Operation]) -> None:
    """Raise ``MandateIsClosed`` for an entry that is not about the closing itself.

    How a person is called may be said any time, and everything goes along with a leaving.
    Raises ``RemovedByOthers`` when entries say that this device was removed.
    """
    if opened.expelled:
        check_belongs(opened)
    if not opened.closed:
        return
    operations = list(operations)
    about_it = any(isinstance(each, Close | Reopen | Leave | Return) for each in operations)
    if not about_it and not all(isinstance(each, Describe) for each in operations):
        check_open(opened)
