"""The endpoints of history: what was, what came of each record, and what is held back (B-HIS)."""

from typing import Annotated

from fastapi import Query

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class Restoration(Body):
    """A version to bring back, in place or to ``output``."""

    file: Text
    version: Text
    output: Text | None = None


class Refusal(Body):
    """The file whose held-back save shall be put aside."""

    file: Text


@router.get("/mandates/{mandate}/held")
async def held_list(node: Node, mandate: Segment) -> JsonObject:
    """The saves that wait for a person's word, here and on other devices."""
    return await node.held_list(mandate)


@router.post("/mandates/{mandate}/refusals", status_code=201)
async def refuse(node: Node, mandate: Segment, body: Refusal) -> JsonObject:
    """Put aside a save that was held back."""
    return await node.refuse(mandate, body.file)


@router.get("/mandates/{mandate}/history")
async def history(
    node: Node,
    mandate: Segment,
    file: Annotated[str | None, Query(max_length=limits.TEXT_BYTES_MAX)] = None,
    at: Annotated[str | None, Query(max_length=100)] = None,
) -> JsonObject:
    """The versions of one file or of all."""
    return await node.history(mandate, file, at)


@router.post("/mandates/{mandate}/restore")
async def restore(node: Node, mandate: Segment, body: Restoration) -> JsonObject:
    """Bring a version back."""
    return await node.restore(mandate, body.file, body.version, body.output)
