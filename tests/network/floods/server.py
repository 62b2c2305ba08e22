"""The process that is flooded: a transport with its real limits, and a pipe to ask how it is.

Started with the keys of the devices that it knows, in hex. Says where it listens in a line of
JSON, then answers each line that it reads: ``mark`` starts a new measure of the peak, ``how``
tells.
"""

import json
import os
import resource
import sys
from pathlib import Path

import trio

from p2psync import limits
from p2psync.engine.ports import Link, LinkBroken, LinkEnded
from p2psync.network.config import TransportConfig
from p2psync.network.host import Libp2pTransport
from tests.network.rig import CALLED_SEED, LOOPBACK

POUR = b"pour"
IGNORE = b"ignore"


async def accept(link: Link) -> None:
    """Echo every frame; ``POUR``: send for ever; ``IGNORE``: never read again."""
    try:
        while True:
            frame = await link.receive()
            match frame:
                case b"pour":
                    while True:
                        await link.send(bytes(limits.FRAME_BYTES_MAX))
                case b"ignore":
                    await trio.sleep_forever()
            await link.send(frame)
    except (LinkBroken, LinkEnded):
        return


def how(transport: Libp2pTransport) -> dict[str, float]:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rss": int(status["VmRSS"].split()[0]) * limits.KIB,
        "peak": int(status["VmHWM"].split()[0]) * limits.KIB,
        "cpu": usage.ru_utime + usage.ru_stime,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "upgrading": transport.guard.upgrading,
        "established": transport.guard.established,
    }


async def main() -> None:
    known = frozenset(bytes.fromhex(word) for word in sys.argv[1:])
    config = TransportConfig(known=known.__contains__)
    transport = Libp2pTransport(CALLED_SEED, [LOOPBACK], accept, config=config)
    async with transport.open():
        say([transport.addresses()[0], transport.device.hex()])
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            if line.strip() == "mark":
                new_peak()
            say(how(transport))


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def new_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


if __name__ == "__main__":
    trio.run(main)
