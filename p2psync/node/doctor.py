"""Gathers what a running node knows of itself, for ``p2psync doctor`` (B-NET-5).

Nothing is changed and nobody is called. What the disk is asked has a deadline: a network drive that
is away may not answer for minutes.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import trio

from p2psync import __version__
from p2psync.core import clock
from p2psync.core.files import FileState
from p2psync.core.records import Problem
from p2psync.errors import (
    FileAbsent,
    FileAstray,
    FileBusy,
    FileHeldBack,
    FolderMissing,
    MandateIsClosed,
    P2PSyncError,
    RemovedByOthers,
)
from p2psync.network.discovery import LanDiscovery
from p2psync.node import find, validity, views
from p2psync.node.anonymous import report
from p2psync.node.closed import check_belongs, check_open
from p2psync.node.diagnosis import (
    AlertFacts,
    FileFacts,
    MandateFacts,
    MemberFacts,
    Place,
    ProxyFacts,
    RelayFacts,
    Snapshot,
    checked,
    judge,
    view,
)
from p2psync.node.fault_types import SUBJECTS, Subject
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.overview import Overview
from p2psync.node.reach import outside
from p2psync.node.refusals import refusal
from p2psync.node.runner import wall_ms
from p2psync.storage.checkup import folder_trouble

Json = dict[str, Any]
Probe = Callable[[Path], P2PSyncError | None]
PATIENCE_SECONDS = 5.0
"""So long the disk may take to tell of a folder."""
PROBES_AT_ONCE_MAX = 8
LAN_SECONDS = 2.0
"""So long the announcement on the local network may take, just after a start."""
LAN_LOOK_SECONDS = 0.05


class Doctor:
    """Looks at one node."""

    def __init__(
        self,
        node: Node,
        overview: Overview,
        alerts: Callable[[str | None], Any],
        *,
        probe: Probe = folder_trouble,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """``alerts`` lists open alerts; ``probe`` asks the disk what is wrong with a folder."""
        self._node = node
        self._overview = overview
        self._alerts = alerts
        self._probe = probe
        self._patience_seconds = patience_seconds

    async def examine(self, mandate: str | None) -> Json:
        """Say what is wrong with this node, and with one mandate or all.

        ``{"version", "at", "checks", "findings", "report"}``: the report names nobody and nothing.
        """
        node = self._node
        chosen = list(node.opened.values())
        if mandate is not None:
            chosen = [find.mandate(node.opened.values(), mandate)]
        known = await self._snapshot(chosen, mandate)
        findings = judge(known)
        looked_at: list[Subject] = [
            each for each in SUBJECTS if each != "proxy" or known.proxy is not None
        ]
        checks = checked(findings, looked_at)
        facts = {
            "at": views.iso(known.wall_ms),
            "mandates": len(known.mandates),
            "files": sum(len(each.files) for each in known.mandates),
            "members": sum(len(each.members) for each in known.mandates),
            "relays": [each.status for each in known.relays],
            "reach": known.reach,
        }
        return {
            "version": __version__,
            "at": views.iso(known.wall_ms),
            "checks": checks,
            "findings": [view(each) for each in findings],
            "report": report(findings, checks, facts, map(os.strerror, errno.errorcode)),
        }

    async def _snapshot(self, chosen: Sequence[Opened], mandate: str | None) -> Snapshot:
        node = self._node
        places = await self._places(chosen)
        missing = {place.path for place in places if isinstance(place.error, FolderMissing)}
        said = (await self._alerts(mandate))["alerts"]
        if mandate is not None:
            said += [
                each for each in (await self._alerts(None))["alerts"] if each["mandate"] is None
            ]
        shown = node.proxy.view()
        is_proxied = node.proxy.current() is not None
        return Snapshot(
            wall_ms=wall_ms(),
            own_ms=max((_own_ms(opened) for opened in node.opened.values()), default=0),
            is_locked=node.identity.locked,
            failure=node.failure,
            is_online=None if node.online is None else node.transport is not None,
            lan=await self._lan(),
            reach=outside(node.transport)["reach"],
            port=_port(node.addresses()),
            places=[place for place in places if place.path not in missing],
            unwatched=sorted(str(each) for each in node.unwatched()),
            proxy=ProxyFacts(
                str(shown["proxy"]), shown["state"], str(shown.get("cause", "")), shown["since"]
            )
            if is_proxied
            else None,
            relays=[
                RelayFacts(each["address"], each["state"], each.get("cause", ""), each["since"])
                for each in node.relays.view()["relays"]
            ],
            mandates=[await self._mandate(opened, missing) for opened in chosen],
            alerts=[_alert(each) for each in said],
            is_shared=any(opened.shared for opened in node.opened.values()),
        )

    async def _lan(self) -> Literal["on", "off", "silent"]:
        """Whether this node shows itself on the local network; waits a moment for it to begin."""
        node = self._node
        if node.online is None or node.transport is None:
            return "on"
        discovery = node.discovery
        if discovery is None:
            return "off"
        if not isinstance(discovery, LanDiscovery):
            return "on"
        with trio.move_on_after(LAN_SECONDS):
            while discovery.is_silent:  # noqa: ASYNC110 - it tells nobody when it begins
                await trio.sleep(LAN_LOOK_SECONDS)
        return "silent" if discovery.is_silent else "on"

    # -- the disk -----------------------------------------------------------------------------

    async def _places(self, chosen: Iterable[Opened]) -> list[Place]:
        """What is wrong with the home and every folder that has to do with the mandates."""
        home = self._node.mandates_folder.parent
        wanted: dict[Path, tuple[Subject, str | None]] = {home: ("home", None)}
        for opened in chosen:
            if opened.frozen:
                continue
            for (_, role), copy in opened.copies.items():
                if role == "attached" or copy.digest:
                    wanted.setdefault(copy.directory, ("folder", opened.name))
        out: list[Place] = []
        limit = trio.CapacityLimiter(PROBES_AT_ONCE_MAX)
        async with trio.open_nursery() as nursery:
            for path, (subject, name) in wanted.items():
                nursery.start_soon(self._look, path, subject, name, limit, out)
        return sorted(out, key=lambda place: place.path)

    async def _look(
        self,
        path: Path,
        subject: Subject,
        mandate: str | None,
        limit: trio.CapacityLimiter,
        out: list[Place],
    ) -> None:
        with trio.move_on_after(self._patience_seconds) as scope:
            error = await trio.to_thread.run_sync(
                partial(self._probe, path),
                limiter=limit,
                abandon_on_cancel=True,  # type: ignore[call-arg]  # newer than the stubs
            )
        if scope.cancelled_caught:
            seconds = max(1, round(self._patience_seconds))
            out.append(Place(subject, str(path), silent_seconds=seconds, mandate=mandate))
        else:
            out.append(Place(subject, str(path), error, mandate=mandate))

    # -- mandates -----------------------------------------------------------------------------

    async def _mandate(self, opened: Opened, missing: set[str]) -> MandateFacts:
        state = opened.state
        condition = self._overview.condition(opened)
        seat = state.seat()
        return MandateFacts(
            id=opened.id.hex(),
            name=opened.name,
            state=condition["state"],
            error=self._out(opened),
            members=await self._members(opened),
            files=[] if opened.frozen else await self._files(opened, missing),
            holder="" if seat is None else views.person(state, seat),
            contested=[views.person(state, each) for each in state.contested()],
        )

    def _out(self, opened: Opened) -> P2PSyncError | None:
        """What keeps this device out of a mandate, or anybody from changing it."""
        try:
            check_belongs(opened)
            check_open(opened)
        except (RemovedByOthers, MandateIsClosed) as error:
            return error
        if opened.shared and not opened.replica.is_member(self._node.identity.device):
            return refusal(opened.row, opened.refused)
        return None

    async def _members(self, opened: Opened) -> list[MemberFacts]:
        node, state = self._node, opened.state
        if not opened.shared or opened.frozen:
            return []
        seen = await node.store.last_seen(opened.id)
        online = {each.device for each in node.engine.peers(opened.id) if each.online}
        others = state.standing.going_on(state.membership.members) - {node.identity.device}
        return [
            MemberFacts(
                views.person(state, device),
                device in online,
                seen.get(device, 0),
                device in node.incompatible,
            )
            for device in sorted(others)
        ]

    async def _files(self, opened: Opened, missing: set[str]) -> list[FileFacts]:
        listed = opened.listed()
        shown = await self._overview.files(opened, listed)
        return [
            self._file(opened, file, each, missing)
            for file, each in zip(listed, shown, strict=True)
        ]

    def _file(
        self, opened: Opened, file: FileState, shown: Mapping[str, Any], missing: set[str]
    ) -> FileFacts:
        unwritten = opened.unwritten.get(file.id)
        return FileFacts(
            name=shown["name"],
            troubles=list(_troubles(opened, file, shown["name"], missing)),
            is_unwritten=unwritten is not None,
            others=sorted(opened.conflicts.get(file.id, ())),
            is_conflict=bool(file.conflicts()),
            incoming=opened.incomplete.get(file.id),
            problems=[
                Problem(each["code"], each["template"], each["line"], each["params"])
                for each in shown["problems"]
            ],
        )


def _troubles(
    opened: Opened, file: FileState, name: str, missing: set[str]
) -> Iterable[P2PSyncError]:
    attached = opened.copies.get((file.id, "attached"))
    if attached is not None and str(attached.directory) in missing:
        yield FolderMissing(path=attached.directory)
    elif attached is not None and attached.astray:
        yield FileAstray(path=attached.path, file=name)
    elif attached is not None and attached.missing:
        yield FileAbsent(path=attached.path)
    if any(copy.held for (file_id, _), copy in opened.copies.items() if file_id == file.id):
        yield FileHeldBack(file=name, mandate=opened.name)
    for (kind, file_id, role), is_busy in opened.later.items():
        if kind == "take" and file_id == file.id and is_busy and role is not None:
            yield FileBusy(path=opened.copies[(file.id, role)].path)
    yield from (
        error
        for (file_id, _), error in opened.unreadable.items()
        if file_id == file.id and not isinstance(error, FileAbsent | FolderMissing)
    )
    if (unwritten := opened.unwritten.get(file.id)) is not None:
        yield unwritten
    if (refused := validity.refused(opened.state, file)) is not None:
        yield refused


def _own_ms(opened: Opened) -> int:
    """What this machine's clock showed when it last saved or posted something, or 0."""
    own = opened.replica.device
    stamps = [
        current.hlc
        for file in opened.state.present_files()
        if (current := file.current()) is not None and current.device == own
    ]
    stamps += [each.hlc for each in opened.state.receipts.values() if each.device == own]
    return max((clock.milliseconds(each) for each in stamps if clock.was_shown(each)), default=0)


def _port(addresses: Iterable[str]) -> str:
    for address in addresses:
        parts = address.split("/")
        if "tcp" in parts[:-1]:
            return parts[parts.index("tcp") + 1]
    return "?"


def _alert(said: Mapping[str, Any]) -> AlertFacts:
    return AlertFacts(
        said["type"],
        said["at"],
        said["template"],
        said["params"],
        said["mandate"],
        said["mandate_name"],
        said["file"],
        said["device_name"],
    )
