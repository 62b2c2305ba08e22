"""An office of devices that write entries, each from what it has seen, and what people see then."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from p2psync.core import kept, membership, ops
from p2psync.core.body import Body
from p2psync.core.crypto import SigningKey, digest
from p2psync.core.diff import diff
from p2psync.core.files import FileState, Version
from p2psync.core.mandate import Applied, Dirt, Mandate
from p2psync.core.ops import OpId
from tests.core.lines import FILE, read, segments

SALT = b"s" * 16
FOUNDER, ANNA, BEN, CARL = b"F" * 32, b"A" * 32, b"B" * 32, b"C" * 32
MANDATE = membership.mandate_id(FOUNDER, SALT)
SEED = b"t" * 32
TICKET = SigningKey.from_seed(SEED).public
WRITER_SEED = b"w" * 32
"""Of a ticket that makes a writer of who holds it: of Carl."""
WRITER_TICKET = SigningKey.from_seed(WRITER_SEED).public
ACCOUNTING = b"a" * 16
"""The accounting's file; ``FILE`` is an invoicing's."""


@dataclass
class Office:
    """Writes entries of several devices, each from what it has seen."""

    entries: list[Applied] = field(default_factory=list)
    past: dict[bytes, set[bytes]] = field(default_factory=dict)
    """The entries that each entry depends on, itself included."""
    seen: dict[bytes, set[bytes]] = field(default_factory=dict)

    def view(self, device: bytes) -> Mandate:
        """What a device knows."""
        known = self.seen.get(device, set())
        return Mandate.fold(MANDATE, read, [item for item in self.entries if item.id in known])

    def learn(self, device: bytes, other: bytes) -> None:
        """One device takes all that the other knows."""
        self.seen.setdefault(device, set()).update(self.seen.get(other, set()))

    def write(self, device: bytes, *operations: ops.Operation) -> Applied:
        """Add an entry of a device to its log."""
        log = log_of(device)
        seen = self.seen.setdefault(device, set())
        seq = sum(1 for item in self.entries if item.log == log)
        stamp = 1 + max((item.stamp for item in self.entries if item.id in seen), default=0)
        entry_id = digest(b"entry", log, seq.to_bytes(8, "big"))
        prev = digest(b"entry", log, (seq - 1).to_bytes(8, "big")) if seq else b""
        made = Applied(entry_id, log, seq, stamp, stamp, operations, prev)
        self.entries.append(made)
        self.past[entry_id] = {entry_id, *seen}
        seen.add(entry_id)
        return made

    def open(self, device: bytes, *more: ops.Operation) -> Applied:
        """Open a device's log."""
        return self.write(device, ops.OpenLog(device, 0, bytes(64)), *more)

    def found(self) -> "Office":
        """Found the mandate, attach a file, make a ticket."""
        self.open(FOUNDER, ops.Create(FOUNDER, SALT, "Dupont"), ops.ClaimSeat(1))
        self.write(FOUNDER, ops.Invite(TICKET, "accounting", 0, 5))
        self.write(FOUNDER, ops.Invite(WRITER_TICKET, "writer", 0, 5))
        self.write(FOUNDER, ops.AddFile(FILE, "a.ecf", "invoicing", "lines", "", None, None, None))
        crp = ops.AddFile(ACCOUNTING, "a.crp", "accounting", "opaque", "", None, None, None)
        self.write(FOUNDER, crp)
        return self

    def redeem(self, device: bytes) -> bytes:
        """Have a device show its ticket to the founder; return which."""
        seed = WRITER_SEED if device == CARL else SEED
        self.learn(device, FOUNDER)
        self.open(device, membership.redeem(seed, MANDATE, device))
        self.learn(FOUNDER, device)
        return SigningKey.from_seed(seed).public

    def join(self, device: bytes) -> "Office":
        """Admit a device at once."""
        self.write(FOUNDER, ops.Admit(device, self.redeem(device)))
        self.learn(device, FOUNDER)
        return self

    def save(self, device: bytes, data: bytes) -> OpId:
        """Save the file."""
        file = self.view(device).files[FILE]
        lines = diff(FILE, list(file.segments.shown()), segments(data), device)
        parents = tuple(sorted(file.heads))
        save = ops.Save(FILE, parents, (), None, True, len(data), bytes(32))
        made = self.write(device, *lines, save)
        return made.id, len(lines)

    def post(self, device: bytes) -> OpId:
        """Post all that is pending."""
        items = self.view(device).files[FILE].pending_items()
        post = ops.Post(1, (ops.take(FILE, items.adds),), (ops.take(FILE, items.drops),), 0, 0)
        return self.write(device, post).id, 0

    def unpost(self, device: bytes, *receipts: OpId) -> None:
        """Retract receipts."""
        self.write(device, ops.Unpost(tuple(sorted(receipts))))

    def cut(self, device: bytes, other: bytes) -> tuple[bytes, ...]:
        """The last entry of another device that a device has seen."""
        seen = self.seen.get(device, set())
        theirs = [item for item in self.entries if item.log == log_of(other) and item.id in seen]
        return tuple(item.id for item in theirs[-1:])

    def remove(self, device: bytes, other: bytes) -> OpId:
        """Remove a device, up to what is seen of it, whether that counts or not."""
        return self.write(device, ops.Remove(other, self.cut(device, other))).id, 0

    def readmit(self, device: bytes, other: bytes) -> None:
        """Undo all removals of a device that are seen."""
        removal = self.view(device).membership.removed.get(other)
        known = () if removal is None else tuple(sorted(op for op, _ in removal.by))
        self.write(device, ops.Readmit(other, known))

    def detach(self, device: bytes, file: bytes = FILE) -> OpId:
        """Detach a file as the device sees it."""
        heads = tuple(sorted(self.view(device).files[file].heads))
        return self.write(device, ops.Detach(file, heads)).id, 0

    def reattach(self, device: bytes, file: bytes = FILE) -> None:
        """Undo all detachings that the device knows."""
        known = tuple(sorted(self.view(device).files[file].detached_by))
        self.write(device, ops.Reattach(file, known))

    def orders(self, chance: random.Random) -> list[Applied]:
        """The entries in a random order in which each comes after its past."""
        left, out, done = list(self.entries), list[Applied](), set[bytes]()
        while left:
            ready = [item for item in left if self.past[item.id] - {item.id} <= done]
            item = chance.choice(ready)
            left.remove(item)
            done.add(item.id)
            out.append(item)
        return out


def shown(state: Mandate) -> dict[str, Any]:
    """All that people see of a mandate."""
    return {
        "name": state.name,
        "shared": state.shared,
        "members": state.membership,
        "devices": state.devices,
        "seat": state.seat(),
        "contested": state.contested(),
        "retracted": set(state.retracted),
        "receipts": {op: state.receipt_state(op) for op in state.receipts},
        "waiting": state.waiting(),
        "closed": state.standing.closed,
        "left": state.standing.left(),
        "policy": state.standing.policy,
        "relays": list(state.relays.used().items()),
        "dropped relays": state.relays.dropped(),
        "files": {
            file.id: (
                file.segments.emit(),
                file.pending(),
                dict(file.posted),
                set(file.heads),
                file.current() and file.current().id,  # type: ignore[union-attr]  # tested before
                {pair: set(rivals) for pair, rivals in file.doubles.items()},
                file.present,
                file.info,
                file.device,
                file.expected_seconds,
                {
                    device: (held.said, held.answer, held.outcome)
                    for device, held in file.holds.items()
                },
                file.program and file.program[2],
                [(item.change, item.record.key) for item in file.pending_records()],
            )
            for file in state.files.values()
            if file.added
        },
    }


def log_of(device: bytes) -> bytes:
    """The only log of a device."""
    return device[::-1][:31] + b"L"


class Past:
    """The entries of a fold that is still in memory."""

    def __init__(self, state: Mandate) -> None:
        self.state = state

    def body(self, file: FileState) -> Body:
        return self.state.files[file.id].body

    def version(self, file: FileState, version: OpId) -> Version | None:
        return self.state.files[file.id].versions.get(version)

    def versions(self, file: FileState) -> Iterator[Version]:
        yield from self.state.files[file.id].versions.values()


def everything(state: Mandate) -> dict[bytes, bytes | None]:
    """All that is to be kept of a fold."""
    return {kept.name_of(*thing): kept.value_of(state, *thing) for thing in kept.everything(state)}


def restored(state: Mandate, entries: list[Applied]) -> Mandate:
    """Keep a fold and take it up again."""
    by_id = {item.id: item for item in entries}
    things = {name: value for name, value in everything(state).items() if value is not None}
    return kept.restore(MANDATE, read, things, Past(state), by_id.__getitem__)


def kept_in_steps(entries: list[Applied]) -> tuple[Mandate, dict[bytes, bytes | None]]:
    """Fold one by one, and write down after each entry what is said to have changed."""
    state, done = Mandate(MANDATE, read), list[Applied]()
    things: dict[bytes, bytes | None] = everything(state)
    for item in entries:
        done.append(item)
        state.apply(item)
        if state.stale:
            state = Mandate.fold(MANDATE, read, done)
            things = everything(state)
        for thing in state.dirt.things:
            things[kept.name_of(*thing)] = kept.value_of(state, *thing)
        state.dirt = Dirt()
    return state, {name: value for name, value in things.items() if value is not None}


def incrementally(entries: list[Applied]) -> Mandate:
    """Fold one by one, and anew when the fold asks for it."""
    state, done = Mandate(MANDATE, read), list[Applied]()
    for item in entries:
        done.append(item)
        state.apply(item)
        if state.stale:
            state = Mandate.fold(MANDATE, read, done)
    return state


_line = st.builds(
    lambda money, text: f"{money} | {text}\n".encode(), st.integers(0, 3), st.sampled_from("xy")
)
_devices = st.sampled_from([FOUNDER, ANNA, BEN, CARL])
_files = st.sampled_from([FILE, ACCOUNTING])
actions = st.tuples(
    _devices,
    st.one_of(
        st.lists(_line, max_size=4).map(lambda lines: ("save", b"".join(lines))),
        _devices.map(lambda other: ("learn", other)),
        st.tuples(st.sampled_from(["detach", "reattach", "register"]), _files),
        st.tuples(st.sampled_from(["place", "expect", "policy", "rename"]), st.sampled_from("xy")),
        st.tuples(
            st.sampled_from(
                ["post", "unpost", "claim", "close", "reopen", "leave", "return", "join"]
            ),
            st.none(),
        ),
        st.tuples(st.sampled_from(["remove", "readmit"]), _devices),
        st.tuples(st.just("hand"), _devices),
        st.tuples(st.just("hold"), st.sampled_from("xy")),
        st.tuples(st.just("relay"), st.sampled_from("xyXY")),
        st.tuples(st.just("answer"), st.sampled_from(ops.VERDICTS)),
    ),
)
"""Who does what."""


def play(script: list[tuple[bytes, tuple[str, Any]]]) -> Office:
    """Let the devices do what they can."""
    office = Office().found()
    for device, (action, what) in script:
        opened = any(item.log.startswith(device[::-1][:31]) for item in office.entries)
        if action == "join" and not opened:
            ticket = office.redeem(device)
            if len(office.entries) % 3:
                office.write(FOUNDER, ops.Admit(device, ticket))
        elif action == "learn":
            office.learn(device, what)
        elif opened:
            _act(office, device, action, what)
    return office


def _act(office: Office, device: bytes, action: str, what: Any) -> None:
    view = office.view(device)
    match action:
        case "save":
            office.save(device, what)
        case "post":
            office.post(device)
        case "unpost" if view.receipts:
            office.unpost(device, sorted(view.receipts)[0])
        case "detach":
            office.detach(device, what)
        case "reattach":
            office.reattach(device, what)
        case "rename":
            office.write(device, ops.Rename(what))
        case "claim":
            office.write(device, ops.ClaimSeat(1))
        case "hand":
            office.write(device, ops.HandSeat(2, what))
        case "place":
            office.write(device, ops.Place(FILE, what, f"/{device[:1].decode()}"))
        case "expect":
            office.write(device, ops.Expect(FILE, ord(what)))
        case "register":
            office.write(device, ops.Register(what, device[:1].decode(), "1", "valid"))
        case "policy":
            office.write(device, ops.Policy(what == "x", False, False, ()))
        case "relay":
            relay = what.lower().encode() * 32
            named = (what,) if what.islower() else ()
            office.write(device, ops.SetRelay(relay, named, view.relays.standing(relay)))
        case "hold":
            office.write(device, ops.Hold(FILE, what.encode() * 32, 9, 1, 3, 1, 2, 0, "", None, 7))
        case "answer":
            for held in view.files[FILE].holds.values() if FILE in view.files else ():
                office.write(device, ops.Answer(FILE, (held.id,), what))
        case "remove":
            office.remove(device, what)
        case "readmit":
            office.readmit(device, what)
        case "close":
            office.write(device, ops.Close())
        case "reopen":
            every = tuple(sorted(view.standing.closings))
            office.write(device, ops.Reopen(every))
        case "leave":
            office.write(device, ops.Leave())
        case "return":
            office.write(device, ops.Return())
        case _:
            pass
