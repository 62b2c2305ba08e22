"""How fast bytes go from one device to another through our relay: three processes on loopback."""

import statistics
from collections.abc import Iterator

from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.working import Worker

NAME = "relay"
TITLE = "one link through a relay, end-to-end encrypted, three processes"
GOAL = Goal("≥", 150)


def run(context: Context) -> Iterator[Figure]:
    """Measures frames over one circuit; the relay opens and seals its own layer only."""
    size = context.sizes.transport_bytes // 2
    rates, ends, relays = [], [], []
    for _ in range(context.sizes.repeats):
        with context.fresh(NAME) as folder:
            relay = Worker(context, "relay", "pass", folder=folder)
            middle = relay.line()
            server = Worker(
                *(context, "relay", "serve", str(size), middle["address"], middle["device"]),
                folder=folder,
            )
            where = server.line()
            client = Worker(
                *(context, "relay", "dial", str(size), where["address"], where["device"]),
                folder=folder,
            )
            sent, received, passed = client.line(), server.line(), relay.line()
            rates.append(size / sent["seconds"] / 1e6)
            ends.append((sent["cpu"] + received["cpu"]) / (size / 1e9))
            relays.append(passed["cpu"] / (size / 1e9))
    tell(f"{NAME}: {statistics.median(rates):.0f} MB/s")
    yield Figure(
        *(NAME, OURS, "rate", statistics.median(rates), "MB/s"),
        better="higher",
        goal=GOAL,
        samples=tuple(rates),
    )
    yield Figure(NAME, OURS, "processor time for 1 GB, both ends", statistics.median(ends), "s")
    yield Figure(NAME, OURS, "processor time for 1 GB, relay", statistics.median(relays), "s")
