"""What a mandate should show, told naively: who did what, who knows of it, and multisets of texts.

There are no logs, elements, positions or heads here. A save takes values away that its author saw
and adds others; a value is one line somebody wrote, known by a number. What two know is the union
of what each knows. A view is worked out anew from all that a device knows, each time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Device = str
Lines = Counter[str]


@dataclass(frozen=True)
class Attached:
    """A file came to the mandate."""

    file: int
    name: str
    kind: str
    path: str


@dataclass(frozen=True)
class Saved:
    """Values that went and values that came."""

    file: int
    gone: frozenset[int]
    come: Mapping[int, str]


@dataclass(frozen=True)
class Posted:
    """A receipt by its name: the values that it took and gave back."""

    receipt: str
    adds: frozenset[int]
    drops: frozenset[int]


@dataclass(frozen=True)
class Unposted:
    receipt: str


@dataclass(frozen=True)
class Detached:
    """What its author knew then is in the fact's past."""

    file: int


@dataclass(frozen=True)
class Reattached:
    detachings: frozenset[int]


@dataclass(frozen=True)
class Placed:
    """The file is at a path of its author's device now."""

    file: int
    name: str
    path: str


@dataclass(frozen=True)
class Handed:
    """The seat goes to a device, for the so-manyeth time."""

    term: int
    heir: Device


@dataclass(frozen=True)
class Closed:
    pass


@dataclass(frozen=True)
class Reopened:
    closings: frozenset[int]


@dataclass(frozen=True)
class Left:
    """A device removed the mandate from its list."""


@dataclass(frozen=True)
class Returned:
    pass


What = (
    Attached
    | Saved
    | Posted
    | Unposted
    | Detached
    | Reattached
    | Placed
    | Handed
    | Closed
    | Reopened
    | Left
    | Returned
)


@dataclass(frozen=True)
class Fact:
    """Something that somebody did, and what he knew then."""

    number: int
    by: Device
    what: What
    past: frozenset[int]


@dataclass
class Group:
    """A mandate: all that was ever done in it, and what of it each device knows."""

    founder: Device
    accountings: frozenset[Device]
    """Who may hold the seat."""
    shared: bool
    facts: list[Fact] = field(default_factory=list)
    known: dict[Device, set[int]] = field(default_factory=dict)

    def do(self, by: Device, what: What) -> Fact:
        past = self.known.setdefault(by, set())
        fact = Fact(len(self.facts), by, what, frozenset(past))
        self.facts.append(fact)
        past.add(fact.number)
        return fact

    def meet(self, devices: Iterable[Device]) -> None:
        """Some devices tell each other all that they know."""
        members = [device for device in devices if device in self.known]
        every: set[int] = set().union(*(self.known[device] for device in members))
        for device in members:
            self.known[device] = set(every)

    def view(self, device: Device) -> "View":
        return View(self, [self.facts[number] for number in sorted(self.known[device])])


@dataclass
class View:
    """What a device should see, from the facts that it knows."""

    group: Group
    facts: list[Fact]
    order: Mapping[str, int] = field(default_factory=dict)
    """The order of receipts, as the replicas agree on it: it matters between those made apart."""

    def _of(self, *kinds: type) -> Iterator[Fact]:
        return (fact for fact in self.facts if isinstance(fact.what, kinds))

    # -- files ----------------------------------------------------------------------------------

    def attached(self) -> dict[int, Attached]:
        """All files that were ever attached."""
        return {f.what.file: f.what for f in self._of(Attached) if isinstance(f.what, Attached)}

    def files(self) -> list[int]:
        """The files that are attached now."""
        return [file for file in self.attached() if self.present(file)]

    def detachings(self, file: int) -> list[Fact]:
        """The detachings of a file that nobody undid."""
        undone: set[int] = set()
        for fact in self._of(Reattached):
            assert isinstance(fact.what, Reattached)
            undone |= fact.what.detachings
        return [
            fact
            for fact in self._of(Detached)
            if isinstance(fact.what, Detached)
            and fact.what.file == file
            and fact.number not in undone
        ]

    def present(self, file: int) -> bool:
        """A file stays away while each of its saves was seen by who detached it."""
        seen: set[int] = set()
        detachings = self.detachings(file)
        for fact in detachings:
            seen |= fact.past
        return not detachings or any(fact.number not in seen for fact in self._saves(file))

    def _saves(self, file: int) -> list[Fact]:
        return [
            fact
            for fact in self._of(Saved)
            if isinstance(fact.what, Saved) and fact.what.file == file
        ]

    def place(self, file: int) -> tuple[Device, str, str]:
        """Device, name and path that a file has now: where it was placed last."""
        said = [
            fact
            for fact in self._of(Attached, Placed)
            if isinstance(fact.what, Attached | Placed) and fact.what.file == file
        ]
        last = said[-1]
        assert isinstance(last.what, Attached | Placed)
        return last.by, last.what.name, last.what.path

    def live(self, file: int) -> dict[int, str]:
        """The values of a file that came and did not go."""
        gone: set[int] = set()
        come: dict[int, str] = {}
        for fact in self._saves(file):
            assert isinstance(fact.what, Saved)
            gone |= fact.what.gone
            come |= fact.what.come
        return {number: text for number, text in come.items() if number not in gone}

    def lines(self, file: int) -> Lines:
        return Counter(self.live(file).values())

    # -- posting --------------------------------------------------------------------------------

    def receipts(self) -> dict[str, Posted]:
        """All receipts, in their order."""
        found = [fact.what for fact in self._of(Posted) if isinstance(fact.what, Posted)]
        place = {posted.receipt: number for number, posted in enumerate(found)}
        found.sort(key=lambda posted: self.order.get(posted.receipt, place[posted.receipt]))
        return {posted.receipt: posted for posted in found}

    def retracted(self) -> set[str]:
        return {fact.what.receipt for fact in self._of(Unposted) if isinstance(fact.what, Unposted)}

    def counting(self) -> list[Posted]:
        """The receipts that nobody retracted."""
        retracted = self.retracted()
        return [posted for name, posted in self.receipts().items() if name not in retracted]

    def posted(self) -> set[int]:
        """The values that are posted, each once."""
        out: set[int] = set()
        for posted in self.counting():
            out = (out | posted.adds) - posted.drops
        return out

    def contested(self) -> set[str]:
        """Receipts that took what another took, without one between that gave it back."""
        took: dict[int, str | None] = {}
        out: set[str] = set()
        for posted in self.counting():
            for number in posted.adds:
                if (other := took.get(number)) is not None:
                    out |= {other, posted.receipt}
                took[number] = posted.receipt
            for number in posted.drops:
                took[number] = None
        return out

    def _posted_of(self, file: int) -> set[int]:
        return self.posted() & self.values(file).keys()

    def values(self, file: int) -> dict[int, str]:
        """All values that ever came."""
        out: dict[int, str] = {}
        for fact in self._saves(file):
            assert isinstance(fact.what, Saved)
            out |= fact.what.come
        return out

    def posted_lines(self, file: int) -> Lines:
        values = self.values(file)
        return Counter(values[number] for number in self._posted_of(file))

    def pending(self, file: int) -> tuple[Lines, Lines]:
        """The texts to add and to take back (B-POS-2)."""
        now, posted = self.lines(file), self.posted_lines(file)
        return now - posted, posted - now

    def receipt_of(self, files: Iterable[int], name: str) -> Posted:
        """What a receipt made now would say."""
        adds: set[int] = set()
        drops: set[int] = set()
        for file in files:
            if not any(self.pending(file)):
                continue  # the same texts, whichever values they are
            live, posted = self.live(file).keys(), self._posted_of(file)
            adds |= live - posted
            drops |= posted - live
        return Posted(name, frozenset(adds), frozenset(drops))

    # -- the mandate ----------------------------------------------------------------------------

    def seat(self) -> tuple[Device, int]:
        """Who posts, and the term of the next handing over (B-POS-7)."""
        holder, term = self.group.founder, 2
        while True:
            hands = [
                (fact.by != self.group.founder, fact.what.heir)
                for fact in self._of(Handed)
                if isinstance(fact.what, Handed)
                and fact.what.term == term
                and fact.by in (self.group.founder, holder)
                and fact.what.heir in self.group.accountings
            ]
            if not hands:
                return holder, term
            holder, term = min(hands)[1], term + 1

    def closings(self) -> set[int]:
        """The closings that nobody undid."""
        undone: set[int] = set()
        for fact in self._of(Reopened):
            assert isinstance(fact.what, Reopened)
            undone |= fact.what.closings
        return {fact.number for fact in self._of(Closed)} - undone

    def left(self) -> set[Device]:
        """Who removed the mandate from his list, by his last word."""
        last: dict[Device, bool] = {}
        for fact in self._of(Left, Returned):
            last[fact.by] = isinstance(fact.what, Left)
        return {device for device, gone in last.items() if gone}
