"""The endpoints of history: what was, what came of each record, and what is held back (B-HIS)."""

from typing import Annotated

from fastapi import Query

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject
from p2psync.errors import ApiRequestInvalid

router = new_router()

Short = Annotated[str | None, Query(max_length=limits.NAME_BYTES_MAX)]


class Restoration(Body):
    """A version to bring back, or what the file was ``at`` a time, in place or to ``output``."""

    file: Text
    version: Text | None = None
    output: Text | None = None
    at: Text | None = None
    known: bool = False


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
    known: bool = False,
    limit: Annotated[int, Query(ge=0, le=limits.VERSIONS_LISTED_MAX)] = limits.VERSIONS_LISTED_MAX,
) -> JsonObject:
    """The versions of one file or of all; with a time, the state then."""
    return await node.history(mandate, file, at, known, limit)


@router.get("/mandates/{mandate}/history/records")
async def record_history(
    node: Node,
    mandate: Segment,
    file: Annotated[str, Query(max_length=limits.TEXT_BYTES_MAX)],
    text: Short = None,
    voucher: Short = None,
    line: Annotated[int | None, Query(ge=1, lt=1 << 63)] = None,
    after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    limit: Annotated[
        int, Query(ge=1, le=limits.RECORD_TALES_LISTED_MAX)
    ] = limits.RECORD_TALES_LISTED,
) -> JsonObject:
    """What came of each record of a file."""
    return await node.record_history(mandate, file, text, voucher, line, after, limit)


@router.post("/mandates/{mandate}/restore")
async def restore(node: Node, mandate: Segment, body: Restoration) -> JsonObject:
    """Bring a version back."""
    if (body.version is None) == (body.at is None):
        raise ApiRequestInvalid(field="version", cause="give either a version or a time")
    return await node.restore(mandate, body.file, body.version, body.output, body.at, body.known)
