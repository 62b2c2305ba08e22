"""When devices are dialled, and which of two links stays."""

from itertools import pairwise

from p2psync.engine.desk import Desk
from p2psync.engine.effects import Dial
from p2psync.engine.peering import BACKOFF_SECONDS_MAX, Peering
from p2psync.limits import ADDRESSES_PER_PEER_MAX, DEVICES_SIGHTED_MAX, DIALS_MAX
from tests.engine.machine import entropy_of

ME, LOW, HIGH = b"\x50" * 32, b"\x10" * 32, b"\x90" * 32


def peering() -> Peering:
    return Peering(ME, Desk(entropy_of("peering")))


def run(machine: Peering, until: float) -> list[tuple[float, bytes]]:
    """Let time pass; return when which device was dialled."""
    dials = []
    timers = machine.desk.timers
    while (when := timers.next()) is not None and when <= until:
        machine.desk.now = max(machine.desk.now, when)
        key = timers.due(when)
        assert key is not None
        assert isinstance(key[1], bytes)
        machine.dial_due(key[1])
        for effect in machine.desk.finish():
            assert isinstance(effect, Dial)
            dials.append((machine.desk.now, effect.device))
    machine.desk.now = until
    return dials


def test_waits_double_up_to_a_minute() -> None:
    machine = peering()
    machine.want([HIGH])
    machine.sighted(HIGH, ["/a"])
    times = []
    for _ in range(10):
        (at, device), *_ = run(machine, machine.desk.timers.next() or 0.0)
        assert device == HIGH
        times.append(at)
        machine.dial_failed(HIGH)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert 0.75 <= waits[0] <= 1.25
    assert all(wait <= BACKOFF_SECONDS_MAX * 1.25 for wait in waits)
    assert waits[-1] >= BACKOFF_SECONDS_MAX * 0.75


def test_a_new_address_is_tried_at_once_and_a_known_one_is_not() -> None:
    machine = peering()
    machine.want([HIGH])
    machine.sighted(HIGH, ["/a"])
    run(machine, 0.0)
    for _ in range(5):
        machine.dial_failed(HIGH)
    machine.sighted(HIGH, ["/a"])
    assert not run(machine, machine.desk.now)
    machine.sighted(HIGH, ["/b"])
    assert run(machine, machine.desk.now)
    assert machine.addresses(HIGH) == ("/b", "/a")


def test_a_device_that_shows_itself_is_dialled_at_once() -> None:
    machine = peering()
    machine.want([HIGH])
    machine.sighted(HIGH, ["/a"])
    run(machine, 0.0)
    for _ in range(5):
        machine.dial_failed(HIGH)
    machine.sighted(HIGH, ["/a"], present=True)
    assert [device for _, device in run(machine, machine.desk.now)] == [HIGH]


def test_only_wanted_devices_are_dialled_and_sightings_are_remembered() -> None:
    machine = peering()
    machine.sighted(HIGH, ["/a"])
    assert not run(machine, 100.0)
    machine.want_also([HIGH])
    assert run(machine, 100.0)


def test_what_is_remembered_is_bounded() -> None:
    machine = peering()
    for number in range(DEVICES_SIGHTED_MAX + 50):
        machine.sighted(number.to_bytes(32, "big"), ["/a"])
    assert len(machine._sighted) == DEVICES_SIGHTED_MAX
    machine.want([HIGH])
    machine.sighted(HIGH, [f"/{number}" for number in range(100)])
    machine.sighted(HIGH, ["/" + "x" * 1000])
    assert len(machine.addresses(HIGH)) == ADDRESSES_PER_PEER_MAX


def test_so_many_are_dialled_at_a_time() -> None:
    machine = peering()
    devices = [number.to_bytes(32, "big") for number in range(1, DIALS_MAX + 11)]
    machine.want(devices)
    for device in devices:
        machine.sighted(device, ["/a"])
    assert len(run(machine, 0.0)) == DIALS_MAX
    machine.dial_failed(devices[0])
    assert [each.device for each in machine.desk.finish() if isinstance(each, Dial)] == [
        devices[DIALS_MAX]
    ]


def test_of_two_dials_at_once_the_lower_keys_link_stays() -> None:
    machine = peering()
    assert machine.link_up(1, HIGH, outbound=True) is None
    assert machine.link_up(2, HIGH, outbound=False) == 2, "ours stays: our key is lower"
    assert machine.link_up(3, LOW, outbound=True) is None
    assert machine.link_up(4, LOW, outbound=False) == 3, "theirs stays"


def test_a_second_link_of_the_same_direction_replaces_the_first() -> None:
    machine = peering()
    machine.link_up(1, HIGH, outbound=False)
    assert machine.link_up(2, HIGH, outbound=False) == 1
    assert machine.link_of(HIGH) == 2


def test_an_old_link_gives_way_to_a_new_one() -> None:
    machine = peering()
    machine.link_up(1, HIGH, outbound=True)
    machine.desk.now = 60.0
    assert machine.link_up(2, HIGH, outbound=False) == 1


def test_after_a_mistake_it_waits_longer() -> None:
    machine = peering()
    machine.want([HIGH])
    machine.sighted(HIGH, ["/a"])
    run(machine, 0.0)
    machine.link_up(1, HIGH, outbound=True)
    machine.link_down(1, HIGH, mistake=True)
    wake = machine.desk.timers.next()
    assert wake is not None
    assert wake - machine.desk.now >= 20
