"""The endpoints of notifications: alerts, messages, hooks, the desktop, promises to be saved."""

from typing import Annotated, Literal, Self

from fastapi import Path, Query
from pydantic import Field, model_validator

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject
from p2psync.i18n import language

router = new_router()

Number = Annotated[int, Path(ge=0, lt=1 << 63)]
Severity = Literal["message", "alert"]
Types = Annotated[
    list[Annotated[str, Field(max_length=100)]], Query(max_length=limits.HOOK_EVENTS_MAX)
]


class NewHook(Body):
    """A hook: which events, and what to call, a program or a URL."""

    mandate: Text | None = None
    events: Annotated[
        list[Annotated[str, Field(max_length=100)]],
        Field(min_length=1, max_length=limits.HOOK_EVENTS_MAX),
    ]
    command: (
        Annotated[
            list[Annotated[str, Field(max_length=limits.TEXT_BYTES_MAX)]],
            Field(min_length=1, max_length=limits.HOOK_ARGUMENTS_MAX),
        ]
        | None
    ) = None
    url: Text | None = None
    secret: Text | None = None
    allow_http: bool = False

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give command or url")
        return self


class Expectation(Body):
    """How often, in seconds, a file promises to be saved; 0 for no promise."""

    seconds: Annotated[int, Field(ge=0, le=limits.EXPECTED_SECONDS_MAX)]


class Desktop(Body):
    """Whether to show notifications on the desktop."""

    desktop: bool


@router.get("/alerts")
async def alerts(node: Node, mandate: str | None = None) -> JsonObject:
    """The alerts that nobody closed yet."""
    return await node.alerts(mandate)


@router.delete("/alerts")
async def close_alerts(node: Node, mandate: str | None = None) -> JsonObject:
    """Close all alerts that are open."""
    return await node.close_alerts(mandate)


@router.delete("/alerts/{alert}")
async def close_alert(node: Node, alert: Number) -> JsonObject:
    """Close an alert."""
    return await node.close_alert(alert)


@router.get("/messages")
async def messages(
    node: Node,
    type: Types = [],  # noqa: B006 # the query's name; fastapi copies the default
    mandate: str | None = None,
    before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
    limit: Annotated[int, Query(ge=1, le=limits.MESSAGES_LISTED_MAX)] = 100,
    severity: Severity | None = None,
) -> JsonObject:
    """The history of messages and alerts, newest first, a page at a time."""
    return await node.messages(mandate, before, limit, type, severity)


@router.get("/event-types")
async def event_types(node: Node) -> JsonObject:
    """Every type of event there is."""
    return await node.event_types()


@router.get("/hooks")
async def hook_list(node: Node) -> JsonObject:
    """The hooks, and how each fares."""
    return await node.hook_list()


@router.post("/hooks", status_code=201)
async def hook_add(node: Node, body: NewHook) -> JsonObject:
    """Add a hook; a secret that is made for it is told once."""
    return await node.hook_add(
        body.mandate,
        body.events,
        body.command,
        body.url,
        body.secret,
        body.allow_http,
        language(),
    )


@router.delete("/hooks/{hook}")
async def hook_remove(node: Node, hook: Number) -> JsonObject:
    """Remove a hook."""
    return await node.hook_remove(hook)


@router.post("/hooks/{hook}/test")
async def hook_test(node: Node, hook: Number) -> JsonObject:
    """Call a hook now with an event that says so."""
    return await node.hook_test(hook)


@router.get("/desktop")
async def desktop_show(node: Node) -> JsonObject:
    """Whether notifications are shown on the desktop."""
    return await node.desktop_show()


@router.put("/desktop")
async def desktop_set(node: Node, body: Desktop) -> JsonObject:
    """Switch desktop notifications on, which shows one, or off."""
    return await node.desktop_set(body.desktop)


@router.put("/mandates/{mandate}/files/{file}/expectation")
async def expect(node: Node, mandate: Segment, file: Segment, body: Expectation) -> JsonObject:
    """Note how often a file promises to be saved."""
    return await node.expect(mandate, file, body.seconds)
