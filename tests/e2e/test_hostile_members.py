"""A member that does what its role does not allow, or what nobody may: it counts nowhere."""

from collections.abc import Iterator
from typing import Any

import pytest

from p2psync.core import clock, codec, crypto, entry, membership, ops
from p2psync.core.frontier import Tip
from p2psync.core.ops import (
    AddFile,
    Admit,
    ClaimSeat,
    Create,
    Describe,
    Detach,
    Edits,
    HandSeat,
    Invite,
    Lines,
    Observe,
    OpenLog,
    Operation,
    Post,
    Readmit,
    Remove,
    Rename,
    Revoke,
    Rotate,
    Run,
    Save,
    SealedKey,
    SetRole,
    Share,
    Unpost,
)
from p2psync.core.ticket import Ticket
from p2psync.engine import wire
from p2psync.engine.effects import Persist
from p2psync.engine.replica import Replica
from tests.e2e.attackers import (
    Puppet,
    Stranger,
    Wire,
    ask,
    discovery_key,
    expect,
    found,
    invite,
    until,
    victim,
    wall_ms,
)
from tests.e2e.homes import CRP, Home, eventually, example, homes, save

MANDATE = "Menuiserie"
SALES = "ventes.ecf"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The accountant's node: accounting, sales, one receipt."""
    with homes(tmp_path_factory.mktemp("members"), "victim") as (home,):
        found(home, MANDATE, home.put(CRP, example(CRP)))
        sales = home.put(SALES, example("atelier_2025_v1.ecf"))
        body = {"files": [str(sales)], "kind": "invoicing"}
        expect(home, "POST", f"/v1/mandates/{MANDATE}/files", body)
        expect(home, "POST", f"/v1/mandates/{MANDATE}/receipts", {})
        save(sales, example("atelier_2025_v2.ecf"))
        until_pending(home)
        yield home


def until_pending(home: Home) -> None:
    eventually(lambda: home.pending(MANDATE) != (0, 0))


def state(home: Home, *but: bytes) -> Any:
    """What members may change, without some devices."""
    shown = expect(home, "GET", f"/v1/mandates/{MANDATE}")
    members = [
        (each["device"], each["role"])
        for each in shown["members"]
        if each["device"] not in [device.hex() for device in but]
    ]
    files = [{**each, "changed": None, "synced": None} for each in shown["files"]]
    invitations = expect(home, "GET", f"/v1/mandates/{MANDATE}/invitations")["invitations"]
    return (
        *(shown["name"], shown["kind"], shown["seat"], files, members),
        {each["id"]: each["role"] for each in invitations},
        expect(home, "GET", f"/v1/mandates/{MANDATE}/receipts"),
        expect(home, "GET", f"/v1/mandates/{MANDATE}/pending"),
    )


async def heard(puppet: Puppet, home: Home) -> None:
    """Wait until the node has all that a member wrote."""
    mandate = puppet.machine.engine.mandates()[0]
    wanted = {stored.id for stored in puppet.machine.disk.entries.values()}
    await until(lambda: wanted <= {each for _, _, each in home.entries()}, what="all is heard")
    assert mandate


def escalations(puppet: Puppet, said: Ticket, home: Home) -> list[Operation]:
    """What only higher ranks, or nobody, may do."""
    replica = puppet.replica(said.mandate)
    accounting = next(f for f in replica.state.present_files() if f.info.kind == "accounting")
    sales = next(f for f in replica.state.present_files() if f.info.kind == "invoicing")
    [receipt] = replica.state.receipts
    items = sales.pending_items().adds
    accomplice = crypto.SigningKey.from_seed(b"a" * 32)
    return [
        Invite(accomplice.public, "owner", wall_ms() + 10**9, 10),
        Admit(accomplice.public, said.mandate),
        Revoke(crypto.SigningKey.from_seed(said.admission_seed).public),
        SetRole(puppet.device, "owner"),
        Remove(victim(home), ()),
        Rotate(b"e" * 16, (SealedKey(puppet.device, bytes(80)),), b""),
        Readmit(victim(home), ((said.mandate, 0),)),
        ClaimSeat(1),
        HandSeat(2, puppet.device),
        Post(1, (ops.take(sales.id, items),) if items else (), (), 9, 9),
        Unpost((receipt,)),
        Detach(accounting.id, tuple(accounting.heads)),
        Create(puppet.device, b"s" * 16, "Mine"),
        Share(),
        OpenLog(victim(home), 7, b"c" * 64),
    ]


@pytest.mark.parametrize("role", ["writer", "reader"])
async def test_a_member_that_takes_more_than_its_role_gives_does_not_get_it(
    node: Home, role: str
) -> None:
    """B-POS-7, B-DET-1: the same state on the node as before, and after it was folded anew."""
    said, _ = await ask(invite, node, MANDATE, role=role)
    puppet = Puppet(f"climber {role}")
    async with puppet.join(node, said):
        await until(lambda: len(puppet.replica(said.mandate).state.present_files()) == 2)
        before = await ask(state, node)
        for operation in escalations(puppet, said, node):
            puppet.author(said.mandate, operation)
        await heard(puppet, node)
        assert await ask(state, node) == before
    await ask(node.restart)
    assert await ask(state, node) == before


async def test_what_a_reader_writes_does_not_count(node: Home) -> None:
    said, _ = await ask(invite, node, MANDATE, role="reader")
    puppet = Puppet("busy reader")
    async with puppet.join(node, said):
        replica = puppet.replica(said.mandate)
        await until(lambda: len(replica.state.present_files()) == 2)
        before = await ask(state, node)
        sales = next(f for f in replica.state.present_files() if f.info.kind == "invoicing")
        file = b"r" * 16
        lines = Lines(sales.id, (Run(b"\x7f", (b"line\r\n",)),), Edits((), ()), ())
        for operations in (
            [Rename("Read only")],
            [AddFile(file, "r.ecf", "other", "opaque", "", None, None, None)],
            [lines, Save(sales.id, tuple(sales.heads), (), None, True, 1, b"d" * 32)],
            [Detach(sales.id, tuple(sales.heads))],
        ):
            puppet.author(said.mandate, *operations)
        await heard(puppet, node)
        assert await ask(state, node) == before


# -- entries that nobody honest makes


async def connected(member: Stranger, met: Wire, said: Ticket) -> tuple[int, Replica]:
    """Join by hand, so that anything can be sent afterwards."""
    [(handle, _)] = await member.open(met, [(said.mandate, discovery_key(said))])
    replica = member.replica(said)
    raws = written(replica, Observe())
    await met.send(wire.Opening(handle, raws))
    await met.expect(wire.Frontier)
    return handle, replica


def written(replica: Replica, *operations: Operation) -> tuple[bytes, ...]:
    return tuple(
        stored.raw
        for effect in replica.author(operations, wall_ms())
        if isinstance(effect, Persist)
        for stored in effect.entries
    )


def forged(
    said: Ticket,
    key: entry.LogKey,
    operations: list[Operation],
    *,
    log: bytes | None = None,
    seq: int = 0,
    prev: bytes = b"",
) -> bytes:
    """An entry by hand; ``log`` names another one than the key that signs it."""
    built = entry.build(
        key,
        mandate=said.mandate,
        seq=seq,
        prev=prev,
        deps=(),
        hlc=clock.tick(0, wall_ms()),
        epoch_key=said.epoch_key,
        payload=ops.encode(operations),
        entropy=b"e" * 32,
    )
    if log is None:
        return built.raw
    header = entry.Header(said.mandate, log, seq, prev, (), built.header.hlc, built.header.epoch, 0)
    payload = ops.encode(operations)
    nonce = b"n" * crypto.NONCE_BYTES
    sized = entry.Header(
        *(header.mandate, log, seq, prev, (), header.hlc, header.epoch),
        len(payload) + crypto.SEAL_BYTES,
    )
    sealed = crypto.seal(entry.payload_key(said.epoch_key, log), nonce, payload, sized.encode())
    identity = crypto.digest(b"p2psync.entry", sized.encode(), nonce, sealed)
    signature = key.signing.sign(b"p2psync entry 1", identity)
    return codec.pack([sized.encode(), nonce, sealed, signature])


FORGERIES = (
    *("signature", "unsigned", "altered", "other-log", "continues-other", "other-device"),
    *("no-certificate", "other-mandate", "not-an-entry", "wrong-seq"),
)


@pytest.mark.parametrize("what", FORGERIES)
async def test_a_forged_entry_ends_the_link_and_changes_nothing(node: Home, what: str) -> None:
    said, _ = await ask(invite, node, MANDATE)
    member = Stranger(f"forger {what}")
    async with member.meet(node) as met:
        handle, replica = await connected(member, met, said)
        await until(lambda: member.device.hex() in str(state(node)))
        mine = next(iter(replica.chains.logs()))
        [tip] = replica.chains.heads(mine)
        frontier = next(each for each in met.messages if isinstance(each, wire.Frontier))
        other = next(each for each in frontier.tips if each.log != mine)
        before, entries = await ask(state, node), await ask(node.entries)
        good = written(replica, Rename("Forged"))[0]
        key = entry.LogKey(crypto.SigningKey.from_seed(b"k" * 32))
        certificate = membership.certify_log(member.signing, said.mandate, key.log, 5)
        match what:
            case "signature":
                raw = good[:-1] + bytes([good[-1] ^ 1])
            case "unsigned":
                parts = codec.unpack(good, len(good))
                raw = codec.pack([*parts[:3], b""])
            case "altered":
                raw = good.replace(good[200:204], bytes(4), 1)
            case "other-log":
                raw = forged(said, key, [Rename("Forged")], log=other.log)
            case "continues-other":
                known = next(e for _, _, e in entries if e.startswith(other.head))
                raw = forged(said, key, [Rename("x")], log=other.log, seq=other.seq + 1, prev=known)
            case "other-device":
                raw = forged(said, key, [OpenLog(victim(node), 9, certificate), Rename("x")])
            case "no-certificate":
                raw = forged(said, key, [Rename("x")])
            case "other-mandate":
                foreign = Ticket(*(b"m" * 32, b"", said.epoch_key, b"", "", "writer", 0, 1))
                raw = forged(foreign, key, [OpenLog(member.device, 5, certificate)])
            case "wrong-seq":
                raw = forged(said, key, [Rename("x")], seq=5, prev=tip)
            case _:
                raw = b"\xc1nonsense"
        await met.send(wire.Entries(handle, (raw,), False))
        assert await met.ended()
    assert await ask(node.entries) == entries
    assert await ask(state, node) == before


async def test_entries_sent_again_change_nothing(node: Home) -> None:
    said, _ = await ask(invite, node, MANDATE)
    member = Stranger("parrot")
    async with member.meet(node) as met:
        handle, replica = await connected(member, met, said)
        raws = written(replica, Describe("Parrot", "cage"))
        await met.send(wire.Entries(handle, raws, False))
        last = entry.decode(raws[-1]).id
        await until(lambda: last in [each for _, _, each in node.entries()])
        before, entries = await ask(state, node), await ask(node.entries)
        for _ in range(50):
            await met.send(wire.Entries(handle, raws, False))
        await met.listen(0.5)
        assert not met.over
    assert await ask(node.entries) == entries
    assert await ask(state, node) == before


async def test_who_says_it_holds_more_of_our_log_than_we_do_stops_nobody(node: Home) -> None:
    """A member can claim it again and again: the node goes on in a new log each time, at most."""
    said, _ = await ask(invite, node, MANDATE)
    member = Stranger("mirror")
    async with member.meet(node) as met:
        handle, _ = await connected(member, met, said)
        frontier = next(each for each in met.messages if isinstance(each, wire.Frontier))
        claims = tuple(Tip(each.log, each.seq + 1000, b"x" * 8) for each in frontier.tips)
        for _ in range(5):
            await met.send(wire.Have(handle, claims))
        await met.listen(0.3)
        expect_name = "Still writing"
        await ask(expect, node, "PUT", "/v1/identity", {"name": expect_name})
        shown = await ask(expect, node, "GET", f"/v1/mandates/{MANDATE}/members")
        assert expect_name in str(shown)
        assert len((await ask(expect, node, "GET", "/v1/alerts"))["alerts"]) <= 3
