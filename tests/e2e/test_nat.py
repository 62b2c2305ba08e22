"""B-NET-2: two offices, each behind a NAT of its own, and a relay on the "Internet"."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
from tests.e2e.test_relay import RelayHome, state_of
from tests.netns import HARD_NAT, PLAIN_NAT, Machine, Nat, Office, internet

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
NAME = "Réseau"
LARGE = "annexes.bin"
MIB = 1024 * 1024
RELAY = "203.0.113.1"


@dataclass
class Offices:
    relay: RelayHome
    accountant: Home
    clerk: Home
    networks: tuple[Office, ...]
    middle: Machine

    def start(self) -> None:
        """Run all three at once."""
        homes = (self.relay, self.accountant, self.clerk)
        for home in homes:
            home.launch()
        for home in homes:
            home.await_ready()

    def how(self) -> list[str]:
        """By which way each of the two reaches the other now."""
        return [reached(home) for home in (self.accountant, self.clerk)]

    def subscribed(self, large: bytes = b"") -> tuple[Path, Path]:
        """Subscribe the clerk by ticket; the clerk's file, and the accountant's copy of it.

        The accountant has attached a ``large`` file before, if there is one.
        """
        accountant, clerk = self.accountant, self.clerk
        found_mandate(accountant, NAME)
        if large:
            accountant("attach", NAME, accountant.put(LARGE, large), "--kind", "other")
        accountant("relay", "add", self.relay.address(RELAY))
        eventually(lambda: state_of(accountant) == "reserved", what="a reservation")
        ticket = invite(accountant, clerk, NAME)
        sales = clerk.put("ventes.ecf", V1)
        joined = clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
        copy = accountant.folder(NAME) / "ventes.ecf"
        eventually(same(copy, V1))
        eventually(same(Path(joined["folder"]) / CRP, example(CRP)))
        return sales, copy


def reached(home: Home) -> str:
    """How the one peer of a home is reached; empty when it is not."""
    ways = [each["reached"] for each in home("status")["peers"]]
    return "".join(way["how"] for way in ways if way)


@contextmanager
def two_offices(tmp_path: Path, *nats: Nat, start: bool = True) -> Iterator[Offices]:
    """A relay and the nodes of two offices, all running if told so."""
    with internet(nats) as (middle, networks):
        namespaces = [middle.namespace, *(each.machine.namespace for each in networks)]
        homes = [
            kind(tmp_path / name, ("--no-lan",), ("ip", "netns", "exec", namespace))
            for kind, name, namespace in zip(
                (RelayHome, Home, Home), ("relay", "accountant", "clerk"), namespaces, strict=True
            )
        ]
        relay, accountant, clerk = homes
        assert isinstance(relay, RelayHome)
        try:
            offices = Offices(relay, accountant, clerk, networks, middle)
            if start:
                offices.start()
            yield offices
        finally:
            for home in homes:
                home.end()


def seen(home: Home) -> Json | None:
    """What a node says of the outside once it knows that nobody can call it."""
    outside: Json = home("status")["outside"]
    return outside if outside["reach"] == "private" else None


def test_offices_sync_through_the_relay_and_then_through_a_hole(tmp_path: Path) -> None:
    """B-NET-2: subscribe by ticket; a large file begins through the relay, slowly, and goes on
    directly; sync both ways; and again after one office got another address."""
    large = os.urandom(40 * MIB)
    with two_offices(tmp_path, PLAIN_NAT, PLAIN_NAT) as offices:
        accountant, clerk = offices.accountant, offices.clerk
        offices.middle.slow("office2", "24mbit")  # alone through the relay it would take 14 s
        sales, copy = offices.subscribed(large)
        eventually(lambda: offices.how() == ["punched", "punched"], what="a direct way")
        offices.middle.slow("office2", "")
        eventually(same(clerk.folder(NAME) / LARGE, large))
        carried = offices.relay("relay", "status")["carried_bytes"]
        assert 0 < carried < len(large), "the rest came directly"
        assert accountant("post", NAME)["added"] == 7
        save(sales, V2)
        eventually(same(copy, V2))
        assert clerk("wait", NAME, "--timeout", "30")["synced"]
        assert offices.relay("relay", "status")["carried_bytes"] == carried
        outside = eventually(lambda: seen(clerk), what="the node knows that nobody can call it")
        assert outside is not None
        assert outside["addresses"][0].startswith("/ip4/198.51.100.34/")

        offices.networks[1].move("198.51.100.40")
        save(sales, V1)
        eventually(same(copy, V1), what="the office comes back")
        eventually(lambda: offices.how() == ["punched", "punched"], what="a direct way again")


def test_where_no_hole_can_be_punched_the_relay_goes_on_passing_on(tmp_path: Path) -> None:
    with two_offices(tmp_path, HARD_NAT, HARD_NAT) as offices:
        sales, copy = offices.subscribed()
        eventually(
            lambda: offices.accountant("status")["outside"]["reach"] == "private",
            what="the node knows that nobody can call it",
        )
        save(sales, V2)
        eventually(same(copy, V2))
        assert offices.clerk("wait", NAME, "--timeout", "30")["synced"]
        assert offices.how() == ["relayed", "relayed"]


def test_a_router_that_maps_ports_lets_the_other_office_in(tmp_path: Path) -> None:
    """UPnP: no hole can be punched, and no relay carries what is saved all the same."""
    with two_offices(tmp_path, HARD_NAT, HARD_NAT, start=False) as offices:
        network = offices.networks[0]
        network.machine.ip("route", "add", "239.0.0.0/8", "dev", "office")
        network.machine.ip("route", "add", "224.0.0.0/4", "dev", "office")
        box = network.router.python("-m", "tests.network.igd", "192.168.77.1", network.router.host)
        assert box.stdout is not None
        assert json.loads(box.stdout.readline()) == {"ready": True}
        offices.accountant.options = ()
        offices.start()
        mapped = json.loads(box.stdout.readline())
        outside = f"/ip4/{network.router.host}/tcp/{mapped['NewExternalPort']}"
        eventually(lambda: outside in offices.accountant("status")["listen"], what="a mapping")
        sales, copy = offices.subscribed()
        eventually(lambda: offices.how() == ["direct", "direct"], what="a direct way")
        eventually(
            lambda: offices.accountant("status")["outside"]["reach"] == "public",
            what="the relay can call",
        )
        save(sales, V2)
        eventually(same(copy, V2))
        offices.accountant.stop()
        assert json.loads(box.stdout.readline())["action"] == "DeletePortMapping"
