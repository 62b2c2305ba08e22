"""B-NET-2: one member says for all which relay they use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.homes import Home, eventually, example, found_mandate, invite, same, save
from tests.e2e.test_relay import NO_LAN, RelayHome, state_of
from tests.netns import apart

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
HOSTS = ("10.78.1.1", "10.78.2.1")


@pytest.fixture
def offices(tmp_path: Path) -> Iterator[tuple[RelayHome, Home, Home]]:
    """A relay that runs, and two nodes in networks where each reaches it at another address."""
    with apart(2) as (middle, others):
        inside = [("ip", "netns", "exec", each.namespace) for each in (middle, *others)]
        relay = RelayHome(tmp_path / "relay", NO_LAN, inside[0])
        accountant = Home(tmp_path / "accountant", NO_LAN, inside[1])
        clerk = Home(tmp_path / "clerk", NO_LAN, inside[2])
        try:
            for home in (relay, accountant, clerk):
                home.start()
            yield relay, accountant, clerk
        finally:
            for home in (relay, accountant, clerk):
                home.end()


def test_b_net_2_what_one_member_names_all_use_and_drop(
    offices: tuple[RelayHome, Home, Home],
) -> None:
    """The clerk never says anything of a relay: first the ticket does, then the mandate."""
    relay, accountant, clerk = offices
    found_mandate(accountant, "Acme")
    for host in HOSTS:
        accountant("relay", "add", relay.address(host), "--mandate", "Acme")
    accountant("mandate", "share", "Acme")
    eventually(lambda: state_of(accountant) == "reserved", what="a reservation")
    sales = clerk.put("ventes.ecf", V1)
    ticket = invite(accountant, clerk, "Acme")
    clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
    eventually(same(accountant.folder("Acme") / "ventes.ecf", V1))
    [known] = clerk("relay", "list")["relays"]
    assert (known["own"], known["mandates"]) == (False, ["Acme"])
    eventually(lambda: relay("relay", "status")["devices"] == 2, what="both keep a place")
    [member] = [each for each in clerk("member", "list", "Acme")["members"] if each["reached"]]
    assert member["reached"]["how"] == "relayed"
    assert member["pace"]["rtt_ms"] is not None

    removed = accountant("relay", "remove", HOSTS[0], "--mandate", "Acme")
    assert (removed["own"], removed["mandates"]) == (False, [])
    eventually(lambda: all(map(_unused, (accountant, clerk))), what="it is heard")
    # What stands goes on, so that all hear of it.
    save(sales, V2)
    eventually(same(accountant.folder("Acme") / "ventes.ecf", V2))
    for home in (accountant, clerk):
        home.check_logs()


def _unused(home: Home) -> bool:
    """Whether nobody's word makes a node use the relays that it knows."""
    relays = home("relay", "list")["relays"]
    return all(not (each["own"] or each["mandates"] or each["tickets"]) for each in relays)
