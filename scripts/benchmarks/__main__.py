"""``scripts/bench``: runs benchmarks, compares two commits, writes the report and its plots."""

import argparse
import sys
from pathlib import Path

from scripts.benchmarks import compare, report, run, suite
from scripts.benchmarks.context import tell
from scripts.benchmarks.figures import read

DESCRIPTION = "Measures p2psync, the machine's limits, and the peers that are installed."


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=DESCRIPTION)
    names = [each.NAME for each in suite.CASES]
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"run this one (may be given again): {', '.join(names)}",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, a few minutes")
    parser.add_argument("--no-peers", action="store_true", help="leave other programs out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where the data goes while it runs")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="measure this checkout instead")
    parser.add_argument(
        "--profile", action="store_true", help="sample the nodes while they work (slows them)"
    )
    comparing = parser.add_argument_group("comparing two commits")
    comparing.add_argument("--compare", metavar="BASE", help="measure this tree and BASE in turn")
    comparing.add_argument("--rounds", type=int, default=3, metavar="N", help="3 unless given")
    comparing.add_argument(
        "--tolerance",
        type=float,
        default=1.25,
        metavar="RATIO",
        help="exit with 1 when a median ratio is worse; 1.25 unless given",
    )
    comparing.add_argument("--full", action="store_true", help="compare with the full sizes")
    writing = parser.add_argument_group("writing what was found")
    writing.add_argument(
        "--report", type=Path, metavar="FILE", help="write FILE's figures into docs/performance.md"
    )
    writing.add_argument(
        "--plots", type=Path, metavar="FILE", help="draw FILE's figures into docs/performance/"
    )
    return parser.parse_args(words)


def main() -> int:
    """Does what the command line asks for; returns the exit code."""
    asked = arguments()
    if asked.compare is not None:
        return compare.main(asked)
    if asked.report is None and asked.plots is None:
        return run.main(asked)
    if asked.report is not None:
        report.write(read(asked.report))
        tell(f"written: {report.PAGE.name}")
    if asked.plots is not None:
        # Only here: it needs what is in the bench group of pyproject.toml.
        from scripts.benchmarks import plots

        for path in plots.write(read(asked.plots)):
            tell(f"written: {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
