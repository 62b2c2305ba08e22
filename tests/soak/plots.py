"""Draws what a soak measured; needs matplotlib, which only the group ``bench`` has."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from tests.soak.summary import Row, of

COLOURS = ("#1f6f8b", "#c0392b", "#7d8f2e", "#8e5ea2", "#b0762b", "#555555")
FAULT_COLOUR = "#d8d8d8"
POINTS_MAX = 900
"""What is drawn of a line: more makes the file large and shows nothing more."""


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw memory, descriptors and latency; return the files that were written."""
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "p2psync", "svg.fonttype": "none", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    drawings: Sequence[tuple[str, Callable[[Sequence[Row]], Drawing]]] = (
        ("soak-memory", lambda rows: _lines(rows, "rss", 1e6, "MB of resident memory")),
        ("soak-descriptors", lambda rows: _lines(rows, "fds", 1, "open descriptors")),
        ("soak-latency", _latency),
    )
    written = []
    for name, draw in drawings:
        path = folder / f"{name}.svg"
        draw(rows).savefig(path, metadata={"Date": None}, bbox_inches="tight")
        lines = path.read_text("utf-8").splitlines()
        path.write_text("".join(f"{line.rstrip()}\n" for line in lines), "utf-8")
        written.append(path)
    return written


def _lines(rows: Sequence[Row], measure: str, unit: float, label: str) -> Drawing:
    drawing, axes = _paper(rows)
    samples = of(rows, "sample")
    nodes = sorted({row["node"] for row in samples})
    for node in nodes:
        own = [row for row in samples if row["node"] == node]
        name = f"node {node}" + (", never ended" if node == nodes[-1] else "")
        for life in sorted({row["life"] for row in own}):
            part = [row for row in own if row["life"] == life]
            part = part[:: max(1, len(own) // POINTS_MAX)]
            axes.plot(
                [row["t"] / 60 for row in part],
                [row[measure] / unit for row in part],
                color=COLOURS[node % len(COLOURS)],
                linewidth=0.9,
                label=name,
            )
            name = "_same"
    axes.set(xlabel="minutes; grey: a fault", ylabel=label)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right", frameon=False)
    return drawing


def _latency(rows: Sequence[Row]) -> Drawing:
    drawing, axes = _paper(rows)
    for calm, name, colour in (
        (False, "soon after a fault", COLOURS[1]),
        (True, "between nodes at rest", COLOURS[0]),
    ):
        part = [row for row in of(rows, "arrival") if row["calm"] == calm]
        axes.plot(
            [row["t"] / 60 for row in part],
            [row["ms"] for row in part],
            ".",
            color=colour,
            markersize=3,
            label=name,
        )
    axes.set(
        yscale="log",
        xlabel="minutes; grey: a fault",
        ylabel="ms from a save to another disk",
    )
    axes.legend(loc="upper right", frameon=False)
    return drawing


def _paper(rows: Sequence[Row]) -> tuple[Drawing, Any]:
    drawing = Drawing(figsize=(6.5, 3))
    axes = drawing.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for row in of(rows, "fault"):
        axes.axvline(row["t"] / 60, color=FAULT_COLOUR, linewidth=0.5, zorder=0)
    return drawing, axes
