"""Members find one another by what they leave at a relay; it tells nobody else anything."""

import random
from dataclasses import dataclass, field, replace

import pytest
import trio
from hypothesis import given
from hypothesis.strategies import binary, integers, lists, text

from p2psync import limits
from p2psync.core.crypto import SigningKey
from p2psync.engine.ports import LinkBroken
from p2psync.network import rendezvous
from p2psync.network.address import RelayAddress, parse_address
from p2psync.network.circuit import write_message
from p2psync.network.connection import Connection
from p2psync.network.rendezvous import RECORD_BYTES, Record, Refused, Status
from p2psync.network.stream import Stream
from p2psync.relay.config import RelayConfig, Token
from p2psync.relay.rendezvous import Board
from p2psync.relay.serving import RelayProcess
from tests.network.rig import LOOPBACK
from tests.relay.rig import RELAY_SEED, Client, client

ANNA, BEN = (SigningKey.from_seed(name.ljust(32, b".")) for name in (b"anna", b"ben"))
KEY, OTHER_KEY, RELAY = b"k" * 32, b"o" * 32, b"r" * 32
WEEK = 2_900
NOW_MS = WEEK * rendezvous.WEEK_SECONDS * 1000
NONCE = bytes(24)
HERE = ("/ip4/192.0.2.1/tcp/4001", "/dns4/office.example/tcp/4001")
TAG = rendezvous.tag(KEY, RELAY, WEEK)
RECORD = bytes(RECORD_BYTES)


# -- records -----------------------------------------------------------------------------------


@given(
    addresses=lists(text(max_size=120), max_size=20),
    made=integers(NOW_MS - rendezvous.FRESH_MS, NOW_MS + rendezvous.FRESH_MS),
    nonce=binary(min_size=24, max_size=24),
)
def test_a_member_reads_what_a_member_sealed(addresses: list[str], made: int, nonce: bytes) -> None:
    record = rendezvous.sign(ANNA, made, addresses)
    sealed = rendezvous.seal(record, KEY, RELAY, WEEK, nonce)
    assert len(sealed) == RECORD_BYTES
    assert rendezvous.open_sealed(sealed, KEY, RELAY, WEEK, NOW_MS) == record
    assert record.device == ANNA.public
    first = addresses[: limits.ADDRESSES_PER_PEER_MAX]
    assert set(record.addresses) <= set(first)


def test_all_addresses_of_a_usual_office_have_room() -> None:
    circuit = f"/dns4/relay.example.ch/tcp/4001/p2p/{'1' * 52}/p2p-circuit"
    addresses = (*HERE, "/ip6/2001:db8::1/tcp/4001", circuit, circuit.replace("ch", "org"))
    assert rendezvous.sign(ANNA, NOW_MS, addresses).addresses == addresses


@given(sealed=binary(max_size=2 * RECORD_BYTES))
def test_nothing_else_is_a_record(sealed: bytes) -> None:
    assert rendezvous.open_sealed(sealed, KEY, RELAY, WEEK, NOW_MS) is None


def sealed_by(record: Record, key: bytes = KEY) -> bytes:
    return rendezvous.seal(record, key, RELAY, WEEK, NONCE)


def opened(sealed: bytes, now_ms: int = NOW_MS) -> Record | None:
    return rendezvous.open_sealed(sealed, KEY, RELAY, WEEK, now_ms)


def test_no_record_is_read_that_was_altered_or_is_of_another_mandate_relay_or_week() -> None:
    record = rendezvous.sign(ANNA, NOW_MS, HERE)
    sealed = sealed_by(record)
    for at in random.Random(1).sample(range(RECORD_BYTES), 60):
        altered = bytearray(sealed)
        altered[at] ^= 1
        assert opened(bytes(altered)) is None
    assert opened(sealed_by(record, OTHER_KEY)) is None
    assert rendezvous.open_sealed(sealed, KEY, b"x" * 32, WEEK, NOW_MS) is None
    assert rendezvous.open_sealed(sealed, KEY, RELAY, WEEK + 1, NOW_MS) is None


def test_a_member_cannot_speak_for_another_one() -> None:
    record = rendezvous.sign(BEN, NOW_MS, HERE)
    assert opened(sealed_by(replace(record, device=ANNA.public))) is None
    assert opened(sealed_by(replace(record, addresses=("/ip4/192.0.2.66/tcp/1",)))) is None
    assert opened(sealed_by(replace(record, made_ms=NOW_MS + 1))) is None


def test_a_record_of_long_ago_or_far_ahead_is_none() -> None:
    sealed = sealed_by(rendezvous.sign(ANNA, NOW_MS, HERE))
    assert opened(sealed, NOW_MS + rendezvous.FRESH_MS) is not None
    assert opened(sealed, NOW_MS + rendezvous.FRESH_MS + 1) is None
    assert opened(sealed, NOW_MS - rendezvous.FRESH_MS - 1) is None


def test_tags_tell_neither_mandate_nor_week_nor_relay() -> None:
    tags = {
        rendezvous.tag(key, relay, week)
        for key in (KEY, OTHER_KEY)
        for relay in (RELAY, b"x" * 32)
        for week in (WEEK, WEEK + 1)
    }
    assert len(tags) == 8
    assert {len(each) for each in tags} == {rendezvous.TAG_BYTES}


# -- the board ---------------------------------------------------------------------------------


@dataclass
class Wall:
    """A board with a clock that a test turns."""

    now: float = 1_000.0
    board: Board = field(init=False)

    def __post_init__(self) -> None:
        self.board = Board(lambda: self.now)

    def put(self, device: int, tag: bytes = TAG, origin: str = "192.0.2.1") -> Status:
        return self.board.put(device.to_bytes(32, "big"), origin, tag, RECORD)


def tag_of(number: int) -> bytes:
    return number.to_bytes(rendezvous.TAG_BYTES, "big")


def test_a_device_has_one_record_under_a_tag_and_it_goes_when_it_is_not_renewed() -> None:
    wall = Wall()
    for _ in range(3):
        assert wall.put(1) is Status.OK
    assert wall.board.count == 1
    wall.now += limits.RENDEZVOUS_KEPT_SECONDS - 1
    assert wall.put(2) is Status.OK
    assert wall.board.under((TAG, tag_of(7))) == ((RECORD, RECORD), ())
    wall.now += 1
    assert wall.board.under((TAG,)) == ((RECORD,),)
    wall.board.forget_ended()
    assert wall.board.count == 1
    wall.board.forget((2).to_bytes(32, "big"))
    assert wall.board.count == 0
    assert not wall.board._pinned and not wall.board._by_device and not wall.board._by_origin


def test_a_flood_of_records_ends_at_each_bound_and_takes_nothing_of_others() -> None:
    wall = Wall()
    assert wall.put(0, origin="198.51.100.1") is Status.OK
    per_device = limits.RENDEZVOUS_RECORDS_PER_DEVICE_MAX
    per_address = limits.RENDEZVOUS_RECORDS_PER_ADDRESS_MAX
    kept = sum(wall.put(1, tag_of(number)) is Status.OK for number in range(per_device + 9))
    assert kept == per_device
    for device in range(2, per_address // per_device + 9):
        for number in range(per_device):
            wall.put(device, tag_of(1_000 + number))
    assert wall.board.count == 1 + per_address
    others = sum(
        wall.put(1_000 + device, tag_of(9), origin=f"198.51.100.{device % 200}") is Status.OK
        for device in range(limits.RENDEZVOUS_RECORDS_PER_TAG_MAX + 9)
    )
    assert others <= limits.RENDEZVOUS_RECORDS_PER_TAG_MAX
    assert wall.board.under((TAG,)) == ((RECORD,),)
    assert wall.put(0, origin="198.51.100.1") is Status.OK


def test_all_records_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RENDEZVOUS_RECORDS_MAX", 10)
    wall = Wall()
    for number in range(20):
        wall.put(number, tag_of(number), origin=f"192.0.2.{number}")
    assert wall.board.count == 10
    assert wall.put(3, tag_of(3), origin="192.0.2.3") is Status.OK  # renews


def test_one_answer_holds_so_many_records() -> None:
    wall = Wall()
    for number in range(4):
        for device in range(limits.RENDEZVOUS_RECORDS_PER_TAG_MAX):
            origin = f"198.51.{number}.{device}"
            wall.put(number * 1_000 + device, tag_of(number), origin)
    found = wall.board.under(tuple(map(tag_of, range(4))))
    assert sum(map(len, found)) == limits.RENDEZVOUS_RECORDS_TOLD_MAX


# -- on the wire -------------------------------------------------------------------------------


@dataclass
class Place:
    """A relay that runs, and where."""

    process: RelayProcess
    address: RelayAddress

    async def connection(self, device: Client) -> Connection:
        device.transport.circuits.tokens[self.address.device] = self.address.token
        return await device.transport.circuits.connection(self.address.place, self.address.device)


def a_relay() -> RelayProcess:
    return RelayProcess(
        RELAY_SEED, RelayConfig(listen=(LOOPBACK,), tokens=(Token("Office", "2office"),))
    )


def place_of(process: RelayProcess) -> Place:
    transport = process.transport
    where = parse_address(transport.addresses()[0])
    return Place(process, RelayAddress(where, transport.device, "2office"))


async def test_what_one_leaves_another_finds_and_a_stranger_is_refused() -> None:
    process = a_relay()
    async with process.transport.open(), client(1) as one, client(2) as two, client(3) as other:
        place = place_of(process)
        record = bytes([7]) * RECORD_BYTES
        await rendezvous.put(await place.connection(one), TAG, record)
        asked = await rendezvous.ask(await place.connection(two), [tag_of(5), TAG])
        assert asked == [[], [record]]
        stranger = await other.transport.circuits.connection(
            place.address.place, place.address.device
        )
        with pytest.raises(Refused):
            await rendezvous.put(stranger, TAG, record)
        with pytest.raises(Refused):
            await rendezvous.ask(stranger, [TAG])
        assert process.policy.refused["rendezvous"] == 2
        assert process.board.count == 1


async def test_who_asks_without_end_is_told_so_and_others_are_answered() -> None:
    process = a_relay()
    async with process.transport.open(), client(1) as one, client(2) as hostile:
        place = place_of(process)
        connection = await place.connection(hostile)
        process.board._now = lambda: 1_000.0
        refused = 0
        for number in range(limits.RENDEZVOUS_QUESTIONS_BURST_MAX + 20):
            try:
                await rendezvous.put(connection, tag_of(number), RECORD)
            except Refused as error:
                refused += error.status == Status.TOO_OFTEN
        assert refused == 20
        await rendezvous.put(await place.connection(one), TAG, RECORD)
        assert await rendezvous.ask(await place.connection(one), [TAG]) == [[RECORD]]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x93\x00\xc4\x01x\xc4\x01y",
        b"\x92\x01\x91\xc4\x01x",
        b"\x92\x01\x01",
        b"\x91\x07",
    ],
)
async def test_a_question_that_cannot_be_read_ends_its_stream_alone(message: bytes) -> None:
    process = a_relay()
    async with process.transport.open(), client(1) as hostile:
        connection = await place_of(process).connection(hostile)
        stream = await connection.open_stream(rendezvous.PROTOCOL)
        await write_message(stream, message)
        with pytest.raises(LinkBroken), trio.fail_after(10):
            await stream.read_exactly(1)
        assert not connection.ended.is_set()
        assert await rendezvous.ask(connection, [TAG]) == [[]]
        assert process.board.count == 0


async def test_a_relay_that_answers_nonsense_is_not_believed() -> None:
    process = a_relay()
    answers = [b"\x92\x00\x91\xcd\xff\xff", b"\x92\x00\x90", b"\x90", b"\xff", b"\x92\x07\x90"]
    async with process.transport.open(), client(1) as one:
        connection = await place_of(process).connection(one)
        for answer in answers:

            async def lie(_: Connection, stream: Stream, said: bytes = answer) -> None:
                await rendezvous.asked(stream)
                await write_message(stream, said)

            process.transport.handle(rendezvous.PROTOCOL, lie)
            with pytest.raises(LinkBroken), trio.fail_after(10):
                await rendezvous.ask(connection, [TAG])
