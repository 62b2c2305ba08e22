"""What 500 mandates of five members each cost one laptop, and how soon it has caught up."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from scripts.benchmarks.cases.idle import REST_SECONDS_MAX, at_rest
from scripts.benchmarks.content import save
from scripts.benchmarks.context import BenchmarkFailed, Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.nodes import Node, start_all

NAME = "mandates"
TITLE = "500 mandates on one laptop, 5 members each"
MEMORY_GOAL, CPU_GOAL, RESTART_GOAL = Goal("≤", 200), Goal("≤", 1.0), Goal("≤", 5.0)
LIST_GOAL = Goal("≤", 100)
MEMBERS = 5
SYNC_SECONDS_MAX = 600.0
_FILE_BYTES = 2_000
_POLL_SECONDS = 0.01
_LISTS = 21
_FILE = "file.bin"


def run(context: Context) -> Iterator[Figure]:
    """Measures a laptop at rest, and after a restart when every mandate has a change for it."""
    count = context.sizes.mandates
    names = [f"M{number:03}" for number in range(count)]
    with context.fresh(NAME) as folder:
        nodes = [
            Node(folder / f"n{number}", context.tree, context.processes, context.profiles)
            for number in range(MEMBERS)
        ]
        start_all(nodes)
        owner, laptop, others = nodes[0], nodes[-1], nodes[1:]
        began = time.monotonic()

        def progress(what: str) -> None:
            tell(f"{NAME}: {count} {what} after {time.monotonic() - began:.0f} s")

        tickets = [_found(owner, name) for name in names]
        progress("founded")
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(lambda node: [node.subscribe(ticket) for ticket in tickets], others))
        progress("subscribed to")
        files = {name: _attached(owner, name) for name in names}
        for node in others:
            _all_have(node, files, _FILE_BYTES)
        progress("in sync")
        time.sleep(min(REST_SECONDS_MAX, context.sizes.idle_seconds))
        [percent], [memory] = at_rest((laptop.pid,), context.sizes.idle_seconds)
        yield Figure(NAME, OURS, "memory", memory, "MB", goal=MEMORY_GOAL)
        yield Figure(NAME, OURS, "processor", percent, "% of a core", goal=CPU_GOAL)
        listed = _listing_ms(laptop, count)
        yield Figure(NAME, OURS, "mandate list", listed, "ms", goal=LIST_GOAL)

        laptop.stop()
        for path in files.values():
            save(path, bytes(_FILE_BYTES + 1))
        for node in others[:-1]:
            _all_have(node, files, _FILE_BYTES + 1)
        time.sleep(1)
        started = time.perf_counter()
        laptop.launch()
        _all_have(laptop, files, _FILE_BYTES + 1)
        seconds = time.perf_counter() - started
        laptop.await_ready()
        tell(
            f"{NAME}: {memory:.0f} MB, {percent:.2f} %, listed in {listed:.0f} ms, "
            f"caught up after {seconds:.1f} s"
        )
        yield Figure(
            *(NAME, OURS, "restart → a change of each mandate is there", seconds, "s"),
            goal=RESTART_GOAL,
        )


def _listing_ms(node: Node, count: int) -> float:
    """The median time until the local API has told all mandates with what waits in each."""
    taken: list[float] = []
    for _ in range(_LISTS):
        began = time.perf_counter()
        listed = node.ask("GET", "mandates")["mandates"]
        taken.append((time.perf_counter() - began) * 1000)
        if len(listed) != count:
            raise BenchmarkFailed(f"{len(listed)} of {count} mandates are listed")
    return median(taken)


def _found(owner: Node, name: str) -> str:
    owner.found(name)
    return owner.invite(name, uses=MEMBERS - 1)


def _attached(owner: Node, name: str) -> Path:
    folder = owner.work / name
    folder.mkdir()
    path = save(folder / _FILE, bytes(_FILE_BYTES))
    owner.attach(name, path)
    return path


def _all_have(node: Node, mandates: Mapping[str, Path], size: int) -> None:
    """Returns when the copies of all mandates have this size."""
    missing = {node.folder(name) / _FILE for name in mandates}
    end = time.monotonic() + SYNC_SECONDS_MAX
    while True:
        missing = {path for path in missing if not _has(path, size)}
        if not missing:
            return
        if time.monotonic() > end:
            raise BenchmarkFailed(f"{len(missing)} of {len(mandates)} mandates are not in sync")
        time.sleep(_POLL_SECONDS)


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
