"""B-NET-2: relays in trouble, between processes: nothing is lost, and the cause is shown meanwhile.

Minutes and hours of the same are on a clock that jumps, in tests/network/test_relay_away.py.
"""

from functools import partial
from pathlib import Path

from tests.e2e.homes import CRP, Home, eventually, example, found_mandate, invite, same, save
from tests.e2e.relay_homes import Offices, offices, relays_of, states_of

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
NAME = "Atelier"


def begin(both: Offices) -> Path:
    """Let the two share a mandate; the clerk's file, which the accountant has a copy of."""
    found_mandate(both.accountant, NAME)
    both.use(both.relay)
    both.reserved(both.accountant)  # the clerk shares nothing yet, and waits for no call
    sales = both.clerk.put("ventes.ecf", V1)
    ticket = invite(both.accountant, both.clerk, NAME)
    joined = both.clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
    eventually(same(copy_of(both), V1))
    eventually(same(Path(joined["folder"]) / CRP, example(CRP)))
    return sales


def copy_of(both: Offices) -> Path:
    return both.accountant.folder(NAME) / "ventes.ecf"


def away(home: Home) -> bool:
    return "unreachable" in states_of(home)


def alone(home: Home) -> bool:
    ways = [each["reached"] for each in home("member", "list", NAME)["members"]]
    return ways == [None, None]


def ids(home: Home) -> set[bytes]:
    return {entry for _, _, entry in home.entries()}


def test_b_net_2_a_black_hole_and_then_another_relay_lose_nothing(tmp_path: Path) -> None:
    """Saved and posted while no packet passes; the first relay never comes back in time."""
    with offices(tmp_path, relays=2) as both:
        first, second = both.relays
        accountant, clerk = both.accountant, both.clerk
        both.start()
        sales = begin(both)
        both.darken(first)
        save(sales, V2)
        assert accountant("post", NAME)["added"] == 7
        for home in (accountant, clerk):
            eventually(partial(away, home), what="it is shown as away")
            [relay] = relays_of(home)
            assert relay["cause"] and relay["since"], relay
            eventually(partial(alone, home), what="nobody is reached")
        assert same(copy_of(both), V1)()

        both.use(second)
        eventually(same(copy_of(both), V2))
        assert accountant.pending(NAME) == (3, 2)
        for home in (accountant, clerk):
            home("wait", NAME, "--synced", "--timeout", "30")
            assert sorted(states_of(home)) == ["reserved", "unreachable"]
            home("relay", "remove", first.host(1 if home is accountant else 2))
            assert states_of(home) == ["reserved"]
            assert not home("alerts")["alerts"]
            home.check_logs()
        assert ids(accountant) == ids(clerk)


def test_b_net_2_of_two_relays_one_dies_or_falls_silent_and_work_goes_on(tmp_path: Path) -> None:
    """Each time through the relay that the two are linked by; the other one takes over."""
    with offices(tmp_path, relays=2) as both:
        accountant, clerk = both.accountant, both.clerk
        both.start()
        sales = begin(both)
        both.use(both.relays[1])
        both.reserved()
        content = (V2, V1)
        for turn in range(2):
            used = eventually(lambda: both.relay_between(NAME), what="a relayed link")
            assert used is not None
            if turn == 0:
                used.kill()
            else:
                both.darken(used)
            save(sales, content[turn])
            eventually(same(copy_of(both), content[turn]))
            now = eventually(lambda: both.relay_between(NAME), what="a relayed link")
            assert now is not used
            for home in (accountant, clerk):
                eventually(partial(away, home), what="it is shown as away")
                assert sorted(states_of(home)) == ["reserved", "unreachable"]
                assert not home("alerts")["alerts"], "nobody is disturbed by what works"
            if turn == 0:
                used.start()
            else:
                both.lighten()
            both.reserved()
        for home in (accountant, clerk):
            home("wait", NAME, "--synced", "--timeout", "30")
            home.check_logs()
