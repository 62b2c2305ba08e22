"""The whole life of a mandate: what ends, and how that is undone; on a node and in the model."""

from tests.stateful.naive import (
    Closed,
    Detached,
    Left,
    Reattached,
    Reopened,
    Returned,
    View,
    What,
)
from tests.stateful.placing import Placing
from tests.stateful.showing import COUNTS, NAMES, Removed


class Life(Placing):
    """Detaches, closes, removes; and takes each back."""

    # -- detach -----------------------------------------------------------------------------------

    async def detach(self, name: str, mandate: str, at: int) -> None:
        """Detach a file; refused from a shared mandate while anything is not cancelled."""
        machine, view = self.machine(name), self.groups[mandate].view(name)
        files = view.files()
        refused = self.closed(name, mandate)
        if at % 8 == 0 and mandate == self.books:
            await self.attempt(
                "detach the accounting",
                refused | {"AccountingNotDetachable"},
                lambda: machine.service.detach(mandate, "a.crp"),
            )
        elif files:
            file = files[at % len(files)]
            if self.groups[mandate].shared and _is_open(view, file):
                refused |= {"DetachBlocked"}
            answer = await self.attempt(
                "detach", refused, lambda: machine.service.detach(mandate, view.place(file)[1])
            )
            if answer is not None:
                self.do(name, mandate, Detached(file))
        await self.after(name)

    async def reattach(self, name: str, mandate: str, at: int) -> None:
        """Undo a detaching; refused when the file belongs to another mandate by now."""
        machine, view = self.machine(name), self.groups[mandate].view(name)
        files = [file for file in view.attached() if not view.present(file)]
        if not files:
            return
        file = files[at % len(files)]
        holder, shown, path = view.place(file)
        refused = self.closed(name, mandate)
        if holder == name and path in self.own_paths(name):
            refused |= {"AttachedAlready"}
        answer = await self.attempt(
            "reattach", refused, lambda: machine.service.reattach(mandate, shown)
        )
        if answer is not None:
            undone = frozenset(fact.number for fact in view.detachings(file))
            self.do(name, mandate, Reattached(undone))
        await self.after(name)

    # -- close ------------------------------------------------------------------------------------

    async def close_mandate(self, name: str) -> None:
        """Close the mandate for everyone, whatever waits (B-REM-5)."""
        mandate, machine = self.books, self.machine(name)
        refused = self.closed(name, mandate)
        if name not in self.groups[mandate].accountings:
            refused |= {"NotAllowed"}
        answer = await self.attempt(
            "close", refused, lambda: machine.service.mandate_close(mandate)
        )
        if answer is not None:
            self.do(name, mandate, Closed())
        await self.after(name)

    async def reopen(self, name: str) -> None:
        """Undo all closings."""
        mandate, machine = self.books, self.machine(name)
        closings = self.groups[mandate].view(name).closings()
        refused = set() if closings else {"MandateNotClosed"}
        if name not in self.groups[mandate].accountings:
            refused |= {"NotAllowed"}
        answer = await self.attempt(
            "reopen", refused, lambda: machine.service.mandate_reopen(mandate)
        )
        if answer is not None:
            self.do(name, mandate, Reopened(frozenset(closings)))
        await self.after(name)

    # -- remove -----------------------------------------------------------------------------------

    async def remove(self, name: str, mandate: str) -> None:
        """Take a mandate off a device's list: each of the six cases (B-REM-1 to 6)."""
        machine, view = self.machine(name), self.groups[mandate].view(name)
        desk = {path: path.read_bytes() for path in machine.desk.glob("f*.ecf")}
        case, written, refused = self._removal(name, mandate, view)
        answer = await self.attempt(
            f"remove: {case}", refused, lambda: machine.service.mandate_remove(mandate)
        )
        if answer is not None:
            assert answer["case"] == case
            facts = [self.do(name, mandate, what) for what in written]
            self.removed[(name, mandate)] = Removed(
                frozenset(fact.number for fact in facts if isinstance(fact.what, Closed)),
                frozenset(fact.number for fact in facts if isinstance(fact.what, Detached)),
            )
            await self.attempt(
                "pending of what was removed",
                "MandateUnknown",
                lambda: machine.service.pending(mandate),
            )
        await self.after(name)
        assert desk == {path: path.read_bytes() for path in desk}, "files are never touched"

    def _removal(self, name: str, mandate: str, view: View) -> tuple[str, list[What], set[str]]:
        """Which case it is, what is written, and what refuses it."""
        group = self.groups[mandate]
        if not group.shared:
            return "local", [], set()
        files = view.files()
        mine = [file for file in files if view.place(file)[0] == name]
        leave: list[What] = [Left(), *map(Detached, mine)]
        if view.closings():
            return "all-here", leave, set()
        others = set(NAMES) - view.left() - {name}
        seat = view.seat()[0]
        if seat != name and (group.founder in others or (name != group.founder and seat in others)):
            return "accounting-elsewhere", leave, set()
        close: list[What] = [Closed(), Left()]
        is_here = seat == name or name == group.founder
        theirs = len(mine) < len(files) or name != group.founder
        if is_here:
            return "accounting-here" if theirs or others else "all-here", close, set()
        is_open = any(_is_open(view, file) for file in files)
        return "elsewhere", leave, {"RemovalBlocked"} if is_open else set()

    async def restore(self, name: str, mandate: str) -> None:
        """Undo a removal: all is as it was."""
        machine, group = self.machine(name), self.groups[mandate]
        removed, view = self.removed[(name, mandate)], group.view(name)
        back = {
            file
            for fact in group.facts
            if fact.number in removed.detachings
            and isinstance(fact.what, Detached)
            and (file := fact.what.file)
        }
        taken = self.own_paths(name)
        mine = [
            file
            for file in back | set(view.files())
            if view.place(file)[0] == name and view.place(file)[2] in taken
        ]
        answer = await self.attempt(
            "restore",
            {"AttachedAlready"} if mine else set(),
            lambda: machine.service.mandate_restore(mandate),
        )
        if answer is not None:
            del self.removed[(name, mandate)]
            closings = removed.closings & view.closings()
            if closings:
                self.do(name, mandate, Reopened(frozenset(closings)))
            if name in view.left():
                self.do(name, mandate, Returned())
            if removed.detachings:
                self.do(name, mandate, Reattached(removed.detachings))
        await self.after(name)

    # -- the end ----------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Everything is undone, everybody meets everybody: all have the same."""
        COUNTS["finish"] += 1
        await self.house.link("anna", "ben")
        await self.house.link("anna", "carl")
        await self.house.link("ben", "carl")
        await self.after(*NAMES)
        for name, mandate in list(self.removed):
            await self.restore(name, mandate)
        for name in self.groups[self.books].accountings:
            if self.books in self.listed(name) and self.closed(name, self.books):
                await self.reopen(name)
        await super().finish()


def _is_open(view: View, file: int) -> bool:
    """Whether records of a file are pending, or posted and not cancelled."""
    added, deleted = view.pending(file)
    return bool(added or deleted or view.posted_lines(file))
