"""Figures as text: for a terminal, and as Markdown."""

from collections.abc import Iterable, Sequence

from scripts.benchmarks.figures import Figure

HEAD = ("what", "who", "measure", "value", "goal", "")


def amount(value: float) -> str:
    """Returns a number with three digits that count."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.001 or not value else f"{value:.2g}"


def with_unit(value: float, unit: str) -> str:
    """Returns an amount with its unit: ``1/s`` stands behind it without the 1."""
    return f"{amount(value)}/s" if unit == "1/s" else f"{amount(value)} {unit}".rstrip()


def goal_of(figure: Figure) -> tuple[str, str]:
    """Returns a figure's goal, and whether it is met: two empty texts when it has none."""
    if figure.goal is None:
        return "", ""
    text = f"{figure.goal.relation} {with_unit(figure.goal.value, figure.unit)}"
    if figure.goal.met_by(figure.value):
        return text, "met"
    ratio = figure.value / figure.goal.value if figure.goal.value else float("inf")
    return text, f"{ratio:.2f} of it"


def rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """Returns a row for each figure; a benchmark's name stands in its first one only."""
    made: list[tuple[str, ...]] = []
    before = ""
    for each in figures:
        name = "" if each.benchmark == before else each.benchmark
        before = each.benchmark
        value = with_unit(each.value, each.unit)
        made.append((name, each.subject, each.measure, value, *goal_of(each)))
    return made


def plain(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Returns a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [head, tuple("-" * width for width in widths), *body]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
