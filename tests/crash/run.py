"""Runs the crash tests: ``scripts/crash``, and in parts for the tests.

A job records the story anew in a folder of its own and explores it there, for the paths and the
inode of a home are part of what a node knows: so jobs run beside each other.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

from tests.crash import mutants, story
from tests.crash.disk import EXTREMES
from tests.crash.explore import Explorer, Point, Report, recorded
from tests.crash.trace import NoStrace

ROOT = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")
"""The states lie in memory where they can: what is durable is decided here, not by the disk."""
SEED = 20261121
NORMAL = "synchronous=NORMAL"


def scratch() -> Path:
    """A new folder for a job."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="p2psync-crash-", dir=place))


def start(*options: str) -> "subprocess.Popen[str]":
    """Begin a job in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.run", "--job", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(job: "subprocess.Popen[str]") -> story.Json:
    """Wait for a job; return its answer."""
    out, _ = job.communicate()
    if job.returncode != 0:
        raise RuntimeError(f"a job of the crash tests ended with {job.returncode}")
    answer: story.Json = json.loads(out)
    return answer


def sampled(points: Sequence[Point], many: int, seed: int) -> list[Point]:
    """So many of the points, a third of them crashes, in order of time."""
    random = Random(seed)
    crashes = [point for point in points if point.survival is None]
    cuts = [point for point in points if point.survival is not None]
    chosen = random.sample(crashes, min(len(crashes), many // 3))
    chosen += random.sample(cuts, min(len(cuts), many - len(chosen)))
    return sorted(chosen, key=lambda point: point.at)


def job(arguments: argparse.Namespace) -> story.Json:
    """Record and explore."""
    story.prepare()
    folder = scratch()
    try:
        return _job(folder / "story", arguments)
    finally:
        shutil.rmtree(folder)


def _job(root: Path, arguments: argparse.Namespace) -> story.Json:
    explorer = Explorer(recorded(root), arguments.victim, arguments.seed)
    operations = explorer.recording.operations
    points = list(explorer.points(operations))
    part, parts = map(int, arguments.part.split("/"))
    chosen = sampled(points, arguments.points, arguments.seed) if arguments.points else points
    answer: story.Json = {
        "operations": len(operations),
        "syncs": len(explorer.synced),
        "points": len(points),
        "explored": asdict(explorer.explore(chosen[part::parts], operations)),
        "mutants": {},
    }
    if arguments.mutants:
        for name, (victim, _) in mutants.MUTANTS.items():
            if victim == arguments.victim:
                answer["mutants"][name] = asdict(mutants.tried(name, explorer))
        other = recorded(root, "--synchronous", "NORMAL")
        normal = _at_rest(Explorer(other, arguments.victim, arguments.seed), stop=True)
        answer["mutants"][f"{NORMAL} on {arguments.victim}"] = asdict(normal)
    if arguments.careless:
        careless = Explorer(recorded(root, "--careless"), arguments.victim, arguments.seed)
        answer["careless"] = asdict(_at_rest(careless))
    return answer


def _at_rest(explorer: Explorer, *, stop: bool = False) -> Report:
    operations = explorer.recording.operations
    points = [each for each in explorer.cuts_at_rest(operations) if each.survival in EXTREMES]
    return explorer.explore(points, operations, stop=stop)


def told(victim: str, answers: Sequence[story.Json]) -> str:
    """A line for people."""
    explored = [answer["explored"] for answer in answers]
    crashes, cuts, states = (
        sum(each[name] for each in explored) for name in ("crashes", "cuts", "states")
    )
    wrong = sum(len(each["violations"]) for each in explored)
    first = answers[0]
    return (
        f"{victim}: {first['operations']} operations, {first['syncs']} syncs; {crashes} crashes "
        f"and {cuts} power cuts tried of {first['points']}, {states} different states opened, "
        f"{wrong} wrong"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--victim", choices=story.NAMES, help="whose power goes; both unless given")
    parser.add_argument("--points", type=int, default=0, help="how many moments; all unless given")
    parser.add_argument("--seed", type=int, default=SEED, help="what is drawn")
    parser.add_argument("--part", default="0/1", help=argparse.SUPPRESS)
    parser.add_argument("--mutants", action="store_true", help="break the story on purpose too")
    parser.add_argument("--careless", action="store_true", help="with programs that sync nothing")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        json.dump(job(arguments), sys.stdout)
        return 0
    options = ["--points", str(arguments.points), "--seed", str(arguments.seed)]
    options += [f"--{name}" for name in ("mutants", "careless") if getattr(arguments, name)]
    victims = [arguments.victim] if arguments.victim else story.NAMES
    parts = max(1, (os.cpu_count() or 1) // len(victims))
    jobs = {
        victim: [
            start(*options, "--victim", victim, "--part", f"{part}/{parts}")
            for part in range(parts)
        ]
        for victim in victims
    }
    wrong = False
    for victim, every in jobs.items():
        answers = [finish(each) for each in every]
        sys.stdout.write(told(victim, answers) + "\n")
        for answer in answers:
            found = answer["explored"]["violations"]
            found += answer.get("careless", {}).get("violations", [])
            for each in found:
                sys.stdout.write(f"  {json.dumps(each)}\n")
            for name, report in answer["mutants"].items():
                if not report["violations"]:
                    found = [name]
                    sys.stdout.write(f"  not noticed: {name}\n")
            wrong = wrong or bool(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoStrace as error:
        sys.exit(str(error))
