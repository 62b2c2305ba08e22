"""How fast bytes go through one encrypted connection: ours, and stock py-libp2p."""

import statistics
import subprocess
from collections.abc import Iterator

from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure
from scripts.benchmarks.nodes import environment
from scripts.benchmarks.working import Worker

NAME = "transport"
TITLE = "one connection, end-to-end encrypted, process to process"
LIMITS = ("ChaCha20-Poly1305, 256 KiB (cryptography)",)
STOCK = "py-libp2p"


def run(context: Context) -> Iterator[Figure]:
    """Measures both with Noise and yamux over TCP on loopback."""
    size = context.sizes.transport_bytes
    tries = context.sizes.repeats
    yield from _measured(context, "ours", OURS, size, tries)
    if context.peers and _stock_is_here(context):
        yield from _measured(context, "stock", STOCK, size // 4, 1)


def _stock_is_here(context: Context) -> bool:
    """It is no part of the product, but of what tests it."""
    done = subprocess.run(
        [context.tree.python, "-c", "import libp2p"],
        env=environment(context.tree),
        cwd=context.folder,
        capture_output=True,
    )
    return done.returncode == 0


def _measured(
    context: Context, whose: str, subject: str, size: int, tries: int
) -> Iterator[Figure]:
    rates, costs = [], []
    for _ in range(tries):
        with context.fresh(NAME) as folder:
            server = Worker(context, "transport", "serve", whose, str(size), folder=folder)
            where = server.line()
            client = Worker(
                *(context, "transport", "dial", whose, str(size)),
                *(where["address"], where["device"]),
                folder=folder,
            )
            sent, received = client.line(), server.line()
            rates.append(size / sent["seconds"] / 1e6)
            costs.append((sent["cpu"] + received["cpu"]) / (size / 1e9))
    tell(f"{NAME}: {subject}: {statistics.median(rates):.0f} MB/s")
    yield Figure(
        *(NAME, subject, "rate", statistics.median(rates), "MB/s"),
        better="higher",
        samples=tuple(rates),
    )
    yield Figure(NAME, subject, "processor time for 1 GB, both ends", statistics.median(costs), "s")
