"""What people are told of what happened in a mandate: each kind of news in its words."""

from collections.abc import Sequence

from p2psync.core import clock, ops
from p2psync.core.files import FileState
from p2psync.core.words import key_phrase
from p2psync.engine.effects import Warn
from p2psync.limits import CLOCK_APART_MS_MAX
from p2psync.node import views
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened


def warn(notices: Notices, opened: Opened | None, effect: Warn) -> None:
    """Something odd about a device or a peer that a person should hear of."""
    who = views.person(opened.state, effect.device) if opened and effect.device else "?"
    texts = {
        "forked-log": "two histories of one device ({who}) exist: its machine was cloned or "
        "restored; nothing that it wrote is lost",
        "log-behind": "this machine was restored from an older state; it goes on with a "
        "new log, nothing is lost",
        "peer-complains": "the machine of {who} could not read what this one sent and ended "
        "the link; bring p2psync up to date on both",
        "content-invalid": "{who} saved a version ({detail}) whose content cannot be put "
        "together; the versions before it are kept",
    }
    template = texts.get(effect.code, "a peer made a mistake: {detail}")
    # Not by what the peer says: it could make any number of alerts.
    detail = effect.detail if effect.code in ("forked-log", "content-invalid") else ""
    notices.alert_text(
        effect.code,
        template,
        mandate=effect.mandate,
        key=f"{effect.code}:{(effect.device or b'').hex()}:{detail}",
        who=who,
        detail=effect.detail,
    )


def file_added(notices: Notices, opened: Opened, file: FileState) -> None:
    """A file was attached."""
    notices.message(
        "file-attached",
        "{who} attached {file}",
        mandate=opened.id,
        file=file.info.name,
        who=views.person(opened.state, file.device),
    )


def file_saved(notices: Notices, opened: Opened, file: FileState) -> None:
    """B-POS-1: tell what waits, how much it is, who and when."""
    if not views.counts(file):
        return
    added, deleted = file.pending()
    latest = file.current()
    if latest is None or not (added or deleted):
        return
    notices.message(
        "records-waiting",
        "{file}: {added} added and {deleted} deleted wait to be posted (saved by {who})",
        mandate=opened.id,
        file=file.info.name,
        action="post",
        added=str(added),
        deleted=str(deleted),
        who=views.person(opened.state, latest.device),
    )


def member_joined(notices: Notices, opened: Opened, device: bytes) -> None:
    """Somebody was let in; the key phrase is to be compared aloud (B-ID-2)."""
    if device == opened.state.founder:
        return
    notices.message(
        "member-joined",
        "{who} joined {name} (key phrase: {phrase})",
        mandate=opened.id,
        who=views.person(opened.state, device),
        name=opened.name,
        phrase=key_phrase(device),
    )


def seat_contested(notices: Notices, opened: Opened) -> None:
    """B-MAN-1: two devices attached an accounting while apart."""
    contested = opened.state.contested()
    if not contested:
        notices.settle("seat-contested", mandate=opened.id, key="seat-contested")
    else:
        notices.alert_text(
            "seat-contested",
            "two devices attached an accounting: {holder} has the seat, {others} is contested",
            mandate=opened.id,
            key="seat-contested",
            holder=views.person(opened.state, opened.state.seat() or b""),
            others=", ".join(views.person(opened.state, each) for each in contested),
        )


def mandate_renamed(notices: Notices, opened: Opened, device: bytes, before: str) -> None:
    """The mandate has another name."""
    notices.message(
        "mandate-renamed",
        "{who} renamed {before} to {name}",
        mandate=opened.id,
        who=views.person(opened.state, device),
        before=before,
        name=opened.name,
    )


def program_registered(notices: Notices, opened: Opened, file_id: bytes) -> None:
    """B-VAL-1: a program said that it writes a file."""
    file = opened.state.files.get(file_id)
    if file is None or file.added is None or file.program is None:
        return
    said = file.program[2]
    notices.message(
        "program-registered",
        "{program} {version} writes {file} (licence: {licence})",
        mandate=opened.id,
        file=file.info.name,
        program=said.program,
        version=said.version,
        licence=said.licence,
    )


def policy_changed(notices: Notices, opened: Opened) -> None:
    """B-VAL-1: other programs' files are refused than before."""
    notices.message(
        "policy-changed",
        "{name} has another policy for programs: see p2psync program policy",
        mandate=opened.id,
        name=opened.name,
    )


def posted(notices: Notices, opened: Opened, receipt: ops.OpId, *, retracted: bool) -> None:
    """B-POS-4: a receipt was made, or retracted."""
    known = opened.state.receipts.get(receipt)
    if known is None:
        return
    notices.message(
        "unposted" if retracted else "posted",
        "{who} took the receipt {receipt} back"
        if retracted
        else "{who} posted {added} added and {deleted} deleted records (receipt {receipt})",
        mandate=opened.id,
        who=views.person(opened.state, known.device),
        receipt=known.name,
        added=str(known.added),
        deleted=str(known.deleted),
    )


def double_posted(
    notices: Notices, opened: Opened, file_id: bytes, receipts: Sequence[ops.OpId]
) -> None:
    """B-POS-6: two receipts took the same records."""
    known = opened.state.receipts
    names = [known[receipt].name for receipt in receipts if receipt in known]
    file = opened.state.files.get(file_id)
    if file is None or len(names) < 2:
        return
    notices.alert_text(
        "double-posting",
        "the same records of {file} were posted twice, by the receipts {receipts}; they count once",
        mandate=opened.id,
        file=file.info.name if file.added else "",
        action="unpost",
        key=f"double:{':'.join(sorted(names))}",
        receipts=", ".join(names),
    )


def clock_seen(notices: Notices, opened: Opened, device: bytes, hlc: int, wall_ms: int) -> None:
    """Nothing comes from the future: tell that a clock is wrong, there or here (B-NOT-1).

    Only a time that a clock showed counts, not one that merely follows on what came before it.
    """
    if not clock.was_shown(hlc):
        return
    shown = clock.milliseconds(hlc)
    key = f"clock-wrong:{device.hex()}"
    if shown - wall_ms <= CLOCK_APART_MS_MAX:
        notices.settle("clock-wrong", mandate=opened.id, key=key)
        return
    notices.alert_text(
        "clock-wrong",
        "the clock of {who} or of this machine is wrong: it showed {theirs} there and {ours} "
        "here (UTC); nothing is lost, but times and the last writer go by clocks: set it right",
        mandate=opened.id,
        key=key,
        who=views.person(opened.state, device),
        theirs=views.iso(shown)[:16].replace("T", " "),
        ours=views.iso(wall_ms)[:16].replace("T", " "),
    )


def newer_version(notices: Notices, opened: Opened) -> None:
    """B-VAL-2: somebody uses a p2psync that says what this one does not know."""
    notices.alert_text(
        "newer-version",
        "a newer p2psync wrote to {name}; bring this one up to date",
        mandate=opened.id,
        key="newer-version",
        name=opened.name,
    )
