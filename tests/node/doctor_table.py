"""The table of docs/doctor.md: the faults that doctor knows, and the tests that play them.

``python -m tests.node.doctor_table`` writes it anew.
"""

import re
from pathlib import Path

from p2psync.node.fault_types import SUBJECTS
from p2psync.node.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "doctor.md"
PLAYS = sorted((ROOT / "tests").rglob("test_doctor*.py"))
TEST = re.compile(r"^(?:async )?def (test_doctor_names_(\w+))\(", re.MULTILINE)
HEAD = "| code | about | is a | doctor says | what to do | played by |"


def played() -> dict[str, list[str]]:
    """The tests that stage a fault, by its code: ``test_doctor_names_CODE``, ``…_CODE__HOW``."""
    found: dict[str, list[str]] = {}
    for path in PLAYS:
        for name, rest in TEST.findall(path.read_text("utf-8")):
            code = rest.partition("__")[0].replace("_", "-")
            found.setdefault(code, []).append(name)
    return found


def rows() -> list[str]:
    """The lines of the table, in the order in which doctor tells."""
    tests = played()
    out = [HEAD, "|---|---|---|---|---|---|"]
    for code, fault in sorted(FAULTS.items(), key=lambda each: SUBJECTS.index(each[1].subject)):
        names = "<br>".join(f"`{name}`" for name in tests.get(code, ()))
        words = (fault.subject, fault.severity, fault.template, fault.hint_template, names)
        out.append(" | ".join((f"| `{code}`", *words)).rstrip() + " |")
    return out


def written() -> list[str]:
    """The lines of the table that stand in the page."""
    lines = PAGE.read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith("|")]


def main() -> None:
    """Write the page's table anew."""
    lines = PAGE.read_text("utf-8").splitlines()
    first = lines.index(HEAD)
    last = first
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    PAGE.write_text("\n".join([*lines[:first], *rows(), *lines[last:]]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
