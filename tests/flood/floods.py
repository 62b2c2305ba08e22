"""Floods of one engine by a member or a stranger, each in a process of its own, measured.

    python -m tests.flood.floods NAME [SCALE]

Anna has a mandate with Carl, who is honest, and with Ben, who floods her. What she would send to
Ben is kept, as when he does not read. Carl writes now and then and waits for Anna to have it. At
the end one line of JSON says what came in, how far the memory grew, and how long one step took.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import shake_256
from pathlib import Path

from p2psync.core import entry, membership, ops
from p2psync.core.entry import Entry, LogKey
from p2psync.core.frontier import HEAD_BYTES, Tip
from p2psync.core.ops import CHUNK_REFERENCE_BYTES, AddFile, Chunked, Observe, Rename, Save
from p2psync.engine import wire
from p2psync.engine.effects import Event, FrameReceived, LinkDown, LinkUp, SendEntries, Tick
from p2psync.engine.handshake import Handshake
from p2psync.engine.transfer import REFERENCES_PER_CHUNK, chunk_count
from p2psync.limits import (
    CHUNK_ADDRESSES_INLINE_MAX,
    CHUNK_BYTES,
    FILE_CHUNKS_MAX,
    FILES_PER_MANDATE_MAX,
    MIB,
    OFFERS_PER_LINK_MAX,
)
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import WALL_MS, Machine, Ticket, key_of

LINK = 7
SCALE = float(sys.argv[2]) if __name__ == "__main__" and len(sys.argv) > 2 else 1.0
"""How much of the flood comes: the tests send a part of it."""
FRAME_BYTES = 500_000


def memory_bytes(what: str) -> int:
    """This process's resident memory (VmRSS), or its peak (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(what)


@dataclass
class Flood:
    """Anna, who is flooded, and what was measured of her."""

    network: Network = field(default_factory=Network)
    unread: list[object] = field(default_factory=list)
    """What waits for Ben, who does not read."""
    frames: int = 0
    frame_bytes: int = 0
    served: int = 0
    step_seconds: float = 0.0
    before: int = 0

    def __post_init__(self) -> None:
        self.anna, self.ben, self.mandate = mandate_of_two(self.network)
        self.carl = join(self.network, self.anna, self.mandate, "carl", "writer")
        self.ticket = self.anna.invite(self.mandate)
        self.network.settle(1)
        self.disk = self.network.stop("ben")  # from here on Ben is played
        held = self.ben.engine.replica(self.mandate)
        assert held._own is not None
        self.key: LogKey = held._own
        self.head = held.chains.heads(self.key.log)[0]
        self.seq = 1
        self.epoch_key = held.epoch_key
        self.discovery_key = held.discovery_key
        self.meet(LINK, "ben")

    def meet(self, link: int, name: str) -> None:
        """Bring a device's link up, as far as a mandate in common."""
        device = key_of(name).public
        nonce = link.to_bytes(32, "big")
        shake = Handshake(device, self.anna.device, True, nonce)
        said = self.step(LinkUp(link, device, False, ""))
        hello = next(wire.decode(frame) for frame in said)
        assert isinstance(hello, wire.Hello)
        self.say(shake.greet("p"), link)
        shake.greeted(hello)
        for offer in shake.offer([(self.mandate, self.discovery_key)]):
            self.say(offer, link)

    def step(self, event: Event) -> list[bytes]:
        """Let Anna take an event; return the frames for who is played."""
        began = time.process_time()
        effects = self.anna.engine.step(event, self.anna.now, self.anna.wall_ms)
        said = []
        for effect in effects:
            link = getattr(effect, "link", None)
            if link is not None and link not in self.network.links:
                self.unread.append(effect)
                said.append(getattr(effect, "frame", b""))
            else:
                self.anna.run([effect])
        self.step_seconds = max(self.step_seconds, time.process_time() - began)
        return said

    def say(self, message: wire.Message | bytes, link: int = LINK) -> None:
        """Have Anna receive a frame; and now and then something honest happens."""
        frame = message if isinstance(message, bytes) else wire.encode(message)
        self.frames += 1
        self.frame_bytes += len(frame)
        self.step(FrameReceived(link, frame))

    def honest(self) -> None:
        """Carl writes, and Anna has it before anything else happens."""
        self.carl.author(self.mandate, Rename(f"Carl's {self.served}"))
        self.network.settle()
        mine = self.carl.engine.replica(self.mandate)
        held = self.anna.engine.replica(self.mandate)
        [head] = mine.chains.heads(mine.own_log or b"")
        assert head in held.chains, "an honest entry did not arrive"
        assert head in held._stamps, "an honest entry waits"
        self.served += 1

    def made(self, *operations: ops.Operation, deps: tuple[bytes, ...] = ()) -> Entry:
        """Ben's next entry."""
        made = entry.build(
            self.key,
            mandate=self.mandate,
            seq=self.seq,
            prev=self.head,
            deps=deps,
            hlc=WALL_MS << 16,
            epoch_key=self.epoch_key,
            payload=ops.encode(operations),
            entropy=bytes(32),
        )
        self.head, self.seq = made.id, self.seq + 1
        return made

    def send(self, raws: list[bytes], *, more: bool = False, link: int = LINK) -> None:
        """Send entries, in one frame."""
        self.say(wire.Entries(0, tuple(raws), more), link)

    def begin(self) -> None:
        """Measure from here on."""
        self.honest()
        self.before = memory_bytes("VmRSS")

    def report(self) -> dict[str, float]:
        """What was measured."""
        self.honest()
        for _ in range(30):  # deadlines pass
            self.anna.now += 7
            self.step(Tick())
        self.honest()
        grown = max(0, memory_bytes("VmHWM") - self.before)
        return {
            "frames": self.frames,
            "sent_mib": round(self.frame_bytes / MIB, 1),
            "grown_mib": round(grown / MIB, 1),
            "unread": len(self.unread),
            "honest": self.served,
            "step_ms": round(1000 * self.step_seconds, 1),
        }


def scaled(number: int) -> range:
    """So many rounds, at full scale."""
    return range(max(1, int(number * SCALE)))


def batched(flood: Flood, raws: Iterator[bytes], size: int = FRAME_BYTES) -> Iterator[list[bytes]]:
    """Entries, a frame at a time."""
    batch: list[bytes] = []
    total = 0
    for raw in raws:
        batch.append(raw)
        total += len(raw)
        if total > size or len(batch) >= 4000:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


# -- the floods ---------------------------------------------------------------------------------


def entry_storm() -> dict[str, float]:
    """A member writes 100,000 entries as fast as it can."""
    flood = Flood()
    raws = (flood.made(Observe()).raw for _ in scaled(100_000))
    flood.begin()
    for batch in batched(flood, raws):
        flood.send(batch)
        flood.honest()
    held = flood.anna.engine.replica(flood.mandate)
    position = held.chains.position(flood.head)
    assert position is not None
    assert position[1] == len(scaled(100_000))
    return flood.report()


def chunk_lists() -> dict[str, float]:
    """A hundred versions that say to have a million chunks, and thirty whose lists name as many
    chunks as lists can, that nobody has."""
    flood = Flood()
    lists = CHUNK_ADDRESSES_INLINE_MAX
    chunks = lists * REFERENCES_PER_CHUNK
    secret_holder = Machine("ben", flood.disk, flood.ben.port, flood.ben.entropy)
    made_up = shake_256(b"made up").digest(chunks * CHUNK_REFERENCE_BYTES)
    secret = secret_holder.engine.replica(flood.mandate).chunk_secret
    named = secret_holder._seal(secret, made_up, padded=False)
    del made_up
    flood.begin()
    files = 0

    def version(content: Chunked, size_chunks: int) -> None:
        nonlocal files
        files += 1
        file = files.to_bytes(16, "big")
        added = AddFile(file, f"{files}.bin", "other", "opaque", "", None, None, None)
        saved = Save(file, (), (), content, True, size_chunks * CHUNK_BYTES, bytes(32))
        flood.send([flood.made(added, saved).raw])

    for _ in range(100):
        version(Chunked(True, named), FILE_CHUNKS_MAX)
    flood.honest()
    for _ in range(30):
        version(Chunked(True, named), chunks)
    addresses = [named[at : at + 32] for at in range(0, len(named), CHUNK_REFERENCE_BYTES)]
    assert len(addresses) == lists
    flood.anna.now += 1
    for address in addresses:
        flood.say(wire.Chunk(0, address, flood.disk.chunks[address]))
        flood.honest()
    transfer = flood.anna.engine._transfer
    assert transfer._wanted, "the lists were read"
    assert chunk_count(chunks * CHUNK_BYTES) == chunks
    return flood.report()


def waiting_for_ever() -> dict[str, float]:
    """A member sends 200 MB of entries that wait for what nobody has."""
    flood = Flood()
    text = "n" * 180
    large = [Rename(text)] * 1000

    def raws() -> Iterator[bytes]:
        for _ in scaled(1000):
            yield flood.made(*large, deps=(b"x" * 32,)).raw

    flood.begin()
    for batch in batched(flood, raws()):
        flood.send(batch)
        flood.honest()
    return flood.report()


def unsigned() -> dict[str, float]:
    """A stranger with a ticket sends 200 MB of entries of ever new logs that it never signs."""
    flood = Flood()
    flood.meet(8, "stranger")
    flood.begin()
    for number in scaled(400):
        key = LogKey(key_of(f"log {number}"))
        payload = bytes(240_000)
        raws, previous = [], b""
        for seq in range(2):
            made = entry.build(
                key,
                mandate=flood.mandate,
                seq=seq,
                prev=previous,
                deps=(),
                hlc=0,
                epoch_key=flood.epoch_key,
                payload=payload,
                entropy=bytes(32),
                sign=False,
            )
            previous = made.id
            raws.append(made.raw)
        flood.send(raws, more=True, link=8)
        if number % 40 == 0:
            flood.honest()
    return flood.report()


def made_up_logs() -> dict[str, float]:
    """100 frontiers of 10,000 logs that nobody has, then 20,000 announcements of one more."""
    flood = Flood()
    flood.begin()

    def tip(number: int) -> Tip:
        return Tip(number.to_bytes(32, "big"), 9, bytes(HEAD_BYTES))

    for round_ in scaled(100):
        tips = tuple([tip(10_000 * round_ + number) for number in range(10_000)])
        flood.say(wire.Frontier(0, tips))
        flood.honest()
    flood.say(wire.Frontier(0, ()))
    for number in scaled(20_000):
        flood.say(wire.Have(0, (tip(number % 9_000),)))
        if number % 1000 == 0:
            flood.honest()
    return flood.report()


def whole_logs() -> dict[str, float]:
    """A member asks for all that there is, 256 times in each of 2,000 frames, and reads nothing."""
    flood = Flood()
    raws = (flood.made(Observe()).raw for _ in range(20_000))
    for batch in batched(flood, raws):
        flood.send(batch)
    flood.begin()
    tips = flood.anna.engine.replica(flood.mandate).tips()
    wants = [wire.Wanted(tip.log, tip.seq, tip.head, ()) for tip in tips] * 256
    frame = wire.encode(wire.Want(0, tuple(wants[:256])))
    for number in scaled(2_000):
        flood.say(frame)
        if number % 200 == 0:
            flood.honest()
    asked = sum(len(each.ids) for each in flood.unread if isinstance(each, SendEntries))
    assert asked < 200_000
    return flood.report()


def offers() -> dict[str, float]:
    """A stranger offers one made-up mandate in each of 8,192 frames, to who has 300."""
    flood = Flood()
    for number in scaled(300):
        flood.anna.create(f"Mandate {number}")
    flood.begin()
    flood.step(LinkUp(9, key_of("stranger").public, False, ""))
    flood.say(wire.Hello(wire.VERSION, bytes(32), "p"), 9)
    for number in range(OFFERS_PER_LINK_MAX + 10):
        flood.say(wire.Offer(number, (number.to_bytes(16, "big"),)), 9)
        if number % 1000 == 0:
            flood.honest()
    assert 9 not in flood.anna.engine._links
    return flood.report()


UGLY = ("CON", "..", "a/b", "x\u202efdp.ecf", "ſ.ecf", "S.ecf", "s.ECF", " ", "", "\0", "e\u0301")


def ugly_names() -> dict[str, float]:
    """A member attaches 11,000 files with ugly and equal names, an entry each."""
    flood = Flood()

    def raws() -> Iterator[bytes]:
        for number in range(11_000):
            name = UGLY[number % len(UGLY)]
            file = number.to_bytes(16, "big")
            yield flood.made(AddFile(file, name, "other", "opaque", "", None, None, None)).raw

    flood.begin()
    for batch in batched(flood, raws(), 20_000):
        flood.send(batch)
        flood.honest()
    files = flood.anna.engine.replica(flood.mandate).state.files
    assert len(files) == FILES_PER_MANDATE_MAX
    return flood.report()


def forks() -> dict[str, float]:
    """A member writes 3,000 histories of one log."""
    flood = Flood()
    flood.begin()
    root, seq = flood.head, flood.seq
    for number in scaled(3_000):
        flood.head, flood.seq = root, seq
        flood.send([flood.made(Rename(f"branch {number}")).raw])
        if number % 100 == 0:
            flood.honest()
    held = flood.anna.engine.replica(flood.mandate)
    assert len(held.chains.heads(flood.key.log)) <= 16
    return flood.report()


def openings() -> dict[str, float]:
    """500 newcomers come one after the other with a ticket that was used up long ago."""
    flood = Flood()
    ticket: Ticket = flood.ticket
    flood.begin()
    for number in scaled(500):
        link, name = 100 + number, f"newcomer {number}"
        flood.meet(link, name)
        signing, key = key_of(name), LogKey(key_of(f"log of {name}"))
        certificate = membership.certify_log(signing, flood.mandate, key.log, 0)
        made = entry.build(
            key,
            mandate=flood.mandate,
            seq=0,
            prev=b"",
            deps=(),
            hlc=0,
            epoch_key=flood.epoch_key,
            payload=ops.encode(
                [
                    ops.OpenLog(signing.public, 0, certificate),
                    ops.Describe(name, name),
                    membership.redeem(ticket.admission_seed, flood.mandate, signing.public),
                    *[Rename("n" * 180)] * 1000,
                ]
            ),
            entropy=bytes(32),
        )
        flood.say(wire.Opening(0, (made.raw,)), link)
        if number % 2:
            flood.step(LinkDown(link, False))
        if number % 25 == 0:
            flood.honest()
    members = flood.anna.engine.replica(flood.mandate).state.membership.members
    assert len(members) == 4  # a ticket brings one
    return flood.report()


FLOODS: dict[str, Callable[[], dict[str, float]]] = {
    each.__name__: each
    for each in (
        entry_storm,
        chunk_lists,
        waiting_for_ever,
        unsigned,
        made_up_logs,
        whole_logs,
        offers,
        ugly_names,
        forks,
        openings,
    )
}

if __name__ == "__main__":
    print(json.dumps(FLOODS[sys.argv[1]]()))  # noqa: T201  # a command line
