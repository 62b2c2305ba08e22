"""What people do with the place of files, done on a node and in the model (B-MIG)."""

from collections import Counter
from pathlib import Path

from tests.stateful.doing import Doing
from tests.stateful.naive import Placed, Saved, View
from tests.stateful.showing import content, read

CONTENTS = ("same", "more", "less", "less, cancelled", "replaced")
"""What is in the file that comes in the place of an attached one."""


class Placing(Doing):
    """Migrates, replaces, renames, restores links."""

    def _in_step(self, mandate: str) -> bool:
        """Whether nobody can place a file apart from somebody else: whose word counts then is a
        matter of clocks, which the model has not.
        """
        group = self.groups[mandate]
        every = {fact.number for fact in group.facts}
        return all(known == every for known in group.known.values())

    async def migrate(self, name: str, mandate: str, at: int, new: str) -> None:
        """Point the mandate at a new file, on this or another device (B-MIG-2, B-MIG-3)."""
        machine, view = self.machine(name), self.groups[mandate].view(name)
        files = view.files()
        if not files or not self._in_step(mandate):
            return
        file = files[at % len(files)]
        shown = view.place(file)[1]
        copy = self.opened(name, mandate).folder / shown
        # Of a closed mandate what came last may not have been written out, and nothing is migrated.
        before = read(copy) if copy.exists() or not self.closed(name, mandate) else []
        after = _content(before, new, self.fresh())
        refused = self.closed(name, mandate)
        if at % 16 == 0 and self.own_paths(name):
            path = min(self.own_paths(name))  # taken, perhaps by the file itself
            is_same = self.own_paths(name)[path] == (name, mandate, file)
            refused |= {"PlaceSame" if is_same else "AttachedAlready"}
        else:
            path = machine.file(f"f{self.fresh()}.ecf", content(after))
        if new == "less" and Counter(before) - Counter(after):
            refused |= {"MigrateBlocked"}
        if new == "replaced":
            answer = await self.attempt(
                "replace",
                refused,
                lambda: machine.service.replace(mandate, shown, path, False),
            )
        else:
            answer = await self.attempt(
                f"migrate: {new}",
                refused,
                lambda: machine.service.migrate(mandate, shown, path, new == "less, cancelled"),
            )
        if answer is not None:
            self.do(name, mandate, Placed(file, Path(path).name, path))
            if after != before:
                self.do(name, mandate, self._difference(view, file, before, after))
        await self.after(name)

    def _difference(self, view: View, file: int, before: list[str], after: list[str]) -> Saved:
        live = view.live(file)
        kept = set(after)
        gone = frozenset(number for number, text in live.items() if text not in kept)
        come = {self.fresh(): text for text in (Counter(after) - Counter(before)).elements()}
        return Saved(file, gone, come)

    async def rename(self, name: str, at: int) -> None:
        """Rename an attached file behind the node's back, and restore the link (B-MIG-1)."""
        machine = self.machine(name)
        keys = [key for key in self.own_paths(name).values() if key not in self.away]
        if not keys:
            return
        _, mandate, file = keys[at % len(keys)]
        view = self.groups[mandate].view(name)
        if not self._in_step(mandate):
            return
        _, shown, path = view.place(file)
        await self.attempt(
            "restore a link that is not broken",
            "LinkNotBroken",
            lambda: machine.service.relink(mandate, shown, None),
        )
        new = machine.desk / f"f{self.fresh()}.ecf"
        Path(path).rename(new)  # noqa: ASYNC240  # what another program does
        await machine.look()
        (found,) = [
            each
            for each in (await machine.service.mandate_show(mandate))["files"]
            if each["name"] == shown
        ]
        assert found["state"] == "missing"
        assert view.lines(file).total() == found["records"], "never taken for a deletion"
        answer = await self.attempt(
            "restore a link", None, lambda: machine.service.relink(mandate, shown, None)
        )
        assert answer["path"] == str(new)
        self.do(name, mandate, Placed(file, new.name, str(new)))
        await self.after(name)


def _content(before: list[str], new: str, number: int) -> list[str]:
    match new:
        case "same":
            return before
        case "more":
            return [*before, f"more {number}"]
        case _:
            return [text for text in before if text != before[0]]
