"""What discovery announces and passes on, with a scripted multicast in place of the real one."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2psync import limits
from p2psync.engine.ports import DiscoverableMandate, Sighting
from p2psync.network.announce import (
    HOUR_SECONDS,
    SERVICE_TYPE,
    Heard,
    compose,
    decode_txt,
    encode_txt,
    recognise,
)
from p2psync.network.discovery import LanDiscovery
from tests.network.rig import until

OWN, PEER = b"o" * 32, b"p" * 32
KEY = b"k" * 32
MANDATE = DiscoverableMandate(KEY, (OWN, PEER))
AT = ("/ip4/10.77.0.2/tcp/4001",)
NOON = 500_000 * HOUR_SECONDS + HOUR_SECONDS / 2


@dataclass
class Air:
    """A scripted network: what was said on it, and a way to be heard."""

    refuse: int = 0
    said: list[tuple[str, bytes, int, tuple[str, ...]]] = field(default_factory=list)
    interfaces: list[tuple[str, ...]] = field(default_factory=list)
    closed: int = 0
    hear: Callable[[Heard], None] | None = None

    def __call__(self, hosts: Sequence[str], heard: Callable[[Heard], None]) -> "Air":
        if self.refuse:
            self.refuse -= 1
            raise OSError("no multicast here")
        self.interfaces.append(tuple(hosts))
        self.hear = heard
        return self

    def announce(self, name: str, txt: bytes, port: int, hosts: Sequence[str]) -> None:
        self.said.append((name, txt, port, tuple(hosts)))

    def close(self) -> None:
        self.closed += 1


@dataclass
class World:
    air: Air = field(default_factory=Air)
    seconds: float = NOON
    hosts: tuple[str, ...] = ("10.77.0.1", "fd00::1", "127.0.0.1")
    listening: tuple[str, ...] = ("/ip4/10.77.0.1/tcp/4000", "/ip4/127.0.0.1/tcp/4000")
    sightings: list[Sighting] = field(default_factory=list)

    @asynccontextmanager
    async def running(self, *mandates: DiscoverableMandate) -> AsyncIterator[LanDiscovery]:
        discovery = LanDiscovery(
            OWN,
            lambda: self.listening,
            self.sightings.append,
            now=lambda: self.seconds,
            check_seconds=0.02,
            hosts=lambda: self.hosts,
            responder=self.air,
        )
        discovery.update(mandates)
        async with trio.open_nursery() as nursery:
            await nursery.start(discovery.run)
            yield discovery
            nursery.cancel_scope.cancel()

    def heard(self, name: str, txt: bytes | None, addresses: tuple[str, ...] = AT) -> None:
        assert self.air.hear is not None
        self.air.hear(Heard(f"{name}.{SERVICE_TYPE}", txt, addresses))


def record(device: bytes = PEER, *keys: bytes, hour: int = 500_000, seed: int = 1) -> bytes:
    source = random.Random(seed)
    return encode_txt(
        compose(keys or (KEY,), device, hour, random_bytes=source.randbytes, choose=source.sample)
    )


async def test_it_announces_its_real_addresses_and_can_be_recognised() -> None:
    world = World()
    async with world.running(MANDATE):
        await until(lambda: len(world.air.said) == 1)
    name, txt, port, hosts = world.air.said[0]
    assert len(name) == 24
    assert (port, hosts) == (4000, ("10.77.0.1",))
    assert world.air.interfaces == [("10.77.0.1",)]
    announcement = decode_txt(txt)
    assert announcement is not None
    assert recognise(announcement, [MANDATE], PEER, 500_000) == (OWN,)
    assert world.air.closed == 1, "stopping says goodbye"


async def test_loopback_is_announced_only_when_there_is_nothing_else() -> None:
    world = World(hosts=("127.0.0.1",), listening=("/ip4/127.0.0.1/tcp/4000",))
    async with world.running(MANDATE):
        await until(lambda: len(world.air.said) == 1)
    assert world.air.interfaces == [("127.0.0.1",)]
    assert world.air.said[0][3] == ("127.0.0.1",)


async def test_nothing_is_opened_without_mandates_or_without_a_listener() -> None:
    idle, deaf = World(), World(listening=())
    async with idle.running(), deaf.running(MANDATE):
        await trio.sleep(0.2)
    assert idle.air.interfaces == []
    assert deaf.air.interfaces == []


async def test_names_nonces_and_tags_change_every_hour_and_with_the_mandates() -> None:
    world = World()
    async with world.running(MANDATE) as discovery:
        await until(lambda: len(world.air.said) == 1)
        world.seconds += HOUR_SECONDS
        await until(lambda: len(world.air.said) == 2)
        discovery.update([MANDATE, DiscoverableMandate(b"2" * 32, (PEER,))])
        await until(lambda: len(world.air.said) == 3)
        discovery.update([])
        await until(lambda: world.air.closed == 1)
    assert len({name for name, *_ in world.air.said}) == 3
    assert len({txt for _, txt, *_ in world.air.said}) == 3


async def test_a_change_of_network_starts_afresh() -> None:
    world = World()
    async with world.running(MANDATE):
        await until(lambda: len(world.air.said) == 1)
        world.hosts = ("192.168.3.4", "127.0.0.1")
        world.listening = ("/ip4/192.168.3.4/tcp/4000",)
        await until(lambda: len(world.air.said) == 2)
    assert world.air.interfaces == [("10.77.0.1",), ("192.168.3.4",)]
    assert world.air.said[1][3] == ("192.168.3.4",)


async def test_a_network_that_refuses_is_tried_again() -> None:
    world = World(air=Air(refuse=3))
    async with world.running(MANDATE):
        await until(lambda: len(world.air.said) == 1)


async def test_members_are_sighted_once_and_again_elsewhere() -> None:
    world = World()
    async with world.running(MANDATE):
        await until(lambda: len(world.air.said) == 1)
        for _ in range(3):
            world.heard("a", record())
        world.heard("own", record(OWN, seed=2))
        world.heard("other", record(PEER, b"x" * 32, seed=3))
        world.heard("old", record(hour=500_000 - 2, seed=4))
        world.heard("broken", b"\x03v=1\xff")
        world.heard("nowhere", record(seed=5), ())
        elsewhere = ("/ip4/10.77.0.3/tcp/4001",)
        await until(lambda: world.sightings == [Sighting(PEER, AT)])
        world.heard("a", record(), elsewhere)
        await until(lambda: world.sightings[1:] == [Sighting(PEER, elsewhere)])


async def test_our_own_announcement_is_not_looked_at() -> None:
    world = World()
    mirrored = DiscoverableMandate(KEY, (PEER,))
    async with world.running(mirrored):
        await until(lambda: len(world.air.said) == 1)
        world.heard(world.air.said[0][0], record())
        world.heard("a", record(seed=2), ("/ip4/10.77.0.9/tcp/1",))
        await until(lambda: len(world.sightings) == 1)
    assert world.sightings[0].addresses == ("/ip4/10.77.0.9/tcp/1",)


async def test_a_new_mandate_recognises_who_was_heard_before() -> None:
    world = World()
    other = DiscoverableMandate(b"x" * 32, (PEER,))
    async with world.running(MANDATE) as discovery:
        await until(lambda: len(world.air.said) == 1)
        world.heard("a", record(PEER, b"x" * 32))
        world.heard("b", record(PEER, seed=2))
        await until(lambda: len(world.sightings) == 1)
        discovery.update([other])
        await until(lambda: len(world.sightings) == 2)


async def test_a_flood_of_announcements_is_bounded() -> None:
    world = World()
    async with world.running(MANDATE) as discovery:
        await until(lambda: len(world.air.said) == 1)
        for number in range(3 * limits.ANNOUNCEMENTS_REMEMBERED_MAX):
            world.heard(f"flood{number}", record(b"f" * 32, seed=number % 7))
            if number % limits.ANNOUNCEMENTS_WAITING_MAX == 0:
                await trio.lowlevel.checkpoint()
        assert len(discovery._waiting) <= limits.ANNOUNCEMENTS_WAITING_MAX
        assert len(discovery._remembered) <= limits.ANNOUNCEMENTS_REMEMBERED_MAX
        world.heard("flood0", None)
