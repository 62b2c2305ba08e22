"""Commands on what people are told: alerts, messages, hooks, desktop notifications, promises."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from p2psync.core import ops
from p2psync.core.membership import MAY_WRITE
from p2psync.errors import AlertUnknown, NotAllowed
from p2psync.limits import MESSAGES_LISTED_MAX
from p2psync.node import find
from p2psync.node.event_types import EVENT_TYPES, PASSING, expand
from p2psync.node.node import Node
from p2psync.storage.events import Wanted

Json = dict[str, Any]


class Telling:
    """What ``NodeService`` hands on about notifications."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def _mandate(self, mandate: str | None) -> bytes | None:
        return None if mandate is None else find.mandate(self._node.opened.values(), mandate).id

    # -- alerts and messages --------------------------------------------------------------------

    async def alerts(self, mandate: str | None) -> Json:
        """The open alerts."""
        node = self._node
        chosen = self._mandate(mandate)
        of = None if chosen is None else chosen.hex()
        unkept = [each for each in node.notices.unkept() if of in (None, each["mandate"])]
        return {"alerts": [*await node.store.open_alerts(chosen), *unkept]}

    async def close_alert(self, alert: int) -> Json:
        """Close an alert."""
        if not await self._close([alert]):
            raise AlertUnknown(alert=alert)
        return {"id": alert, "closed": True}

    async def close_alerts(self, mandate: str | None) -> Json:
        """Close all alerts that are open now, of one mandate or of all."""
        found = await self._node.store.open_alerts(self._mandate(mandate))
        return {"closed": await self._close([alert["id"] for alert in found])}

    async def _close(self, alerts: Sequence[int]) -> int:
        node = self._node
        mandates = {each["id"]: each["mandate"] for each in await node.store.open_alerts(None)}
        closed = await node.store.close_alerts(alerts)
        for alert in closed:
            node.notices.closed(alert, mandates.get(alert), "person")
        return len(closed)

    async def messages(
        self,
        mandate: str | None,
        before: int | None,
        limit: int,
        types: Sequence[str],
        severity: Literal["message", "alert"] | None,
    ) -> Json:
        """The history, newest first, a page at a time."""
        wanted = Wanted(
            self._mandate(mandate), tuple(sorted(expand(types))) if types else None, severity
        )
        limit = min(limit, MESSAGES_LISTED_MAX)
        await self._node.notices.kept()
        found = await self._node.store.events_before(before, wanted, limit + 1)
        return {"messages": found[:limit], "more": len(found) > limit}

    def event_types(self) -> Json:
        """Every type of event, with its severity and action."""
        kept = [
            {"type": name, "severity": each.severity, "action": each.action}
            for name, each in sorted(EVENT_TYPES.items())
        ]
        passing = [{"type": name, "severity": None, "action": None} for name in sorted(PASSING)]
        return {"types": [*kept, *passing]}

    def events(self, mandate: str | None, since: int | None) -> AsyncIterator[Json]:
        """Events as they come."""
        return self._node.notices.events(self._mandate(mandate), since)

    # -- hooks ----------------------------------------------------------------------------------

    async def hook_list(self) -> Json:
        """All hooks."""
        return {"hooks": await self._node.hooks.all()}

    async def hook_add(
        self,
        mandate: str | None,
        events: list[str],
        command: list[str] | None,
        url: str | None,
        secret: str | None,
        allow_http: bool,
        language: str,
    ) -> Json:
        """Add a hook."""
        self._node.check_writable()
        return await self._node.hooks.add(
            self._mandate(mandate),
            events,
            command or (),
            url or "",
            secret or "",
            language,
            allow_http=allow_http,
        )

    async def hook_remove(self, hook: int) -> Json:
        """Remove a hook."""
        self._node.check_writable()
        await self._node.hooks.remove(hook)
        return {"id": hook, "removed": True}

    async def hook_test(self, hook: int) -> Json:
        """Call a hook now."""
        return await self._node.hooks.test(hook)

    # -- the desktop ----------------------------------------------------------------------------

    async def desktop_show(self) -> Json:
        """Whether desktop notifications are shown."""
        return await self._node.desktop.view()

    async def desktop_set(self, on: bool) -> Json:
        """Switch them on or off."""
        self._node.check_writable()
        return await self._node.desktop.switch(on=on)

    # -- promises -------------------------------------------------------------------------------

    async def expect(self, mandate: str, file: str, seconds: int) -> Json:
        """Note how often a file promises to be saved; 0 for no promise."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        found = find.file(opened, file)
        if not opened.may_write:
            raise NotAllowed(action="change files", roles=", ".join(sorted(MAY_WRITE)))
        async with opened.lock:
            if found.expected_seconds != seconds:
                await node.author(opened, [ops.Expect(found.id, seconds)]).wait()
        return {"file": opened.names()[found.id], "expect_seconds": seconds}
