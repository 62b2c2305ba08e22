"""What is wrong, from what is known (B-NET-5): functions of values alone, no disk, no network.

``p2psync.node.doctor`` gathers the values; ``docs/doctor.md`` lists what is found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from p2psync import errors
from p2psync.core.records import Problem
from p2psync.limits import CLOCK_APART_MS_MAX
from p2psync.node import views
from p2psync.node.fault_types import SUBJECTS, Finding, Subject
from p2psync.node.faults import ALERTS, found, met, told

MEMBER_AWAY_DAYS = 7
"""A member that was not there for so long is told of."""
_DAY_MS = 24 * 3600 * 1000
UNREADABLE_CODES = frozenset(
    (
        *("encoding", "field-count", "line-too-long", "missing-field", "nul", "open-quote"),
        *("truncated-tail", "unknown-directive", "unreadable-line", "utf-16"),
    )
)
"""Problems of a line by which it counts for nothing."""
WHOLE_CODES = frozenset(("unknown-format", "not-readable"))


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """Another member: since 1970 in milliseconds when it was last there, 0 when nobody knows."""

    name: str
    is_online: bool = False
    last_seen_ms: int = 0
    is_incompatible: bool = False


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file: ``troubles`` are what its copies here meet; ``incoming`` bytes here, and in all."""

    name: str
    troubles: Sequence[errors.P2PSyncError] = ()
    is_unwritten: bool = False
    others: Sequence[str] = ()
    """The versions of a conflict that are kept beside it."""
    is_conflict: bool = False
    incoming: tuple[int, int] | None = None
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class MandateFacts:
    """A mandate; ``error`` is what keeps this device out of it or it from being written."""

    id: str
    name: str
    state: str
    """As ``Overview.condition`` says."""
    error: errors.P2PSyncError | None = None
    members: Sequence[MemberFacts] = ()
    files: Sequence[FileFacts] = ()
    holder: str = ""
    contested: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """A relay, its address for people, and how it stands with it."""

    place: str
    status: str
    cause: str = ""
    since: str | None = None


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """The HTTP proxy that is used."""

    place: str
    state: str
    cause: str = ""
    since: str | None = None


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """An open alert."""

    type: str
    at: str
    template: str
    params: Mapping[str, str]
    mandate: str | None = None
    """Its id."""
    mandate_name: str | None = None
    file: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, whose it is and what is wrong with it."""

    subject: Subject
    path: str
    error: errors.P2PSyncError | None = None
    silent_seconds: int = 0
    """So long it was waited for in vain."""
    mandate: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a running node knows at one time."""

    wall_ms: int
    own_ms: int = 0
    """What the clock of this machine showed when it last wrote something."""
    is_locked: bool = False
    failure: errors.P2PSyncError | None = None
    is_online: bool | None = None
    """Whether the network is on; ``None`` for a node that has none."""
    lan: Literal["on", "off", "silent"] = "on"
    reach: str = "unknown"
    port: str = ""
    places: Sequence[Place] = ()
    unwatched: Sequence[str] = ()
    proxy: ProxyFacts | None = None
    relays: Sequence[RelayFacts] = ()
    mandates: Sequence[MandateFacts] = ()
    alerts: Sequence[AlertFacts] = ()
    is_shared: bool = True
    """Whether any mandate is shared: else no network is needed."""


def judge(known: Snapshot) -> list[Finding]:
    """Return what is wrong, causes before what follows from them."""
    out = [
        *_machine(known),
        *_network(known),
        *(each for mandate in known.mandates for each in _mandate(known, mandate)),
        *_alerts(known),
    ]
    return in_order(out)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Faults before notes, and causes before what follows from them."""
    return sorted(findings, key=lambda each: (each.severity, SUBJECTS.index(each.subject)))


def checked(findings: Iterable[Finding], looked_at: Iterable[Subject]) -> list[dict[str, str]]:
    """What was looked at, and how it is: ``ok``, ``note`` or ``fault``."""
    worst: dict[str, str] = dict.fromkeys(looked_at, "ok")
    for each in findings:
        if worst.get(each.subject) != "fault":
            worst[each.subject] = each.severity
    return [{"about": each, "state": worst[each]} for each in SUBJECTS if each in worst]


# -- this machine -----------------------------------------------------------------------------


def _machine(known: Snapshot) -> Iterable[Finding]:
    if known.is_locked:
        error = errors.IdentityLocked()
        yield met(error, "", since=_since(known, "identity-locked"))
    if known.own_ms - known.wall_ms > CLOCK_APART_MS_MAX:
        yield found(
            "clock-set-back",
            "",
            {"ours": _minute(known.wall_ms), "theirs": _minute(known.own_ms)},
        )
    told_of = set()
    if known.failure is not None:
        told_of.add(known.failure.code)
        since = _since(known, "disk-failed")
        yield met(known.failure, "", subject="disk", otherwise="disk-failed", since=since)
    for place in known.places:
        if place.silent_seconds:
            params = {"path": place.path, "seconds": str(place.silent_seconds)}
            yield found("disk-silent", place.path, params, mandate=place.mandate)
        elif place.error is not None and place.error.code not in told_of:
            yield met(place.error, place.path, otherwise="disk-failed", mandate=place.mandate)
    if known.unwatched:
        params = {"count": str(len(known.unwatched)), "path": min(known.unwatched)}
        yield found("watcher-limit", params["path"], params)


def _minute(milliseconds: int) -> str:
    return views.iso(milliseconds)[:16].replace("T", " ")


# -- the network ------------------------------------------------------------------------------


def _network(known: Snapshot) -> Iterable[Finding]:
    if known.is_locked or not known.is_shared:
        return
    if known.is_online is False:
        yield found("network-off", "")
        return
    if known.lan != "on":
        yield found(f"lan-{known.lan}", "")
    relayed = any(each.status == "reserved" for each in known.relays)
    if known.reach == "private" and not relayed:
        yield found("not-callable", "", {"port": known.port})
    if known.proxy is not None:
        kind = {
            "unreachable": errors.ProxyUnreachable,
            "password-refused": errors.ProxyPasswordRefused,
            "refused": errors.ProxyRefusesRelay,
        }.get(known.proxy.state)
        if kind is not None:
            error = kind(proxy=known.proxy.place, cause=known.proxy.cause)
            yield met(error, known.proxy.place, since=known.proxy.since)
    for relay in known.relays:
        if relay.status == "refused":
            refused = errors.RelayRefused(relay=relay.place, cause=relay.cause)
            yield met(refused, relay.place, since=relay.since)
        elif relay.status == "unreachable" or (relay.status == "connecting" and relay.cause):
            away = errors.RelayUnreachable(relay=relay.place, cause=relay.cause)
            yield met(away, relay.place, since=relay.since)


# -- mandates ---------------------------------------------------------------------------------


def _mandate(known: Snapshot, mandate: MandateFacts) -> Iterable[Finding]:
    name = mandate.name
    if mandate.error is not None:
        since = _since(known, "ticket-refused", mandate.id) or _since(
            known, "removed-by-others", mandate.id
        )
        yield met(mandate.error, name, subject="mandate", mandate=name, since=since)
    elif mandate.state == "waiting":
        since = _since(known, "cannot-sync", mandate.id)
        yield found("mandate-waiting", name, mandate=name, since=since)
    elif mandate.state == "offline" and known.is_online is not False:
        seen = max((each.last_seen_ms for each in mandate.members), default=0)
        yield found("mandate-offline", name, mandate=name, since=_iso(seen))
    elif mandate.state == "newer-version":
        since = _since(known, "newer-version", mandate.id)
        yield found("newer-version", name, mandate=name, since=since)
    if mandate.contested:
        params = {"holder": mandate.holder, "others": ", ".join(mandate.contested)}
        since = _since(known, "seat-contested", mandate.id)
        yield found("seat-contested", name, params, mandate=name, since=since)
    for member in mandate.members:
        yield from _member(known, mandate, member)
    for file in mandate.files:
        yield from _file(known, mandate, file)


def _member(known: Snapshot, mandate: MandateFacts, member: MemberFacts) -> Iterable[Finding]:
    days = (known.wall_ms - member.last_seen_ms) // _DAY_MS
    if member.is_incompatible:
        since = _since(known, "other-protocol")
        params = {"who": member.name}
        yield found("other-protocol", member.name, params, mandate=mandate.name, since=since)
    elif not member.is_online and member.last_seen_ms and days >= MEMBER_AWAY_DAYS:
        params = {"who": member.name, "days": str(days)}
        since = _iso(member.last_seen_ms)
        yield found("member-away", member.name, params, mandate=mandate.name, since=since)


def _file(known: Snapshot, mandate: MandateFacts, file: FileFacts) -> Iterable[Finding]:
    def since(*kinds: str) -> str | None:
        every = (_since(known, kind, mandate.id, file.name) for kind in kinds)
        return next((each for each in every if each is not None), None)

    kinds = ("link-broken", "file-unreadable", "cannot-write", "save-held-back", "program-refused")
    for error in file.troubles:
        otherwise = "cannot-write" if file.is_unwritten else "cannot-read"
        yield met(
            error,
            file.name,
            subject="file",
            otherwise=otherwise,
            mandate=mandate.name,
            since=since(*kinds),
        )
    if file.is_conflict:
        params = {"others": ", ".join(sorted(file.others))}
        at = since("conflict")
        yield found("conflict", file.name, params, mandate=mandate.name, since=at)
    nobody = not any(each.is_online for each in mandate.members)
    if file.incoming is not None and nobody:
        done, total = file.incoming
        params = {"file": file.name, "done": str(done), "total": str(total)}
        yield found("content-on-its-way", file.name, params, mandate=mandate.name)
    lines = [each.line for each in file.problems if each.code in UNREADABLE_CODES and each.line]
    if lines:
        params = {"file": file.name, "count": str(len(set(lines))), "line": str(min(lines))}
        yield found("lines-unreadable", file.name, params, mandate=mandate.name)
    for problem in file.problems:
        if problem.code in WHOLE_CODES:
            refused = found("format-refused", file.name, problem.params, mandate=mandate.name)
            yield replace(refused, template=problem.template)


# -- alerts -----------------------------------------------------------------------------------


def _alerts(known: Snapshot) -> Iterable[Finding]:
    for alert in known.alerts:
        if alert.type in ALERTS:
            where = alert.file or alert.device or alert.mandate_name or ""
            yield told(
                alert.type,
                alert.template,
                alert.params,
                where,
                mandate=alert.mandate_name,
                since=alert.at,
            )


def _since(
    known: Snapshot, kind: str, mandate: str | None = None, file: str | None = None
) -> str | None:
    """When an alert of a kind was raised, of those that are open."""
    for alert in known.alerts:
        if (alert.type, alert.mandate) == (kind, mandate) and file in (None, alert.file):
            return alert.at
    return None


def _iso(milliseconds: int) -> str | None:
    return views.iso(milliseconds) if milliseconds else None


# -- as values for programs -------------------------------------------------------------------


def view(finding: Finding) -> dict[str, Any]:
    """A finding as JSON, with its templates, in which it is told in any language."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "about": finding.subject,
        "where": finding.where,
        "mandate": finding.mandate,
        "since": finding.since,
        "template": finding.template,
        "hint_template": finding.hint_template,
        "params": dict(finding.params),
    }
