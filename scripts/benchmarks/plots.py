"""``scripts/bench --plots FILE``: draws the figures of a run into docs/performance/."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from scripts.benchmarks.context import ROOT
from scripts.benchmarks.figures import OURS, Figure, Results
from scripts.benchmarks.tables import with_unit

FOLDER = ROOT / "docs" / "performance"
OUR_COLOUR, OTHER_COLOUR, GOAL_COLOUR = "#1f6f8b", "#b0b0b0", "#c0392b"
_FIRST_SYNCS = (("large-file", "time"), ("many-files", "time"), ("scattered", "time"))


def write(results: Results, folder: Path = FOLDER) -> list[Path]:
    """Draws what the run has figures for; returns the files that were written."""
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "p2psync", "svg.fonttype": "none", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    drawings: Sequence[tuple[str, Callable[[Results], Drawing | None]]] = (
        ("propagation", _propagation),
        ("first-sync", _first_sync),
        ("goals", _goals),
        ("one-more", _one_more),
    )
    for name, draw in drawings:
        drawing = draw(results)
        if drawing is not None:
            path = folder / f"{name}.svg"
            drawing.savefig(path, metadata={"Date": None}, bbox_inches="tight")
            path.write_text(
                "".join(f"{line.rstrip()}\n" for line in path.read_text("utf-8").splitlines()),
                "utf-8",
            )
            written.append(path)
    return written


def _propagation(results: Results) -> Drawing | None:
    """How many of the saves had arrived after which time."""
    medians = [each for each in results.of("propagation", OURS) if len(each.samples) > 1]
    if not medians:
        return None
    drawing, axes = _paper(6.5, 3)
    for each in medians:
        ordered = sorted(each.samples)
        share = [(number + 1) / len(ordered) * 100 for number in range(len(ordered))]
        axes.step(ordered, share, where="post", label=each.measure.partition(",")[0])
        if each.goal is not None:
            axes.axvline(each.goal.value, color=GOAL_COLOUR, linewidth=0.8, linestyle="--")
    axes.set(xlabel="ms from the save to the other disk", ylabel="% of the saves", ylim=(0, 101))
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", frameon=False)
    axes.set_title("Save on A → on the disk of B (dashed: the goal for the median)")
    return drawing


def _first_sync(results: Results) -> Drawing | None:
    """Bars for each program."""
    groups = [
        (name, [each for each in results.of(name) if each.measure == measure])
        for name, measure in _FIRST_SYNCS
    ]
    groups = [group for group in groups if group[1]]
    if not groups:
        return None
    count = sum(len(figures) for _, figures in groups) + len(groups)
    drawing, axes = _paper(6.5, 0.28 * count + 0.8)
    ticks: list[tuple[float, str]] = []
    place = 0.0
    for name, figures in groups:
        for each in figures:
            colour = OUR_COLOUR if each.subject == OURS else OTHER_COLOUR
            axes.barh(place, each.value, color=colour, height=0.8)
            axes.text(each.value, place, f" {with_unit(each.value, each.unit)}", va="center")
            if each.goal is not None:
                axes.plot([each.goal.value] * 2, [place - 0.5, place + 0.5], color=GOAL_COLOUR)
            ticks.append((place, f"{name}: {each.subject}"))
            place += 1
        place += 0.6
    axes.set_yticks([tick for tick, _ in ticks], [text for _, text in ticks])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="s, logarithmic; red: the goal")
    return drawing


def _goals(results: Results) -> Drawing | None:
    """How near each figure is to its goal."""
    found = [each for each in results.figures if each.goal is not None and each.goal.value]
    if not found:
        return None
    drawing, axes = _paper(6.5, 0.26 * len(found) + 0.8)
    for place, each in enumerate(found):
        ratio = _share(each)
        colour = OUR_COLOUR if ratio <= 1 else GOAL_COLOUR
        axes.barh(place, ratio, color=colour, height=0.7)
        axes.text(ratio, place, f" {with_unit(each.value, each.unit)}", va="center")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), [f"{each.benchmark}: {each.measure}" for each in found])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="share of the goal, logarithmic; left of 1 it is met")
    return drawing


def _share(figure: Figure) -> float:
    assert figure.goal is not None
    if figure.goal.relation == "≤":
        return figure.value / figure.goal.value
    return figure.goal.value / figure.value


def _one_more(results: Results) -> Drawing | None:
    """The cost of an entry over the length of the log."""
    found = [each for each in results.of("one-more", OURS) if each.measure.startswith("after ")]
    if len(found) < 2:
        return None
    lengths = [int(each.measure.split()[1].replace(",", "")) for each in found]
    drawing, axes = _paper(6.5, 2.6)
    axes.plot(lengths, [each.value for each in found], marker="o", color=OUR_COLOUR)
    axes.set(
        xscale="log",
        xlabel="entries that are there, logarithmic",
        ylabel=f"{found[0].unit} for one more",
    )
    axes.set_ylim(bottom=0)
    return drawing


def _paper(width: float, height: float) -> tuple[Drawing, Any]:
    drawing = Drawing(figsize=(width, height))
    axes = drawing.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return drawing, axes
