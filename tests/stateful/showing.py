"""Three real nodes beside the naive model: what each shows must be what the model says.

Which facts a device knows is told by its log, so that who hears of what is not guessed; that those
who reach each other know the same is asserted.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from p2psync.errors import P2PSyncError
from p2psync.node.opened import Opened
from tests.formats.files import HEADER, posting
from tests.node.rig import CRP, Machine
from tests.sim.checkers import picture
from tests.stateful.house import House, replicas
from tests.stateful.naive import Fact, Group, Saved, View, What

NAMES = ("anna", "ben", "carl")
"""Anna founds the mandate, Ben is a writer, Carl may hold the seat, too."""
BOOKS = "Books"
COUNTS: Counter[str] = Counter()
"""How many of each step and refusal there were, in all histories."""
Refusal = str | set[str] | None
"""The class of the error that a step must be refused with, one of some, or ``None``: done."""


def line(text: str) -> bytes:
    """A posting; its text has its amount, so that an edit never keeps the money."""
    return posting(text=text, amount=f"{text.split()[-1]}.50")


def content(texts: list[str]) -> bytes:
    return HEADER + b"".join(map(line, texts))


def read(path: Path) -> list[str]:
    """The texts of a file's postings, in its order."""
    lines = path.read_bytes().splitlines(keepends=True)[len(HEADER.splitlines()) :]
    return [each.split(b"\t")[4].decode() for each in lines]


@dataclass(frozen=True)
class Away:
    """An attached file that its node does not look at: what was in it then, and its values."""

    texts: Counter[str]
    now: Counter[str]
    """What was in it when last somebody did something; a node that looks again may merge first."""
    values: dict[str, frozenset[int]]


@dataclass(frozen=True)
class Removed:
    """What a removal wrote, to be undone with it."""

    closings: frozenset[int]
    detachings: frozenset[int]


Key = tuple[str, str, int]
"""A device, a mandate and a file."""


class Showing:
    """The nodes, the model, and the comparison of both."""

    def __init__(self) -> None:
        self.house = House(NAMES)
        self.count = 0
        self.groups: dict[str, Group] = {}
        """By the mandate's id."""
        self.removed: dict[tuple[str, str], Removed] = {}
        """Mandates that a device took off its list."""
        self.away: dict[Key, Away] = {}
        self.ends: dict[tuple[str, int], dict[bytes, int]] = {}
        """How long its author's logs were when a fact was written."""
        COUNTS["histories"] += 1

    def close(self) -> None:
        self.house.close()

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def machine(self, name: str) -> Machine:
        return self.house.machine(name)

    def opened(self, name: str, mandate: str) -> Opened:
        return self.machine(name).node.opened[bytes.fromhex(mandate)]

    def listed(self, name: str) -> list[str]:
        """The mandates on a device's list, the shared one first."""
        return [
            mandate
            for mandate, group in self.groups.items()
            if name in group.known and (name, mandate) not in self.removed
        ]

    def do(self, name: str, mandate: str, what: What) -> Fact:
        """Note in the model that something was done."""
        fact = self.groups[mandate].do(name, what)
        replica = replicas(self.machine(name))[bytes.fromhex(mandate)].replica
        own = {log for log, device in replica.state.logs.items() if device == replica.device}
        ends = {tip.log: tip.seq for tip in replica.tips() if tip.log in own}
        self.ends[(mandate, fact.number)] = ends
        return fact

    # -- beginning ------------------------------------------------------------------------------

    async def found(self) -> None:
        """Anna shares a mandate with Ben and Carl; all are linked."""
        anna = self.machine("anna")
        made = await anna.service.mandate_create(BOOKS, anna.file("a.crp", CRP))
        self.books: str = made["id"]
        await anna.service.mandate_share(self.books)
        group = self.groups[self.books] = Group("anna", frozenset({"anna", "carl"}), shared=True)
        for name, role in (("ben", "writer"), ("carl", "accounting")):
            ticket = await anna.service.invite(self.books, role, 3600, 1, None, True)
            await self.house.link("anna", name)
            await self.machine(name).service.subscribe(ticket["ticket"], None, None, None)
        for name in NAMES:
            group.known[name] = set()
        await self.house.settle(NAMES)

    # -- looking --------------------------------------------------------------------------------

    async def view(self, name: str, mandate: str) -> View:
        """What a device should see; how receipts made apart are ordered is the replicas' own."""
        view = self.groups[mandate].view(name)
        listed = (await self.machine(name).service.receipts(mandate))["receipts"]
        order = {each["receipt"]: number for number, each in enumerate(reversed(listed))}
        return replace(view, order=order)

    async def attempt(
        self, step: str, expected: Refusal, work: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Do what a person asks for; it is refused with that error, or done."""
        wanted = {expected} if isinstance(expected, str) else expected or set()
        refusal: P2PSyncError | None = None
        answer: Any = None
        try:
            answer = await work()
        except P2PSyncError as error:
            refusal = error
        if refusal is None:
            assert not wanted, f"{step} was done, though {wanted} should refuse it"
            COUNTS[step] += 1
            return answer
        refused = type(refusal).__name__
        assert refused in wanted, f"{step} refused with {refused}, not {wanted}: {refusal}"
        assert refusal.text
        assert refusal.hint, "a refusal says what to do"
        COUNTS[f"{step}: {refused}"] += 1
        return None

    async def after(self, *names: str) -> None:
        """Let everybody who is linked hear of it; then all is as the model says."""
        for circle in {frozenset(self.house.circle(name)) for name in names}:
            await self.house.settle(circle)
            self._learn()
            if await self._take_up():
                await self.house.settle(circle)
                self._learn()
            for name in sorted(circle):
                await self.check(name)
        for key, away in self.away.items():
            path = Path(self.groups[key[1]].view(key[0]).place(key[2])[2])
            self.away[key] = replace(away, now=Counter(read(path)))

    def _learn(self) -> None:
        """Tell the model what each device knows by now."""
        for mandate, group in self.groups.items():
            for name, known in group.known.items():
                replica = replicas(self.machine(name))[bytes.fromhex(mandate)].replica
                tips = {tip.log: tip.seq for tip in replica.tips()}
                now = {
                    fact.number
                    for fact in group.facts
                    if all(
                        tips.get(log, -1) >= seq
                        for log, seq in self.ends[(mandate, fact.number)].items()
                    )
                }
                assert now >= known, f"{name} forgot something"
                group.known[name] = now
            for pair in self.house.links:
                one, two = pair
                if mandate in self.listed(one) and mandate in self.listed(two):
                    assert group.known[one] == group.known[two], f"{one} and {two} are apart"

    # -- attached files -------------------------------------------------------------------------

    def own_paths(self, name: str) -> dict[str, Key]:
        """What a device has attached to mandates on its list, by path; of several files at one
        path, the one that was attached last has it.
        """
        out: dict[str, Key] = {}
        for mandate in self.listed(name):
            view = self.groups[mandate].view(name)
            for file in view.files():
                holder, _, path = view.place(file)
                if holder == name and out.get(path, ("", "", -1))[2] < file:
                    out[path] = (name, mandate, file)
        return out

    async def _take_up(self) -> bool:
        """Follow which attached files are looked at; tell whether one is that was changed away.

        Nothing is taken up of a file that is detached, or whose mandate is closed or removed; when
        that ends, what was saved meanwhile is (B-REM-5).
        """
        changed = False
        for name in NAMES:
            looked_at = set()
            for key in self.own_paths(name).values():
                view = self.groups[key[1]].view(name)
                if not view.closings():
                    looked_at.add(key)
            for mandate, group in self.groups.items():
                if name not in group.known:
                    continue
                view = group.view(name)
                for file in view.attached():
                    key = (name, mandate, file)
                    holder, _, path = view.place(file)
                    if holder != name:
                        self.away.pop(key, None)  # it is somebody else's now
                        continue
                    if key not in looked_at:
                        if key not in self.away:
                            self.away[key] = _away(view, file, Path(path))
                    elif key in self.away:
                        changed |= await self._back(key, self.away.pop(key))
        return changed

    async def _back(self, key: Key, away: Away) -> bool:
        """What was saved while nobody looked is a save now."""
        name, mandate, file = key
        now = away.now
        if now == away.texts:
            return False
        gone = [number for text in away.texts - now for number in away.values[text]]
        come = {self.fresh(): text for text in (now - away.texts).elements()}
        COUNTS["save: while away"] += 1
        await self.machine(name).rest()
        self.do(name, mandate, Saved(file, frozenset(gone), come))
        return True

    # -- checking -------------------------------------------------------------------------------

    async def check(self, name: str) -> None:
        """One device shows just what the model says."""
        machine = self.machine(name)
        listed = {each["id"] for each in (await machine.service.mandate_list())["mandates"]}
        assert listed == set(self.listed(name))
        for mandate in self.listed(name):
            await self._check(name, mandate)
        removed = {each["id"] for each in (await machine.service.removed_list())["mandates"]}
        assert removed == {mandate for each, mandate in self.removed if each == name}

    async def _check(self, name: str, mandate: str) -> None:
        machine, view = self.machine(name), await self.view(name, mandate)
        shown = await machine.service.mandate_show(mandate)
        assert (shown["state"] == "closed") is bool(view.closings())
        expected = {view.place(file)[1] for file in view.files()}
        files = {file["name"] for file in shown["files"] if file["kind"] != "accounting"}
        assert files == expected, f"{name} shows {sorted(files)}, not {sorted(expected)}"
        await self._check_counts(await machine.service.pending(mandate), view)
        if not view.closings():
            self._check_disk(name, mandate, view)
        await self._check_receipts(name, mandate, view)
        if self.groups[mandate].shared:
            seat = (await machine.service.seat_show(mandate))["seat"]["device"]
            assert seat == self.machine(view.seat()[0]).device.hex()

    async def _check_counts(self, pending: dict[str, Any], view: View) -> None:
        said: dict[str, tuple[int, int]] = {}
        for each in pending["files"]:
            more, less = said.get(each["name"], (0, 0))
            said[each["name"]] = (more + each["added"], less + each["deleted"])
        expected = {}
        for file in view.files():
            added, deleted = view.pending(file)
            if added or deleted:
                expected[view.place(file)[1]] = (added.total(), deleted.total())
        said = {name: counts for name, counts in said.items() if counts != (0, 0)}
        assert said == expected, f"waiting: {said}, not {expected}"
        assert pending["added"] == sum(added for added, _ in expected.values())
        assert pending["deleted"] == sum(deleted for _, deleted in expected.values())

    def _check_disk(self, name: str, mandate: str, view: View) -> None:
        """Each posting is there as often as it should be, wherever the file is here."""
        for file in view.files():
            for path in self.copies(name, mandate, view, file):
                found = Counter(read(path))
                assert found == view.lines(file), f"{path}: {found}, not {view.lines(file)}"
        folder = self.opened(name, mandate).folder
        there = {path.name for path in folder.iterdir() if path.name.endswith(".ecf")}
        assert there == {view.place(file)[1] for file in view.files()}, "B-DET-3"

    def copies(self, name: str, mandate: str, view: View, file: int) -> list[Path]:
        """Where a device has a file: in the mandate folder, and where it was attached."""
        _, shown, path = view.place(file)
        folder = self.opened(name, mandate).folder / shown
        here = self.own_paths(name).get(path) == (name, mandate, file)
        return [folder, Path(path)] if here else [folder]

    async def _check_receipts(self, name: str, mandate: str, view: View) -> None:
        listed = (await self.house.machine(name).service.receipts(mandate))["receipts"]
        retracted, contested = view.retracted(), view.contested()
        expected = {
            each: "retracted"
            if each in retracted
            else "contested"
            if each in contested
            else "posted"
            for each in view.receipts()
        }
        assert {each["receipt"]: each["state"] for each in listed} == expected

    # -- who reaches whom -----------------------------------------------------------------------

    async def meet(self, one: str, two: str) -> None:
        COUNTS["meet"] += 1
        await self.house.link(one, two)
        await self.after(one)

    async def part(self, one: str, two: str) -> None:
        if frozenset((one, two)) in self.house.links:
            COUNTS["go apart"] += 1
            await self.house.part(one, two)

    async def restart(self, name: str) -> None:
        """As after a power cut: who was linked with it has no link any more."""
        COUNTS["restart"] += 1
        before = {
            mandate: picture(opened.state)
            for mandate, opened in replicas(self.machine(name)).items()
        }
        await self.house.restart(name)
        for mandate, opened in replicas(self.machine(name)).items():
            assert picture(opened.state) == before.pop(mandate)
        assert not before
        await self.machine(name).look()
        await self.after(*NAMES)

    # -- the end ----------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Everybody met everybody: all have the same, in memory, in the databases, on disk."""
        names = [name for name in NAMES if self.books in self.listed(name)]
        seen = {name: self.everything(name) for name in names}
        for name, other in seen.items():
            assert other == seen[names[0]], f"{names[0]} and {name} differ"
        for name in names:
            await self.house.restart(name)
            await self.machine(name).look()
            assert self.everything(name) == seen[name], f"{name} after a restart"

    def everything(self, name: str) -> tuple[bytes, dict[str, bytes]]:
        """The shared mandate's fold, and its files byte for byte."""
        opened = self.opened(name, self.books)
        view = self.groups[self.books].view(name)
        files: dict[str, bytes] = {}
        for file in view.files():
            copies = {path.read_bytes() for path in self.copies(name, self.books, view, file)}
            assert len(copies) == 1, "the attached file and its copy differ"
            files[view.place(file)[1]] = copies.pop()
        there = {path.name for path in opened.folder.iterdir() if not path.name.startswith(".")}
        assert there == {*files, "a.crp"}, "only what is attached is in the mandate folder"
        return picture(opened.state), files


def _away(view: View, file: int, path: Path) -> Away:
    texts = Counter(read(path))
    values = {
        text: frozenset(number for number, other in view.values(file).items() if other == text)
        for text in texts
    }
    return Away(texts, texts, values)
