"""B-NET-2: an office whose network lets out nothing but port 443, and one behind an HTTP proxy."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import Authority
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
from tests.netns import PLAIN_NAT, Machine, internet

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
NAME = "Réseau"
RELAY = "203.0.113.1"
TLS = "/tcp/443/tls/sni/relay.example.ch/ws"
ONLY = """
table ip only {{
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    {accepted}
  }}
}}
"""


@dataclass
class Offices:
    """A relay at ports 4001 and 443, the accountant's office, and the clerk's, which is narrow."""

    relay: RelayHome
    accountant: Home
    clerk: Home
    router: Machine
    """Of the clerk's office."""
    ca: Path

    def forward(self, accepted: str) -> None:
        """Have the clerk's router pass on nothing but what a rule of nftables accepts."""
        subprocess.run(
            ["ip", "netns", "exec", self.router.namespace, "nft", "-f", "-"],
            input=ONLY.format(accepted=accepted).encode(),
            check=True,
            capture_output=True,
            timeout=20,
        )

    def ticket(self) -> Path:
        """Found a mandate whose tickets name both addresses of the relay; one for the clerk.

        Meanwhile the clerk tries to reach the relay for a mandate of their own.
        """
        self.clerk("relay", "add", self.relay.ready["addresses"][1]["address"])
        self.clerk("mandate", "create", "Essai")
        self.clerk("mandate", "share", "Essai")
        found_mandate(self.accountant, NAME)
        for address in self.relay.ready["addresses"]:
            self.accountant("relay", "add", address["address"])
        eventually(lambda: state_of(self.accountant) == "reserved", what="a reservation")
        return invite(self.accountant, self.clerk, NAME)

    def sync(self, ticket: Path) -> None:
        """Subscribe, and sync both ways."""
        accountant, clerk = self.accountant, self.clerk
        sales, copy = clerk.put("ventes.ecf", V1), accountant.folder(NAME) / "ventes.ecf"
        clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
        eventually(same(copy, V1))
        eventually(same(clerk.folder(NAME) / CRP, example(CRP)))
        assert accountant("post", NAME)["added"] == 7
        save(sales, V2)
        eventually(same(copy, V2))
        assert clerk("wait", NAME, "--timeout", "30")["synced"]


@contextmanager
def offices(tmp_path: Path) -> Iterator[Offices]:
    """The relay runs, and the accountant's node; the clerk's does not."""
    authority = Authority(tmp_path)
    files = authority.issue("relay.example.ch")
    config = tmp_path / "relay.toml"
    config.write_text(
        f'listen = ["/ip4/{RELAY}/tcp/4001", "/ip4/{RELAY}/tcp/443/tls/ws"]\n'
        f'announce = ["/ip4/{RELAY}/tcp/4001", "/ip4/{RELAY}{TLS}"]\n'
        f'[tls]\ncertificate = "{files.certificate.name}"\nkey = "{files.key.name}"\n'
    )
    options = ("--no-lan", "--ca", str(authority.ca))
    with internet((PLAIN_NAT, PLAIN_NAT)) as (middle, (first, second)):
        relay, accountant, clerk = (
            kind(tmp_path / name, given, ("ip", "netns", "exec", machine.namespace))
            for kind, name, given, machine in (
                (RelayHome, "relay", (), middle),
                (Home, "accountant", options, first.machine),
                (Home, "clerk", options, second.machine),
            )
        )
        assert isinstance(relay, RelayHome)
        try:
            relay.launch("--config", str(config))
            accountant.launch()
            relay.await_ready()
            accountant.await_ready()
            yield Offices(relay, accountant, clerk, second.router, authority.ca)
        finally:
            # The relay last: it would wait for the circuits of the others.
            for home in (clerk, accountant, relay):
                home.end()


def cause(home: Home) -> str:
    relays: list[Json] = home("relay", "list")["relays"]
    return str(relays[0].get("cause", "")) if relays else ""


def test_an_office_that_lets_out_port_443_alone_syncs_through_a_relay_there(
    tmp_path: Path,
) -> None:
    """The ticket names both addresses; only TLS gets out. Without the CA the cause is told."""
    with offices(tmp_path) as made:
        made.forward('iifname "lan" tcp dport 443 accept')
        made.clerk.start("--no-lan")
        ticket = made.ticket()
        told = eventually(lambda: cause(made.clerk), what="the cause")
        assert "signed by nobody whom this machine trusts" in told
        assert "--ca FILE" in told

        made.clerk.restart()
        made.sync(ticket)
        [reached] = [each["reached"] for each in made.clerk("status")["peers"] if each["reached"]]
        assert (reached["how"], reached["relay"]) == ("relayed", RELAY)


def test_an_office_behind_an_http_proxy_syncs_once_its_password_is_right(tmp_path: Path) -> None:
    """Nothing but the proxy gets out, and the proxy calls port 443 alone."""
    with offices(tmp_path) as made:
        made.forward("meta l4proto tcp reject with tcp reset")
        proxy = made.router.python(
            *("-m", "tests.e2e.connect_proxy", "192.168.77.1", "3128", "clerk:geheim")
        )
        assert proxy.stdout is not None
        assert proxy.stdout.readline() == "ready\n"
        clerk = made.clerk
        clerk.start()
        ticket = made.ticket()

        url = "http://clerk@192.168.77.1:3128"
        shown = clerk.run("network", "proxy", "set", "http://clerk:geheim@192.168.77.1:3128")
        assert shown.error is not None
        assert shown.error["code"] == "proxy-password-shown"
        set_proxy = ("network", "proxy", "set", url, "--password-file")
        clerk(*set_proxy, clerk.put("wrong", b"falsch\n"))
        state = eventually(lambda: refused(clerk), what="a refusal")
        assert state is not None
        assert state["cause"] == "it does not take the user name or the password"
        [alert] = eventually(lambda: clerk.alerts("proxy-refused"), what="an alert")
        assert "192.168.77.1:3128" in alert["text"]

        clerk(*set_proxy, clerk.put("right", b"geheim\n"))
        eventually(lambda: state_of(clerk) == "reserved", what="a reservation")
        assert clerk("network", "proxy", "show")["state"] == "works"
        assert not clerk.alerts("proxy-refused")
        made.sync(ticket)
        said = clerk("status")["proxy"]
        assert (said["proxy"], said["password"], said["source"]) == (url, True, "setting")
        kept = clerk.home / "proxy.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "geheim" not in clerk.said()


def refused(home: Home) -> Json | None:
    said = home("network", "proxy", "show")
    return said if said["state"] == "password-refused" else None
