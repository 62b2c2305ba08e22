"""What people do with files and postings, done on a node and in the model."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.node.rig import CRP
from tests.stateful.naive import (
    Attached,
    Group,
    Handed,
    Lines,
    Posted,
    Saved,
    Unposted,
    View,
)
from tests.stateful.showing import COUNTS, Showing, content, read

CHANGES = ("add", "again", "delete", "edit", "empty")


class Doing(Showing):
    """Attaches, saves, posts, hands the seat over."""

    def closed(self, name: str, mandate: str) -> set[str]:
        """What refuses every change of a mandate; nothing in one that goes on."""
        closed = bool(self.groups[mandate].view(name).closings())
        return {"MandateIsClosed"} if closed else set()

    # -- files ------------------------------------------------------------------------------------

    async def create(self, name: str) -> None:
        """One more mandate, that stays this device's own (B-MAN-2)."""
        title = f"Own {self.fresh()}"
        made = await self.attempt(
            "create", None, lambda: self.machine(name).service.mandate_create(title, None)
        )
        self.groups[made["id"]] = group = Group(name, frozenset({name}), shared=False)
        group.known[name] = set()
        await self.after(name)

    async def attach(self, name: str, mandate: str, texts: int) -> None:
        """Attach a new file that holds some postings (B-ATT-1)."""
        lines = [f"new {self.fresh()}" for _ in range(texts)]
        path = self.machine(name).file(f"f{self.fresh()}.ecf", content(lines))
        await self._attach("attach", name, mandate, path)

    async def attach_again(self, name: str, mandate: str, at: int) -> None:
        """Attach what is, or was, attached somewhere already (B-ATT-4)."""
        paths = sorted(self.machine(name).desk.glob("f*.ecf"))
        if not paths:
            return
        path = paths[at % len(paths)]
        view = self.groups[mandate].view(name)
        names = {each.name for each in view.attached().values()}
        names |= {view.place(file)[1] for file in view.attached()}
        if str(path) not in self.own_paths(name) and path.name in names:
            return  # two files of one name are shown with numbers, which the model does not know
        await self._attach("attach again", name, mandate, str(path))

    async def _attach(self, step: str, name: str, mandate: str, path: str) -> None:
        machine = self.machine(name)
        expected = self.closed(name, mandate)
        if path in self.own_paths(name):
            expected |= {"AttachedAlready"}
        texts = read(Path(path))
        done = await self.attempt(
            step,
            expected,
            lambda: machine.service.attach(mandate, [path], "invoicing", None, None),
        )
        if done is not None:
            file = self.fresh()
            come = {self.fresh(): text for text in texts}
            self.do(name, mandate, Attached(file, Path(path).name, "invoicing", path))
            self.do(name, mandate, Saved(file, frozenset(), come))
        await self.after(name)

    async def attach_accounting(self, name: str) -> None:
        """Ask for a second accounting (B-MAN-1)."""
        machine = self.machine(name)
        path = machine.file(f"second{self.fresh()}.crp", CRP)
        is_entitled = name in self.groups[self.books].accountings
        expected = {"AccountingTaken" if is_entitled else "NotAllowed"}
        await self.attempt(
            "attach a second accounting",
            expected | self.closed(name, self.books),
            lambda: machine.service.attach(self.books, [path], "accounting", None, None),
        )
        await self.after(name)

    async def save(self, name: str, mandate: str, at: int, change: str, *, in_folder: bool) -> None:
        """A program changes a file, where it was attached or in the mandate folder (B-ATT-6)."""
        saved = self._save(name, mandate, at, change, in_folder=in_folder)
        if saved is not None:
            await self.machine(name).look()
            self.do(name, mandate, saved)
            await self.after(name)

    async def save_and_meet(
        self, name: str, other: str, at: int, change: str, *, in_folder: bool
    ) -> None:
        """What others did comes in while the node has not looked yet at what was saved."""
        group = self.groups[self.books]
        unheard = set().union(*(group.known[each] for each in self.house.circle(other)))
        for number in unheard - group.known[name]:
            if not isinstance(group.facts[number].what, Attached | Saved | Posted | Unposted):
                return  # whether it is taken up depends on which of both is first
        saved = self._save(name, self.books, at, change, in_folder=in_folder)
        if saved is not None:
            COUNTS["save: unseen, and meet"] += 1
            await self.house.link(name, other)
            await self.machine(name).look()
            await self.house.settle(self.house.circle(name))
            self.do(name, self.books, saved)
            await self.after(name)

    def _save(
        self, name: str, mandate: str, at: int, change: str, *, in_folder: bool
    ) -> Saved | None:
        """Change a file on the disk; tell what that means, if it is anything."""
        view = self.groups[mandate].view(name)
        files = view.files()
        if not files or view.closings():
            return None
        file = files[at % len(files)]
        places = self.copies(name, mandate, view, file)
        path = places[0] if in_folder else places[-1]
        alike: dict[str, set[int]] = {}
        for number, text in view.live(file).items():
            alike.setdefault(text, set()).add(number)
        before = read(path)
        after = self._changed(before, change, at)
        if after == before or _is_held_back(before, after):
            return None
        COUNTS[f"save: {change}"] += 1
        _write(path, after)
        gone = {number for text in set(before) - set(after) for number in alike[text]}
        come = {self.fresh(): text for text in (Counter(after) - Counter(before)).elements()}
        return Saved(file, frozenset(gone), come)

    async def save_away(self, name: str, at: int, change: str) -> None:
        """A program changes a file that its node does not look at any more, or not for now."""
        found = sorted(key for key in self.away if key[0] == name)
        if not found:
            return
        key = found[at % len(found)]
        _, mandate, file = key
        path = self.groups[mandate].view(name).place(file)[2]
        if path in self.own_paths(name) and self.own_paths(name)[path] not in self.away:
            return  # it is another mandate's file now
        away = self.away[key]
        before = read(Path(path))
        after = self._changed(before, change, at)
        texts, now = away.texts, Counter(after)
        if _is_held_back(list(texts.elements()), after):
            return
        if any(texts[t] != len(away.values[t]) for t in texts - now):
            return  # which of several like ones went cannot be told
        COUNTS[f"save away: {change}"] += 1
        _write(Path(path), after)
        await self.machine(name).look()
        await self.after(name)

    def _changed(self, texts: list[str], change: str, at: int) -> list[str]:
        """New lines. A text that is there several times goes as a whole, so that no two can mean
        different ones of them; and a text that comes is new, or stands there already.
        """
        place = at % (len(texts) + 1)
        if change == "add" or not texts:
            return [*texts[:place], f"oil {self.fresh()}", *texts[place:]]
        chosen = texts[at % len(texts)]
        match change:
            case "again":
                return [*texts[:place], chosen, *texts[place:]]
            case "delete":
                return [text for text in texts if text != chosen]
            case "edit":
                return [f"ink {self.fresh()}" if text == chosen else text for text in texts]
            case _:
                return []

    # -- posting ----------------------------------------------------------------------------------

    async def post(self, name: str, mandate: str, at: int, *, chosen: bool) -> None:
        """Hand what waits to the accountant's program, and sign a receipt (B-POS-3)."""
        machine, view = self.machine(name), await self.view(name, mandate)
        files = view.files()
        if chosen and files:
            files = [files[at % len(files)]]
        names = [view.place(file)[1] for file in files] if chosen else []
        output = machine.desk / f"out{self.fresh()}.txt"
        answer = await self.attempt(
            "post",
            self._may_post(name, mandate, view),
            lambda: machine.service.post(mandate, names, str(output)),
        )
        if answer is not None:
            self._posted(name, mandate, view, files, answer, output)
        await self.after(name)

    def _may_post(self, name: str, mandate: str, view: View) -> set[str]:
        """Only the device that holds the seat posts (B-POS-7)."""
        refused = self.closed(name, mandate)
        if not self.groups[mandate].shared:
            return refused | {"SeatEmpty"}
        return refused if view.seat()[0] == name else refused | {"SeatElsewhere"}

    def _posted(
        self,
        name: str,
        mandate: str,
        view: View,
        files: list[int],
        answer: dict[str, Any],
        output: Path,
    ) -> None:
        """What was handed over is what waited, each line as often as it did."""
        added, deleted = Lines(), Lines()
        for file in files:
            more, less = view.pending(file)
            added, deleted = added + more, deleted + less
        assert (answer["added"], answer["deleted"]) == (added.total(), deleted.total())
        if answer["receipt"] is None:
            assert not added
            assert not deleted
            return
        COUNTS["post: a receipt"] += 1
        assert _handed(output) == added
        assert _handed(output.with_name(output.name + ".deleted")) == deleted
        self.do(name, mandate, view.receipt_of(files, answer["receipt"]))

    async def unpost(self, name: str, mandate: str, at: int) -> None:
        """Take a receipt back (B-POS-5)."""
        machine, view = self.machine(name), await self.view(name, mandate)
        receipts = list(view.receipts())
        if not receipts:
            return
        receipt = receipts[at % len(receipts)]
        answer = await self.attempt(
            "unpost",
            self._may_post(name, mandate, view),
            lambda: machine.service.unpost(mandate, receipt),
        )
        if answer is not None and receipt not in view.retracted():
            self.do(name, mandate, Unposted(receipt))
        await self.after(name)

    async def hand(self, name: str, heir: str) -> None:
        """Hand the seat to a device (B-POS-7): by who has it, or the mandate's owner."""
        mandate = self.books
        group, view = self.groups[mandate], self.groups[mandate].view(name)
        seat, term = view.seat()
        refused = self.closed(name, mandate)
        if name not in (seat, group.founder):
            refused |= {"SeatNotYours"}
        elif heir not in group.accountings:
            refused |= {"SeatHeirMayNot"}
        machine, device = self.machine(name), self.machine(heir).device.hex()
        answer = await self.attempt(
            "hand the seat", refused, lambda: machine.service.seat_hand(mandate, device)
        )
        if answer is not None and heir != seat:
            self.do(name, mandate, Handed(term, heir))
        await self.after(name)


def _is_held_back(before: list[str], after: list[str]) -> bool:
    """Whether a person has to confirm a save: nearly all of the file went (B-HIS-3)."""
    return len(content(after)) * 10 < len(content(before))


def _write(path: Path, texts: list[str]) -> None:
    """Save as programs do."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content(texts))
    temporary.replace(path)


def _handed(path: Path) -> Lines:
    """The postings that were handed over."""
    if not path.exists():
        return Lines()
    return Counter(each.split(b"\t")[4].decode() for each in path.read_bytes().splitlines())
