"""B-NET: members whose addresses change find one another again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.homes import Home, Json, eventually, example, found_mandate, invite, same, save
from tests.netns import Machine, lan

OPTIONS = ("--no-lan", "--listen", "/ip4/0.0.0.0/tcp/4001")
HOSTS = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")


@pytest.fixture
def offices(tmp_path: Path) -> Iterator[list[tuple[Machine, Home]]]:
    """Three machines with nodes that look for nobody: they know what they are told."""
    with lan(HOSTS) as machines:
        homes = [
            Home(tmp_path / machine.host, OPTIONS, ("ip", "netns", "exec", machine.namespace))
            for machine in machines
        ]
        try:
            for home in homes:
                home.launch()
            for home in homes:
                home.await_ready()
            yield list(zip(machines, homes, strict=True))
        finally:
            for home in homes:
                home.end()


def member(home: Home, mandate: str, other: Home) -> Json:
    """How one member sees another one."""
    device = other("identity", "show")["device"]
    members: list[Json] = home("member", "list", mandate)["members"]
    return next(each for each in members if each["device"] == device)


def test_b_net_two_who_moved_find_one_another_through_a_third(
    offices: list[tuple[Machine, Home]],
) -> None:
    """Neither can call the other where it was; only the third is where they know it to be."""
    (_, anna), (ben_machine, ben), (carl_machine, carl) = offices
    found_mandate(anna, "Atelier")
    for guest in (ben, carl):
        guest("subscribe", invite(anna, guest, "Atelier"))
    eventually(lambda: member(ben, "Atelier", carl)["reached"] is not None, what="they meet")
    shown = member(ben, "Atelier", carl)
    assert (shown["reached"]["how"], shown["online"]) == ("lan", True)
    assert shown["pace"]["rtt_ms"] is not None
    ben_machine.readdress("10.77.0.12")
    carl_machine.readdress("10.77.0.13")

    def at_its_new_address() -> bool:
        peers = {each["device"]: each["address"] for each in ben("status")["peers"]}
        address = peers.get(carl("identity", "show")["device"], "")
        return "10.77.0.13" in address or any(
            "10.77.0.12" in each["address"] for each in carl("status")["peers"]
        )

    eventually(at_its_new_address, 60, what="they meet again")
    sales = ben.put("ventes.ecf", V1)
    ben("attach", "Atelier", sales, "--kind", "invoicing")
    for home in (anna, carl):
        eventually(same(home.folder("Atelier") / "ventes.ecf", V1))
    save(sales, V2)
    for home in (anna, carl):
        eventually(same(home.folder("Atelier") / "ventes.ecf", V2))
        home.check_logs()
