"""Breaks the story on purpose: a mutant that nothing notices would mean that nothing is checked.

All but one leave calls out of what was recorded, or move them; ``synchronous=NORMAL`` is played for
real, for SQLite then does other things.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.crash.disk import EXTREMES, NOTHING
from tests.crash.explore import Explorer, Report
from tests.crash.trace import Mark, Operation, Sync

Mutate = Callable[[Sequence[Operation], dict[int, str], str], list[Operation]]
"""From operations, what each sync in them was of, and the victim's name."""
_NOTHING = -1


def _without(pattern: str) -> Mutate:
    """Leave out the syncs of some paths below the victim's folder; ``*`` is its whole disk."""
    wanted = re.compile(pattern)

    def mutate(
        operations: Sequence[Operation], synced: dict[int, str], victim: str
    ) -> list[Operation]:
        out = list(operations)
        found = 0
        for at, path in synced.items():
            mine = path == victim or path.startswith(victim + "/")
            if mine and wanted.fullmatch(path[len(victim) + 1 :]):
                out[at] = replace(out[at], what=Sync(_NOTHING))
                found += 1
        assert found, f"nothing is synced that matches {pattern}"
        return out

    return mutate


def _send_first(
    operations: Sequence[Operation], synced: dict[int, str], victim: str
) -> list[Operation]:
    """Let each frame with entries go just before the database was synced for them."""
    out = list(operations)
    last: int | None = None
    found = 0
    for at, operation in enumerate(operations):
        if synced.get(at, "").startswith(f"{victim}/home/p2psync.db-wal"):
            last = at
        elif (
            isinstance(operation.what, Mark)
            and operation.what.value.get("sent") == victim
            and operation.what.value["ids"]
            and last is not None
        ):
            out[last], out[at] = out[at], out[last]
            last = None
            found += 1
    assert found, "nothing was sent"
    return out


def tried(name: str, explorer: Explorer) -> Report:
    """Look for a state that a mutant spoils; stops at the first."""
    _, mutate = MUTANTS[name]
    operations = mutate(explorer.recording.operations, explorer.synced, explorer.victim)
    if mutate is _send_first:  # nothing is wrong any more when all has come to rest
        points = [each for each in explorer.points(operations) if each.survival is NOTHING]
    else:
        points = [each for each in explorer.cuts_at_rest(operations) if each.survival in EXTREMES]
    return explorer.explore(points, operations, stop=True)


MUTANTS: dict[str, tuple[str, Mutate]] = {
    "the names in a mandate folder are not synced": ("anna", _without(r"home/mandates/[^/]+")),
    "the names in the home are not synced": ("anna", _without(r"home")),
    "the home's own name is not synced": ("anna", _without(r"")),
    "a file is renamed before it is synced": ("anna", _without(r"home/mandates/[^/]+/.*")),
    "many files are renamed before the disk is synced": ("anna", _without(r"\*")),
    "an attached file is renamed before it is synced": ("ben", _without(r"desk/\.p2psync-.*")),
    "the key is renamed before it is synced": ("anna", _without(r"home/\.p2psync-.*")),
    "the database's log is not synced": ("anna", _without(r"home/p2psync\.db-wal")),
    "the database is not synced before its log goes": ("anna", _without(r"home/p2psync\.db")),
    "content is put in its place before it is synced": ("ben", _without(r"home/incoming/.*")),
    "the folder of old versions is not synced": ("anna", _without(r"home/versions")),
    "frames go before what they tell of is durable": ("anna", _send_first),
}
"""Each is tried where the story has it."""
