"""The table of docs/rules.md: read, and written anew from the names of the tests.

``python -m tests.rules.table`` puts every test of this folder beside its rule.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "rules.md"
FOLDER = Path(__file__).resolve().parent
NUMBERS = {
    "MAN": 7,
    "ATT": 6,
    "POS": 8,
    "MIG": 3,
    "DET": 3,
    "REM": 6,
    "NOT": 4,
    "ID": 4,
    "VAL": 2,
    "HIS": 3,
}
"""How many rules each section has."""
RULES = [f"B-{name}-{number}" for name, most in NUMBERS.items() for number in range(1, most + 1)]
TEST = re.compile(r"^(?:async )?def (test_b_([a-z]+)_(\d+)_\w+)\(", re.MULTILINE)
ROW = re.compile(r"^\| (B-[A-Z]+-\d+) \| (.+) \| (.+) \|(?: (.+))? \|$")


@dataclass(frozen=True)
class Row:
    """A rule, what it is about, and the tests that show it: here, and elsewhere."""

    rule: str
    words: str
    tests: tuple[str, ...]
    elsewhere: tuple[str, ...]


def names() -> dict[str, list[str]]:
    """The tests of this folder by the rule that they are named after."""
    found: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("test_*.py")):
        for name, section, number in TEST.findall(path.read_text("utf-8")):
            found.setdefault(f"B-{section.upper()}-{number}", []).append(f"{path.name}::{name}")
    return found


def rows() -> list[Row]:
    """The page's rows."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        row = ROW.match(line)
        if row is not None:
            rule, words, tests, elsewhere = row.groups()
            found.append(Row(rule, words, _listed(tests), _listed(elsewhere or "")))
    return found


def _listed(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def main() -> None:
    """Write the page's third column anew."""
    tests, lines = names(), []
    for line in PAGE.read_text("utf-8").splitlines():
        row = ROW.match(line)
        if row is not None:
            rule, words, _, elsewhere = row.groups()
            cell = "<br>".join(f"`{name}`" for name in tests.get(rule, [])) or "none"
            line = f"| {rule} | {words} | {cell} |{f' {elsewhere}' if elsewhere else ''} |"
        lines.append(line)
    PAGE.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
