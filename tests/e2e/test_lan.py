"""Two machines on a LAN of their own: found without being told where, or by the ticket alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.homes import (
    CRP,
    Home,
    eventually,
    example,
    found_mandate,
    held,
    invite,
    same,
    save,
    share,
)
from tests.netns import Machine, lan

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
RENUMBERED = example("atelier_2025_v2_renumbered.ecf")
PORT_BEFORE = "/ip4/0.0.0.0/tcp/4455"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[tuple[Machine, Home], ...]]:
    """Two machines, each with a home whose node does not run yet."""
    with lan() as found:
        made = [
            (machine, Home(tmp_path / name, (), ("ip", "netns", "exec", machine.namespace)))
            for machine, name in zip(found, ("accountant", "clerk"), strict=True)
        ]
        try:
            yield tuple(made)
        finally:
            for _, home in made:
                home.end()


def test_members_find_each_other_on_a_lan(machines: tuple[tuple[Machine, Home], ...]) -> None:
    """B-NET-1: no address was given, and the one in the ticket is worth nothing."""
    (there, accountant), (_, clerk) = machines
    name = "Réseau"
    accountant.start("--listen", PORT_BEFORE)
    clerk.launch()
    found_mandate(accountant, name)
    ticket = invite(accountant, clerk, name)
    accountant.restart()
    assert not [each for each in accountant.ready["listen"] if each.endswith("/4455")]
    clerk.await_ready()

    sales = clerk.put("ventes.ecf", V1)
    joined = clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
    copy = accountant.folder(name) / "ventes.ecf"
    eventually(same(copy, V1))
    eventually(same(Path(joined["folder"]) / CRP, example(CRP)))
    assert accountant.pending(name) == (7, 0)
    for content in (V2, RENUMBERED):
        save(sales, content)
        eventually(same(copy, content))
        assert accountant.pending(name) == (8, 0)
    posted = accountant("post", name)
    clerk("wait", name, "--timeout", "30")
    assert accountant("wait", name, "--timeout", "30")["synced"]
    [receipt] = clerk("receipts", name)["receipts"]
    assert receipt["receipt"] == posted["receipt"]

    # One of them gets another address, as after a change of network; nobody restarts anything.
    there.readdress("10.77.0.9")
    save(sales, V1)
    eventually(same(copy, V1), 90)
    assert accountant.pending(name) == (2, 3)

    # Both anew, each on another port than the other one remembers.
    clerk.restart("--listen", "/ip4/0.0.0.0/tcp/0")
    accountant.restart("--listen", "/ip4/0.0.0.0/tcp/0")
    save(sales, V2)
    eventually(same(copy, V2), 60)
    for home in (accountant, clerk):
        home.check_logs()


def test_the_addresses_in_the_ticket_are_enough(
    machines: tuple[tuple[Machine, Home], ...],
) -> None:
    """Without discovery: the newcomer dials what the ticket names."""
    (_, accountant), (_, clerk) = machines
    for home in (accountant, clerk):
        home.options = ("--listen", "/ip4/0.0.0.0/tcp/0", "--no-lan")
        home.launch()
    for home in (accountant, clerk):
        home.await_ready()
    both = share(accountant, clerk, "Par billet", V1)
    save(both.sales, V2)
    both.arrives(V2)
    accountant("post", both.mandate)
    eventually(lambda: clerk.pending(both.mandate) == (0, 0))
    # The one that was dialled finds the way back by itself.
    clerk.stop()
    save(both.copy, V1)
    eventually(lambda: accountant.pending(both.mandate) == (2, 3))
    clerk.start()
    eventually(same(both.sales, V1), 60)
    assert held(both.copy) == V1
    both.check_logs()
