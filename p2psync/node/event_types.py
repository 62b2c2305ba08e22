"""Every type of event there is (B-NOT-1), with its severity and its one action (B-NOT-4).

What raises events (``Notices``) gives the words; all else is looked up here. ``docs/events.md``
and the tests are checked against this table: a new event is a new line here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from p2psync.errors import EventTypeUnknown

Severity = Literal["message", "alert"]


@dataclass(frozen=True, slots=True)
class EventType:
    """One type: ``when`` it is raised and what settles it, for docs/events.md.

    ``action`` is the one thing to do about it, a word that the API documents. An alert without
    ``settled`` stays until a person closes it; any other holds until its cause is gone, and is not
    raised again after a person closed it as long as the cause goes on. ``shown``: it is worth
    interrupting a person for (alerts always are).
    """

    severity: Severity
    when: str
    action: str | None = None
    settled: str = ""
    shown: bool = False


def _message(when: str, action: str | None = None, *, shown: bool = False) -> EventType:
    return EventType("message", when, action, "", shown)


def _alert(when: str, action: str | None = None, settled: str = "") -> EventType:
    return EventType("alert", when, action, settled, True)


EVENT_TYPES: dict[str, EventType] = {
    # -- files
    "file-attached": _message("a file was attached"),
    "file-updated": _message("the attached file itself was brought up to date"),
    "file-unreadable": _alert(
        "a file that is there cannot be read", "retry", "it can be read again"
    ),
    "cannot-write": _alert(
        "a file cannot be brought up to date on this disk", "retry", "it was written"
    ),
    "conflict": _alert(
        "a file was changed on two sides and cannot be merged; both versions are kept",
        "restore",
        "one version was made to count",
    ),
    "save-held-back": _alert(
        "a save lost most of a file's records: suspicious mass deletion (B-HIS-3)",
        "confirm",
        "the save was confirmed or refused, or the content is back",
    ),
    "deletion-held": _alert(
        "another device holds a save back that lost most of a file's records; told to owners and "
        "accountings (B-HIS-3)",
        "confirm",
        "it was confirmed or refused, or the device has other content",
    ),
    "held-save-answered": _message(
        "somebody confirmed or refused a save that another device holds back (B-HIS-3)"
    ),
    "held-save-ended": _message(
        "a save that was held back was taken, was put aside, or is not there any more (B-HIS-3)",
        shown=True,
    ),
    "change-not-allowed": _alert(
        "a file was changed on a device that may only read",
        "discard",
        "the copy is as it was",
    ),
    "link-broken": _alert(
        "an attached file is not where it was (B-MIG-1)", "restore-link", "the file is back"
    ),
    "link-restored": _message("an attached file that was missing is back, or was found"),
    "file-moved": _message("a file has another name, folder or device (B-MIG-2)"),
    "file-replaced": _message(
        "another file was put in the place of an attached one (B-MIG-3)", "post", shown=True
    ),
    "file-taken-over": _alert(
        "another device has a file now that was attached here (B-MIG-2)", "check-file"
    ),
    "source-silent": _alert(
        "a file was not saved for longer than it promised",
        "ask-source",
        "its next save, a longer promise or none, or it is detached",
    ),
    "attach-failed": _alert("a file that a subscription was to attach could not be", "attach"),
    "file-suggested": _message(
        "a file may belong to a mandate: listed beside its accounting (B-MAN-3), or the next year "
        "of one of its files (B-ATT-3); told once",
        "attach-suggested",
        shown=True,
    ),
    "suggestion-dismissed": _message("a person wants a file to be suggested no more"),
    "program-registered": _message("a program said that it writes a file (B-VAL-1)"),
    "policy-changed": _message("a mandate's policy for programs is another one (B-VAL-1)"),
    "other-protocol": _alert(
        "a member's p2psync speaks another version of the protocol (B-VAL-2)",
        "update",
        "the two understand each other again",
    ),
    "program-refused": _alert(
        "a mandate's policy refuses the program that writes a file: its saves are not taken up "
        "(B-VAL-1)",
        "update-program",
        "the program, its licence or the policy is another one",
    ),
    "file-detached": _message("a file was detached (B-DET-3)"),
    "file-reattached": _message("the detaching of a file was undone"),
    "file-returned": _alert("a file was saved while it was detached: it stays attached", "detach"),
    "detached-posted": _alert(
        "records of a file were posted while it was detached (B-DET-2)",
        "unpost",
        "the receipt was taken back, or the file is attached again",
    ),
    "versions-dropped": _message(
        "the content of old versions was let go of here, as this device's policy says"
    ),
    "copy-left": _message("a changed copy of a detached file stays in the mandate folder"),
    # -- posting
    "records-waiting": _message("a save left records that wait to be posted", "post", shown=True),
    "posted": _message("a receipt was made", shown=True),
    "unposted": _message("a receipt was taken back"),
    "double-posting": _alert(
        "two receipts took the same records while apart; they count once (B-POS-6)",
        "unpost",
        "one of the receipts was taken back",
    ),
    "seat-handed": _message("the accounting seat was handed over (B-POS-7)", shown=True),
    "seat-contested": _alert(
        "two devices attached an accounting while apart (B-MAN-1)",
        "settle-seat",
        "one device has the seat",
    ),
    # -- members and mandates
    "member-joined": _message("a device was let in; compare its key phrase", shown=True),
    "member-removed": _alert(
        "a member removed a device: what it writes later does not count (B-ID-3)",
        "check-devices",
        "the device was let in again",
    ),
    "member-readmitted": _message("the removal of a device was undone (B-ID-3)", shown=True),
    "removed-by-others": _alert(
        "this device was removed by a member (B-ID-3)", "ask-senior", "it was let in again"
    ),
    "mandate-shared": _message("a local mandate became a shared one"),
    "mandate-renamed": _message("a mandate has another name"),
    "ticket-refused": _alert(
        "a member refused this device's ticket", "new-ticket", "this device was let in"
    ),
    "cannot-sync": _alert(
        "a shared mandate met no other device for a day, or nobody let this device in",
        "connect",
        "a device of it is there",
    ),
    "mandate-unreadable": _alert(
        "what is kept of a mandate cannot be read", "restore-backup", "it can be read again"
    ),
    "newer-version": _alert(
        "somebody uses a p2psync that says what this one does not know (B-VAL-2)", "update"
    ),
    "member-left": _message("a member removed the mandate from their machine (B-REM-6)"),
    "member-returned": _message("a member who had removed the mandate has it again"),
    "mandate-removed": _message("the mandate left this device's list (B-REM-1)", "undo"),
    "mandate-restored": _message("the removal of a mandate was undone"),
    "mandate-closed": _alert(
        "the mandate was closed for everyone (B-REM-5)", "remove", "it was reopened, or removed"
    ),
    "mandate-reopened": _message("the closing of a mandate was undone", shown=True),
    # -- identity and devices
    "identity-locked": _alert(
        "nobody is signed in: the key is locked (B-ID-1)", "sign-in", "somebody signed in"
    ),
    "relay-away": _alert(
        "a relay refuses this device, or has not been reached for a minute (B-NET-2)",
        "check-relay",
        "the relay passes calls on again, or is used no more",
    ),
    "proxy-refused": _alert(
        "the HTTP proxy lets nothing through, for whatever cause (B-NET-2)",
        "check-proxy",
        "a call went through it, or another proxy was set",
    ),
    "relay-changed": _message(
        "a member named a relay for all, gave another address or token for it, or took it out "
        "(B-NET-2)"
    ),
    "way-changed": _message(
        "a member is reached by another way than before, on the LAN, directly or through a relay, "
        "and has been for a while (B-NET)"
    ),
    "machine-restored": _alert("this home was restored or copied (B-ID-4)", "check-devices"),
    "log-behind": _alert(
        "a member has more of this device's log than this machine: it was restored", "check-devices"
    ),
    "forked-log": _alert(
        "two histories of one device exist: its machine was cloned or restored (B-ID-4)",
        "check-devices",
    ),
    "content-invalid": _alert(
        "the content of somebody's version cannot be put together", "restore"
    ),
    "peer-complains": _alert("a member's machine could not read what this one sent", "update"),
    "peer-mistake": _alert("a peer sent what makes no sense", "update"),
    "clock-wrong": _alert(
        "a device's clock and this one differ by more than an hour",
        "set-clock",
        "its next change comes with a right clock",
    ),
    # -- this machine
    "disk-failed": _alert("nothing can be written", "mend-disk", "the disk works again"),
    "disk-works": _message("the disk can be written again"),
    "no-room": _alert(
        "the disk has no room for what others sent", "mend-disk", "there is room again"
    ),
    "cannot-read-chunks": _alert(
        "content that was stored cannot be read", "mend-disk", "it can be read again"
    ),
    # -- hooks
    "hook-failed": _alert(
        "a hook failed again and again; never told to that hook itself",
        "check-hook",
        "the hook works again, or was removed",
    ),
    "hook-test": _message("`p2psync hook test`: told to that hook alone, and not kept"),
}

PASSING = {
    "progress": "something long goes on; with how far it has come",
    "alert-closed": "an alert was closed by a person, or its cause is gone",
    "gap": "the reader asked for events that were forgotten meanwhile",
}
"""What only the stream carries: it has no id and cannot be had again."""

ALL, ALERTS, MESSAGES = "all", "alerts", "messages"


def expand(wanted: Iterable[str]) -> frozenset[str]:
    """Return the types that some words stand for: types, ``alerts``, ``messages``, ``all``.

    Raises ``EventTypeUnknown``.
    """
    found: set[str] = set()
    for word in wanted:
        if word in EVENT_TYPES:
            found.add(word)
        elif word in (ALL, ALERTS, MESSAGES):
            severity = {ALERTS: "alert", MESSAGES: "message"}.get(word)
            found |= {
                name for name, each in EVENT_TYPES.items() if severity in (None, each.severity)
            }
        else:
            raise EventTypeUnknown(type=word)
    return frozenset(found)


def known(wanted: Iterable[str]) -> list[str]:
    """Return the words that ``expand`` takes: another version may have had others."""
    return [word for word in wanted if word in EVENT_TYPES or word in (ALL, ALERTS, MESSAGES)]
