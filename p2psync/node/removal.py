"""Mandates that leave this device's list, or are closed for everyone, and come back (B-REM-1 to 6).

A removed mandate is *hidden*: its replica goes on telling the others what was written, nothing
else happens with it. After 30 days, when nobody need hear of it any more, it is purged.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import trio

from p2psync.core import clock as hlc
from p2psync.core import ops
from p2psync.core.files import FileState
from p2psync.core.membership import MAY_POST
from p2psync.engine.effects import Effect, Persist
from p2psync.errors import (
    MandateNotClosed,
    MandateUnknown,
    NotAdmittedYet,
    NotAllowed,
    P2PSyncError,
    RemovalBlocked,
    RemovalBlockedByDrive,
    RemovedUnknown,
    UndoTooLate,
)
from p2psync.limits import BLOCKING_FILES_LISTED_MAX, ENTRY_OPERATIONS_MAX, UNDO_SECONDS
from p2psync.node import copies as disk
from p2psync.node import find, posting_news, validity, views
from p2psync.node.closed import check_open
from p2psync.node.copies import Copy
from p2psync.node.detaching import check_free, detachment, is_cancelled, posted_count
from p2psync.node.opened import Opened
from p2psync.node.removed import How, Removed
from p2psync.node.timing import Clock
from p2psync.node.writing import conflict_name
from p2psync.storage.mounts import on_network

if TYPE_CHECKING:
    from p2psync.node.node import Contacts, Node

Json = dict[str, Any]
Case = Literal["local", "all-here", "accounting-here", "accounting-elsewhere", "elsewhere"]
"""B-REM-2, 3, 5, 6 and 4, in that order."""
LOOK_SECONDS_MAX = 3600.0
"""Machines sleep and clocks are set: the timer looks at the clock again after so long."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What removing a mandate does."""

    case: Case
    how: How
    detaches: tuple[FileState, ...] = ()
    told: tuple[bytes, ...] = ()
    """The other devices that go on with the mandate."""
    elsewhere: str = ""
    """The file that is not all here, for the refusal."""
    who: str = ""
    """Whose machine it is on; empty for a network drive."""
    blocking: tuple[FileState, ...] = ()
    """The files whose postings must be cancelled first (B-REM-4)."""


class Removal:
    """What is done with whole mandates that end here."""

    def __init__(self, node: "Node", clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._wake = trio.Event()
        self.hidden: dict[bytes, Opened] = {}
        """The mandates that were removed here and can come back."""
        self._in_engine: set[bytes] = set()

    # -- removing -----------------------------------------------------------------------------

    async def plan(self, mandate: str) -> Json:
        """What removing would do; nothing changes."""
        opened = find.mandate(self._node.opened.values(), mandate)
        plan = await self._look(opened)
        return self._said(opened, plan, self._clock.now_ms())

    async def remove(self, mandate: str) -> Json:
        """Take a mandate off this device's list (B-REM-1); its files are not touched."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        async with opened.lock:
            for copy in [each for each in opened.copies.values() if each.role == "attached"]:
                # What was saved last is theirs to have; what is in motion is not waited for.
                if not opened.frozen:
                    with suppress(P2PSyncError):
                        await node.detaching.take_up(opened, copy.file)
            plan = await self._look(opened)
            opened.check_live()
            if node.opened.get(opened.id) is not opened:
                raise MandateUnknown(mandate=mandate)
            check_removable(opened, plan)
            now = self._clock.now_ms()
            answer = self._said(opened, plan, now)  # files have names while they are attached
            effects, entries = self._write(opened, plan)
            opened.row = Removed(now, plan.how, entries).on(opened.row)
            ticket = node.runner.hand_in([*effects, node.keep_row(opened)])
            self._hide(opened)
            await ticket.wait()
        node.notices.settle_all(opened.id)
        node.notices.message(
            "mandate-removed",
            "{name} was removed from this device; its files are where they were, and it can be "
            "taken back until {until}",
            mandate=opened.id,
            name=opened.name,
            until=views.iso(now + UNDO_SECONDS * 1000)[:10],
        )
        self._wake.set()
        return answer

    async def _look(self, opened: Opened) -> Plan:
        own = self._node.identity.device
        folders = {
            copy.directory
            for (file_id, role), copy in opened.copies.items()
            if role == "attached"
            and (file := opened.state.files.get(file_id))
            and file.present
            and file.device == own
        }

        def look() -> set[Path]:
            return {folder for folder in folders if on_network(folder)}

        network = await trio.to_thread.run_sync(look)
        return self._decide(opened, network)

    def _decide(self, opened: Opened, network: set[Path]) -> Plan:
        """Find which of the six cases it is; the rules are in behaviour.md, "Remove"."""
        own = self._node.identity.device
        state = opened.state
        role = state.membership.role(own)
        if not opened.shared or role is None:
            return Plan("local", "hidden")
        going_on = state.standing.going_on(state.membership.members) - {own}
        told = tuple(sorted(going_on))
        files = state.present_files()
        mine = tuple(file for file in files if file.device == own)
        if opened.closed:
            return Plan("all-here", "left", mine, told)
        where = self._accounting(opened, files, going_on)
        if where == "elsewhere":
            return Plan("accounting-elsewhere", "left", mine, told)
        others = [file for file in files if file.device != own]
        on_drive = [
            file
            for file in mine
            if (copy := opened.copies.get((file.id, "attached"))) and copy.directory in network
        ]
        how: How = "closed" if role in MAY_POST else "left"
        detaches = () if how == "closed" else mine
        if where == "here":
            case: Case = "accounting-here" if others or on_drive or told else "all-here"
            return Plan(case, how, detaches, told)
        if not others and not on_drive:
            return Plan("all-here", how, detaches, told)
        blocking = tuple(file for file in files if not is_cancelled(file))
        names = opened.names()
        away = (others or on_drive)[0]
        who = views.person(state, away.device) if others else ""
        return Plan("elsewhere", "left", mine, told, names[away.id], who, blocking)

    def _accounting(
        self, opened: Opened, files: Sequence[FileState], going_on: frozenset[bytes]
    ) -> Literal["here", "elsewhere", "nowhere"]:
        """Where the accounting is: with who has the seat, else with who has the file."""
        own = self._node.identity.device
        seat = opened.state.seat()
        if seat == own:
            return "here"
        holders = {file.device for file in files if file.info.kind == "accounting"}
        if holders & going_on:
            return "elsewhere"
        if own in holders:
            return "here"
        return "elsewhere" if seat in going_on else "nowhere"

    def _write(self, opened: Opened, plan: Plan) -> tuple[list[Effect], tuple[bytes, ...]]:
        """Write what tells the others, in one go; return the effects and the entries' ids."""
        if plan.how == "hidden":
            return [], ()
        first: list[ops.Operation] = [ops.Leave()]
        if plan.how == "closed":
            first.insert(0, ops.Close())
        operations = [*first, *map(detachment, plan.detaches)]
        return self._author(opened, operations)

    def _author(
        self, opened: Opened, operations: Sequence[ops.Operation], *, publish: bool = True
    ) -> tuple[list[Effect], tuple[bytes, ...]]:
        effects: list[Effect] = []
        now = self._clock.now_ms()
        most = ENTRY_OPERATIONS_MAX // 2
        for start in range(0, len(operations), most):
            effects += opened.replica.author(operations[start : start + most], now)
        entries = tuple(
            entry.id for each in effects if isinstance(each, Persist) for entry in each.entries
        )
        if publish:
            effects = self._node.own_effects(opened.id, effects)
        return effects, entries

    def _said(self, opened: Opened, plan: Plan, now_ms: int) -> Json:
        names = opened.names()
        return {
            "id": opened.id.hex(),
            "name": opened.name,
            "case": plan.case,
            "how": plan.how,
            "told": len(plan.told),
            "detaches": [names[file.id] for file in plan.detaches],
            "blocking": [names[file.id] for file in plan.blocking],
            "undo_until": views.iso(now_ms + UNDO_SECONDS * 1000),
        }

    def _hide(self, opened: Opened) -> None:
        node = self._node
        del node.opened[opened.id]
        self.hidden[opened.id] = opened
        if self._untold(opened):
            node.hide_in_engine(opened)
            self._in_engine.add(opened.id)
        else:
            node.leave_engine(opened)
        node.left_list(opened)

    def _untold(self, opened: Opened) -> frozenset[bytes]:
        removed = Removed.of(opened.row)
        if removed is None:
            return frozenset()
        members = frozenset(opened.state.membership.members)
        return removed.untold(members, opened.state.standing, self._node.identity.device)

    # -- undoing ------------------------------------------------------------------------------

    def listed(self) -> Json:
        """The mandates that were removed and can come back."""
        out = []
        now = self._clock.now_ms()
        for opened in sorted(
            self.hidden.values(), key=lambda each: (each.name.casefold(), each.id)
        ):
            removed = Removed.of(opened.row)
            if removed is not None and now <= removed.undo_until_ms:
                out.append(
                    {
                        "id": opened.id.hex(),
                        "name": opened.name,
                        "kind": "shared" if opened.shared else "local",
                        "state": "removed",
                        "how": removed.how,
                        "removed": views.iso(removed.at_ms),
                        "undo_until": views.iso(removed.undo_until_ms),
                    }
                )
        return {"mandates": out}

    async def restore(self, mandate: str) -> Json:
        """Undo a removal (B-REM-5): all is as it was, and what was saved since is taken up."""
        node = self._node
        try:
            opened = find.mandate(self.hidden.values(), mandate)
        except MandateUnknown:
            raise RemovedUnknown(mandate=mandate) from None
        node.check_writable()
        removed = Removed.of(opened.row)
        if removed is None or self._clock.now_ms() > removed.undo_until_ms:
            raise UndoTooLate(
                mandate=opened.name, when=views.iso(removed.at_ms if removed else 0)[:10]
            )
        async with opened.lock:
            opened.check_live()
            if self.hidden.get(opened.id) is not opened:
                raise RemovedUnknown(mandate=mandate)  # somebody else was quicker
            back = self._back(opened, removed)
            check_free(node, self._attached(opened, back))
            operations: list[ops.Operation] = []
            closings = [c.id for c in opened.state.standing.closed if c.id[0] in removed.entries]
            if closings:
                operations.append(ops.Reopen(tuple(closings)))
            if node.identity.device in opened.state.standing.left():
                operations.append(ops.Return())
            operations += [ops.Reattach(file.id, detaches) for file, detaches in back]
            await self._come_back(opened, operations)
        node.notices.message(
            "mandate-restored",
            "{name} is on this device's list again",
            mandate=opened.id,
            name=opened.name,
        )
        return {"id": opened.id.hex(), "name": opened.name, "kind": _kind(opened)}

    def _back(
        self, opened: Opened, removed: Removed
    ) -> list[tuple[FileState, tuple[ops.OpId, ...]]]:
        """The files that the removal detached, and its detachings."""
        entries = set(removed.entries)
        out = []
        for file in opened.state.files.values():
            by_it = sorted(op for op in file.detached_by if op[0] in entries)
            if by_it:
                out.append((file, tuple(by_it)))
        return out

    def _attached(
        self, opened: Opened, back: Iterable[tuple[FileState, tuple[ops.OpId, ...]]]
    ) -> list[Copy]:
        wanted = {file.id for file, _ in back}
        wanted |= {file.id for file in opened.state.present_files()}
        return [
            copy
            for (file_id, role), copy in opened.copies.items()
            if role == "attached" and file_id in wanted
        ]

    async def resubscribe(self, mandate: bytes) -> Opened | None:
        """A new ticket came for a mandate that was removed here: list it again.

        Its detached files stay so, and what another mandate has by now stays there; ``None`` when
        it has to be subscribed to from the beginning.
        """
        opened = self.hidden.get(mandate)
        if opened is None:
            return None
        if not opened.replica.is_member(self._node.identity.device):
            await self.purge(opened)
            return None
        async with opened.lock:
            opened.check_live()
            if self.hidden.get(mandate) is not opened:
                return self._node.opened.get(mandate)
            for file in opened.state.present_files():
                self._node.detaching.make_way(opened, file)
            left = self._node.identity.device in opened.state.standing.left()
            await self._come_back(opened, [ops.Return()] if left else [])
        return opened

    async def _come_back(self, opened: Opened, operations: Sequence[ops.Operation]) -> None:
        """List a hidden mandate again, in one transaction; the caller holds the lock."""
        node = self._node
        contacts = await node.store.contacts(opened.id)
        effects, _ = self._author(opened, operations, publish=False) if operations else ([], ())
        if opened.id in self._in_engine:
            node.leave_engine(opened)
            self._in_engine.discard(opened.id)
        opened.row = replace(opened.row, state="active")
        ticket = node.runner.hand_in([*effects, node.keep_row(opened)])
        del self.hidden[opened.id]
        node.admit_opened(opened, contacts)
        node.update_discovery()
        node.look_at_mandate(opened)
        self._tell_again(opened)
        await ticket.wait()

    def _tell_again(self, opened: Opened) -> None:
        """Raise what a person has yet to settle: it was settled when the mandate was removed, and
        nothing was told of what came since.
        """
        node, own = self._node, self._node.identity.device
        for file in opened.state.files.values():
            if file.contested:
                posting_news.double_posted(node.notices, opened, file, file.contested)
        posting_news.seat_changed(node.notices, opened, own)
        node.detaching.on_posted(opened, opened.state.files)
        validity.tell(node.notices, opened)
        if opened.closed:
            self.on_closed(opened, own, reopened=False)

    # -- closing ------------------------------------------------------------------------------

    async def close(self, mandate: str) -> Json:
        """Close a mandate for everyone; it stays on this device's list."""
        opened = self._may_close(mandate, "close the mandate")
        check_open(opened)
        await self._node.author(opened, [ops.Close()]).wait()
        until = self._clock.now_ms() + UNDO_SECONDS * 1000
        return {
            "id": opened.id.hex(),
            "name": opened.name,
            "state": "closed",
            "undo_until": views.iso(until),
        }

    async def reopen(self, mandate: str) -> Json:
        """Undo all closings of a mandate."""
        opened = self._may_close(mandate, "reopen the mandate")
        closings = opened.state.standing.closed
        if not closings:
            raise MandateNotClosed(mandate=opened.name)
        last = max(hlc.milliseconds(each.hlc) for each in closings)
        if self._clock.now_ms() > last + UNDO_SECONDS * 1000:
            raise UndoTooLate(mandate=opened.name, when=views.iso(last)[:10])
        await self._node.author(opened, [ops.Reopen(tuple(each.id for each in closings))]).wait()
        return {"id": opened.id.hex(), "name": opened.name, "kind": _kind(opened)}

    def _may_close(self, mandate: str, action: str) -> Opened:
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        role = opened.state.membership.role(node.identity.device)
        if role is None:
            raise NotAdmittedYet(mandate=opened.name)
        if role not in MAY_POST:
            raise NotAllowed(action=action, roles=", ".join(sorted(MAY_POST)))
        return opened

    # -- what entries tell --------------------------------------------------------------------

    def on_closed(self, opened: Opened, device: bytes, *, reopened: bool) -> None:
        """The mandate was closed, or a closing was undone."""
        node = self._node
        node.watch_soon()
        closings = opened.state.standing.closed
        if closings:
            node.notices.alert_text(
                "mandate-closed",
                "{who} closed {name} for everyone: saves are not taken up any more; your files "
                "stay where they are",
                mandate=opened.id,
                device=closings[0].device,
                key="mandate-closed",
                name=opened.name,
                who=views.person(opened.state, closings[0].device),
            )
            return
        node.notices.settle("mandate-closed", mandate=opened.id, key="mandate-closed")
        if reopened:
            node.notices.message(
                "mandate-reopened",
                "{who} reopened {name}: saves are taken up again",
                mandate=opened.id,
                device=device,
                name=opened.name,
                who=views.person(opened.state, device),
            )
        node.look_at_mandate(opened)

    def on_left(self, opened: Opened, device: bytes, *, returned: bool) -> None:
        """A device removed the mandate from its list, or has it there again."""
        node = self._node
        if device == node.identity.device:
            if not returned:
                node.start_soon(lambda: self.say_back(opened))
            return
        if (device in opened.state.standing.left()) == returned or opened.closed:
            return  # overtaken, or people were told that all of it ends
        who = views.person(opened.state, device)
        if returned:
            node.notices.message(
                "member-returned",
                "{who} has {name} again",
                mandate=opened.id,
                device=device,
                who=who,
                name=opened.name,
            )
        else:
            node.notices.message(
                "member-left",
                "{who} removed {name} from their machine; it goes on for the others",
                mandate=opened.id,
                device=device,
                who=who,
                name=opened.name,
            )

    async def say_back(self, opened: Opened) -> None:
        """Take back that this device has left a mandate that it lists."""
        node = self._node
        listed = node.opened.get(opened.id) is opened
        if listed and node.identity.device in opened.state.standing.left():
            with suppress(P2PSyncError):  # then the next start does
                await node.author(opened, [ops.Return()]).wait()

    # -- as time passes -----------------------------------------------------------------------

    def admit(self, opened: Opened, contacts: "Contacts") -> None:
        """Take up a removed mandate when the node starts."""
        self.hidden[opened.id] = opened
        if self._untold(opened):
            self._node.admit_hidden(opened, contacts)
            self._in_engine.add(opened.id)
        self._wake.set()

    def forget_all(self) -> None:
        """The disk failed: all mandates are read anew."""
        for opened in self.hidden.values():
            opened.live = False
        self.hidden, self._in_engine = {}, set()

    def in_engine(self) -> list[Opened]:
        """The hidden mandates of which others still have to hear."""
        return [self.hidden[each] for each in sorted(self._in_engine)]

    def on_synced(self, mandate: bytes, device: bytes) -> None:
        """A member has all that is here of a hidden mandate."""
        opened = self.hidden.get(mandate)
        removed = None if opened is None else Removed.of(opened.row)
        if opened is None or removed is None or device in removed.told:
            return
        opened.row = removed.telling(device).on(opened.row)
        node = self._node
        node.runner.hand_in([node.keep_row(opened)])
        if mandate in self._in_engine and not self._untold(opened):
            # Several members may have become in step before the first of them is heard of here.
            self._in_engine.discard(mandate)
            node.leave_engine(opened)
            node.update_discovery()
        self._wake.set()

    async def run(self) -> None:
        """Purge what is due, when it is, until cancelled."""
        while True:
            self._wake = trio.Event()
            with suppress(P2PSyncError):  # a disk that fails is told of elsewhere
                await self.purge_due()
            if not self.hidden:
                await self._wake.wait()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait, self._seconds(), nursery.cancel_scope)
                await self._wake.wait()
                nursery.cancel_scope.cancel()

    async def _wait(self, seconds: float, scope: trio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        scope.cancel()

    def _seconds(self) -> float:
        now = self._clock.now_ms()
        due = [
            removed.undo_until_ms - now
            for opened in self.hidden.values()
            if (removed := Removed.of(opened.row)) and removed.undo_until_ms > now
        ]
        return min([LOOK_SECONDS_MAX, *(1 + each / 1000 for each in due)])

    async def purge_due(self) -> None:
        """Purge the mandates whose removal can neither be undone nor has to be told any more."""
        if self._node.failure is not None:
            return
        now = self._clock.now_ms()
        for opened in list(self.hidden.values()):
            removed = Removed.of(opened.row)
            if removed is not None and removed.may_go(now, self._untold(opened)):
                with suppress(P2PSyncError):  # one that cannot go does not keep the others
                    await self.purge(opened)

    async def purge(self, opened: Opened) -> None:
        """Delete what is ours of a hidden mandate, and unchanged; then what is known of it.

        In this order: what a crash leaves is purged at the next start.
        """
        node = self._node
        ours = [*opened.ours(), *_beside(opened)]
        async with opened.lock:
            opened.check_live()
            if self.hidden.get(opened.id) is not opened:
                return  # it came back in the last moment
            if opened.id in self._in_engine:
                self._in_engine.discard(opened.id)
                node.leave_engine(opened)
            opened.live = False
            await trio.to_thread.run_sync(disk.remove_folder, opened.folder, ours)
            await trio.to_thread.run_sync(node.pieces.forget, opened.id)
            node.suggestions.forget(opened.id)
            await node.runner.hand_in([node.deletion(opened)]).wait()
            self.hidden.pop(opened.id, None)
        node.left_list(opened)


def check_removable(opened: Opened, plan: Plan) -> None:
    """Raise ``RemovalBlocked``, with the files, unless all postings are cancelled (B-REM-4)."""
    if not plan.blocking:
        return
    names = opened.names()
    lines = []
    for file in plan.blocking[:BLOCKING_FILES_LISTED_MAX]:
        added, deleted = file.pending()
        lines.append(f"{names[file.id]} (+{added} -{deleted} ={posted_count(file)})")
    refusal = RemovalBlocked if plan.who else RemovalBlockedByDrive
    raise refusal(
        mandate=opened.name,
        elsewhere=plan.elsewhere,
        who=plan.who,
        count=len(plan.blocking),
        files=", ".join(lines),
    )


def _beside(opened: Opened) -> list[tuple[str, bytes]]:
    """The versions kept beside files in conflict: names and digests."""
    out = []
    for file in opened.state.files.values():
        copy = opened.copies.get((file.id, "folder"))
        if copy is not None:
            for version in file.conflicts():
                out.append((conflict_name(copy.name, version), version.digest))
    return out


def _kind(opened: Opened) -> str:
    return "shared" if opened.shared else "local"
