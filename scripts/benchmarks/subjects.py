"""Who is measured: p2psync, and the peers that are installed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from scripts.benchmarks.context import Context
from scripts.benchmarks.pairs import Pair, ours
from scripts.benchmarks.peers.rsync import rsync
from scripts.benchmarks.peers.rsync import version as rsync_version
from scripts.benchmarks.peers.syncthing import syncthing
from scripts.benchmarks.peers.syncthing import version as syncthing_version


def subjects(context: Context) -> Iterator[AbstractContextManager[Pair]]:
    """Gives what opens each program for a first sync; ours as often as it is to be repeated."""
    for _ in range(context.sizes.repeats):
        yield ours(context)
    if context.peers and syncthing_version():
        yield syncthing(context)
    if context.peers and rsync_version():
        yield rsync(context)
        yield rsync(context, fsync=True)
