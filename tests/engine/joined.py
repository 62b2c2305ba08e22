"""Machines joined by links that carry frames at once, in order, until the test cuts them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2psync.engine import wire
from p2psync.engine.effects import DialFailed, FrameReceived, LinkDown, LinkUp, Tick
from tests.engine.machine import WALL_MS, Disk, Machine, entropy_of, key_of


@dataclass
class Wire:
    """One link's two ends."""

    ends: tuple["Port", "Port"]
    up: bool = True


@dataclass
class Port:
    """One machine's side of the network."""

    network: "Network"
    machine: Machine = field(init=False)

    def send(self, link: int, frame: bytes) -> None:
        self.network.send(self, link, frame)

    def close(self, link: int, error: str) -> None:
        self.network.cut(link, self)

    def dial(self, device: bytes, addresses: Sequence[str]) -> None:
        self.network.dials.append((self, device))


class Network:
    """Carries frames, and keeps what was sent for the test to look at."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.links: dict[int, Wire] = {}
        self.queue: deque[tuple[Port, int, bytes]] = deque()
        self.dials: deque[tuple[Port, bytes]] = deque()
        self.sent: list[tuple[str, wire.Message | None]] = []
        self.reachable = True
        self.apart: set[frozenset[str]] = set()
        """Pairs of machines that cannot call one another."""
        self.now = 0.0
        self.drop: set[str] = set()
        """Names of message classes that are lost (for what deadlines are to mend)."""

    def machine(self, name: str, disk: Disk | None = None) -> Machine:
        """Start a machine, or start one again over its disk."""
        port = Port(self)
        count = len(self.sent)
        machine = Machine(
            name,
            disk or Disk(key_of(name)),
            port,
            entropy_of(f"{name}/{count}"),
            self.now,
            WALL_MS + int(self.now * 1000),
        )
        port.machine = machine
        self.machines[name] = machine
        return machine

    def stop(self, name: str) -> Disk:
        """Power a machine off; its peers see broken links."""
        machine = self.machines.pop(name)
        for number, link in list(self.links.items()):
            if machine.port in link.ends:
                self.cut(number, machine.port)
        return machine.disk

    def send(self, port: Port, link: int, frame: bytes) -> None:
        if link not in self.links:
            return
        message = wire.decode(frame)
        self.sent.append((port.machine.name, message))
        if type(message).__name__ not in self.drop:
            a, b = self.links[link].ends
            self.queue.append((b if port is a else a, link, frame))

    def connect(self, dialler: Machine, answerer: Machine) -> int:
        """Bring up a link."""
        number = 100 + len(self.sent) * 1000 + len(self.links)
        ports = (dialler.port, answerer.port)
        assert isinstance(ports[0], Port)
        assert isinstance(ports[1], Port)
        self.links[number] = Wire((ports[0], ports[1]))
        dialler.handle(LinkUp(number, answerer.device, True, f"/memory/{answerer.name}"))
        answerer.handle(LinkUp(number, dialler.device, False, ""))
        return number

    def cut(self, number: int, by: object = None) -> None:
        """End a link; frames on their way are lost."""
        link = self.links.pop(number, None)
        if link is None:
            return
        self.queue = deque(item for item in self.queue if item[1] != number)
        for port in link.ends:
            if port is not by and port.machine.name in self.machines:
                port.machine.handle(LinkDown(number, False))

    def links_of(self, name: str) -> list[int]:
        """The links of a machine."""
        port = self.machines[name].port
        return [number for number, link in self.links.items() if port in link.ends]

    def settle(self, seconds: float = 0.0) -> None:
        """Carry all frames and dials, letting that much time pass, deadline by deadline."""
        until = self.now + seconds
        while True:
            self._carry()
            wakes = [
                wake
                for machine in self.machines.values()
                if (wake := machine.engine.next_wake()) is not None
            ]
            when = min(wakes, default=until + 1)
            if when > until:
                self.now = until
                return
            self.now = max(self.now, when)
            for machine in list(self.machines.values()):
                machine.now = self.now
                machine.wall_ms = WALL_MS + int(self.now * 1000)
                machine.handle(Tick())

    def _carry(self) -> None:
        while self.queue or self.dials:
            while self.queue:
                port, number, frame = self.queue.popleft()
                if port.machine.name in self.machines:
                    port.machine.handle(FrameReceived(number, frame))
            if self.dials:
                port, device = self.dials.popleft()
                self._dial(port.machine, device)

    def _dial(self, dialler: Machine, device: bytes) -> None:
        if self.machines.get(dialler.name) is not dialler:
            return
        found = [m for m in self.machines.values() if m.device == device]
        apart = bool(found) and frozenset((dialler.name, found[0].name)) in self.apart
        if found and self.reachable and not apart:
            self.connect(dialler, found[0])
        else:
            dialler.handle(DialFailed(device, "nobody there"))

    def inject(self, machine: Machine, link: int, frame: bytes) -> None:
        """Have a machine receive a frame that nobody sent."""
        machine.handle(FrameReceived(link, frame))

    def messages(self, name: str) -> list[wire.Message | None]:
        """What a machine has sent."""
        return [message for sender, message in self.sent if sender == name]


def mandate_of_two(network: Network) -> tuple[Machine, Machine, bytes]:
    """Anna made a mandate, Ben subscribed to it and was admitted."""
    anna, ben = network.machine("anna"), network.machine("ben")
    mandate = anna.create()
    ben.subscribe(anna.invite(mandate))
    network.settle(1)
    return anna, ben, mandate


def join(network: Network, host: Machine, mandate: bytes, name: str, role: str) -> Machine:
    """One more device subscribes, by a ticket of ``host``."""
    machine = network.machine(name)
    machine.subscribe(host.invite(mandate, role))
    network.settle(2)
    return machine
