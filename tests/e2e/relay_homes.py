"""Relays as processes, offices that reach nothing else of one another, and trouble between them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.e2e.homes import Home, Json, eventually
from tests.netns import Machine, apart

NO_LAN = ("--no-lan",)


@dataclass
class RelayHome(Home):
    """The process of a relay."""

    number: int = 1

    @property
    def port(self) -> int:
        """Where it listens."""
        return 4001 + 10 * (self.number - 1)

    def host(self, network: int) -> str:
        """Its address in one of the two networks."""
        # The offices themselves end in 2.
        return f"10.78.{network}.{1 + 10 * (self.number - 1)}"

    def launch(self, *options: str) -> None:
        """Run the relay; ``options`` replace those that keep several on one machine apart."""
        self.root.mkdir(parents=True, exist_ok=True)
        if self.number > 1 and not options:
            config = self.root / "relay.toml"
            config.write_text(
                f'listen = ["/ip4/0.0.0.0/tcp/{self.port}"]\n'
                f'monitor = "127.0.0.1:{self.port + 1}"\n'
            )
            options = ("--config", str(config))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command("relay", "run", *options),
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def await_ready(self) -> None:
        """Return when it says that it is ready."""
        self.ready = json.loads(self._ready_line())

    def address(self, host: str) -> str:
        """Its address at one of its hosts, with the token."""
        (found,) = [
            each["address"]
            for each in self.ready["addresses"]
            if each["address"].startswith(f"/ip4/{host}/")
        ]
        return str(found)


@dataclass
class Offices:
    """The accountant's and the clerk's node, not running yet, and the relays between them."""

    middle: Machine
    relays: tuple[RelayHome, ...]
    accountant: Home
    clerk: Home

    @property
    def relay(self) -> RelayHome:
        """The first relay."""
        return self.relays[0]

    def start(self) -> None:
        """Run both nodes."""
        for home in (self.accountant, self.clerk):
            home.launch()
        for home in (self.accountant, self.clerk):
            home.await_ready()

    def use(self, *relays: RelayHome) -> None:
        """Have both use some relays, each by the address that it has in their network."""
        for relay in relays:
            self.accountant("relay", "add", relay.address(relay.host(1)))
            self.clerk("relay", "add", relay.address(relay.host(2)))

    def reserved(self, *homes: Home) -> None:
        """Wait until both, or these, are reached through all relays that they use."""
        for home in homes or (self.accountant, self.clerk):
            eventually(partial(_all_reserved, home), what="reservations")

    def darken(self, *relays: RelayHome) -> None:
        """Lose every packet that goes to these relays or comes from them."""
        ports = ", ".join(str(relay.port) for relay in relays)
        _nft(
            self.middle,
            f"""table inet dark {{
                chain to {{
                    type filter hook input priority 0; policy accept
                    tcp dport {{ {ports} }} drop
                }}
                chain from {{
                    type filter hook output priority 0; policy accept
                    tcp sport {{ {ports} }} drop
                }}
            }}
            """,
        )

    def lighten(self) -> None:
        """Let packets through again."""
        _nft(self.middle, "delete table inet dark\n")

    def relay_between(self, mandate: str) -> RelayHome | None:
        """The relay that the two meet through now, as the accountant sees it."""
        reached = [each["reached"] for each in self.accountant("status")["peers"]]
        hosts = {way["relay"] for way in reached if way and way["how"] == "relayed"}
        found = [relay for relay in self.relays if relay.host(1) in hosts]
        return found[0] if found else None


def states_of(home: Home) -> list[str]:
    """How it stands with each relay of a node."""
    return [str(each["state"]) for each in relays_of(home)]


def _all_reserved(home: Home) -> bool:
    return set(states_of(home)) == {"reserved"}


def relays_of(home: Home) -> list[Json]:
    """What ``relay list`` says."""
    found: list[Json] = home("relay", "list")["relays"]
    return found


def _nft(machine: Machine, rules: str) -> None:
    subprocess.run(
        ["ip", "netns", "exec", machine.namespace, "nft", "-f", "-"],
        input=rules.encode(),
        check=True,
        capture_output=True,
        timeout=20,
    )


@contextmanager
def offices(root: Path, relays: int = 1) -> Iterator[Offices]:
    """Relays that run, on one machine with an address each, and two homes in other networks."""
    with apart(2) as (middle, others):
        tag = middle.device[:-1]
        made = tuple(RelayHome(root / f"relay{n}", number=n) for n in range(1, relays + 1))
        for relay in made:
            relay.prefix = ("ip", "netns", "exec", middle.namespace)
            if relay.number > 1:
                for network in (1, 2):
                    middle.ip("addr", "add", f"{relay.host(network)}/24", "dev", f"{tag}{network}")
        accountant, clerk = (
            Home(root / name, NO_LAN, ("ip", "netns", "exec", machine.namespace))
            for name, machine in zip(("accountant", "clerk"), others, strict=True)
        )
        try:
            for relay in made:
                relay.launch()
            for relay in made:
                relay.await_ready()
            yield Offices(middle, made, accountant, clerk)
        finally:
            for home in (*made, accountant, clerk):
                home.end()
