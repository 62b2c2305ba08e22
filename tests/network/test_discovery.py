"""LAN discovery between machines, each a network namespace."""

import json
import queue
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import base58
import pytest

from p2psync.network.identity import device_of_seed, peer_id_text
from tests.netns import Machine, lan
from tests.network.announcer import key_of
from tests.network.rig import seed_of

SECONDS = 25.0


class Talk:
    """What a program inside a machine prints, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def line(self, seconds: float = SECONDS) -> str:
        return self.lines.get(timeout=seconds)

    def event(self, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            event: dict[str, Any] = json.loads(self.line(max(0.1, deadline - time.monotonic())))
            if name in event:
                return event

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


def announcer(machine: Machine, number: int, *mandates: str) -> Talk:
    talk = Talk(machine.python("-m", "tests.network.announcer", str(number), *mandates))
    talk.event("ready")
    return talk


def eavesdropper(machine: Machine, *, ask: bool = False) -> Talk:
    arguments = [machine.host, "ask"] if ask else [machine.host]
    talk = Talk(machine.python("-m", "tests.network.eavesdropper", *arguments))
    assert talk.line() == "ready"
    return talk


def packets(ear: Talk, seconds: float) -> Iterator[bytes]:
    """What is heard until nothing has been for so long."""
    while True:
        try:
            yield bytes.fromhex(ear.line(seconds).split()[1])
        except queue.Empty:
            return


def test_members_find_and_reach_each_other_and_new_mandates_count_at_once() -> None:
    with lan() as (left, right):
        one = announcer(left, 1, "7:1,2")
        two = announcer(right, 2, "8:1,2")
        with pytest.raises(queue.Empty):
            two.line(1.5)
        two.say("mandates 8:1,2 7:1,2")
        seen = two.event("seen")
        assert seen["seen"] == device_of_seed(seed_of(1)).hex()
        assert seen["at"][0].startswith(f"/ip4/{left.host}/tcp/")
        assert not any("127.0.0.1" in address for address in seen["at"])
        assert seen["answer"] == "from 2"
        assert one.event("seen")["seen"] == device_of_seed(seed_of(2)).hex()


def test_a_machine_that_gets_another_address_is_found_there() -> None:
    with lan() as (left, right):
        two = announcer(right, 2, "7:1,2")
        announcer(left, 1, "7:1,2")
        two.event("seen")
        left.readdress("10.77.0.9")
        while not two.event("seen")["at"][0].startswith("/ip4/10.77.0.9/"):
            pass


def test_a_stranger_learns_nothing_but_that_somebody_is_there() -> None:
    """What mDNS sends, raw: no peer ID, device key, mandate, machine or user name."""
    with lan() as (left, right):
        ear = eavesdropper(right)
        one = announcer(left, 1, "7:1,2")
        asker = eavesdropper(right, ask=True)
        heard = list(packets(asker, 1.5))
        one.say("stop")
        one.event("stopped")
        heard += packets(ear, 1.0)
    everything = b"".join(heard)
    assert b"_p2psync" in everything
    assert b"v=1" in everything
    device = device_of_seed(seed_of(1))
    secret: list[bytes] = [
        device,
        device.hex().encode(),
        peer_id_text(device).encode(),
        base58.b58decode(peer_id_text(device)),
        key_of(7),
        key_of(7).hex().encode(),
        socket.gethostname().encode(),
        left.namespace.encode(),
        left.device.encode(),
    ]
    for word in secret:
        assert word not in everything
        assert word.lower() not in everything.lower()


def instance_names(heard: list[bytes]) -> set[bytes]:
    return {name for packet in heard for name in re.findall(rb"\x18([0-9a-f]{24})", packet)}


def test_what_is_said_follows_the_mandates() -> None:
    """Nothing without mandates, a new name for a new set, goodbye for none."""
    with lan() as (left, right):
        ear = eavesdropper(right)
        one = announcer(left, 1)
        assert list(packets(ear, 1.0)) == []
        one.say("mandates 7:1,2")
        first = instance_names(list(packets(ear, 1.2)))
        one.say("mandates 7:1,2 9:1,2")
        both = instance_names(list(packets(ear, 1.2)))
        assert len(first) == 1
        assert len(both - first) == 1
        one.say("mandates")
        goodbye = list(packets(ear, 1.2))
        assert goodbye
        assert instance_names(goodbye) == both - first
        assert all(b"\0\0\0\0" in packet for packet in goodbye), "a time to live of zero"
        one.say("stop")
        one.event("stopped")
        assert list(packets(ear, 0.3)) == []
