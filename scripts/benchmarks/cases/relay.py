"""How fast bytes go from one device to another through our relay: three processes on loopback."""

import statistics
from collections.abc import Iterator

from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.working import Worker

NAME = "relay"
TITLE = "one link through a relay, end-to-end encrypted, three processes"
GOAL = Goal("≥", 150)
MEMORY_GOAL = Goal("≤", 250)
IDLE_GOAL = Goal("≤", 5)
WHOLE = 1_000
"""So many devices the goals are for."""


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
    yield from _crowd(context)


def _crowd(context: Context) -> Iterator[Figure]:
    """Measures what a relay takes for devices that are connected and say nothing."""
    count, seconds = context.sizes.relay_devices, context.sizes.relay_idle_seconds
    with context.fresh(NAME) as folder:
        relay = Worker(context, "relay", "hold", str(count), str(seconds), folder=folder)
        where = relay.line()
        crowd = Worker(
            *(context, "relay", "crowd", str(count), where["address"], where["device"]),
            folder=folder,
        )
        crowd.line()
        taken = relay.line()
    memory, share = taken["memory"] / 1e6, 100 * taken["share"]
    tell(f"{NAME}: {count:,} devices: {memory:.0f} MB, {share:.1f} % of a core")
    whole = count >= WHOLE
    yield Figure(
        *(NAME, OURS, f"memory with {count:,} devices", memory, "MB"),
        goal=MEMORY_GOAL if whole else None,
        compared=whole,
    )
    yield Figure(
        *(NAME, OURS, f"idle with {count:,} devices", share, "% of a core"),
        goal=IDLE_GOAL if whole else None,
        compared=whole,
    )
