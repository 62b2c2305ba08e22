"""``scripts/bench``: runs benchmarks, compares two commits, writes the report and its plots."""

import argparse
import sys
from pathlib import Path

from scripts.benchmarks import run, suite

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
    return parser.parse_args(words)


def main() -> int:
    """Does what the command line asks for; returns the exit code."""
    asked = arguments()
    return run.main(asked)


if __name__ == "__main__":
    sys.exit(main())
