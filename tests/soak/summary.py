"""What the rows of a soak come to, as text for docs/performance.md."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- soak:start -->", "<!-- soak:end -->"
WINDOW_SECONDS = 600.0
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """The rows of a run; a last line that was cut off is left out."""
    rows: list[Row] = []
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows


def of(rows: Iterable[Row], kind: str) -> list[Row]:
    """The rows of one kind."""
    return [row for row in rows if row["kind"] == kind]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The rise of the straight line with the least squares; 0 where there is none to draw."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    if not below:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below


@dataclass(frozen=True, slots=True)
class Growth:
    """A measure of one node over a run: medians of the samples near each moment."""

    start: float
    tenth: float
    end: float
    most: float
    an_hour: float
    """The slope after the first tenth."""


def growth(samples: Sequence[Row], measure: str) -> Growth:
    """How a measure changed, from samples in the order of their time; there must be some."""
    first, last = samples[0]["t"], samples[-1]["t"]
    tenth = first + (last - first) / 10
    near = max(1, len(samples) // 50)
    later = [each for each in samples if each["t"] >= tenth]

    def median(part: Sequence[Row]) -> float:
        return quantile([float(each[measure]) for each in part], 0.5)

    return Growth(
        median(samples[:near]),
        median(later[:near]),
        median(samples[-near:]),
        max(each[measure] for each in samples),
        slope([(each["t"], each[measure]) for each in later]) * 3600,
    )


def text(rows: Sequence[Row]) -> str:
    """The figures of a run as Markdown."""
    return "\n".join([*_counts(rows), "", *_growths(rows), "", *_latencies(rows)]) + "\n"


def _counts(rows: Sequence[Row]) -> list[str]:
    begin, checks = of(rows, "begin")[0], of(rows, "check")
    outcomes = Counter((row["name"], row["outcome"]) for row in of(rows, "action"))
    done = {name: count for (name, outcome), count in sorted(outcomes.items()) if outcome == "done"}
    else_ = Counter(row["outcome"] for row in of(rows, "action") if row["outcome"] != "done")
    faults = Counter(row["name"] for row in of(rows, "fault"))
    unmeasured: Counter[str] = Counter()
    for row in of(rows, "unmeasured"):
        unmeasured[row["why"]] += row["count"]
    problems = of(rows, "problem")
    lines = [
        f"- {begin['nodes']} nodes, seed {begin['seed']}, {rows[-1]['t'] / 60:.0f} minutes",
        f"- work: {sum(done.values())} done ({_list(done)})"
        + (f"; {_list(else_)}" if else_ else ""),
        f"- faults: {faults.total()} ({_list(faults)})",
        f"- checks with all at rest: {len(checks)}, of which {sum(row['ok'] for row in checks)} "
        "found everything as noted",
    ]
    backs = [row["seconds"] for row in of(rows, "back")]
    if backs:
        lines.append(
            f"- starts after a fault: {len(backs)}, median {quantile(backs, 0.5):.1f} s, "
            f"longest {max(backs):.1f} s"
        )
    if checks:
        last = checks[-1]
        waits = [row["seconds"] for row in checks]
        lines += [
            f"- from the end of work to the same on all, all checked: median "
            f"{quantile(waits, 0.5):.1f} s, longest {max(waits):.1f} s",
            f"- in the end: {last['files']} files, {last['records']} postings, "
            f"{last['receipts']} receipts; homes of "
            + ", ".join(f"{size / 1e6:.0f}" for size in last["homes"])
            + " MB",
        ]
    lines.append(
        f"- saves measured: {len(of(rows, 'arrival'))} arrivals; not measured: "
        f"{_list(unmeasured) or 'none'}; not there within 120 s: {len(of(rows, 'late'))}"
    )
    lines.append(f"- problems: {len(problems)}")
    lines += [f"  - {' '.join(row['text'].split())[:300]}" for row in problems]
    return lines


def _list(counts: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _growths(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| node | lives | memory at the start | after 10 % | at the end | most"
        " | after 10 %, an hour | descriptors: start, end, most | threads: most"
        " | database: start, end | CPU |",
        "| --- " * 11 + "|",
    ]
    samples = of(rows, "sample")
    for node in sorted({row["node"] for row in samples}):
        own = [row for row in samples if row["node"] == node]
        lives = len({row["life"] for row in own})
        memory, fds = growth(own, "rss"), growth(own, "fds")
        used = sum(
            max(row["cpu"] for row in own if row["life"] == life)
            for life in {row["life"] for row in own}
        )
        up = len(own)
        # Between lives memory falls back: a line through several lives says nothing.
        rise = f"{memory.an_hour / 1e3:+,.0f} KB" if lives == 1 else ""
        lines.append(
            f"| {node} | {lives} | {memory.start / 1e6:.1f} MB | {memory.tenth / 1e6:.1f} MB"
            f" | {memory.end / 1e6:.1f} MB | {memory.most / 1e6:.1f} MB | {rise}"
            f" | {fds.start:.0f}, {fds.end:.0f}, {fds.most:.0f}"
            f" | {max(row['threads'] for row in own)}"
            f" | {own[0]['db'] / 1e6:.1f}, {own[-1]['db'] / 1e6:.1f} MB"
            f" | {used / up * 100:.1f} % of a core |"
        )
    return lines


def _latencies(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| minutes | saves between nodes at rest | median | 95th | most"
        " | soon after a fault | median | 95th | most |",
        "| --- " * 9 + "|",
    ]
    arrivals = of(rows, "arrival")
    windows = sorted({int(row["t"] // WINDOW_SECONDS) for row in arrivals})
    for window in windows:
        inside = [row for row in arrivals if row["t"] // WINDOW_SECONDS == window]
        name = f"{window * WINDOW_SECONDS / 60:.0f} to {(window + 1) * WINDOW_SECONDS / 60:.0f}"
        lines.append(f"| {name} | {_three(inside, True)} | {_three(inside, False)} |")
    if arrivals:
        lines.append(f"| all | {_three(arrivals, True)} | {_three(arrivals, False)} |")
    return lines


def _three(arrivals: Sequence[Row], calm: bool) -> str:
    times = [row["ms"] for row in arrivals if row["calm"] == calm]
    if not times:
        return "0 | | | "
    median, most_of, most = quantile(times, 0.5), quantile(times, 0.95), max(times)
    return f"{len(times)} | {median:,.0f} ms | {most_of:,.0f} ms | {most:,.0f} ms"


def replaced(page: str, part: str) -> str:
    """A page with what stands between the marks of a soak replaced; both must be there."""
    head, found, rest = page.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the page has no part for a soak: {BEGIN} … {END}")
    return f"{head}{BEGIN}\n\n{part}\n{END}{tail}"
