"""What a mandate with 20 files and 200,000 records costs: asking what waits, and one more save."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.cases.propagation import milliseconds
from scripts.benchmarks.content import EXAMPLE, record_saves, save
from scripts.benchmarks.context import ROOT, BenchmarkFailed, Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.nodes import Json, Node
from scripts.benchmarks.pairs import MANDATE, Ours, ours

NAME = "pending"
TITLE = "a mandate with 20 files and 200,000 records: what waits, and one more save"
FILES = 20
ASK_GOAL = Goal("≤", 100)
SAVE_GOAL = Goal("≤", 1.25)
"""The same, as far as the noise of a machine lets one tell."""
ARRIVAL_SECONDS_MAX = 600.0
_SETTINGS = ROOT / "docs" / "examples" / "atelier_2025.crp"
_LISTS = 20
_NOTED_SECONDS = 6.0
"""What was found out is noted a moment after the last change."""
_EDITED = 5


def run(context: Context) -> Iterator[Figure]:
    """Measures the accounting's answers in each state of the mandate, and saves in a small file."""
    records = context.sizes.pending_records // FILES
    with ours(context, "invoicing") as pair:
        settings = save(pair.source / _SETTINGS.name, _SETTINGS.read_bytes())
        pair.a.attach(MANDATE, settings, kind="accounting")
        paths = [pair.source / f"sales-{number:02}.ecf" for number in range(FILES)]
        contents = [lines(number, records) for number in range(FILES)]
        for path, content in zip(paths, contents, strict=True):
            save(path, b"".join(content))
        with Arrivals(pair.target) as arrivals:
            pair.take_up(paths)
            size = len(b"".join(contents[0]))
            arrivals.all_of([path.name for path in paths], size, ARRIVAL_SECONDS_MAX)
            pair.settle()
        yield from _asked(pair, paths, contents, records)
        full = _saves(pair, context.sizes.saves)
    with ours(context, "invoicing") as pair:
        empty = _saves(pair, context.sizes.saves)
    for what, samples in (("with all these records", full), ("in an empty mandate", empty)):
        yield Figure(
            *(NAME, OURS, f"one more save, {what}", statistics.median(samples), "ms"),
            samples=tuple(samples),
        )
    ratio = statistics.median(full) / statistics.median(empty)
    tell(f"{NAME}: one more save costs {ratio:.2f} times that in an empty mandate")
    yield Figure(NAME, OURS, "one more save, against an empty mandate", ratio, "", goal=SAVE_GOAL)


def lines(number: int, records: int) -> list[bytes]:
    """Gives an exchange file: header, then invoices over all days of a year."""
    head, change, line, *_ = EXAMPLE.read_bytes().splitlines(keepends=True)

    def record(place: int) -> bytes:
        day, month = place % 28 + 1, place // 28 % 12 + 1
        dated = line.replace(b"05.03.2025", b"%02d.%02d.2025" % (day, month))
        return dated.replace(b"R-2001", b"R-%02d%06d" % (number, place))

    return [head, change, *(record(place) for place in range(records))]


def _asked(
    pair: Ours, paths: list[Path], contents: list[list[bytes]], records: int
) -> Iterator[Figure]:
    """Asks in the states that a mandate goes through; each first answer counts by itself."""
    office = pair.a
    count = FILES * records

    def pending() -> Json:
        return office.ask("GET", "mandates", MANDATE, "pending")

    def expect(added: int, deleted: int) -> float:
        began = time.perf_counter()
        said = pending()
        took = (time.perf_counter() - began) * 1000
        if (said["added"], said["deleted"]) != (added, deleted):
            raise BenchmarkFailed(f"{said['added']} and {said['deleted']} wait")
        return took

    def told(what: str, took: float, goal: Goal | None = ASK_GOAL) -> Figure:
        tell(f"{NAME}: {what}: {took:.1f} ms")
        return Figure(NAME, OURS, what, took, "ms", goal=goal)

    yield told("what waits, right after all was taken up", expect(count, 0))
    yield told("what waits", _median(lambda: expect(count, 0)))
    yield told("mandate list", _median(lambda: _timed(office, "mandates")))
    yield told("mandate show", _median(lambda: _timed(office, "mandates", MANDATE)))
    _append(pair, paths[0], contents[0])
    yield told("what waits, right after one more record", expect(count + 1, 0))
    yield told("mandate show, right after one more record", _timed(office, "mandates", MANDATE))
    time.sleep(_NOTED_SECONDS)
    _again(office)
    yield told("what waits, the first time after a start", expect(count + 1, 0))
    began = time.perf_counter()
    office.ask("POST", "mandates", MANDATE, "receipts", body={})
    yield told("posting all of it", (time.perf_counter() - began) * 1000, None)
    yield told("what waits, right after posting", expect(0, 0))
    for path, content in list(zip(paths, contents, strict=True))[:_EDITED]:
        content[2] = content[2].replace(b"2340.00", b"2300.00")
        _append(pair, path, content)
    yield told("what waits, right after five edited files", expect(2 * _EDITED, _EDITED))
    yield told("what waits, of edited files", _median(lambda: expect(2 * _EDITED, _EDITED)))
    time.sleep(_NOTED_SECONDS)
    _again(office)
    yield told("what waits, of edited files after a start", expect(2 * _EDITED, _EDITED))


def _append(pair: Ours, path: Path, content: list[bytes]) -> None:
    """Saves a file with one record more, and waits until both sides have it."""
    content.append(content[-1].replace(b"\tR-", b"\tS-"))
    data = b"".join(content)
    with Arrivals(pair.target) as arrivals:
        save(path, data)
        arrivals.all_of([path.name], len(data), ARRIVAL_SECONDS_MAX)
        pair.settle()


def _again(node: Node) -> None:
    node.stop()
    node.start()


def _timed(node: Node, *path: str) -> float:
    began = time.perf_counter()
    node.ask("GET", *path)
    return (time.perf_counter() - began) * 1000


def _median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(_LISTS))


def _saves(pair: Ours, saves: int) -> list[float]:
    contents = record_saves(2_000)
    small = save(pair.source / "small.ecf", next(contents))
    pair.take_up([small])
    return milliseconds(pair, small, contents, saves)
