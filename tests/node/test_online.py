"""When a node dials: at once after a start, whatever comes up first, mandates or network."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import trio

from p2psync.engine.effects import DialFailed, PeerChanged
from p2psync.engine.ports import Link
from tests.fakes.links import link_pair
from tests.node.rig import PATIENCE_SECONDS, Machine, founded, in_step, invited, linked, running

ADDRESS = "/ip4/127.0.0.1/tcp/4001"


class Wires:
    """A network where dials are noted, and answered when the test says so."""

    def __init__(self, own: str = ADDRESS) -> None:
        self._own = own
        self.dialled: list[tuple[bytes, tuple[str, ...]]] = []
        self.rang = trio.Event()
        self.answers: dict[bytes, Link] = {}

    def addresses(self) -> tuple[str, ...]:
        return (self._own,)

    async def dial(self, device: bytes, addresses: Sequence[str]) -> Link:
        self.dialled.append((device, tuple(addresses)))
        self.rang.set()
        if device not in self.answers:
            await trio.sleep_forever()
        return self.answers[device]


async def subscribed(tmp_path: Path) -> None:
    """Two homes that know each other and are in step, both stopped."""
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        one.node.goes_online(Wires())
        await founded(one)
        ticket = await invited(one)
        async with linked(one, two):
            await two.service.subscribe(ticket, None, None, None)
            await in_step(one, two)


def failures(machine: Machine) -> list[DialFailed]:
    """Note from now on which dials the engine hears to have failed."""
    heard: list[DialFailed] = []
    step = machine.node.engine.step

    def listen(event: object, now: float, wall_ms: int) -> object:
        if isinstance(event, DialFailed):
            heard.append(event)
        return step(event, now, wall_ms)  # type: ignore[arg-type]  # passed on as it came

    machine.node.engine.step = listen  # type: ignore[method-assign,assignment]  # only listens
    return heard


async def test_a_restarted_node_dials_its_members_at_once(tmp_path: Path) -> None:
    """The network comes up after the mandates; nobody waits a second for a second dial."""
    await subscribed(tmp_path)
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        failed = failures(two)
        await two.node.runner.flushed()
        wires = Wires()
        ends = link_pair(two.device, one.device)
        wires.answers[one.device] = ends[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.node.accept, ends[1])
            two.node.goes_online(wires)
            with trio.fail_after(PATIENCE_SECONDS):
                await wires.rang.wait()
                await in_step(one, two)
            assert wires.dialled == [(one.device, (ADDRESS,))]
            assert failed == []
            await ends[0].close()
            await ends[1].close()


async def test_a_dial_waits_while_nobody_is_signed_in(tmp_path: Path) -> None:
    """B-ID-1: going off line and on again dials anew, with no failure in between."""
    await subscribed(tmp_path)
    async with running(tmp_path / "two") as two:
        failed = failures(two)
        before, after = Wires(), Wires()
        two.node.goes_online(before)
        two.node.goes_offline(before)
        await two.node.runner.flushed()
        assert two.node.addresses() == ()
        two.node.goes_offline(before)  # the one that ends late takes nothing from its successor
        two.node.goes_online(after)
        two.node.goes_offline(before)
        assert two.node.addresses() == (ADDRESS,)
        with trio.fail_after(PATIENCE_SECONDS):
            await after.rang.wait()
        assert (len(before.dialled), len(after.dialled)) == (0, 1)
        assert failed == []


async def test_what_a_link_brings_for_many_mandates_is_noted_in_a_few_transactions(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "one") as one:
        await founded(one)
        written: list[int] = []
        reached = one.store.reached

        async def count(
            members: Iterable[tuple[bytes, bytes]], addresses: Mapping[bytes, Sequence[str]]
        ) -> None:
            met = list(members)
            await reached(met, addresses)
            written.append(len(met))

        one.store.reached = count  # type: ignore[method-assign]  # only counts
        devices = [bytes([number]) * 32 for number in range(100)]
        for device in devices:
            one.node._perform(PeerChanged(one.opened().id, device, "online"))
            one.node._perform(PeerChanged(one.opened().id, device, "offline"))
        with trio.fail_after(PATIENCE_SECONDS):
            while sum(written) < 100:
                await trio.sleep(0.005)
            assert (await one.store.last_seen(one.opened().id)).keys() == set(devices)
        assert written == [100]
