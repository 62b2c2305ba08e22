"""Lets go of the content of old versions by this device's policy (docs/decisions/0023).

Records, receipts and who saved what when are in the entries and stay for ever; only contents that
are kept whole, of which a newer one took the place, can go. It is looked at once a day, where there
is a policy at all; what goes is marked first, so that history never shows it as there.
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import trio

from p2psync.core.files import FileState
from p2psync.errors import P2PSyncError, RetentionInvalid, StorageError
from p2psync.limits import RETENTION_DAYS_MAX, VERSIONS_DROPPED_AT_ONCE_MAX
from p2psync.node import find
from p2psync.node.opened import Opened
from p2psync.node.retained import KEEP_ALL, THEN, Looked, Policy, droppable, old_versions
from p2psync.node.timing import Clock

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]
LOOK_SECONDS = 24 * 3600.0
FIRST_LOOK_SECONDS = 600.0
"""After a start, which has other things to do."""
SETTING = "retention"


class Retention:
    """The policies of this node, and what they let go."""

    def __init__(self, node: "Node", clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._own: dict[str, Policy] = {}
        """Policies by setting: of the node, and of single mandates."""
        self._wake = trio.Event()

    # -- policies -------------------------------------------------------------------------------

    async def load(self) -> None:
        """Learn the policies from before."""
        for key, text in (await self._node.store.settings()).items():
            if key == SETTING or key.startswith(f"{SETTING}:"):
                try:
                    self._own[key] = _checked(**json.loads(text))
                except (ValueError, TypeError, RetentionInvalid):
                    continue  # of another version of p2psync: then everything is kept

    def policy(self, opened: Opened) -> Policy:
        """What holds for a mandate: its own policy, else this node's, else everything is kept."""
        return self._own.get(key_of(opened.id)) or self._own.get(SETTING) or KEEP_ALL

    async def _set(self, key: str, policy: Policy | None) -> None:
        text = None if policy is None else json.dumps(asdict(policy))
        await self._node.store.put_setting(key, text)
        if policy is None:
            self._own.pop(key, None)
        else:
            self._own[key] = policy
        self._wake.set()

    # -- commands -------------------------------------------------------------------------------

    async def show(self, mandate: str | None) -> Json:
        """The policy of a mandate, what it holds and what would go now; or this node's policy."""
        if mandate is None:
            return self._node_view()
        opened = find.mandate(self._node.opened.values(), mandate)
        return await self._view(opened, self.policy(opened))

    async def set(self, mandate: str | None, wanted: Json | None, *, dry_run: bool) -> Json:
        """Set a policy, for a mandate or for all that have none of their own, and act by it.

        ``wanted`` is ``None`` to take the policy away. With ``dry_run`` nothing changes, and the
        answer says what would go. Raises ``RetentionInvalid``.
        """
        node = self._node
        policy = None if wanted is None else _checked(**wanted)
        opened = None if mandate is None else find.mandate(node.opened.values(), mandate)
        if opened is None:
            chosen = [each for each in node.opened.values() if key_of(each.id) not in self._own]
            after = policy or KEEP_ALL
        else:
            chosen = [opened]
            after = policy or self._own.get(SETTING) or KEEP_ALL
        if dry_run:
            if opened is not None:
                return await self._view(opened, after)
            plans = [await self._view(each, after) for each in chosen]
            return _policy_view(after) | {"mandate": None, "would_drop": _sum(plans)}
        node.check_writable()
        await self._set(SETTING if opened is None else key_of(opened.id), policy)
        dropped = [await self.look(each) for each in chosen]
        total = {name: sum(each[name] for each in dropped) for name in ("versions", "bytes")}
        answer = self._node_view() if opened is None else await self._view(opened, after)
        return answer | {"dropped": total}

    def _node_view(self) -> Json:
        return _policy_view(self._own.get(SETTING) or KEEP_ALL) | {
            "mandate": None,
            "own": SETTING in self._own,
            "mandates": [
                _policy_view(self._own[key_of(each.id)]) | {"mandate": each.name}
                for each in self._node.opened.values()
                if key_of(each.id) in self._own
            ],
        }

    async def _view(self, opened: Opened, policy: Policy) -> Json:
        held, gone, files = await trio.to_thread.run_sync(self._plan, *self._looked(opened, policy))
        names = opened.names()
        by_file: dict[str, list[int]] = {}
        for digest in gone:
            file = files[digest]
            name = names.get(file.id, file.info.name)
            counted = by_file.setdefault(name, [0, 0])
            counted[0] += 1
            counted[1] += held[digest]
        return _policy_view(policy) | {
            "mandate": opened.name,
            "own": key_of(opened.id) in self._own,
            "held": {"versions": len(held), "bytes": sum(held.values())},
            "would_drop": {
                "versions": len(gone),
                "bytes": sum(held[digest] for digest in gone),
                "files": [
                    {"file": name, "versions": count, "bytes": size}
                    for name, (count, size) in sorted(by_file.items())
                ],
            },
        }

    # -- acting ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look once a day, as long as any policy lets something go; until cancelled."""
        seconds = FIRST_LOOK_SECONDS
        while True:
            self._wake = trio.Event()
            if all(policy.keeps_all for policy in self._own.values()):
                await self._wake.wait()
                seconds = LOOK_SECONDS  # who set it has acted by it
                continue
            await self._clock.sleep(seconds)
            seconds = LOOK_SECONDS
            for opened in list(self._node.opened.values()):
                if opened.live and not self.policy(opened).keeps_all:
                    await self.look(opened)

    async def look(self, opened: Opened) -> Json:
        """Let go of what a mandate's policy lets go; a bounded number at a time."""
        policy = self.policy(opened)
        if policy.keeps_all:
            return {"versions": 0, "bytes": 0}
        kept = self._node.pieces.kept
        try:
            async with opened.lock:
                held, gone, _ = await trio.to_thread.run_sync(
                    self._plan, *self._looked(opened, policy)
                )
                gone = gone[:VERSIONS_DROPPED_AT_ONCE_MAX]
                await trio.to_thread.run_sync(kept.drop, opened.id, gone)
        except P2PSyncError as error:
            if isinstance(error, StorageError):
                return {"versions": 0, "bytes": 0}  # the next look tries again
            raise
        size = sum(held[digest] for digest in gone)
        if gone:
            self._node.notices.message(
                "versions-dropped",
                "the content of {count} old versions is no longer kept, as the policy says: "
                "{size} bytes are free again",
                mandate=opened.id,
                data={"versions": len(gone), "bytes": size},
                count=str(len(gone)),
                size=str(size),
            )
        return {"versions": len(gone), "bytes": size}

    def _looked(self, opened: Opened, policy: Policy) -> tuple[bytes, Looked, Policy]:
        state = opened.state
        files = tuple(file for file in state.files.values() if file.added is not None)
        return opened.id, Looked(files, tuple(state.receipts.values())), policy

    def _plan(
        self, mandate: bytes, looked: Looked, policy: Policy
    ) -> tuple[dict[bytes, int], list[bytes], dict[bytes, FileState]]:
        """What is held, what would go, and a file of each; blocks."""
        kept = self._node.pieces.kept
        held = kept.held(mandate)
        if not held:
            return {}, [], {}
        olds = old_versions(looked, held)
        by_id = {file.id: file for file in looked.files}
        files = {old.digest: by_id[old.file] for old in olds}
        if policy.keeps_all:
            return held, [], files
        gone = droppable(policy, olds, held, self._clock.now_ms(), kept.free_bytes())
        return held, gone, files


def key_of(mandate: bytes) -> str:
    """The setting that holds a mandate's own policy."""
    return f"{SETTING}:{mandate.hex()}"


def _checked(
    keep_days: int | None = None, then: str = "nothing", min_free_bytes: int = 0
) -> Policy:
    if keep_days is not None and not 1 <= keep_days <= RETENTION_DAYS_MAX:
        raise RetentionInvalid(cause=f"days are 1 to {RETENTION_DAYS_MAX}")
    chosen = next((each for each in THEN if each == then), None)
    if chosen is None:
        raise RetentionInvalid(cause=f"{then[:40]} is none of {', '.join(THEN)}")
    if not 0 <= min_free_bytes < 1 << 62:
        raise RetentionInvalid(cause="the space to keep free is no size")
    return Policy(keep_days, chosen, min_free_bytes)


def _policy_view(policy: Policy) -> Json:
    return {"policy": asdict(policy)}


def _sum(plans: list[Json]) -> Json:
    every = [plan["would_drop"] for plan in plans]
    return {
        "versions": sum(each["versions"] for each in every),
        "bytes": sum(each["bytes"] for each in every),
        "files": [file for each in every for file in each["files"]],
    }
