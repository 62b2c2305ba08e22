"""``scripts/bench --compare BASE``: the working tree against a commit, in turn on one machine."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks import ratios
from scripts.benchmarks.context import ROOT, BenchmarkFailed, Context, Sizes, Tree, tell
from scripts.benchmarks.figures import Figure, Results
from scripts.benchmarks.run import INTERRUPTED, measure, workplace

NAMES = ("propagation", "large-file", "many-files", "scattered", "start", "records", "transport")
"""What is compared unless other benchmarks are asked for."""
LOCK = "requirements.lock"


def checkout(commit: str, folder: Path) -> Tree:
    """Writes a commit's files into a folder; gives it an environment of its own if it needs one."""
    try:
        packed = subprocess.run(
            ["git", "archive", "--format=tar", commit], cwd=ROOT, check=True, capture_output=True
        )
    except subprocess.CalledProcessError as error:
        raise BenchmarkFailed(f"{commit}: {error.stderr.decode().strip()}") from None
    folder.mkdir()
    subprocess.run(["tar", "-x"], cwd=folder, input=packed.stdout, check=True)
    if (folder / LOCK).read_bytes() == (ROOT / LOCK).read_bytes():
        return Tree(folder)
    tell(f"{commit} needs other packages: making an environment for it")
    subprocess.run([folder / "scripts" / "setup"], check=True, stdout=sys.stderr)
    return Tree(folder, str(folder / ".venv" / "bin" / "python"))


def rounds(
    context: Context,
    base: Tree,
    names: Sequence[str],
    count: int,
    measured: Callable[[Context, Sequence[str]], Results] = measure,
) -> tuple[list[list[Figure]], list[list[Figure]]]:
    """Measures both trees in turn; the one that begins changes with each round."""
    found: dict[Tree, list[list[Figure]]] = {base: [], context.tree: []}
    for number in range(count):
        order = [base, context.tree] if number % 2 == 0 else [context.tree, base]
        for tree in order:
            tell(f"round {number + 1} of {count}: {'base' if tree is base else 'this tree'}")
            found[tree].append(measured(replace(context, tree=tree), names).figures)
    return found[base], found[context.tree]


def main(asked: argparse.Namespace) -> int:
    """Compares; returns 1 when a median ratio is worse than the tolerance, or a figure is lost."""
    # One try a round: the rounds are the repetition.
    sizes = replace(Sizes() if asked.full else Sizes.quick(), repeats=1)
    try:
        with workplace(asked.dir) as (folder, processes):
            base = checkout(asked.compare, folder / "base")
            context = Context(folder, processes, sizes, peers=False)
            both = rounds(context, base, asked.only or NAMES, asked.rounds)
    except KeyboardInterrupt:
        tell("interrupted; every process was ended")
        return INTERRUPTED
    except BenchmarkFailed as error:
        tell(f"FAILED: {error}")
        return 1
    found, missing = ratios.ratios(*both)
    sys.stdout.write(ratios.table(found, asked.tolerance))
    for each in missing:
        sys.stdout.write(f"not measured in every round of both: {each}\n")
    worse = [each for each in found if each.is_worse(asked.tolerance)]
    sys.stdout.write(
        f"{len(worse)} of {len(found)} are worse by more than a factor of {asked.tolerance:g}\n"
    )
    return 1 if worse or not found else 0
