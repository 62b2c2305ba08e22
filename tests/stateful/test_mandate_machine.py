"""Three replicas of a mandate against a naive model: no posting is lost or counted twice, all end
equal.

Amounts are unique, so that each posting can be told from all others. The model knows nothing of
logs, elements or positions: a save removes the values that its author saw and adds its own.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2psync.core import crypto, membership, ops
from p2psync.core.crdt import Element, Value
from p2psync.core.diff import diff
from p2psync.core.ops import OpId
from p2psync.engine.effects import Effect, KeepLogKey, Persist, Refold, StoredEntry
from p2psync.engine.replica import OwnLog, Replica, Secrets
from p2psync.formats import registry
from p2psync.formats.registry import read_segment
from tests.engine.archive import Fold, MemoryArchive
from tests.formats.files import posting
from tests.sim.checkers import picture

WALL_MS = 1_800_000_000_000
FILE = b"f" * 16
HEADER = b"#FSC\t9.5.0\tECF\r\n"
FORMAT = registry.find("a.ecf", HEADER)
NAMES = ("anna", "ben", "carl")
Content = tuple[str, str]
"""Amount and text."""

who = st.integers(0, len(NAMES) - 1)
number = st.integers(0, 1 << 16)


def line(content: Content) -> bytes:
    """A posting as a line of the file."""
    return posting(text=content[1], amount=content[0])


@dataclass
class Save:
    """What a save did, in the model's words: values it took away, values it added."""

    gone: set[int]
    come: dict[int, Content]


@dataclass
class Side:
    """A replica, what is on its disk, and what the model says it has seen."""

    name: str
    replica: Replica
    raws: dict[bytes, bytes] = field(default_factory=dict)
    stored: dict[bytes, StoredEntry] = field(default_factory=dict)
    fold: Fold = field(default_factory=Fold)
    logs: list[OwnLog] = field(default_factory=list)
    seen: dict[bytes, Save] = field(default_factory=dict)
    draft: "Draft | None" = None

    def keep(self, effects: list[Effect] | tuple[Effect, ...]) -> list[bytes]:
        """Do what a disk does; return the ids of the entries."""
        ids: list[bytes] = []
        for effect in effects:
            match effect:
                case Persist(entries=entries, derived=derived):
                    for entry in entries:
                        self.raws[entry.id] = entry.raw
                        self.stored[entry.id] = entry
                        ids.append(entry.id)
                    assert derived is not None
                    self.fold.take(derived, len(self.stored))
                case KeepLogKey(seed=seed, incarnation=incarnation):
                    self.logs.append(OwnLog(seed, incarnation))
                case Refold():
                    ids += self.keep(self.replica.refold(self.raws.values()))
                case _:
                    pass
        return ids

    def archive(self) -> MemoryArchive:
        return MemoryArchive(self.stored, self.replica.mandate, self.fold)

    def emit(self) -> bytes:
        return self.replica.state.files[FILE].segments.emit()

    def live(self) -> dict[int, Content]:
        """The values that are there, by the model."""
        come = {key: value for save in self.seen.values() for key, value in save.come.items()}
        gone = {key for save in self.seen.values() for key in save.gone}
        return {key: value for key, value in come.items() if key not in gone}


@dataclass
class Draft:
    """A file as a program has it open, while entries go on coming in."""

    heads: tuple[OpId, ...]
    shown: list[tuple[Element, Value]]
    live: dict[int, Content]


class MandateMachine(RuleBasedStateMachine):
    """Saves, open files, receipts, exchanges and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.looked = 0
        self.sides: list[Side] = []
        self.receipts: list[tuple[OpId, set[Content], set[Content]]] = []
        self.retracted: set[OpId] = set()

    # -- beginning ------------------------------------------------------------------------------

    def entropy(self, size: int) -> bytes:
        self.count += 1
        return crypto.digest(b"test", str(self.count).encode(), size=64)[:size]

    def make(self, name: str, mandate: bytes, secrets: Secrets) -> Replica:
        signer = crypto.SigningKey.from_seed(crypto.digest(b"test", name.encode()))
        describe = ops.Describe(name, name)
        return Replica(mandate, signer, secrets, read_segment, self.entropy, describe)

    @initialize()
    def found(self) -> None:
        founder = crypto.SigningKey.from_seed(crypto.digest(b"test", NAMES[0].encode())).public
        salt = self.entropy(16)
        self.mandate = membership.mandate_id(founder, salt)
        self.key, self.seed = self.entropy(32), self.entropy(32)
        invitation = crypto.SigningKey.from_seed(self.seed).public
        for name in NAMES:
            admission = None if name == NAMES[0] else self.seed
            replica = self.make(name, self.mandate, Secrets((self.key,), admission))
            self.sides.append(Side(name, replica))
        anna = self.sides[0]
        expiry = WALL_MS + 1_000_000
        first: list[list[ops.Operation]] = [
            [ops.Create(founder, salt, "Books"), ops.Share(), ops.ClaimSeat(1)],
            [ops.Invite(invitation, "writer", expiry, 2)],
            [ops.AddFile(FILE, "a.ecf", "invoicing", FORMAT.name, "", None, None, None)],
        ]
        for operations in first:
            anna.keep(anna.replica.author(operations, WALL_MS))
        anna.draft = self.draft_of(anna)
        self.write(anna, HEADER, set(), {})
        for side in self.sides[1:]:
            side.keep(side.replica.author([ops.Observe()], WALL_MS))
            opening = [side.raws[each] for each in side.replica.opening()]
            anna.keep(anna.replica.admit(side.replica.device, opening, WALL_MS).effects)
            self.carry(anna, side)
            assert side.replica.is_member(side.replica.device)

    # -- saving ---------------------------------------------------------------------------------

    def draft_of(self, side: Side) -> Draft:
        file = side.replica.state.files[FILE]
        shown = [
            (Element(element.id, element.position, element.values), value)
            for element, value in file.segments.shown()
        ]
        return Draft(tuple(sorted(file.heads)), shown, side.live())

    def write(self, side: Side, data: bytes, gone: set[int], come: dict[int, Content]) -> None:
        draft, side.draft = side.draft, None
        assert draft is not None
        document = FORMAT.parse(data)
        lines = diff(FILE, draft.shown, document.segments, self.entropy(8))
        effects = side.replica.save(
            FILE,
            parents=draft.heads,
            lines=lines,
            content=None,
            mergeable=document.mergeable,
            size_bytes=len(data),
            digest=crypto.content_digest(data),
            wall_ms=WALL_MS,
        )
        side.seen[side.keep(effects)[-1]] = Save(gone, come)
        file = side.replica.state.files[FILE]
        if (
            set(draft.heads) == set(next(iter(file.heads.values())).parents)
            and len(file.heads) == 1
        ):
            assert file.segments.emit() == data  # what was saved is what is shown

    @rule(index=who)
    def open_file(self, index: int) -> None:
        """A program opens the file, to save it some time later."""
        self.sides[index].draft = self.draft_of(self.sides[index])

    @rule(index=who, at=number, text=st.sampled_from(["oil", "ink", "tea"]))
    def add(self, index: int, at: int, text: str) -> None:
        side, lines = self.lines(index)
        self.count += 1
        content = (f"{self.count}.50", text)
        lines.insert(1 + at % len(lines), line(content))
        self.write(side, b"".join(lines), set(), {self.count: content})

    @rule(index=who, at=number)
    def delete(self, index: int, at: int) -> None:
        side, lines = self.lines(index)
        if len(lines) > 1:
            content = self.content(lines.pop(1 + at % (len(lines) - 1)))
            gone = self.alike(side, content)
            self.write(side, b"".join(lines), gone, {})

    @rule(index=who, at=number, money=st.booleans())
    def edit(self, index: int, at: int, money: bool) -> None:
        side, lines = self.lines(index)
        if len(lines) > 1:
            place = 1 + at % (len(lines) - 1)
            before = self.content(lines[place])
            self.count += 1
            after = (f"{self.count}.50" if money else before[0], f"new {self.count}")
            lines[place] = line(after)
            self.write(side, b"".join(lines), self.alike(side, before), {self.count: after})

    def lines(self, index: int) -> tuple[Side, list[bytes]]:
        side = self.sides[index]
        if side.draft is None:
            side.draft = self.draft_of(side)
        return side, [value.segment.raw for _, value in side.draft.shown]

    def content(self, raw: bytes) -> Content:
        (record,) = FORMAT.read_segment(raw).records
        return str(record.amount), raw.split(b"\t")[4].decode()

    def alike(self, side: Side, content: Content) -> set[int]:
        """The values that one line stands for: texts of one posting that were written apart."""
        assert side.draft is not None
        return {key for key, value in side.draft.live.items() if value[0] == content[0]}

    # -- posting --------------------------------------------------------------------------------

    def shown(self, side: Side) -> set[Content]:
        return {self.content(raw) for raw in side.emit().splitlines(True)[1:]}

    def posted(self) -> set[Content]:
        out: set[Content] = set()
        for receipt, adds, drops in self.receipts:
            if receipt not in self.retracted:
                out = (out | adds) - drops
        return out

    @rule()
    def post(self) -> None:
        """The accountant posts all that waits."""
        anna = self.sides[0]
        file = anna.replica.state.files[FILE]
        items = file.pending_items()
        more, less = file.pending()
        if more or less:
            now, before = self.shown(anna), self.posted()
            operation = ops.Post(1, taken(items.adds), taken(items.drops), more, less)
            known = set(anna.replica.state.receipts)
            anna.keep(anna.replica.author([operation], WALL_MS))
            (receipt,) = set(anna.replica.state.receipts) - known
            self.receipts.append((receipt, now - before, before - now))
            assert file.pending() == (0, 0)

    @rule(at=number)
    def unpost(self, at: int) -> None:
        left = [receipt for receipt, _, _ in self.receipts if receipt not in self.retracted]
        if left:
            receipt = left[at % len(left)]
            anna = self.sides[0]
            anna.keep(anna.replica.author([ops.Unpost((receipt,))], WALL_MS))
            self.retracted.add(receipt)

    # -- between the sides ----------------------------------------------------------------------

    def carry(self, source: Side, target: Side) -> None:
        new = [raw for key, raw in source.raws.items() if key not in target.raws]
        if new:
            target.keep(target.replica.receive(new, WALL_MS, more=False).effects)
        assert target.raws.keys() >= source.raws.keys()
        target.seen |= source.seen

    @rule(here=who, there=who)
    def exchange(self, here: int, there: int) -> None:
        if here != there:
            self.carry(self.sides[here], self.sides[there])

    @rule(index=who, anew=st.booleans())
    def restart(self, index: int, anew: bool) -> None:
        """Power off and on: the state is a fold of what is on the disk, kept there or made anew."""
        side = self.sides[index]
        before = picture(side.replica.state)
        side.replica = self.after_restart(side)
        if anew:
            side.replica.load(side.raws.values())
            side.keep([side.replica.keep()])
        else:
            found = side.archive().kept()
            assert found is not None
            side.replica.restore(found, side.archive())
        assert picture(side.replica.state) == before

    def after_restart(self, side: Side) -> Replica:
        admission = None if side is self.sides[0] else self.seed
        return self.make(side.name, self.mandate, Secrets((self.key,), admission, tuple(side.logs)))

    @rule(index=who)
    def rest(self, index: int) -> None:
        """Nothing happened for a while: what can be looked up leaves the memory."""
        side = self.sides[index]
        side.replica.attach(side.archive())
        side.replica.release()
        side.replica.release()
        side.replica.chains.trim(1)

    @invariant()
    def what_is_kept_is_what_the_entries_make(self) -> None:
        """At every moment, so also when the power fails now; one side at a time."""
        self.looked += 1
        for side in self.sides[self.looked % 3 :][:1]:
            found = side.archive().kept()
            assert found is not None
            taken_up = self.after_restart(side)
            taken_up.restore(found, side.archive())
            assert picture(taken_up.state) == picture(side.replica.state)
            assert taken_up.tips() == side.replica.tips()
            anew = self.after_restart(side)
            anew.load(side.raws.values())
            derived = anew.keep().derived
            assert derived is not None
            fresh = Fold()
            fresh.take(derived, len(side.stored))
            assert fresh == side.fold

    def state(self, side: Side) -> tuple[bytes, tuple[int, int], set[OpId]]:
        file = side.replica.state.files[FILE]
        return side.emit(), file.pending(), set(file.heads)

    # -- checking -------------------------------------------------------------------------------

    @invariant()
    def each_side_shows_what_it_saw(self) -> None:
        """No posting is lost and none is there twice."""
        for side in self.sides:
            lines = [self.content(raw) for raw in side.emit().splitlines(True)[1:]]
            texts: dict[str, set[str]] = {}
            for amount, text in side.live().values():
                texts.setdefault(amount, set()).add(text)
            assert sorted(amount for amount, _ in lines) == sorted(texts)
            for amount, text in lines:
                assert text in texts[amount]

    @invariant()
    def the_accountant_sees_what_waits(self) -> None:
        if self.sides:
            anna = self.sides[0]
            now, posted = self.shown(anna), self.posted()
            expected = (len(now - posted), len(posted - now))
            assert anna.replica.state.files[FILE].pending() == expected

    def teardown(self) -> None:
        """Everyone meets everyone: all have the same."""
        if not self.sides:
            return
        for _ in range(2):
            for source in self.sides:
                for target in self.sides:
                    if source is not target:
                        self.carry(source, target)
        self.each_side_shows_what_it_saw()
        self.the_accountant_sees_what_waits()
        first, *others = (self.state(side) for side in self.sides)
        assert all(other == first for other in others)
        for index in range(len(self.sides)):
            self.restart(index, anew=False)


def taken(pairs: tuple[tuple[OpId, bytes], ...]) -> tuple[ops.Taken, ...]:
    """What a receipt names, of one file; each element once a group."""
    groups: list[list[tuple[OpId, bytes]]] = []
    for pair in pairs:
        for group in groups:
            if all(other[0] != pair[0] for other in group):
                group.append(pair)
                break
        else:
            groups.append([pair])
    return tuple(ops.take(FILE, group) for group in groups)


TestMandate = MandateMachine.TestCase
TestMandate.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_what_two_sides_insert_at_one_place_goes_when_it_is_deleted() -> None:
    """One position for both would make the next save write all anew, and bring the deleted back."""
    machine = MandateMachine()
    machine.found()
    machine.add(index=1, at=0, text="oil")
    machine.open_file(index=0)
    machine.exchange(here=1, there=0)
    machine.delete(index=1, at=0)
    machine.add(index=0, at=0, text="ink")
    machine.add(index=0, at=1, text="tea")
    machine.teardown()
    for side in machine.sides:
        assert [content[1] for content in sorted(machine.shown(side))] == ["ink", "tea"]
