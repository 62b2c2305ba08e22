"""Who has the port but no ticket, or one that is worth nothing, learns and changes nothing.

What a stranger on the LAN hears is in tests/network/test_discovery.py, that a host which offers
only plaintext is not talked to in tests/network/test_attacks.py.
"""

import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import pytest
import trio

from p2psync.core import entry
from p2psync.core.crypto import chunk_address, seal_chunk
from p2psync.core.frontier import HEAD_BYTES, Tip
from p2psync.core.ops import AddFile, Chunked, Observe, Operation, Rename, Save
from p2psync.core.ticket import Ticket
from p2psync.engine import wire
from p2psync.engine.effects import Persist
from p2psync.engine.replica import Replica
from p2psync.limits import STRANGER_LOG_ENTRIES_MAX, STRANGER_LOGS_MAX
from tests.e2e.attackers import (
    Puppet,
    Stranger,
    ask,
    discovery_key,
    expect,
    found,
    invite,
    rss_bytes,
    until,
    wall_ms,
)
from tests.e2e.homes import CRP, Home, example, homes

SECRET = "Confidentiel-Dupont"
PERSON = "Madame-Personne"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One node with a shared mandate and a file."""
    with homes(tmp_path_factory.mktemp("strangers"), "victim") as (home,):
        expect(home, "PUT", "/v1/identity", {"name": PERSON})
        found(home, SECRET, home.put(CRP, example(CRP)))
        yield home


def secrets_of(home: Home) -> list[bytes]:
    """What no stranger may read."""
    shown = expect(home, "GET", f"/v1/mandates/{SECRET}")
    words = [SECRET, PERSON, CRP, socket.gethostname(), shown["folder"], shown["id"]]
    ids = [bytes.fromhex(shown["id"]), *(bytes.fromhex(file["id"]) for file in shown["files"])]
    entries = [entry for _, _, entry in home.entries()]
    return [*(word.encode() for word in words), *ids, *entries, *(e[:HEAD_BYTES] for e in entries)]


def heads(home: Home) -> Any:
    """All that can change by what peers say."""
    return (
        home.entries(),
        expect(home, "GET", "/v1/alerts"),
        expect(home, "GET", "/v1/mandates"),
        members(home),
    )


def members(home: Home) -> list[tuple[str, str]]:
    """Who is a member, and as what."""
    said = expect(home, "GET", f"/v1/mandates/{SECRET}/members")["members"]
    return [(each["device"], each["role"]) for each in said]


def everything(handle: int) -> list[wire.Message]:
    """One of each message that asks for something, or brings something."""
    tip = Tip(b"l" * 32, 3, b"h" * HEAD_BYTES)
    return [
        wire.Opening(handle, (b"nonsense",)),
        wire.Refusal(handle, "ticket-revoked"),
        wire.Frontier(handle, (tip,)),
        wire.Want(handle, (wire.Wanted(tip.log, 0, tip.head, ()),)),
        wire.Entries(handle, (b"nonsense",), False),
        wire.Have(handle, (tip,)),
        wire.ChunkWant(handle, (b"a" * 32,)),
        wire.Chunk(handle, b"a" * 32, b"data"),
        wire.ChunkMissing(handle, (b"a" * 32,)),
        wire.Content(handle, 1),
        wire.Contact(("/ip4/127.0.0.1/tcp/9",)),
        wire.Bye("wire", "\x1b[2Jpay this person"),
    ]


async def test_who_has_the_port_but_no_ticket_learns_and_changes_nothing(node: Home) -> None:
    secret = await ask(secrets_of, node)
    before = await ask(heads, node)
    heard = bytearray()
    for index in range(len(everything(0))):
        stranger = Stranger(f"nobody {index}")
        async with stranger.meet(node) as met:
            guesses = [(stranger.entropy(32), stranger.entropy(32)) for _ in range(100)]
            assert await stranger.open(met, guesses) == []
            await met.send(everything(2 * index)[index])
            await met.listen(0.3)
            assert {type(each) for each in met.messages} <= {wire.Hello, wire.Accept}
            heard += met.heard
    for word in secret:
        assert word not in heard
    assert await ask(heads, node) == before


async def test_what_a_stranger_says_before_it_greets_ends_its_link(node: Home) -> None:
    before = await ask(heads, node)
    for message in everything(0):
        stranger = Stranger("rude")
        async with stranger.meet(node) as met:
            await met.send(message)
            assert await met.ended()
            assert {type(each) for each in met.messages} <= {wire.Hello}
    assert await ask(heads, node) == before


async def test_a_flood_of_farewells_raises_no_alert(node: Home) -> None:
    """Neither from a stranger nor, in words of its own, from who holds a worthless ticket."""
    said, _ = await ask(invite, node, SECRET, expires_seconds=1)
    before = await ask(heads, node)
    stranger = Stranger("chatterbox")
    async with stranger.meet(node) as met:
        await stranger.open(met, [(said.mandate, discovery_key(said))])
        for number in range(200):
            await met.send(wire.Bye(f"cause-{number}", f"call 0900-{number}"))
        await met.listen(0.5)
    assert (await ask(heads, node))[1] == before[1]


# -- tickets that are worth nothing


async def worthless(node: Home, how: str) -> Ticket:
    """A ticket whose holder has the mandate's key, and nothing else."""
    if how == "expired":
        said, _ = await ask(invite, node, SECRET, expires_seconds=1)
        await trio.sleep(max(0.0, said.expires_ms - wall_ms()) / 1000 + 0.05)
    elif how == "revoked":
        said, name = await ask(invite, node, SECRET)
        await ask(expect, node, "DELETE", f"/v1/mandates/{SECRET}/invitations/{name}")
    elif how == "used-up":
        said, _ = await ask(invite, node, SECRET)
        async with Puppet(f"first {how}").join(node, said):
            pass
    else:
        right, _ = await ask(invite, node, SECRET)
        said = Ticket(
            right.mandate, right.genesis, right.epoch_key, b"f" * 32, "x", "writer", 1 << 50, 1
        )
    assert isinstance(said, Ticket)
    return said


def raws(replica: Replica, *batches: Sequence[Operation]) -> tuple[bytes, ...]:
    """The entries of a device that writes without being a member."""
    out: list[bytes] = []
    for operations in batches:
        for effect in replica.author(operations, wall_ms()):
            if isinstance(effect, Persist):
                out += [stored.raw for stored in effect.entries]
    return tuple(out)


@pytest.mark.parametrize("how", ["expired", "revoked", "used-up", "foreign"])
async def test_a_worthless_ticket_gives_no_entry_no_chunk_no_member(node: Home, how: str) -> None:
    """B-TIC-3: refused by name; what its holder wants, it does not get."""
    said = await worthless(node, how)
    secret = await ask(secrets_of, node)
    before = await ask(heads, node)
    logs = await ask(_log_keys, node)
    thief = Stranger(f"thief {how}")
    async with thief.meet(node) as met:
        [(handle, mandate)] = await thief.open(met, [(said.mandate, discovery_key(said))])
        assert mandate == said.mandate
        replica = thief.replica(said)
        await met.send(wire.Opening(handle, raws(replica, [Observe()])))
        refusal = await met.expect(wire.Refusal)
        assert refusal.reason == f"ticket-{how}"
        await met.send(wire.Frontier(handle, ()))
        wants = [wire.Wanted(log, seq, entry[:HEAD_BYTES], ()) for log, seq, entry in logs]
        await met.send(wire.Want(handle, tuple(wants)))
        chunks = await ask(_chunk_addresses, node, replica.chunk_secret)
        assert chunks
        await met.send(wire.ChunkWant(handle, tuple(chunks[:16])))
        await met.listen()
        assert not met.over
    assert {type(each) for each in met.messages} <= {
        *(wire.Hello, wire.Accept, wire.Contact, wire.Refusal)
    }
    [contact] = [each for each in met.messages if isinstance(each, wire.Contact)]
    assert set(contact.addresses) <= set(node.ready["listen"])
    for word in secret:
        assert word not in met.heard
    assert await ask(heads, node) == before


@pytest.mark.parametrize("how", ["expired", "used-up"])
async def test_what_the_holder_of_a_worthless_ticket_pushes_does_not_count(
    node: Home, how: str
) -> None:
    said = await worthless(node, how)
    before = await ask(expect, node, "GET", f"/v1/mandates/{SECRET}")
    thief = Stranger(f"pusher {how}")
    replica = thief.replica(said)
    file = b"t" * 16
    pushed = raws(
        replica,
        [AddFile(file, "loot.ecf", "invoicing", "opaque", "/", None, None, None)],
        [Save(file, (), (), Chunked(False, b"r" * 64), False, 5, b"d" * 32)],
        [Rename("Taken over")],
    )
    async with thief.meet(node) as met:
        [(handle, _)] = await thief.open(met, [(said.mandate, discovery_key(said))])
        await met.send(wire.Entries(handle, pushed, False))
        await met.listen(0.5)
    after = await ask(expect, node, "GET", f"/v1/mandates/{SECRET}")
    for name in ("name", "files", "seat"):
        assert after[name] == before[name]
    assert [each["device"] for each in after["members"]] == [
        each["device"] for each in before["members"]
    ]


async def test_a_flood_of_a_worthless_tickets_holder_is_bounded_and_locks_nobody_out(
    node: Home,
) -> None:
    """Neither many logs, nor a long one, nor forks: a quota holds, and an honest newcomer joins."""
    said = await worthless(node, "expired")
    honest, _ = await ask(invite, node, SECRET)
    before, memory = len(await ask(node.entries)), await ask(rss_bytes, node)
    thief = Stranger("flooder")
    openings = [
        raw
        for number in range(STRANGER_LOGS_MAX + 100)
        for raw in raws(Stranger(f"sock {number}").replica(said), [Observe()])
    ]
    own = thief.replica(said)
    long_log = raws(own, *([Rename(f"n{i}")] for i in range(STRANGER_LOG_ENTRIES_MAX + 100)))
    async with thief.meet(node) as met:
        [(handle, _)] = await thief.open(met, [(said.mandate, discovery_key(said))])
        for flood in (long_log, openings):
            for start in range(0, len(flood), 100):
                await met.send(wire.Entries(handle, tuple(flood[start : start + 100]), False))
        full = STRANGER_LOG_ENTRIES_MAX + STRANGER_LOGS_MAX - 20
        await until(lambda: len(node.entries()) - before >= full)
        await met.listen(1)
        assert not met.over
    by_log = Counter(log for log, _, _ in await ask(_log_keys, node))
    assert by_log[entry.decode(long_log[0]).log] == STRANGER_LOG_ENTRIES_MAX
    assert len(by_log) <= STRANGER_LOGS_MAX + 20
    assert await ask(rss_bytes, node) - memory < 100 << 20
    honest_one = Puppet("honest after the flood")
    async with honest_one.join(node, honest):
        assert (honest_one.device.hex(), "writer") in await ask(members, node)
        for name in ("Renamed by the newcomer", SECRET):
            honest_one.author(honest.mandate, Rename(name))
            await until(partial(is_called, node, name))


def is_called(home: Home, name: str) -> bool:
    """Whether the mandate has that name."""
    return name in [each["name"] for each in expect(home, "GET", "/v1/mandates")["mandates"]]


def _log_keys(home: Home) -> list[tuple[bytes, int, bytes]]:
    path = home.home / "p2psync.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT l.log, e.seq, e.id FROM entry e JOIN log l ON l.number = e.log"
        ).fetchall()
    return [(bytes(log), int(seq), bytes(entry)) for log, seq, entry in rows]


def _chunk_addresses(home: Home, chunk_secret: bytes) -> list[bytes]:
    """What the files of the mandates are known by to who has the key."""
    return [
        chunk_address(seal_chunk(chunk_secret, path.read_bytes())[0])
        for path in (home.home / "mandates").rglob("*.crp")
    ]
