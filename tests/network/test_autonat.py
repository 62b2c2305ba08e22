"""AutoNAT, and what follows from the words of others about where this node is seen."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.host.autonat.pb.autonat_pb2 import Message

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network import autonat, identify
from p2psync.network.address import TcpAddress, address_of
from p2psync.network.autonat import Answer, Answerer, Question, Status
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import peer_bytes
from p2psync.network.multiaddr import tcp_bytes
from p2psync.network.outside import Outside, is_public
from tests.network.rig import LOOPBACK, hold, seed_of

DEVICE, OTHER = b"\x01" * 32, b"\x02" * 32
HERE = TcpAddress("ip4", "203.0.113.9", 4001)
THERE = TcpAddress("ip4", "198.51.100.7", 4001)

ADDRESSES = st.lists(
    st.builds(TcpAddress, st.just("ip4"), st.ip_addresses(v=4).map(str), st.integers(1, 0xFFFF)),
    max_size=limits.AUTONAT_ADDRESSES_MAX,
    unique=True,
).map(tuple)
MESSAGES = st.one_of(
    st.builds(Question, st.binary(min_size=32, max_size=32), ADDRESSES),
    st.builds(Answer, st.sampled_from(list(Status)).map(int), st.none() | st.just(HERE)),
)


# -- messages ------------------------------------------------------------------------------------


@given(MESSAGES)
def test_messages_come_back_as_they_went(message: Question | Answer) -> None:
    assert autonat.decode(autonat.encode(message)) == message


@given(st.binary(max_size=200))
def test_what_is_no_message_is_a_broken_link_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(LinkBroken):
        assert isinstance(autonat.decode(data), Question | Answer)


def test_messages_are_those_of_libp2p() -> None:
    question = Message(type=Message.DIAL)
    question.dial.peer.id = peer_bytes(DEVICE)
    question.dial.peer.addrs.append(tcp_bytes(HERE))
    assert autonat.decode(question.SerializeToString()) == Question(DEVICE, (HERE,))
    theirs = Message()
    theirs.ParseFromString(autonat.encode(Answer(Status.DIAL_ERROR)))
    assert theirs.dialResponse.status == Message.E_DIAL_ERROR
    theirs.ParseFromString(autonat.encode(Answer(Status.OK, HERE)))
    assert theirs.dialResponse.addr == tcp_bytes(HERE)


@given(st.binary(max_size=200))
def test_an_identify_message_tells_an_address_or_none(data: bytes) -> None:
    try:
        found = identify.read_observed(data)
    except LinkBroken:
        return
    assert found is None or found.port


def test_the_observed_address_is_read_back() -> None:
    message = identify.identify_message(DEVICE, HERE, ["/a"])
    assert identify.read_observed(message[1:]) == HERE


# -- answering -----------------------------------------------------------------------------------


@dataclass
class Caller:
    """A connection as far as the answerer looks at it."""

    device: bytes = DEVICE
    remote: TcpAddress | None = field(default_factory=lambda: TcpAddress("ip4", HERE.host, 50_000))
    relay: bytes | None = None


@dataclass
class Rig:
    """An answerer whose calls a test sees, and its clock."""

    reachable: Callable[[TcpAddress], bool] = lambda _: True
    allowed: Callable[[bytes], bool] = lambda _: True
    now: float = 0.0
    called: list[TcpAddress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answerer = Answerer(
            self._call, lambda each: self.allowed(each), is_public, lambda: self.now
        )

    async def _call(self, address: TcpAddress, device: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.called.append(address)
        if not self.reachable(address):
            raise OSError("nobody there")

    async def ask(self, *addresses: TcpAddress, caller: Caller | None = None) -> Answer:
        who = caller or Caller()
        question = Question(DEVICE, addresses)
        return await self.answerer._answer(who, question)  # type: ignore[arg-type]  # a stand-in


async def test_who_asks_is_called_at_its_own_address_alone() -> None:
    rig = Rig()
    assert await rig.ask(THERE, HERE) == Answer(Status.OK, HERE)
    assert rig.called == [HERE]
    assert (await rig.ask(THERE)).status == Status.DIAL_REFUSED
    assert rig.called == [HERE], "nobody is sent to another's door"


@pytest.mark.parametrize(
    ("caller", "status"),
    [
        (Caller(device=OTHER), Status.BAD_REQUEST),
        (Caller(remote=None), Status.DIAL_REFUSED),
        (Caller(relay=OTHER), Status.DIAL_REFUSED),
    ],
    ids=["another-device", "no-address", "over-a-relay"],
)
async def test_nobody_is_called_for_another(caller: Caller, status: Status) -> None:
    rig = Rig()
    assert (await rig.ask(HERE, caller=caller)).status == status
    assert not rig.called


@pytest.mark.parametrize("host", ["127.0.0.1", "192.168.1.9", "::1", "fd00::9"])
async def test_nobody_has_this_machine_or_network_called(host: str) -> None:
    """Who comes by a web server or a tunnel comes from this very machine."""
    rig = Rig()
    caller = Caller(remote=address_of(host, 50_000))
    assert (await rig.ask(address_of(host, 22), caller=caller)).status == Status.DIAL_REFUSED
    assert not rig.called


async def test_strangers_are_refused() -> None:
    rig = Rig(allowed=lambda _: False)
    assert (await rig.ask(HERE)).status == Status.DIAL_REFUSED
    assert not rig.called


async def test_what_does_not_answer_is_an_error() -> None:
    assert await Rig(reachable=lambda _: False).ask(HERE) == Answer(Status.DIAL_ERROR)


async def test_a_device_is_called_back_so_often_a_minute_and_no_more() -> None:
    rig = Rig()
    for _ in range(limits.AUTONAT_PER_DEVICE_A_MINUTE_MAX):
        assert (await rig.ask(HERE)).status == Status.OK
    assert (await rig.ask(HERE)).status == Status.DIAL_REFUSED
    assert len(rig.called) == limits.AUTONAT_PER_DEVICE_A_MINUTE_MAX
    rig.now = 61.0
    assert (await rig.ask(HERE)).status == Status.OK


async def test_another_device_at_the_address_is_not_taken_for_the_one_that_asked() -> None:
    one = Libp2pTransport(seed_of(1), [LOOPBACK], hold)
    other = Libp2pTransport(seed_of(2), [LOOPBACK], hold)
    async with one.open(), other.open():
        where = address_of("127.0.0.1", other.listening[0].port)
        await one.call_back(where, other.device)
        with pytest.raises(LinkBroken):
            await one.call_back(where, OTHER)


# -- what is believed ----------------------------------------------------------------------------

OWN = TcpAddress("ip4", "192.168.77.2", 4001)


def outside() -> tuple[Outside, list[float]]:
    now = [0.0]
    return Outside(lambda: now[0]), now


def test_one_member_alone_is_not_believed_and_two_are() -> None:
    said, _ = outside()
    said.observe(DEVICE, HERE, exact=False, trusted=False)
    said.observe(DEVICE, HERE, exact=False, trusted=False)
    assert said.candidates([OWN]) == ()
    said.observe(OTHER, TcpAddress("ip4", HERE.host, 61_000), exact=False, trusted=False)
    assert said.candidates([OWN]) == (HERE,), "the address that was seen, our own port"


def test_a_relay_of_ours_is_believed_with_the_port_that_it_saw() -> None:
    said, _ = outside()
    seen = TcpAddress("ip4", HERE.host, 61_000)
    said.observe(DEVICE, seen, exact=True, trusted=True)
    assert said.candidates([OWN]) == (seen, HERE)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.9", "0.0.0.0"])
def test_an_address_that_is_not_public_is_never_believed(host: str) -> None:
    said, _ = outside()
    said.observe(DEVICE, TcpAddress("ip4", host, 4001), exact=True, trusted=True)
    said.mapped = (TcpAddress("ip4", host, 4001),)
    assert said.candidates([OWN]) == ()
    assert said.told([OWN]) == ()


def test_words_are_forgotten_after_a_while_and_in_another_network() -> None:
    said, now = outside()
    said.observe(DEVICE, HERE, exact=True, trusted=True)
    said.tried(DEVICE, HERE, trusted=True)
    assert said.reach() == "public"
    now[0] = limits.OBSERVED_SECONDS + 1.0
    assert said.candidates([OWN]) == ()
    assert said.reach() == "unknown"
    said.observe(DEVICE, HERE, exact=True, trusted=True)
    said.forget()
    assert said.candidates([OWN]) == ()


def test_members_are_told_what_can_be_called() -> None:
    said, _ = outside()
    said.observe(DEVICE, HERE, exact=True, trusted=True)
    assert said.told([OWN]) == (HERE,), "nobody could try: it may work"
    said.tried(DEVICE, None, trusted=True)
    assert said.reach() == "private"
    assert said.told([OWN]) == (), "it does not work"
    said.mapped = (THERE,)
    assert said.told([OWN]) == (THERE,), "the router passes it on"
    said.tried(DEVICE, HERE, trusted=True)
    assert said.told([OWN]) == (THERE, HERE)


def test_two_members_say_whether_we_can_be_called_and_one_alone_does_not() -> None:
    said, _ = outside()
    said.tried(DEVICE, HERE, trusted=False)
    assert said.reach() == "unknown"
    said.tried(OTHER, HERE, trusted=False)
    assert said.reach() == "public"


def test_the_words_of_so_many_devices_are_kept() -> None:
    said, _ = outside()
    for number in range(200):
        said.observe(number.to_bytes(32, "big"), HERE, exact=False, trusted=False)
        said.tried(number.to_bytes(32, "big"), None, trusted=False)
    assert len(said._seen) == len(said._tried) == limits.OBSERVERS_MAX


@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::", "::"])
def test_an_ipv4_address_inside_an_ipv6_address_is_looked_at(prefix: str) -> None:
    assert not is_public(f"{prefix}127.0.0.1")
    assert not is_public(f"{prefix}192.168.1.9")
    assert is_public(f"{prefix}203.0.113.9") == (prefix != "::"), "what nobody uses is not public"


@given(st.text(max_size=20))
def test_a_name_is_never_public(name: str) -> None:
    assert isinstance(is_public(name), bool)
    assert not is_public("example.org")
