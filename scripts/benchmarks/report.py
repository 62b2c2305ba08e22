"""``scripts/bench --report FILE``: writes the figures of a run into docs/performance.md."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks import suite
from scripts.benchmarks.context import ROOT
from scripts.benchmarks.figures import MACHINE, OURS, Figure, Results
from scripts.benchmarks.tables import goal_of, markdown, rows, with_unit

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- begin: {name}; written by scripts/bench --report -->"
END = "<!-- end: {name} -->"
GOALS_HEAD = (
    "work",
    "p2psync",
    "goal",
    "",
    "goal, scaled",
    "",
    "peers in the same run",
    "limits in the same run",
)
SCALED_UNITS = ("s", "ms", "1/s", "MB/s")
"""Of figures that depend on how fast the machine is."""


def sections(results: Results) -> dict[str, str]:
    """Returns the parts of the page that come from a run, by name."""
    return {
        "machine": markdown(("", ""), sorted_facts(results)),
        "goals": markdown(GOALS_HEAD, goal_rows(results)),
        "limits": markdown(
            ("limit", "value"),
            [
                (each.measure, with_unit(each.value, each.unit))
                for each in results.figures
                if each.subject == MACHINE
            ],
        ),
        "figures": markdown(
            ("benchmark", "who", "measure", "value", "goal", ""),
            rows(each for each in results.figures if each.subject != MACHINE),
        ),
        "profile": "".join(
            f"`{name}`:\n\n```text\n{text}```\n" for name, text in results.profiles.items()
        ),
    }


def sorted_facts(results: Results) -> list[tuple[str, str]]:
    """Returns what the machine is, in the order in which it was found."""
    return list(results.facts.items())


def goal_rows(results: Results) -> list[tuple[str, ...]]:
    """Returns a row for each figure that has a goal."""
    made: list[tuple[str, ...]] = []
    for case in suite.CASES:
        for figure in results.of(case.NAME, OURS):
            goal, near = goal_of(figure)
            if not goal:
                continue
            made.append(
                (
                    f"{case.TITLE}: {figure.measure}",
                    f"**{with_unit(figure.value, figure.unit)}**",
                    goal,
                    near,
                    *goal_of(scaled(results, figure, getattr(case, "REFERENCE", None))),
                    _peers(results, figure),
                    _limits(results, getattr(case, "LIMITS", ())),
                )
            )
    return made


def scaled(results: Results, figure: Figure, reference: tuple[str, float] | None) -> Figure:
    """Returns a figure with its goal as it would be for a machine as fast as this one.

    ``reference`` names the limit that the work depends on most, and its value on the machine for
    which the goals were set. Without one there is no goal, nor for what is no time or rate.
    """
    found = [each for each in results.figures if reference and each.measure == reference[0]]
    if not found or reference is None or figure.goal is None or figure.unit not in SCALED_UNITS:
        return replace(figure, goal=None)
    slower = found[0].value / reference[1]
    if found[0].better == "higher":
        slower = 1 / slower
    goal = figure.goal.value * slower if figure.goal.relation == "≤" else figure.goal.value / slower
    return replace(figure, goal=replace(figure.goal, value=goal))


def _peers(results: Results, figure: Figure) -> str:
    return "; ".join(
        f"{each.subject} {with_unit(each.value, each.unit)}"
        for each in results.of(figure.benchmark)
        if each.subject != OURS and each.measure == figure.measure
    )


def _limits(results: Results, names: Sequence[str]) -> str:
    known = {each.measure: each for each in results.figures if each.subject == MACHINE}
    return "; ".join(
        f"{name} {with_unit(known[name].value, known[name].unit)}"
        for name in names
        if name in known
    )


def replaced(page: str, parts: dict[str, str]) -> str:
    """Returns a page with what stands between its marks replaced; all marks must be there."""
    for name, text in parts.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        head, found, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page has no part for {name}: {begin} … {end}")
        page = f"{head}{begin}\n\n{text}\n{end}{tail}"
    return page


def write(results: Results, page: Path = PAGE) -> None:
    """Rewrites the marked parts of the page."""
    page.write_text(replaced(page.read_text("utf-8"), sections(results)), "utf-8")
