"""B-NET-2: two offices that reach a relay and nothing else of one another."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.homes import (
    CRP,
    Home,
    Json,
    eventually,
    example,
    found_mandate,
    invite,
    same,
    save,
)
from tests.e2e.relay_homes import NO_LAN, RelayHome
from tests.netns import apart

__all__ = ["NO_LAN", "RelayHome", "state_of"]
V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")


@dataclass
class Offices:
    relay: RelayHome
    accountant: Home
    clerk: Home


@pytest.fixture
def offices(tmp_path: Path) -> Iterator[Offices]:
    """A relay that runs, and two homes whose nodes do not run yet."""
    with apart(2) as (middle, others):
        homes = [
            kind(tmp_path / name, NO_LAN, ("ip", "netns", "exec", machine.namespace))
            for kind, machine, name in zip(
                (RelayHome, Home, Home),
                (middle, *others),
                ("relay", "accountant", "clerk"),
                strict=True,
            )
        ]
        relay, accountant, clerk = homes
        assert isinstance(relay, RelayHome)
        try:
            relay.start()
            yield Offices(relay, accountant, clerk)
        finally:
            for home in homes:
                home.end()


def state_of(home: Home) -> str:
    relays: list[Json] = home("relay", "list")["relays"]
    return str(relays[0]["state"])


def test_two_offices_meet_through_a_relay_and_again_after_it_was_away(offices: Offices) -> None:
    """B-NET-2: first by the ticket alone, then again after the relay was killed and came back."""
    relay, accountant, clerk = offices.relay, offices.accountant, offices.clerk
    name = "Réseau"
    accountant.start()
    clerk.start()
    found_mandate(accountant, name)
    accountant("relay", "add", relay.address("10.78.1.1"))
    # The relay has another address in the other network; it is one and the same relay.
    clerk("relay", "add", relay.address("10.78.2.1"))
    eventually(lambda: state_of(accountant) == "reserved", what="a reservation")

    ticket = invite(accountant, clerk, name)
    sales = clerk.put("ventes.ecf", V1)
    joined = clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
    copy = accountant.folder(name) / "ventes.ecf"
    eventually(same(copy, V1))
    eventually(same(Path(joined["folder"]) / CRP, example(CRP)))
    posted = accountant("post", name)
    assert posted["added"] == 7
    assert clerk("wait", name, "--timeout", "30")["synced"]
    seen = relay("relay", "status")
    assert (seen["devices"], seen["circuits"]) == (2, 1)
    assert seen["carried_bytes"] > 0

    for home in (accountant, clerk):
        ways = [each["reached"] for each in home("member", "list", name)["members"]]
        ways += [each["reached"] for each in home("status")["peers"]]
        assert [way["how"] for way in ways if way] == ["relayed", "relayed"]
        for way in filter(None, ways):
            assert way["relay"] in ("10.78.1.1", "10.78.2.1")
            assert way["since"]

    relay.kill()
    eventually(lambda: state_of(clerk) == "unreachable", what="the clerk is told")
    save(sales, V2)
    relay.start()
    eventually(same(copy, V2), 120)
    assert accountant.pending(name) == (3, 2)
    assert state_of(clerk) == state_of(accountant) == "reserved"


def test_a_relay_lets_nobody_in_without_its_token(offices: Offices) -> None:
    relay, accountant = offices.relay, offices.accountant
    accountant.start()
    found_mandate(accountant, "Acme")
    bare = relay.address("10.78.1.1").partition("/p2psync-token/")[0]
    accountant("relay", "add", bare)
    eventually(lambda: state_of(accountant) == "refused", what="a refusal")
    [alert] = accountant("alerts", "Acme")["alerts"] or accountant("alerts")["alerts"]
    assert alert["type"] == "relay-away"
    assert "does not let this device in" in alert["text"]
    accountant("relay", "add", relay.address("10.78.1.1"))
    eventually(lambda: state_of(accountant) == "reserved", what="a reservation")
    eventually(lambda: not accountant("alerts")["alerts"], what="the alert is settled")
