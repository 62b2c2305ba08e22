"""What a member answered when it did not let this device in, as an error for people (B-TIC-3)."""

from p2psync.errors import (
    DeviceRemoved,
    TicketClosed,
    TicketError,
    TicketExpired,
    TicketForeign,
    TicketRevoked,
    TicketUsedUp,
)
from p2psync.node.views import iso
from p2psync.storage.rows import MandateRow


def refusal(row: MandateRow, code: str) -> TicketError | None:
    """Return the error that a code stands for.

    ``None`` for a code that does not settle the matter: that member may not admit, another one may.
    """
    match code:
        case TicketExpired.code:
            return TicketExpired(expired=iso(row.ticket_expires_ms or 0))
        case TicketRevoked.code:
            return TicketRevoked()
        case TicketUsedUp.code:
            return TicketUsedUp()
        case TicketForeign.code:
            return TicketForeign()
        case DeviceRemoved.code:
            return DeviceRemoved()
        case TicketClosed.code:
            return TicketClosed()
        case _:
            return None
