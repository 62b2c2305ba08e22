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
