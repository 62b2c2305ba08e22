"""The endpoints of retention: how long this device keeps the content of old versions."""

from typing import Annotated

from pydantic import Field

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class Policy(Body):
    """How long all is kept, what of it after that, and how much is to stay free."""

    keep_days: Annotated[int, Field(ge=1, le=limits.RETENTION_DAYS_MAX)] | None = None
    then: Text = "nothing"
    min_free_bytes: Annotated[int, Field(ge=0, lt=1 << 62)] = 0


class Wanted(Body):
    """A policy to set, or ``null`` to take it away; or only to say what would go."""

    policy: Policy | None = None
    dry_run: bool = False


@router.get("/retention")
async def retention_show(node: Node) -> JsonObject:
    """The policy of all mandates that have none of their own."""
    return await node.retention_show(None)


@router.put("/retention")
async def retention_set(node: Node, body: Wanted) -> JsonObject:
    """Set it."""
    return await node.retention_set(None, _policy(body), body.dry_run)


@router.get("/mandates/{mandate}/retention")
async def retention_show_one(node: Node, mandate: Segment) -> JsonObject:
    """A mandate's policy, what is held and what would go."""
    return await node.retention_show(mandate)


@router.put("/mandates/{mandate}/retention")
async def retention_set_one(node: Node, mandate: Segment, body: Wanted) -> JsonObject:
    """Set a mandate's own policy."""
    return await node.retention_set(mandate, _policy(body), body.dry_run)


def _policy(body: Wanted) -> JsonObject | None:
    return None if body.policy is None else body.policy.model_dump()
