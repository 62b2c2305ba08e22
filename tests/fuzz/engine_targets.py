"""The target for a whole engine: a peer says anything, signed entries of any content included.

Anna has a mandate with Carl, who is honest, and with Ben, who is a member and whom the input plays;
a stranger with Ben's ticket, or none, is played too. Whatever they say, Anna's engine raises
nothing, what Carl writes arrives, and what is on Anna's disk folds to what is in her memory.
"""

from collections.abc import Iterable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from p2psync.core import codec, crypto, entry, membership, ops
from p2psync.core.entry import Entry, LogKey
from p2psync.core.frontier import HEAD_BYTES, Tip
from p2psync.core.mandate import Mandate
from p2psync.engine import wire
from p2psync.engine.effects import Event, FrameReceived, LinkDown, LinkUp, Tick
from p2psync.engine.handshake import Handshake
from p2psync.engine.replica import Replica, Secrets
from p2psync.errors import BadInputError
from p2psync.limits import CHUNKS_UNREQUESTED_MAX, FRAME_BYTES_MAX, UNCOVERED_BYTES_MAX
from tests.core.lines import read
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import WALL_MS, Disk, Machine, Ticket, entropy_of, key_of
from tests.fuzz import samples
from tests.fuzz.feed import Feed, varied
from tests.fuzz.target import Target

_CARL, _BEN, _STRANGER = 1, 2, 3
_STEPS_MAX = 12
_FILE = bytes(range(16))
_PATIENCE_SECONDS = 200


@dataclass(frozen=True)
class _World:
    """What every run starts from."""

    mandate: bytes
    anna: Disk
    ben: Disk
    carl: Disk
    ticket: Ticket


@cache
def _world() -> _World:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "owner")
    anna.author(mandate, ops.AddFile(_FILE, "s.txt", "other", "lines", "", None, None, None))
    chunked = anna.store(mandate, b"content")
    anna.author(
        mandate,
        ops.Save(_FILE, (), (), chunked, True, 7, crypto.content_digest(b"content")),
    )
    ticket = anna.invite(mandate)
    network.settle(5)
    assert carl.engine.replica(mandate).tips() == anna.engine.replica(mandate).tips()
    return _World(mandate, anna.disk, ben.disk, carl.disk, ticket)


def _copied(disk: Disk) -> Disk:
    """The same disk once more; what it holds does not change."""
    made = copy(disk)
    made.holdings = deepcopy(disk.holdings)
    made.entries = dict(disk.entries)
    made.chunks = dict(disk.chunks)
    return made


@dataclass
class _Port:
    """Anna's or Carl's side: frames between them go through, those to others are looked at."""

    played: "_Play"
    name: str

    def send(self, link: int, frame: bytes) -> None:
        assert len(frame) <= FRAME_BYTES_MAX
        if link == _CARL:
            to = self.played.carl if self.name == "anna" else self.played.anna
            self.played.waiting.append((to, FrameReceived(link, frame)))
        elif self.name == "anna":
            self.played.hears(link, wire.decode(frame))

    def close(self, link: int, error: str) -> None:
        assert link != _CARL, f"the honest link was ended: {error}"
        if self.name == "anna":
            self.played.open.discard(link)

    def dial(self, device: bytes, addresses: Sequence[str]) -> None:
        return


@dataclass
class _Play:
    """One run."""

    feed: Feed
    world: _World
    anna: Machine = field(init=False)
    carl: Machine = field(init=False)
    ben: Replica = field(init=False)
    waiting: list[tuple[Machine, Event]] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    heard: dict[int, wire.Message] = field(default_factory=dict)
    nonces: dict[int, bytes] = field(default_factory=dict)
    made: list[Entry] = field(default_factory=list)
    offered: dict[int, int] = field(default_factory=dict)
    said_bytes: int = 0
    answered: int = 0

    def __post_init__(self) -> None:
        world = self.world
        self.anna = self._machine("anna", world.anna)
        self.carl = self._machine("carl", world.carl)
        held = world.ben.holdings[world.mandate]
        secrets = Secrets((held.epoch_key,), held.admission_seed, tuple(held.own_logs))
        signing = key_of("ben")
        self.ben = Replica(
            world.mandate, signing, secrets, read, entropy_of("b"), ops.Describe("b", "b")
        )
        self.ben.load(world.ben.raws(world.mandate))
        self.anna.handle(LinkUp(_CARL, self.carl.device, True, "/memory/carl"))
        self.carl.handle(LinkUp(_CARL, self.anna.device, False, ""))
        self.settle()

    def _machine(self, name: str, disk: Disk) -> Machine:
        return Machine(name, _copied(disk), _Port(self, name), entropy_of(name), 100.0, WALL_MS)

    def settle(self, seconds: float = 0.0) -> None:
        """Carry what Anna and Carl say to each other, letting time pass."""
        until = self.anna.now + seconds
        while True:
            while self.waiting:
                machine, event = self.waiting.pop(0)
                machine.handle(event)
            wakes = [each.engine.next_wake() for each in (self.anna, self.carl)]
            when = min((wake for wake in wakes if wake is not None), default=until + 1)
            if when > until:
                return
            for machine in (self.anna, self.carl):
                machine.now = max(machine.now, when)
                machine.wall_ms = WALL_MS + int(1000 * machine.now)
                machine.handle(Tick())

    def hears(self, link: int, message: wire.Message | None) -> None:
        """What Anna says to those who are played."""
        assert message is not None
        self.answered += 1
        if isinstance(message, wire.Hello):
            self.nonces[link] = message.nonce
        if link == _STRANGER:
            assert not isinstance(message, wire.Entries | wire.Chunk), "a stranger is told"

    # -- what the played peers do

    def says(self, link: int, message: wire.Message | bytes) -> None:
        """Have Anna receive a frame."""
        try:
            frame = message if isinstance(message, bytes) else wire.encode(message)
        except (BadInputError, AssertionError):
            return
        self.said_bytes += len(frame)
        self.anna.handle(FrameReceived(link, frame))

    def meet(self, link: int) -> None:
        """Bring a link up, and do the start of the protocol mostly as it ought to be done."""
        device = (key_of("ben") if link == _BEN else key_of("stranger")).public
        self.open.add(link)
        self.anna.handle(LinkUp(link, device, False, ""))
        if self.feed.number(8) == 7:
            return
        nonce = bytes([link]) * 32
        shake = Handshake(device, self.anna.device, True, nonce)
        self.says(link, shake.greet("p"))
        if link in self.nonces and link in self.open:
            shake.greeted(wire.Hello(wire.VERSION, self.nonces[link], "a"))
            replica = self.anna.engine.replica(self.world.mandate)
            known = self.feed.number(8) != 7
            key = replica.discovery_key if known else bytes(32)
            for offer in shake.offer([(self.world.mandate, key)]):
                self.says(link, offer)

    def leave(self, link: int) -> None:
        """End a link."""
        if link in self.open:
            self.open.discard(link)
            self.anna.handle(LinkDown(link, self.feed.chance()))

    def tip(self) -> Tip:
        """A tip that somebody holds, or nearly."""
        tips = [*self.anna.engine.replica(self.world.mandate).tips()]
        tips += [Tip(each.log, each.seq, each.id[:HEAD_BYTES]) for each in self.made]
        found = self.feed.pick(tips)
        if not self.feed.number(4):
            sequence = max(0, found.seq + self.feed.number(5) - 2)
            return Tip(found.log, sequence, found.head if self.feed.chance() else bytes(8))
        return found

    def tips(self) -> tuple[Tip, ...]:
        """Some of them."""
        return tuple(self.tip() for _ in range(self.feed.number(5)))

    def address(self) -> bytes:
        """A chunk's address."""
        known = list(self.anna.disk.chunks)
        return self.feed.pick([*known, bytes(32)])

    def message(self, link: int) -> wire.Message | bytes:
        """Something to say."""
        feed = self.feed
        handle = 0 if feed.number(16) != 15 else feed.number(4)
        match feed.number(13):
            case 0:
                return feed.chunk()
            case 1:
                models = [samples.tree(wire.encode(each)) for each in samples.messages()]
                try:
                    return codec.pack(varied(feed, feed.pick(models)))
                except BadInputError:
                    return b""
            case 2:
                return wire.Frontier(handle, self.tips())
            case 3:
                return wire.Have(handle, self.tips())
            case 4:
                wants = []
                for tip in self.tips():
                    points = tuple((each.seq, each.head) for each in self.tips())
                    wants.append(wire.Wanted(tip.log, tip.seq, tip.head, points))
                return wire.Want(handle, tuple(wants))
            case 5:
                return wire.ChunkWant(handle, tuple(self.address() for _ in range(feed.number(4))))
            case 6:
                data = b"\0" + feed.chunk()
                address = crypto.chunk_address(data) if feed.chance() else self.address()
                return wire.Chunk(handle, address, data)
            case 7:
                addresses = tuple(self.address() for _ in range(feed.number(4)))
                return wire.ChunkMissing(handle, addresses)
            case 8:
                return wire.Content(handle, feed.number(3))
            case 9:
                raws = [each.raw for each in self.made[-3:]]
                raws += [each.raw for each in self.anna.disk.entries.values()][-3:]
                some = tuple(feed.pick(raws) for _ in range(feed.number(3)))
                return wire.Opening(handle, some)
            case 10:
                return wire.Offer(feed.number(3), (bytes(16),) * feed.number(3))
            case _:
                return wire.Entries(handle, self.entries(link), not feed.number(4))

    def entries(self, link: int) -> tuple[bytes, ...]:
        """Entries, most of them well made, with any operations."""
        raws = []
        for _ in range(1 + self.feed.number(3)):
            made = self.entry(link)
            if made is not None:
                self.made.append(made)
                raws.append(made.raw)
        if self.made and self.feed.number(4) == 3:
            raws.insert(self.feed.number(len(raws) + 1), self.feed.pick(self.made).raw)
        return tuple(raws)

    def key(self, link: int) -> tuple[LogKey, crypto.SigningKey]:
        """A log's key, and its device's."""
        signing = key_of("ben") if link == _BEN else key_of("stranger")
        if link == _BEN and self.feed.number(4):
            assert self.ben._own is not None
            return self.ben._own, signing
        seed = bytes([link, self.feed.number(3)]) * 16
        return LogKey(crypto.SigningKey.from_seed(seed)), signing

    def operations(self, key: LogKey, signing: crypto.SigningKey, seq: int) -> bytes:
        """A payload: what is allowed, changed a little."""
        feed, mandate = self.feed, self.world.mandate
        models: list[ops.Operation] = []
        if seq == 0:
            signature = membership.certify_log(signing, mandate, key.log, 0)
            models = [ops.OpenLog(signing.public, 0, signature), ops.Describe("x", "y")]
            if feed.chance():
                seed = self.world.ticket.admission_seed
                models.append(membership.redeem(seed, mandate, signing.public))
        state = self.anna.engine.replica(mandate).state
        heads = tuple(sorted(state.files[_FILE].heads)) if _FILE in state.files else ()
        mine = (
            ops.Save(_FILE, heads, (), None, True, 3, samples.KEY),
            ops.Lines(_FILE, (ops.Run(b"\x80", (b"a | b\n",)),), ops.Edits((), ()), ()),
            ops.Admit(key_of("stranger").public, samples.KEY),
            ops.SetRole(self.carl.device, "reader"),
            ops.Detach(_FILE, heads),
            ops.Save(_FILE, heads, (), ops.Chunked(feed.chance(), bytes(64)), True, 9, bytes(32)),
        )
        models += [feed.pick((*samples.OPERATIONS, *mine)) for _ in range(1 + feed.number(3))]
        tree = samples.tree(codec.pack([ops._operations.dump(each) for each in models]))
        try:
            return codec.pack(varied(feed, tree, 3) if seq or feed.number(8) == 7 else tree)
        except BadInputError:
            return b""

    def entry(self, link: int) -> Entry | None:
        """One entry, mostly behind what is there."""
        feed, world = self.feed, self.world
        key, signing = self.key(link)
        own = [each for each in self.made if each.log == key.log]
        heads = self.anna.engine.replica(world.mandate).chains.heads(key.log)
        previous: bytes = own[-1].id if own else (heads[-1] if heads else b"")
        seq = own[-1].seq + 1 if own else 0
        position = self.anna.engine.replica(world.mandate).chains.position(previous)
        if not own and position is not None:
            seq = position[1] + 1
        if not feed.number(6) and own:
            chosen = feed.pick(own)  # a fork, or a gap
            previous, seq = chosen.header.prev, chosen.seq
        if not feed.number(12):
            seq += feed.number(3)
        known = sorted(self.anna.disk.entries)
        deps = {feed.pick(known) for _ in range(feed.number(3))}
        if not feed.number(8):
            deps.add(bytes([feed.number(4)]) * 32)  # what nobody has
        deps.discard(previous)
        epoch = bytes(32) if not feed.number(16) else world.ticket.epoch_key
        try:
            return entry.build(
                key,
                mandate=world.mandate if feed.number(16) != 15 else bytes(32),
                seq=seq,
                prev=previous if seq else b"",
                deps=sorted(deps),
                hlc=(feed.number(1 << 48) << 16) if not feed.number(3) else WALL_MS << 16,
                epoch_key=epoch,
                payload=self.operations(key, signing, seq),
                entropy=bytes(32),
                sign=feed.number(6) != 5,
            )
        except BadInputError:
            return None

    def step(self) -> None:
        """One thing that happens."""
        feed = self.feed
        link = _STRANGER if feed.number(3) == 2 else _BEN
        if link not in self.open:
            self.meet(link)
        match feed.number(10):
            case 0:
                self.settle(float(feed.number(120)))
            case 1:
                machine = feed.pick((self.anna, self.carl))
                if machine.engine.replica(self.world.mandate).is_member(machine.device):
                    machine.author(self.world.mandate, ops.Rename(f"Books {feed.number(256)}"))
            case 2:
                self.leave(link)
            case 3:
                self.settle()
            case _:
                self.says(link, self.message(link))


def _summary(state: Mandate) -> Any:
    """What people see of a mandate."""
    members = state.membership.members
    files = {
        file.id: (
            file.present,
            sorted(file.heads),
            file.segments.emit(),
            file.pending(),
            file.merged,
        )
        for file in state.files.values()
        if file.added is not None
    }
    receipts = {receipt: state.receipt_state(receipt) for receipt in state.receipts}
    return (state.name, state.shared, members, files, receipts, state.seat(), dict(state.logs))


def _check(play: _Play) -> None:
    world, anna = play.world, play.anna
    play.settle()
    replica = anna.engine.replica(world.mandate)
    assert replica.is_member(anna.device), "the founder stays a member"
    transfer = anna.engine._transfer
    for source in transfer._sources.values():
        assert len(source.early) <= CHUNKS_UNREQUESTED_MAX
    for unsigned in replica._uncovered.values():
        assert unsigned.size_bytes <= UNCOVERED_BYTES_MAX
    assert not replica._refolding

    again = Machine("anna", _copied(anna.disk), _Port(play, ""), entropy_of("x"), 0.0, WALL_MS)
    loaded = again.engine.replica(world.mandate)
    assert loaded.tips() == replica.tips(), "the disk holds something else"
    assert _summary(loaded.state) == _summary(replica.state), "the disk folds to something else"

    carl = play.carl.engine.replica(world.mandate)
    member = carl.is_member(play.carl.device)
    before = anna.disk.entries.keys() | play.carl.disk.entries.keys()
    play.carl.author(world.mandate, ops.Rename("the last"))
    new = play.carl.disk.entries.keys() - before
    play.settle(_PATIENCE_SECONDS)
    if member and replica.is_member(play.carl.device):
        assert new <= anna.disk.entries.keys(), "an honest entry does not arrive"
        assert carl.tips() == replica.tips(), "the honest are not in step"
        assert _summary(carl.state) == _summary(replica.state), "the honest see different mandates"


def run_engine(data: bytes) -> None:
    """An engine."""
    feed = Feed(data)
    play = _Play(feed, _world())
    for _ in range(_STEPS_MAX):
        if not feed.left:
            break
        play.step()
    _check(play)


def _seeds() -> Iterable[bytes]:
    for kind in range(13):
        yield bytes([0, 0, 0, 4, 0, kind, *range(1, 20)])
        yield bytes([2, 0, 0, 4, 0, kind, *range(1, 20)])
    for operation in range(28):
        yield bytes([0, 0, 0, 4, 0, 11, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, operation, 0, 1, 1])
        yield bytes([0, 0, 0, 4, 0, 11, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0, operation, 2, 1, 2, 1])
    yield bytes([0, 0, 0, 1, 0, 3, *b"abc", 0, 0, 0, 60, 0, 2, 1])


TARGETS = (
    Target(
        "engine",
        "whatever peers say and write, honest ones stay in step and the disk folds to the memory",
        run_engine,
        _seeds,
        bytes_max=1024,
        short_runs=40,
    ),
)
