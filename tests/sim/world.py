"""Whole mandates on simulated time, network and disk.

A heap ordered by (time, sequence) says what happens next; each concern draws from a generator of
its own, seeded by the world's seed and its name, so that the same seed gives the same trace. First
the world shakes: people work, links break, the network parts, machines lose power. Then all is
healed, and within a bounded time every member has the same.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Literal

from p2psync.core import entry, ops
from p2psync.core.crypto import SigningKey
from p2psync.core.membership import MAY_INVITE, MAY_WRITE, mandate_id
from p2psync.engine import wire
from p2psync.engine.effects import (
    CloseLink,
    Effect,
    Event,
    PeerChanged,
    SendFrame,
    Sighted,
    Tick,
)
from p2psync.engine.replica import Replica
from tests.engine.machine import DAY_MS, WALL_MS, Machine, Ticket, entropy_of, key_of
from tests.sim import workload
from tests.sim.checkers import (
    CheckedReplica,
    Checkers,
    Violation,
    apart,
    folded_anew,
    picture,
    taken_up,
)
from tests.sim.disk import Crash, SimDisk
from tests.sim.network import SimNetwork, divide

YEAR_MS = 365 * DAY_MS
JUMPS_MS = (0, 3_600_000, DAY_MS, YEAR_MS)
"""How far off a clock may be set, ahead or behind."""
TICKET_DAYS, EXPIRED_DAYS = 14, -3
STEADY_TICKET_DAYS, LONG_EXPIRED_DAYS = 1000, -1000
"""Where clocks jump: no jump makes such a ticket expire, or hold again."""
HEALED_SECONDS_MAX = 300.0
"""Within so long after healing, all members are in step."""
STEPS_MAX = 400_000


@dataclass(frozen=True)
class Plan:
    """What kind of world it is; drawn from the seed unless a test says otherwise."""

    devices: int = 3
    mandates: int = 1
    seconds: float = 60.0
    loss: float = 0.1
    delay_seconds: float = 0.02
    crashes: bool = True
    partitions: bool = True
    stranger: bool = False
    thief: bool = False
    restore: bool = False
    forger: bool = False
    """A member that writes into other devices' logs."""
    sends_first: bool = False
    """A machine with a fault: it sends before it persists."""
    clocks: bool = False
    """Clocks jump to and fro while the machines run, by up to a year."""
    removals: bool = False
    """Devices are removed, and some are let in again, while the world shakes."""
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    replica_type: type[Replica] = CheckedReplica

    @classmethod
    def draw(cls, seed: int) -> "Plan":
        """The plan of a seed."""
        random = Random(f"{seed}/plan")
        return cls(
            devices=random.randint(2, 5),
            mandates=random.choice((1, 1, 2)),
            seconds=random.choice((15.0, 30.0, 60.0)),
            loss=random.choice((0.0, 0.05, 0.2, 0.4)),
            delay_seconds=random.choice((0.001, 0.02, 0.3)),
            crashes=random.random() < 0.7,
            partitions=random.random() < 0.6,
            stranger=random.random() < 0.3,
            thief=random.random() < 0.3,
            restore=random.random() < 0.15,
            forger=random.random() < 0.15,
            clocks=random.random() < 0.35,
            removals=random.random() < 0.35,
        )


class SimMachine(Machine):
    """A machine whose every effect the checkers look at."""

    def __init__(self, place: "Place", world: "World") -> None:
        self.place = place
        self.world = world
        self.replica_type = world.plan.replica_type
        self._peers: dict[int, tuple[bytes, dict[int, bytes]]] = {}
        entropy = entropy_of(f"{world.seed}/{place.name}/{place.boot}")
        super().__init__(place.name, place.disk, place, entropy, place.clock(), place.wall())

    def run(self, effects: Sequence[Effect]) -> None:
        if self.world.plan.sends_first:
            sends = [each for each in effects if isinstance(each, SendFrame)]
            effects = [*sends, *(each for each in effects if not isinstance(each, SendFrame))]
        super().run(effects)

    def do(self, effect: Effect) -> None:
        self.world.checkers.before(self, effect)
        super().do(effect)
        self.world.checkers.effect(self, effect)
        match effect:
            case PeerChanged(mandate=mandate, device=device):
                addresses = self.engine.known_addresses(device)
                if addresses:
                    self.disk.holdings[mandate].contacts[device] = addresses
            case CloseLink(error=error, link=link) if error and "in time" not in error:
                if self.peer_of(link, None)[0] in self.world.forgers:
                    return
                raise Violation(f"{self.name} found a mistake of a peer: {error}")

    def peer_of(self, link: int, handle: int | None) -> tuple[bytes, bytes | None]:
        """Who is at the other end, and what a handle stands for."""
        known = self.engine._links.get(link)
        if known is not None:
            self._peers[link] = (known.device, known.mandates)
        device, mandates = self._peers[link]
        return device, None if handle is None else mandates[handle]


@dataclass
class Place:
    """Where a device stands: it may be on or off; its disk stays."""

    world: "World"
    name: str
    disk: SimDisk
    skew_ms: int = 0
    machine: SimMachine | None = None
    boot: int = -1
    boots: int = 0
    started: float = 0.0
    wake: float | None = None
    backup: SimDisk | None = None

    @property
    def device(self) -> bytes:
        return self.disk.signing.public

    def clock(self) -> float:
        """The machine's monotonic clock, which starts anew with it."""
        return self.world.now - self.started

    def wall(self) -> int:
        return WALL_MS + int(self.world.now * 1000) + self.skew_ms

    # -- on and off -----------------------------------------------------------------------------

    def start(self) -> None:
        assert self.machine is None
        self.boot = self.boots
        self.boots += 1
        self.started = self.world.now - 100.0 * self.boots
        self.world.trace("start", self.name)
        self.machine = SimMachine(self, self.world)
        self._plan_wake()

    def power_off(self) -> None:
        if self.machine is None:
            return
        self.world.trace("off", self.name)
        self.machine = None
        self.boot = -1
        self.wake = None
        self.disk.power_cut()
        self.world.checkers.restarted(self.disk)
        self.world.network.gone(self)
        self.world.after(self.world.random("power").uniform(0.5, 15), self.start_if_off)

    def start_if_off(self) -> None:
        if self.machine is None:
            self.start()

    # -- what happens -----------------------------------------------------------------------------

    def guarded(self, act: Callable[[SimMachine], None]) -> bool:
        """Run something on the machine; tell whether it returned, for power may fail."""
        machine = self.machine
        if machine is None:
            return False
        machine.now, machine.wall_ms = self.clock(), self.wall()
        try:
            act(machine)
        except Crash:
            self.power_off()
            return False
        self.world.checkers.limits(machine)
        self._plan_wake()
        return True

    def receive(self, event: Event) -> None:
        self.world.trace(type(event).__name__, self.name, getattr(event, "frame", b""))
        self.guarded(lambda machine: machine.handle(event))

    def _plan_wake(self) -> None:
        assert self.machine is not None
        wake = self.machine.engine.next_wake()
        if wake is None:
            return
        when = max(wake + self.started, self.world.now)
        while when - self.started < wake:  # rounded down: the machine would wake too early
            when = math.nextafter(when, math.inf)
        if self.wake is not None and self.wake <= when:
            return
        self.wake = when
        boot = self.boot

        def tick() -> None:
            if self.boot == boot and self.wake == when:
                self.wake = None
                self.receive(Tick())

        self.world.at(when, tick)

    # -- the port ---------------------------------------------------------------------------------

    def send(self, link: int, frame: bytes) -> None:
        self.world.network.send(self, link, frame)

    def close(self, link: int, error: str) -> None:
        self.world.network.close(self, link)

    def dial(self, device: bytes, addresses: Sequence[str]) -> None:
        self.world.network.dial(self, device)


@dataclass
class Given:
    """A ticket in people's hands."""

    ticket: Ticket
    by: Place
    to: list[Place]
    revoked: bool = False
    valid: bool = True


class World:
    """Everything; ``run`` returns the trace's digest, or raises ``Violation``."""

    def __init__(self, seed: int, plan: Plan | None = None, *, verbose: bool = False) -> None:
        self.seed = seed
        self.plan = plan or Plan.draw(seed)
        self.verbose = verbose
        self.now = 0.0
        self.checkers = Checkers()
        self.mandates: list[bytes] = []
        self.given: list[Given] = []
        self.places: list[Place] = []
        self.forgers: set[bytes] = set()
        self.healed = False
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._randoms: dict[str, Random] = {}
        self._trace = hashlib.blake2b(digest_size=16)
        self.network = SimNetwork(
            self.random("network"),
            self.at,
            lambda: self.now,
            self._watch,
            self.plan.loss,
            self.plan.delay_seconds,
        )

    # -- time and chance ------------------------------------------------------------------------

    def random(self, concern: str) -> Random:
        """The generator of one concern."""
        if concern not in self._randoms:
            self._randoms[concern] = Random(f"{self.seed}/{concern}")
        return self._randoms[concern]

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Let something happen later."""
        self.at(self.now + seconds, act)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self._sequence += 1
        heappush(self._heap, (max(when, self.now), self._sequence, act))

    def trace(self, what: str, who: str, data: bytes = b"") -> None:
        """Note what happens; two runs of a seed give the same notes."""
        line = f"{self.now:.6f} {what} {who} {len(data)}\n".encode()
        self._trace.update(line)
        self._trace.update(data)
        if self.verbose:
            print(line.decode(), end="")  # noqa: T201  # --trace is for reading

    def _advance(self, until: float) -> None:
        steps = 0
        while self._heap and self._heap[0][0] <= until:
            steps += 1
            if steps > STEPS_MAX:
                raise Violation("it never comes to rest")
            self.now, _, act = heappop(self._heap)
            act()
        self.now = until

    def _watch(self, station: object, link: int, frame: bytes) -> None:
        assert isinstance(station, Place)
        machine = station.machine
        assert machine is not None
        message = wire.decode(frame)
        handle = getattr(message, "handle", None)
        peer, mandate = machine.peer_of(link, handle)
        if self.verbose:
            names = {place.device: place.name for place in self.places}
            self.trace(f"-> {names[peer]} {type(message).__name__}", station.name)
        self.checkers.sent(machine, peer, mandate, frame)

    # -- the story ------------------------------------------------------------------------------

    def run(self) -> str:
        """Shake, heal, check."""
        self._set_up()
        self._advance(self.plan.seconds)
        self._heal()
        end = self.now + HEALED_SECONDS_MAX
        while (cause := self._apart()) and self.now < end:
            self._advance(self.now + 5.0)
        if cause:
            raise Violation(f"not in step {HEALED_SECONDS_MAX:.0f} s after healing: {cause}")
        self._check_end()
        return self._trace.hexdigest()

    def _set_up(self) -> None:
        random = self.random("set-up")
        for index in range(self.plan.devices):
            self._place(f"d{index}", random)
        for _ in range(self.plan.mandates):
            founder = random.choice(self.places)
            self.mandates.append(self._found(founder, random.randbytes(16)))
        for place in list(self.places):
            for mandate in self.mandates:
                if mandate not in place.disk.holdings:
                    wait = random.uniform(0, self.plan.seconds / 2)
                    self.after(wait, self._inviting(mandate, place))
        if self.plan.stranger:
            self._stranger(random)
        if self.plan.thief:
            thief = self._place("thief", random)
            self.after(random.uniform(1, 10), lambda: self._rob(thief))
        self._again("work", 0.5, self._work)
        if self.plan.crashes:
            self._again("power", 12.0, self._strike)
        if self.plan.partitions:
            self._again("parts", 12.0, self._part)
        if self.plan.loss:
            self._again("cuts", 8.0, self._cut)
        if self.plan.forger:
            self._again("forger", 5.0, self._forge)
        if self.plan.clocks:
            self._again("clocks", 6.0, self._set_clock)
        if self.plan.removals:
            self._again("removals", self.plan.seconds / 6, self._remove)
        if self.plan.restore:
            self.after(random.uniform(5, self.plan.seconds * 0.4), self._back_up)

    def _place(self, name: str, random: Random) -> Place:
        disk = SimDisk(key_of(f"{self.seed}/{name}"), synchronous=self.plan.synchronous)
        skew = random.choice((0, 0, random.randint(-600_000, 600_000), -86_400_000, 86_400_000))
        place = Place(self, name, disk, skew)
        self.places.append(place)
        self.network.stations[place.device] = place
        place.start()
        return place

    def _found(self, place: Place, salt: bytes) -> bytes:
        mandate = mandate_id(place.device, salt)
        self.checkers.told[mandate] = {place.device}
        self.checkers.entitled[mandate] = {place.device}
        place.guarded(partial(_create, salt))
        return mandate

    def _again(self, concern: str, mean_seconds: float, act: Callable[[Random], None]) -> None:
        random = self.random(concern)

        def happen() -> None:
            if not self.healed:
                act(random)
                self._again(concern, mean_seconds, act)

        self.after(random.expovariate(1 / mean_seconds), happen)

    # -- people ---------------------------------------------------------------------------------

    def _people(self) -> list[Place]:
        return [place for place in self.places if place.machine and place.name[0] == "d"]

    def _work(self, random: Random) -> None:
        people = self._people()
        if not people:
            return
        place = random.choice(people)
        machine = place.machine
        assert machine is not None
        held = [mandate for mandate in self.mandates if mandate in machine.engine.mandates()]
        if not held:
            return
        mandate = random.choice(held)
        if not machine.engine.replica(mandate).state.membership.may(machine.device, MAY_WRITE):
            return
        done: list[str] = []
        if place.guarded(lambda m: done.append(workload.act(random, m, mandate))):
            self.checkers.returned(machine)
            self.trace("work " + done[0], place.name)

    def _inviting(self, mandate: bytes, guest: Place) -> Callable[[], None]:
        return lambda: self._invite(mandate, guest)

    def _invite(self, mandate: bytes, guest: Place) -> None:
        """Somebody who may gives a ticket; later when nobody is there."""
        if self.healed or mandate in guest.disk.holdings:
            return
        random = self.random("tickets")
        hosts = []
        for place in self._people():
            machine = place.machine
            if machine is not None and mandate in machine.engine.mandates():
                state = machine.engine.replica(mandate).state
                if state.membership.may(place.device, MAY_INVITE):
                    hosts.append(place)
        if not hosts or guest.machine is None:
            self.after(2.0, self._inviting(mandate, guest))
            return
        host = random.choice(hosts)
        tickets: list[Ticket] = []
        roles = ("accounting", "accounting", "writer", "writer", "reader")
        role = random.choice(roles)
        days = STEADY_TICKET_DAYS if self.plan.clocks else TICKET_DAYS
        if not host.guarded(partial(_ticket, mandate, tickets, role=role, days=days)):
            self.after(2.0, self._inviting(mandate, guest))
            return
        peers = {each.device: (f"/memory/{each.name}",) for each in hosts}
        given = Given(replace(tickets[0], peers=peers), host, [])
        self.given.append(given)
        if random.random() < 0.1:
            self.after(random.uniform(0, 20), lambda: self._revoke(given))
        others = [
            place
            for place in self._people()
            if place is not guest and mandate not in place.disk.holdings
        ]
        if others and random.random() < 0.4:
            given.valid = False  # one ticket for two: one of them will be left out
            self._hand(given, random.choice(others))
        self._hand(given, guest)

    def _hand(self, given: Given, guest: Place, *, entitled: bool = True) -> None:
        mandate = given.ticket.mandate
        given.to.append(guest)
        self.checkers.told[mandate].add(guest.device)
        if entitled:
            self.checkers.entitled[mandate].add(guest.device)
        if not guest.guarded(lambda machine: machine.subscribe(given.ticket)):
            given.valid = False  # power failed before the ticket was kept
            given.to.remove(guest)

    def _revoke(self, given: Given) -> None:
        invitation = SigningKey.from_seed(given.ticket.admission_seed).public
        given.valid = False
        given.by.guarded(lambda m: workload.revoke(m, given.ticket.mandate, invitation))

    def _remove(self, random: Random) -> None:
        """Somebody removes a device that is junior, or lets one in again."""
        choices: list[tuple[Place, bytes, bytes, bool]] = []
        for place in self._people():
            machine = place.machine
            assert machine is not None
            for mandate in machine.engine.mandates():
                state = machine.engine.replica(mandate).state.membership
                for other in sorted(state.members | state.removed):
                    if other != place.device and state.may_remove(place.device, other):
                        choices.append((place, mandate, other, other in state.removed))
        if not choices:
            return
        place, mandate, other, back = random.choice(choices)
        for given in self.given:
            if other in {given.by.device, *(guest.device for guest in given.to)}:
                given.valid = False  # who is removed knows the secret of the ticket
        if place.guarded(partial(_expel, mandate, other, back=back)):
            assert place.machine is not None
            self.checkers.returned(place.machine)
            self.trace(f"{'readmit' if back else 'remove'} {other.hex()[:8]}", place.name)

    # -- bad people -----------------------------------------------------------------------------

    def _stranger(self, random: Random) -> None:
        """Somebody without a ticket, who claims that the others share a mandate of its own."""
        stranger = self._place("stranger", random)
        own = self._found(stranger, random.randbytes(16))
        del self.checkers.told[own]

        def knock(_: Random) -> None:
            for place in self.places:
                sighting = Sighted(place.device, (f"/memory/{place.name}",), (own,))
                stranger.receive(sighting)

        self._again("stranger", 10.0, knock)

    def _rob(self, thief: Place) -> None:
        """Somebody found a ticket that has expired: it holds the key, but may not join."""
        mandate = self.mandates[0]
        for place in self._people():
            machine = place.machine
            if (
                machine is None
                or thief.machine is None
                or mandate not in machine.engine.mandates()
                or machine.engine.replica(mandate).state.founder != place.device
            ):
                continue
            tickets: list[Ticket] = []
            days = LONG_EXPIRED_DAYS if self.plan.clocks else EXPIRED_DAYS
            place.guarded(partial(_ticket, mandate, tickets, days=days))
            for ticket in tickets:
                self._hand(Given(ticket, place, [], valid=False), thief, entitled=False)

    def _forge(self, random: Random) -> None:
        """A member seals an entry for another device's log; it cannot sign it."""
        place = self.places[0]
        machine = place.machine
        self.forgers.add(place.device)
        if machine is None:
            return
        for link in machine.engine._links.values():
            for handle, mandate in link.mandates.items():
                replica = machine.engine.replica(mandate)
                logs = [log for log, each in replica.state.logs.items() if each != place.device]
                served = link.device in self.checkers.entitled[mandate]
                if not logs or not served or replica.was_removed(link.device):
                    continue
                log = random.choice(sorted(logs))
                prev = replica.chains.heads(log)[0]
                position = replica.chains.position(prev)
                assert position is not None
                own = SigningKey.from_seed(random.randbytes(32))
                forged = entry.build(
                    entry.LogKey(replace(own, public=log)),
                    mandate=mandate,
                    seq=position[1] + 1,
                    prev=prev,
                    deps=(),
                    hlc=0,
                    epoch_key=replica.epoch_key,
                    payload=ops.encode([ops.Rename("forged")]),
                    entropy=random.randbytes(32),
                )
                frame = wire.encode(wire.Entries(handle, (forged.raw,), False))
                self.network.send(place, link.id, frame)
                return

    # -- trouble --------------------------------------------------------------------------------

    def _strike(self, random: Random) -> None:
        places = [place for place in self.places if place.machine]
        if not places:
            return
        place = random.choice(places)
        if random.random() < 0.3:
            place.power_off()
        else:
            place.disk.crash_after_writes = random.randrange(6)
            place.disk.crash_before_write = random.random() < 0.5

    def _part(self, random: Random) -> None:
        names = [place.name for place in self.places]
        self.network.part(divide(random, names) if random.random() < 0.6 else {})

    def _set_clock(self, random: Random) -> None:
        place = random.choice(self.places)
        place.skew_ms = random.choice(JUMPS_MS) * random.choice((1, -1))
        self.trace(f"clock {place.skew_ms}", place.name)

    def _cut(self, random: Random) -> None:
        if self.network.links:
            self.network.cut(self.network.links[random.choice(sorted(self.network.links))])

    def _back_up(self) -> None:
        """Keep a copy of a disk, to be played back later."""
        random = self.random("backup")
        people = self._people()
        if not people:
            return
        place = random.choice(people)
        disk = place.disk
        logs = {mandate: list(each.own_logs) for mandate, each in disk.holdings.items()}
        entries = dict(disk.entries)

        def play_back() -> None:
            if self.healed:
                return
            place.power_off()
            for mandate, holding in disk.holdings.items():
                holding.own_logs[:] = logs.get(mandate, [])
            disk.entries.clear()
            disk.entries.update(entries)
            self.checkers.restored(place.device)
            for given in self.given:
                if given.by is place:
                    given.valid = False  # nobody may know of it any more
            self.trace("restored", place.name)
            if random.random() < 0.7:  # it writes before it hears from anybody: its log forks
                place.start()
                for mandate in list(disk.holdings):
                    place.guarded(partial(workload.forget, mandate))

        self.after(random.uniform(3, 30), play_back)

    # -- the end --------------------------------------------------------------------------------

    def _heal(self) -> None:
        self.trace("healed", "")
        self.healed = True
        self.network.heal()
        for place in self.places:
            place.disk.crash_after_writes = None
            place.start_if_off()
        self._go_on()

    def _go_on(self) -> None:
        """Have people undo every closing and leaving, as they come to know of it: where a mandate
        is closed nobody is admitted.
        """
        for place in self.places:
            for mandate in list(place.disk.holdings):
                place.guarded(partial(workload.go_on, mandate))
        self.after(5.0, self._go_on)

    def _founder(self, mandate: bytes) -> Machine:
        return next(
            place.machine
            for place in self.places
            if place.machine
            and mandate in place.machine.engine.mandates()
            and place.machine.engine.replica(mandate).state.founder == place.device
        )

    def _members(self, mandate: bytes) -> list[Machine]:
        members = self._founder(mandate).engine.replica(mandate).state.membership.members
        return [
            place.machine
            for place in self.places
            if place.machine
            and place.device in members
            and mandate in place.machine.engine.mandates()
        ]

    def _apart(self) -> str:
        for mandate in self.mandates:
            members = self._members(mandate)
            cause = apart(members, mandate)
            if cause:
                return cause
            devices = {machine.device for machine in members}
            for given in self.given:
                if given.ticket.mandate == mandate and given.valid and given.by.device in devices:
                    for guest in given.to:
                        if guest.device not in devices:
                            return f"{guest.name} was never admitted"
        return ""

    def _check_end(self) -> None:
        for mandate in self.mandates:
            for machine in self._members(mandate):
                state = machine.engine.replica(mandate).state
                if folded_anew(machine, mandate) != picture(state):
                    raise Violation(f"{machine.name}: a fresh fold gives something else")
                if taken_up(machine, mandate) != picture(state):
                    raise Violation(f"{machine.name}: what is kept of the fold is something else")
        for place in self.places:
            self.checkers.restarted(place.disk)


def _create(salt: bytes, machine: SimMachine) -> None:
    machine.create(salt=salt)


def _ticket(
    mandate: bytes,
    tickets: list[Ticket],
    machine: SimMachine,
    *,
    role: str = "writer",
    days: int = TICKET_DAYS,
) -> None:
    tickets.append(machine.invite(mandate, role, days=days))


def _expel(mandate: bytes, device: bytes, machine: SimMachine, *, back: bool) -> None:
    if back:
        machine.readmit(mandate, device)
    else:
        machine.remove(mandate, device)
