"""``scripts/bench --report FILE``: writes the figures of a run into docs/performance.md."""

from collections.abc import Sequence
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
    "peers in the same run",
    "limits in the same run (where the goals were set)",
)
LIMITS_THERE = {
    "20 KB: write, fsync, rename, fsync of the folder": 0.17,
    "loopback, one byte there and back": 0.02,
    "write with fsync": 1_000.0,
    "files of 20 KB with fsync and rename": 6_000.0,
    "Ed25519 checks, one core (PyNaCl)": 20_000.0,
    "SQLite, rows at 1,000 a commit": 400_000.0,
    "SQLite, commits of one row": 14_000.0,
    "start of Python": 9.0,
}
"""What the machine could do for which the goals were set, in the units of the limits."""


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
                    _peers(results, figure),
                    _limits(results, getattr(case, "LIMITS", ())),
                )
            )
    return made


def _peers(results: Results, figure: Figure) -> str:
    return "; ".join(
        f"{each.subject} {with_unit(each.value, each.unit)}"
        for each in results.of(figure.benchmark)
        if each.subject != OURS and each.measure == figure.measure
    )


def _limits(results: Results, names: Sequence[str]) -> str:
    known = {each.measure: each for each in results.figures if each.subject == MACHINE}
    return "; ".join(_limit(known[name]) for name in names if name in known)


def _limit(limit: Figure) -> str:
    text = f"{limit.measure} {with_unit(limit.value, limit.unit)}"
    there = LIMITS_THERE.get(limit.measure)
    return text if there is None else f"{text} ({with_unit(there, limit.unit)})"


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
