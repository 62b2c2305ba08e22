"""A network in which links break, dials fail, and parts cannot see each other.

Within a link frames come in order and unaltered, as over TCP and Noise; a link can be cut at any
moment, with what is on its way, and one end may hear of that much later than the other. Of links
between two that have none every third leads through a relay, until a direct one takes its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from p2psync.engine.effects import DialFailed, Event, FrameReceived, LinkDown, LinkUp

RELAYED_EVERY = 3
CIRCUIT = "/p2p/relay/p2p-circuit"
Schedule = Callable[[float, Callable[[], None]], None]
"""Run something at a time; at one time in the order in which it was scheduled."""


class Station(Protocol):
    """A machine's place in the world: it may be off."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> bytes: ...

    @property
    def boot(self) -> int:
        """Counts the times it was started; negative while it is off."""
        ...

    def receive(self, event: Event) -> None: ...


@dataclass
class End:
    """One end of a link."""

    station: Station
    boot: int
    knows: bool = True
    """Whether this end still believes in the link."""
    arrival: float = 0.0
    """When the last frame to this end comes."""


@dataclass
class Link:
    """Two ends; frames on their way die with it."""

    number: int
    ends: tuple[End, End]
    up: bool = True


@dataclass
class SimNetwork:
    """All links. ``loss`` is the chance of a dial to fail, and of a link to break at a frame."""

    random: Random
    at: Schedule
    now: Callable[[], float]
    watch: Callable[[Station, int, bytes], None]
    """Sees every frame that is sent."""
    loss: float = 0.0
    delay_seconds: float = 0.02
    stations: dict[bytes, Station] = field(default_factory=dict)
    sides: dict[str, int] = field(default_factory=dict)
    """The part of the network that a station is in while it is parted."""
    links: dict[int, Link] = field(default_factory=dict)
    _count: int = 0

    def sees(self, a: Station, b: Station) -> bool:
        """Tell whether two stations can reach each other now."""
        on = a.boot >= 0 and b.boot >= 0
        return on and self.sides.get(a.name, 0) == self.sides.get(b.name, 0)

    def _delay(self) -> float:
        return self.delay_seconds * (0.2 + self.random.expovariate(1.0))

    # -- dialling -------------------------------------------------------------------------------

    def dial(self, dialler: Station, device: bytes) -> None:
        boot = dialler.boot
        target = self.stations.get(device)

        def arrive() -> None:
            if dialler.boot != boot:
                return
            if target is None or not self.sees(dialler, target) or self._fails():
                dialler.receive(DialFailed(device, "no answer"))
                return
            self._connect(dialler, target)
            if self.loss and self.random.random() < 0.1:
                self._connect(dialler, target)

        self.at(self.now() + 2 * self._delay(), arrive)

    def _fails(self) -> bool:
        return self.random.random() < self.loss

    def _connect(self, dialler: Station, answerer: Station) -> None:
        self._count += 1
        link = Link(self._count, (End(dialler, dialler.boot), End(answerer, answerer.boot)))
        relayed = self._count % RELAYED_EVERY == 0 and not self._meet(dialler, answerer)
        address = CIRCUIT if relayed else f"/memory/{answerer.name}"
        late = self._delay()
        self.links[link.number] = link
        link.ends[1].arrival = self.now() + late

        def arrive() -> None:
            if self._alive(link, 1):
                seen = CIRCUIT if relayed else ""
                answerer.receive(LinkUp(link.number, dialler.device, False, seen))

        self.at(link.ends[1].arrival, arrive)
        dialler.receive(LinkUp(link.number, answerer.device, True, address))

    def _meet(self, one: Station, other: Station) -> bool:
        """Whether a link joins two stations, as far as one of them knows."""
        return any(
            {end.station.name for end in link.ends} == {one.name, other.name}
            for link in self.links.values()
        )

    # -- carrying -------------------------------------------------------------------------------

    def _alive(self, link: Link, side: int) -> bool:
        end = link.ends[side]
        return link.up and end.knows and end.station.boot == end.boot

    def send(self, station: Station, number: int, frame: bytes) -> None:
        self.watch(station, number, frame)
        link = self.links.get(number)
        if link is None or not link.up:
            return
        to = 1 if link.ends[0].station is station else 0
        if self.loss and self.random.random() < self.loss / 40:
            self.cut(link)
            return
        end = link.ends[to]
        end.arrival = max(end.arrival, self.now() + self._delay())

        def arrive() -> None:
            if self._alive(link, to):
                end.station.receive(FrameReceived(number, frame))

        self.at(end.arrival, arrive)

    def close(self, station: Station, number: int) -> None:
        """One end closes: what it sent before arrives, then the other end hears of it."""
        link = self.links.get(number)
        if link is None:
            return
        own = 0 if link.ends[0].station is station else 1
        link.ends[own].knows = False
        self._tell(link, 1 - own, max(self.now(), link.ends[1 - own].arrival), clean=True)

    def cut(self, link: Link) -> None:
        """The link breaks; each end notices in its own time."""
        if not link.up:
            return
        link.up = False
        for side in (0, 1):
            slow = self.random.random() < 0.2
            when = self.now() + self.random.uniform(0, 25 if slow else 1)
            self._tell(link, side, when, clean=False)

    def _tell(self, link: Link, side: int, when: float, *, clean: bool) -> None:
        end = link.ends[side]

        def arrive() -> None:
            if end.knows and end.station.boot == end.boot:
                end.knows = False
                end.station.receive(LinkDown(link.number, clean))
            if not (link.ends[0].knows or link.ends[1].knows):
                link.up = False
                self.links.pop(link.number, None)

        self.at(when, arrive)

    def part(self, sides: dict[str, int]) -> None:
        """Divide the network; links across break."""
        self.sides = sides
        for link in list(self.links.values()):
            if not self.sees(link.ends[0].station, link.ends[1].station):
                self.cut(link)

    def gone(self, station: Station) -> None:
        """A station lost power: its links break at the other ends."""
        for link in list(self.links.values()):
            if station in (link.ends[0].station, link.ends[1].station):
                self.cut(link)

    def heal(self) -> None:
        """Everything works from now on."""
        self.sides = {}
        self.loss = 0.0


def divide(random: Random, names: Sequence[str]) -> dict[str, int]:
    """Put every station on one of two sides."""
    return {name: random.randrange(2) for name in names}
