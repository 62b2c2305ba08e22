"""Two machines on one LAN, out of network namespaces that live as long as a test.

Needs root and iproute2 (Linux). Every name is random, so that tests may run side by side, and
everything is removed afterwards, also when the test fails.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, timeout=20)


@dataclass
class Machine:
    """One namespace with one address."""

    namespace: str
    host: str
    device: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def python(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python inside, from the repository's root; ended with the LAN."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` inside."""
        _ip("-n", self.namespace, *arguments)

    def slow(self, device: str, rate: str) -> None:
        """Send at most so much out of a device, such as ``16mbit``; empty: as fast as it goes."""
        verb = "replace" if rate else "del"
        shape = ("tbf", "rate", rate, "burst", "256kb", "latency", "50ms") if rate else ()
        inside = ("ip", "netns", "exec", self.namespace)
        subprocess.run(
            [*inside, "tc", "qdisc", verb, "dev", device, "root", *shape],
            check=True,
            capture_output=True,
            timeout=20,
        )

    def readdress(self, host: str) -> None:
        """Give the machine another address, as a change of network does."""
        self.ip("addr", "flush", "dev", self.device, "scope", "global")
        self.ip("addr", "add", f"{host}/24", "dev", self.device)
        self.ip("route", "replace", "224.0.0.0/4", "dev", self.device)
        self.host = host


@contextlib.contextmanager
def lan(hosts: Sequence[str] = ("10.77.0.1", "10.77.0.2")) -> Iterator[tuple[Machine, ...]]:
    """Machines joined by a bridge in a namespace of its own; nothing touches the real network."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        raise RuntimeError("network namespaces need root and iproute2: run this test on Linux so")
    tag = secrets.token_hex(3)
    bridge = f"p2b{tag}"
    machines = tuple(
        Machine(f"p2n{tag}{number}", host, f"p2e{tag}{number}") for number, host in enumerate(hosts)
    )
    try:
        _ip("netns", "add", bridge)
        _ip("-n", bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", bridge, "link", "set", "br0", "up")
        for number, machine in enumerate(machines):
            _ip("netns", "add", machine.namespace)
            port = f"p{number}"
            _ip(
                *("-n", bridge, "link", "add", port, "type", "veth"),
                *("peer", "name", machine.device, "netns", machine.namespace),
            )
            _ip("-n", bridge, "link", "set", port, "master", "br0", "up")
            machine.ip("link", "set", "lo", "up")
            machine.ip("link", "set", machine.device, "up")
            machine.ip("addr", "add", f"{machine.host}/24", "dev", machine.device)
            machine.ip("route", "add", "224.0.0.0/4", "dev", machine.device)
        yield machines
    finally:
        for machine in machines:
            for process in machine.processes:
                _end(process)
        for name in (*(machine.namespace for machine in machines), bridge):
            _ip("netns", "delete", name, check=False)


@contextlib.contextmanager
def apart(count: int = 2) -> Iterator[tuple[Machine, tuple[Machine, ...]]]:
    """A machine in the middle, and others that reach it and nothing else, each in its own network.

    The middle one answers at ``10.78.N.1``, number N at ``10.78.N.2``, N from 1 on.
    """
    if shutil.which("ip") is None or os.geteuid() != 0:
        raise RuntimeError("network namespaces need root and iproute2: run this test on Linux so")
    tag = secrets.token_hex(3)
    middle = Machine(f"p2m{tag}", "10.78.1.1", f"p2m{tag}1")
    others = tuple(
        Machine(f"p2o{tag}{number}", f"10.78.{number}.2", f"p2o{tag}{number}")
        for number in range(1, count + 1)
    )
    try:
        for machine in (middle, *others):
            _ip("netns", "add", machine.namespace)
            machine.ip("link", "set", "lo", "up")
        for number, machine in enumerate(others, 1):
            port = f"p2m{tag}{number}"
            _ip(
                *("-n", middle.namespace, "link", "add", port, "type", "veth"),
                *("peer", "name", machine.device, "netns", machine.namespace),
            )
            middle.ip("addr", "add", f"10.78.{number}.1/24", "dev", port)
            middle.ip("link", "set", port, "up")
            machine.ip("addr", "add", f"{machine.host}/24", "dev", machine.device)
            machine.ip("link", "set", machine.device, "up")
        yield middle, others
    finally:
        for machine in (middle, *others):
            for process in machine.processes:
                _end(process)
        for machine in (middle, *others):
            _ip("netns", "delete", machine.namespace, check=False)


@dataclass(frozen=True)
class Nat:
    """What an office's router does with connections from inside and with calls from outside.

    ``ports`` stands behind ``masquerade``; ``unknown`` is what a call that nobody asked for meets.
    """

    ports: str = ""
    unknown: str = "drop"


PLAIN_NAT = Nat()
"""Keeps ports where it can, and drops what nobody asked for: as most routers do."""
HARD_NAT = Nat("random,fully-random", "meta l4proto tcp reject with tcp reset")
"""Another port for each connection, and a reset for each call: no hole can be punched."""

_RULES = """
table ip office {{
  chain post {{
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade {ports}
  }}
  chain pre {{
    type nat hook prerouting priority dstnat
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname "wan" {unknown}
  }}
}}
"""


@dataclass
class Office:
    """A machine behind a router of its own."""

    machine: Machine
    router: Machine
    nat: Nat

    def setup(self) -> None:
        """Give the router its rules."""
        rules = _RULES.format(ports=self.nat.ports, unknown=self.nat.unknown)
        subprocess.run(
            ["ip", "netns", "exec", self.router.namespace, "nft", "-f", "-"],
            input=rules.encode(),
            check=True,
            capture_output=True,
            timeout=20,
        )

    def move(self, host: str) -> None:
        """Give the office another address outside (in the same /28), as a provider does over
        night: all that the router knew of connections is forgotten."""
        gateway = f"198.51.100.{int(host.rpartition('.')[2]) // 16 * 16 + 1}"
        self.router.ip("addr", "flush", "dev", "wan", "scope", "global")
        self.router.ip("addr", "add", f"{host}/28", "dev", "wan")
        self.router.ip("route", "replace", "default", "via", gateway)
        self.router.host = host
        flush = ["nft", "flush", "ruleset"]
        subprocess.run(
            ["ip", "netns", "exec", self.router.namespace, *flush], check=True, timeout=20
        )
        self.setup()


@contextlib.contextmanager
def internet(nats: Sequence[Nat]) -> Iterator[tuple[Machine, tuple[Office, ...]]]:
    """A machine on the "Internet", and offices behind a router each.

    The middle one answers at ``203.0.113.1`` and passes on between the offices' networks. The
    router of office N (from 1 on) has ``198.51.100.(16 N + 2)``, the machine behind it
    ``192.168.77.2`` in every office. The addresses are those of documentation (RFC 5737).
    """
    if shutil.which("ip") is None or shutil.which("nft") is None or os.geteuid() != 0:
        raise RuntimeError("networks with NAT need root, iproute2 and nftables (Linux)")
    tag = secrets.token_hex(3)
    middle = Machine(f"p2i{tag}", "203.0.113.1", "lo")
    offices = tuple(
        Office(
            Machine(f"p2x{tag}{number}", "192.168.77.2", "office"),
            Machine(f"p2r{tag}{number}", f"198.51.100.{16 * number + 2}", "wan"),
            nat,
        )
        for number, nat in enumerate(nats, 1)
    )
    every = (middle, *(each for office in offices for each in (office.router, office.machine)))
    try:
        for machine in every:
            _ip("netns", "add", machine.namespace)
            machine.ip("link", "set", "lo", "up")
        middle.ip("addr", "add", "203.0.113.1/32", "dev", "lo")
        _forwards(middle)
        for number, office in enumerate(offices, 1):
            _connect(middle, office, number)
        yield middle, offices
    finally:
        for machine in every:
            for process in machine.processes:
                _end(process)
        for machine in every:
            _ip("netns", "delete", machine.namespace, check=False)


def _connect(middle: Machine, office: Office, number: int) -> None:
    router, machine = office.router, office.machine
    port, base = f"office{number}", 16 * number
    _ip(
        *("-n", middle.namespace, "link", "add", port, "type", "veth"),
        *("peer", "name", "wan", "netns", router.namespace),
    )
    _ip(
        *("-n", router.namespace, "link", "add", "lan", "type", "veth"),
        *("peer", "name", "office", "netns", machine.namespace),
    )
    middle.ip("addr", "add", f"198.51.100.{base + 1}/28", "dev", port)
    router.ip("addr", "add", f"{router.host}/28", "dev", "wan")
    router.ip("addr", "add", "192.168.77.1/24", "dev", "lan")
    machine.ip("addr", "add", f"{machine.host}/24", "dev", "office")
    middle.ip("link", "set", port, "up")
    for device in ("wan", "lan"):
        router.ip("link", "set", device, "up")
    machine.ip("link", "set", "office", "up")
    router.ip("route", "add", "default", "via", f"198.51.100.{base + 1}")
    machine.ip("route", "add", "default", "via", "192.168.77.1")
    _forwards(router)
    office.setup()


def _forwards(machine: Machine) -> None:
    """Let a namespace pass on packets."""
    subprocess.run(
        ["ip", "netns", "exec", machine.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"],
        check=True,
        capture_output=True,
        timeout=20,
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=5)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
