"""B-NET-2: clients that want to harm a relay, or others through it; honest devices are served."""

from collections import Counter

import pytest
import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network import circuit
from p2psync.network.circuit import Answer, Connect, Reserve, Status, hop_bytes, stop_bytes
from p2psync.network.connection import Connection
from p2psync.network.negotiation import encode_line, varint
from p2psync.network.stream import Stream
from tests.network.rig import until
from tests.relay.rig import Client, House, client, linked, meeting

HALF_OPEN = 1_000
BURST = 60
PROPOSAL = encode_line("/multistream/1.0.0") + encode_line(circuit.HOP)


async def to_relay(hostile: Client, relay: House) -> Connection:
    return await hostile.transport.circuits.connection(relay.address.place, relay.device)


async def asked(connection: Connection, message: Reserve | Connect) -> int:
    """What the relay answers; its stream is ended."""
    stream = await connection.open_stream(circuit.HOP)
    await circuit.write_message(stream, hop_bytes(message))
    answer = circuit.read_hop(await circuit.read_message(stream))
    stream.reset()
    assert isinstance(answer, Answer)
    return answer.status


async def served(caller: Client, called: Client) -> None:
    """An honest device calls another, and both hear one another."""
    ours, theirs = await linked(caller, called)
    await ours.send(b"still")
    assert await theirs.receive() == b"still"
    await theirs.send(b"here")
    assert await ours.receive() == b"here"


async def test_1000_half_open_streams_keep_nobody_out() -> None:
    async with meeting() as (relay, caller, called), client(3) as hostile:
        opened = 0
        while opened < HALF_OPEN:
            connection = await to_relay(hostile, relay)
            for _ in range(200):
                # It says what for, and begins a message.
                connection._muxer.open().put(PROPOSAL + b"\x05")
            opened += 200
            # Far too many on one connection cost it the connection.
            with trio.fail_after(20):
                await connection.ended.wait()
        kept = await to_relay(hostile, relay)
        for _ in range(limits.CIRCUITS_INBOUND_MAX):
            kept._muxer.open().put(PROPOSAL + b"\x05")
        await served(caller, called)
        assert not kept.ended.is_set()
        assert relay.relay.circuits == 1


async def test_a_question_that_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async with meeting() as (relay, caller, called), client(3) as hostile:
        connection = await to_relay(hostile, relay)
        monkeypatch.setattr(limits, "RELAY_ANSWER_SECONDS_MAX", 0.1)
        stream = await connection.open_stream(circuit.HOP)
        await stream.write(b"\x05")
        with pytest.raises(LinkBroken), trio.fail_after(20):
            await stream.read_exactly(1)
        monkeypatch.undo()
        await served(caller, called)


async def test_nobody_calls_itself() -> None:
    async with meeting() as (relay, _, called):
        connection = await to_relay(called, relay)
        answer = await asked(connection, Connect(called.device))
        assert answer == Status.PERMISSION_DENIED
        assert relay.relay.circuits == 0


async def test_who_reserves_again_and_again_has_one_reservation() -> None:
    async with meeting() as (relay, caller, called), client(3) as hostile:
        connection = await to_relay(hostile, relay)
        for _ in range(300):
            assert await asked(connection, Reserve()) == Status.OK
        assert set(relay.relay.reserved) == {called.device, hostile.device}
        await served(caller, called)


async def test_who_calls_a_device_that_never_answers_holds_few_circuits() -> None:
    async with (
        meeting() as (relay, caller, called),
        client(3) as hostile,
        client(4) as deaf,
        trio.open_nursery() as nursery,
    ):
        enough = trio.Event()

        async def say_nothing(connection: Connection, stream: Stream) -> None:
            await enough.wait()

        deaf.transport.handle(circuit.STOP, say_nothing)
        nursery.start_soon(deaf.transport.circuits.keep, [relay.address])
        await deaf.status("reserved")
        connection = await to_relay(hostile, relay)
        answers: Counter[int] = Counter()

        async def call() -> None:
            answers[await asked(connection, Connect(deaf.device))] += 1

        for _ in range(BURST):
            nursery.start_soon(call)
        pair = limits.RELAY_CIRCUITS_PER_PAIR_MAX
        await until(lambda: answers.total() == BURST - pair)
        assert relay.relay.circuits == pair
        await served(caller, called)
        enough.set()
        await until(lambda: answers.total() == BURST)
        assert answers == {
            Status.RESOURCE_LIMIT_EXCEEDED: BURST - pair,
            Status.CONNECTION_FAILED: pair,
        }
        await until(lambda: relay.relay.circuits == 1)
        nursery.cancel_scope.cancel()


async def test_a_call_that_is_never_answered_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with meeting() as (relay, caller, called), client(3) as hostile:

        async def say_nothing(connection: Connection, stream: Stream) -> None:
            await trio.sleep_forever()

        answering = called.transport._handlers[circuit.STOP]
        called.transport.handle(circuit.STOP, say_nothing)
        connection = await to_relay(hostile, relay)
        monkeypatch.setattr(limits, "RELAY_ANSWER_SECONDS_MAX", 0.5)
        with trio.fail_after(20):
            answer = await asked(connection, Connect(called.device))
        assert answer == Status.CONNECTION_FAILED
        await until(lambda: relay.relay.circuits == 0)
        monkeypatch.undo()
        called.transport.handle(circuit.STOP, answering)
        await served(caller, called)


async def test_many_who_call_one_device_do_not_cost_it_its_reservation() -> None:
    async with meeting() as (relay, caller, called), trio.open_nursery() as nursery:
        many = limits.CIRCUITS_INBOUND_MAX // limits.RELAY_CIRCUITS_PER_PAIR_MAX + 4
        answers: Counter[int] = Counter()

        async def hostile(number: int) -> None:
            async with client(number) as device:
                connection = await to_relay(device, relay)

                async def call() -> None:
                    answers[await asked(connection, Connect(called.device))] += 1

                async with trio.open_nursery() as calls:
                    for _ in range(limits.RELAY_CIRCUITS_PER_PAIR_MAX):
                        calls.start_soon(call)

        async with trio.open_nursery() as crowd:
            for number in range(many):
                crowd.start_soon(hostile, 10 + number)
        assert answers.total() == many * limits.RELAY_CIRCUITS_PER_PAIR_MAX
        (state,) = called.transport.circuits.states()
        assert state.status == "reserved"
        assert relay.relay.reservation(called.device) is not None
        await until(lambda: relay.relay.circuits == 0)
        await served(caller, called)
        nursery.cancel_scope.cancel()


async def test_a_message_that_is_cut_anywhere_does_nothing() -> None:
    async with meeting() as (relay, caller, called), client(3) as hostile:
        connection = await to_relay(hostile, relay)
        for message in (hop_bytes(Reserve()), hop_bytes(Connect(called.device))):
            whole = varint(len(message)) + message
            for end in range(len(whole)):
                for cut in (Stream.end, Stream.reset):
                    stream = await connection.open_stream(circuit.HOP)
                    if end:
                        await stream.write(whole[:end])
                    cut(stream)
        await served(caller, called)
        assert set(relay.relay.reserved) == {called.device}
        assert relay.relay.circuits == 1
        assert not connection.ended.is_set()


async def test_a_relay_that_cuts_its_messages_does_the_called_no_harm() -> None:
    async with meeting() as (relay, caller, called):
        onward = relay.relay.reservation(called.device)
        assert onward is not None
        message = stop_bytes(Connect(caller.device))
        whole = varint(len(message)) + message
        for end in range(len(whole)):
            for cut in (Stream.end, Stream.reset):
                stream = await onward.open_stream(circuit.STOP)
                if end:
                    await stream.write(whole[:end])
                cut(stream)
        await until(lambda: called.transport.guard.upgrading == 0)
        assert called.transport.guard.established == 0
        await served(caller, called)
