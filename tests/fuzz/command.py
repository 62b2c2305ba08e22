"""The command line of the fuzzing; ``scripts/fuzz`` runs it.

Runs each target for a while from its seeds and corpus. Inputs that reach something new are kept in
tests/fuzz/corpus; one that fails is printed, with how to run it again.
"""

import argparse
import base64
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import corpus, running
from tests.fuzz.target import Target
from tests.fuzz.targets import NAMES, find

INPUTS_KEPT_MAX = 250
"""Of one target: the smallest ones that reach something of their own."""


def main() -> int:
    """Run; return 1 when something failed."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=NAMES, help="default: all")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--list", action="store_true", help="name the targets and what must hold")
    parser.add_argument("--forget", action="store_true", help="keep no new inputs")
    chosen = parser.parse_args()
    if chosen.list:
        for target in map(find, NAMES):
            say(f"{target.name:10} {target.holds}")
        return 0
    failures = 0
    for name in chosen.target or NAMES:
        failures += one(find(name), chosen.minutes, chosen.seed, keep=not chosen.forget)
    return 1 if failures else 0


def one(target: Target, minutes: float, seed: int, *, keep: bool) -> int:
    """Run one target; return how many inputs failed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        started = corpus.unpack(target, work / "corpus")
        seconds = max(1, round(60 * minutes))
        options = (f"-max_total_time={seconds}", f"-seed={seed}")
        ended = running.finish(running.start(target, work, *options), work)
        kept = minimised(target, work) if keep and not ended.failed and not ended.code else None
        for path in ended.failed:
            data = path.read_bytes()
            say(f"{target.name}: FAILED on {data[:200]!r}, {len(data)} bytes")
            say(f"  add to tests/fuzz/finds/{target.name}.txt: {base64.b64encode(data).decode()}")
        if ended.code:
            say(trouble(ended.output))
        say(
            f"{target.name:10} {ended.executions:9} executions, {started:4} inputs before, "
            f"{ended.covered:5} features, {time.monotonic() - began:4.0f} s"
            + ("" if kept is None else f"; {kept} kept besides the seeds")
        )
    return len(ended.failed) or int(bool(ended.code))


def minimised(target: Target, work: Path) -> int:
    """Keep the fewest small inputs that reach all that was reached."""
    small = work / "small"
    (small / "corpus").mkdir(parents=True)
    options = ("-merge=1", str(work / "corpus"))
    merged = running.finish(running.start(target, small, *options), small)
    if merged.code:
        say(trouble(merged.output))
        return 0
    found = sorted((small / "corpus").iterdir(), key=lambda path: path.stat().st_size)
    return corpus.write(target, (path.read_bytes() for path in found[:INPUTS_KEPT_MAX]))


def trouble(output: str) -> str:
    """The part of the output that tells what went wrong."""
    at = output.find("=== Uncaught Python exception")
    return output[at:][:4000] if at >= 0 else output[-2000:]


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main())
