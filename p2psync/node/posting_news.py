"""What people are told of receipts and of the seat (B-POS-4, B-POS-6, B-POS-7)."""

from collections.abc import Iterable

from p2psync.core.changes import FilePosted
from p2psync.core.files import FileState
from p2psync.core.ops import OpId
from p2psync.node import views
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened


def posted(notices: Notices, opened: Opened, change: FilePosted) -> None:
    """A receipt was made, or retracted."""
    known = opened.state.receipts.get(change.receipt)
    if known is None:
        return
    device, retracted = change.device, change.retracted
    notices.message(
        "unposted" if retracted else "posted",
        "{who} took the receipt {receipt} back"
        if retracted
        else "{who} posted {added} added and {deleted} deleted records (receipt {receipt})",
        mandate=opened.id,
        device=device,
        data={
            "receipt": known.name,
            "added": known.added,
            "deleted": known.deleted,
            "files": views.receipt_files(opened, known),
        },
        who=views.person(opened.state, device),
        receipt=known.name,
        added=str(known.added),
        deleted=str(known.deleted),
    )
    if not retracted:
        return
    notices.settle_all(opened.id, known.name)
    for file_id in known.files:
        file = opened.state.files.get(file_id)
        if file is not None and file.contested:
            double_posted(notices, opened, file, file.contested)


def double_posted(
    notices: Notices, opened: Opened, file: FileState, receipts: Iterable[OpId]
) -> None:
    """B-POS-6: receipts took the same records while apart; they count once."""
    known = opened.state.receipts
    made = sorted((each for each in receipts if each in known), key=lambda each: known[each].name)
    if len(made) < 2 or not file.added:
        return
    who = dict.fromkeys(views.person(opened.state, known[each].device) for each in made)
    names = [known[each].name for each in made]
    notices.alert_text(
        "double-posting",
        "the same records of {file} were posted twice, by the receipts {receipts} of {who}; they "
        "count once: take one of them back",
        mandate=opened.id,
        file=_name(opened, file),
        # Taking back any of them settles it: each name is part of the key.
        key=f"double:{file.id.hex()}:{':'.join(names)}",
        data={"receipts": names},
        receipts=", ".join(names),
        who=", ".join(who),
    )


def seat_changed(notices: Notices, opened: Opened, device: bytes) -> None:
    """B-MAN-1, B-POS-7: the seat was claimed or handed over; two may have claimed it apart."""
    state = opened.state
    (seat, handed), contested = state.seating(), state.contested()
    before, opened.seating = opened.seating, (seat, handed)
    if contested:
        others = ", ".join(views.person(state, each) for each in contested)
        notices.alert_text(
            "seat-contested",
            "two devices attached an accounting: {holder} has the seat, {others} is contested",
            mandate=opened.id,
            key="seat-contested",
            data={"holder": (seat or b"").hex(), "contested": [each.hex() for each in contested]},
            holder=views.person(state, seat or b""),
            others=others,
        )
    else:
        notices.settle("seat-contested", mandate=opened.id, key="seat-contested")
    if seat is not None and handed and before != opened.seating:
        notices.message(
            "seat-handed",
            "{who} gave the accounting seat of {name} to {holder} ({machine}): only that device "
            "posts now",
            mandate=opened.id,
            device=device,
            data={"holder": seat.hex()},
            who=views.person(state, device),
            name=opened.name,
            holder=views.person(state, seat),
            machine=views.machine(state, seat),
        )


def _name(opened: Opened, file: FileState) -> str:
    return opened.names().get(file.id, file.info.name)
