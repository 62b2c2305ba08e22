"""What doctor can find (B-NET-5): each fault with what it is about, its words and the next step.

Most faults are met elsewhere, too, as an error or an alert: their words are used here. The table in
docs/doctor.md is checked against ``FAULTS``.
"""

from collections.abc import Mapping

from p2psync import errors
from p2psync.node.event_types import EVENT_TYPES
from p2psync.node.fault_types import Fault, Finding, Severity, Subject


def _of(
    subject: Subject, kind: type[errors.P2PSyncError], severity: Severity = "fault"
) -> tuple[str, Fault]:
    return kind.code, Fault(subject, severity, kind.template, kind.hint_template)


_ACTION_TEXTS = {
    "ask-source": "ask why it is late",
    "attach": "attach it again",
    "check-devices": "see which machine it is",
    "check-file": "see where the file is now",
    "check-hook": "see p2psync hook list",
    "confirm": "confirm the save",
    "detach": "detach it again",
    "discard": "delete the changed copy",
    "mend-disk": "free space or mend the disk",
    "restore": "restore a version",
    "restore-backup": "restore a backup of the home",
    "set-clock": "set the clock right",
    "unpost": "unpost one receipt",
    "update": "bring p2psync up to date",
}
"""What to do about an alert, by its action."""

ALERTS: dict[str, tuple[Subject, Severity]] = {
    "attach-failed": ("file", "fault"),
    "cannot-read-chunks": ("disk", "fault"),
    "change-not-allowed": ("file", "fault"),
    "clock-wrong": ("clock", "fault"),
    "content-invalid": ("file", "fault"),
    "deletion-held": ("file", "fault"),
    "detached-posted": ("file", "note"),
    "double-posting": ("file", "note"),
    "file-returned": ("file", "note"),
    "file-taken-over": ("file", "note"),
    "forked-log": ("member", "fault"),
    "hook-failed": ("node", "fault"),
    "log-behind": ("node", "note"),
    "machine-restored": ("home", "note"),
    "mandate-unreadable": ("mandate", "fault"),
    "member-removed": ("member", "note"),
    "no-room": ("disk", "fault"),
    "peer-complains": ("member", "fault"),
    "peer-mistake": ("member", "fault"),
    "source-silent": ("file", "fault"),
}
"""Alerts that doctor tells as they are, while they are open. The causes of all others it sees
itself, also when a person closed the alert."""


def _alert(kind: str) -> tuple[str, Fault]:
    subject, severity = ALERTS[kind]
    known = EVENT_TYPES[kind]
    return kind, Fault(subject, severity, known.when, _ACTION_TEXTS[known.action or ""])


FAULTS: dict[str, Fault] = dict(
    (
        _of("node", errors.NodeNotRunning),
        _of("node", errors.NodeStartFailed),
        _of("node", errors.ApiAnswerInvalid),
        (
            "node-silent",
            Fault(
                "node",
                "fault",
                template="process {pid} has the home {home} and does not answer: it is starting, "
                "or hangs",
                hint_template="wait a little; if it goes on, end that process, then start the "
                "node again",
            ),
        ),
        (
            "home-absent",
            Fault(
                "home",
                "fault",
                template="there is nothing at {home}: no node ever ran there, or its disk is away",
                hint_template="connect the disk, or name the right home with --home; a first start "
                "makes a new one",
            ),
        ),
        _of("home", errors.NotAFolder),
        _of("home", errors.HomeUnsuitable),
        _of("home", errors.HomeExposed),
        _of("home", errors.KeyMissing),
        _of("home", errors.KeyExposed),
        _of("home", errors.KeyDamaged),
        _of("home", errors.DatabaseDamaged),
        _of("home", errors.DatabaseForeign),
        _of("home", errors.DatabaseNewer),
        _of("home", errors.DatabaseBusy),
        _of("identity", errors.IdentityLocked),
        (
            "clock-set-back",
            Fault(
                "clock",
                "fault",
                template="the clock of this machine was set back: it shows {ours}, and what this "
                "machine wrote is from {theirs} (UTC)",
                hint_template="set the clock right",
            ),
        ),
        _of("disk", errors.DiskFull),
        _of("disk", errors.DiskReadOnly),
        _of("disk", errors.DiskFailed),
        _of("disk", errors.NodeFault),
        (
            "disk-silent",
            Fault(
                "disk",
                "fault",
                template="the disk that holds {path} did not answer within {seconds} seconds",
                hint_template="see that the drive or the network that it is on works",
            ),
        ),
        _of("folder", errors.AccessDenied),
        _of("folder", errors.FolderMissing),
        (
            "watcher-limit",
            Fault(
                "watcher",
                "note",
                template="the system watches no more folders ({count} are left out, such as "
                "{path}): they are looked at every few seconds instead",
                hint_template="raise the limit fs.inotify.max_user_watches, then start the node "
                "again",
            ),
        ),
        (
            "network-off",
            Fault(
                "network",
                "fault",
                template="the network of this node is off: no member can be called, or call",
                hint_template="see the node's log, then start the node again",
            ),
        ),
        (
            "lan-off",
            Fault(
                "lan",
                "note",
                template="nothing is looked for on the local network: the node was started with "
                "--no-lan",
                hint_template="start the node without it, if members are on this network",
            ),
        ),
        (
            "lan-silent",
            Fault(
                "lan",
                "note",
                template="this node cannot show itself on the local network: members there do not "
                "find it by themselves",
                hint_template="allow mDNS (UDP port 5353) in the firewall of this machine",
            ),
        ),
        (
            "not-callable",
            Fault(
                "outside",
                "note",
                template="this node cannot be called from outside, and no relay passes calls on",
                hint_template="add a relay (p2psync relay add ADDRESS), or have the router and the "
                "firewall pass on TCP port {port}",
            ),
        ),
        _of("proxy", errors.ProxyUnreachable),
        _of("proxy", errors.ProxyPasswordRefused),
        _of("proxy", errors.ProxyRefusesRelay),
        _of("relay", errors.RelayUnreachable),
        _of("relay", errors.RelayRefused),
        (
            "mandate-offline",
            Fault(
                "mandate",
                "fault",
                template="no other device of the mandate is reachable",
                hint_template=errors.PeerUnreachable.hint_template,
            ),
        ),
        (
            "mandate-waiting",
            Fault(
                "mandate",
                "fault",
                template="no member that may admit this device was reached yet",
                hint_template=errors.NotAdmitting.hint_template,
            ),
        ),
        _of("mandate", errors.TicketExpired),
        _of("mandate", errors.TicketRevoked),
        _of("mandate", errors.TicketUsedUp),
        _of("mandate", errors.TicketForeign),
        _of("mandate", errors.TicketClosed),
        _of("mandate", errors.DeviceRemoved),
        _of("mandate", errors.RemovedByOthers),
        _of("mandate", errors.MandateIsClosed, "note"),
        (
            "seat-contested",
            Fault(
                "mandate",
                "fault",
                template="two devices attached an accounting: {holder} has the seat, {others} is "
                "contested",
                hint_template="settle who has the seat",
            ),
        ),
        (
            "newer-version",
            Fault(
                "mandate",
                "note",
                template="somebody has a newer p2psync, which writes what this one does not "
                "understand",
                hint_template="bring p2psync up to date",
            ),
        ),
        (
            "other-protocol",
            Fault(
                "member",
                "fault",
                template="the p2psync of {who} is too far from this one to sync",
                hint_template=errors.TicketVersion.hint_template,
            ),
        ),
        (
            "member-away",
            Fault(
                "member",
                "fault",
                template="{who} was not there for {days} days",
                hint_template="ask them to switch the machine on and to connect it; their part "
                "comes by itself then",
            ),
        ),
        _of("file", errors.FileAbsent),
        _of("file", errors.FileAstray),
        _of("file", errors.FileBusy, "note"),
        _of("file", errors.NotARegularFile),
        _of("file", errors.FileInTheWay),
        _of("file", errors.FileHeldBack),
        _of("file", errors.ProgramTrial),
        _of("file", errors.ProgramWithoutUpdates),
        _of("file", errors.ProgramTooOld),
        _of("file", errors.ProgramUnknown),
        (
            "cannot-read",
            Fault(
                "file",
                "fault",
                EVENT_TYPES["file-unreadable"].when,
                hint_template="see whether the program that writes it opens it",
            ),
        ),
        (
            "cannot-write",
            Fault(
                "file",
                "fault",
                EVENT_TYPES["cannot-write"].when,
                hint_template="see that its folder can be written",
            ),
        ),
        (
            "conflict",
            Fault(
                "file",
                "fault",
                template="changed on two sides; the other version is kept as {others}: restore the "
                "version that is to count",
                hint_template="restore a version",
            ),
        ),
        (
            "lines-unreadable",
            Fault(
                "file",
                "note",
                template="{count} lines of {file} cannot be read, the first of them line {line}: "
                "they are kept as they are, and never posted",
                hint_template="see p2psync mandate show, and save it anew with the program that "
                "writes it",
            ),
        ),
        (
            "format-refused",
            Fault(
                "file",
                "note",
                "a file is not read record by record, but synchronised whole",
                hint_template="see why with p2psync inspect FILE",
            ),
        ),
        (
            "content-on-its-way",
            Fault(
                "file",
                "fault",
                template="the content of {file} has not come yet ({done} of {total} bytes), and "
                "nobody who may have it is there",
                hint_template=errors.PeerUnreachable.hint_template,
            ),
        ),
        *(_alert(kind) for kind in ALERTS),
    )
)
"""Every fault by its code."""


def found(
    code: str,
    where: str,
    params: Mapping[str, str] | None = None,
    *,
    mandate: str | None = None,
    since: str | None = None,
) -> Finding:
    """Return the finding of a fault whose words are those of the table."""
    fault = FAULTS[code]
    return Finding(
        code,
        fault.subject,
        fault.severity,
        where,
        fault.template,
        fault.hint_template,
        dict(params or {}),
        mandate,
        since,
    )


def met(
    error: errors.P2PSyncError,
    where: str,
    *,
    subject: Subject | None = None,
    otherwise: str = "cannot-read",
    mandate: str | None = None,
    since: str | None = None,
) -> Finding:
    """Return the finding of an error, in its words; ``otherwise`` is the code of one that is not
    in the table, ``subject`` what it is about when that is not what the table says.
    """
    code = error.code if error.code in FAULTS else otherwise
    return Finding(
        code,
        subject or FAULTS[code].subject,
        FAULTS[code].severity,
        where,
        error.template,
        error.hint_template or FAULTS[code].hint_template,
        dict(error.params),
        mandate,
        since,
    )


def told(
    kind: str,
    template: str,
    params: Mapping[str, str],
    where: str,
    *,
    mandate: str | None = None,
    since: str | None = None,
) -> Finding:
    """Return the finding of an open alert, in its words."""
    subject, severity = ALERTS[kind]
    hint = FAULTS[kind].hint_template
    return Finding(kind, subject, severity, where, template, hint, dict(params), mandate, since)
