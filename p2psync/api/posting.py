"""The endpoints of posting and of the accounting seat (B-POS)."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class Posting(Body):
    """What to integrate; no files means all."""

    files: Annotated[
        list[Text], Field(default_factory=list, max_length=limits.FILES_PER_MANDATE_MAX)
    ]
    output: Text | None = None
    format: Text = "raw"
    currency: Text = "CHF"


class Heir(Body):
    """Who is to have the seat."""

    device: Text


Files = Annotated[
    list[Annotated[str, Field(max_length=limits.TEXT_BYTES_MAX)]],
    Query(alias="file", max_length=limits.FILES_PER_MANDATE_MAX),
]


@router.get("/mandates/{mandate}/pending")
async def pending(
    node: Node,
    mandate: Segment,
    files: Files = [],  # noqa: B006 - pydantic copies it
    records: Annotated[int, Query(ge=0, le=limits.PENDING_LISTED_MAX)] = limits.PENDING_LISTED,
) -> JsonObject:
    """What waits to be posted."""
    return await node.pending(mandate, files, records)


@router.get("/mandates/{mandate}/receipts")
async def receipts(node: Node, mandate: Segment) -> JsonObject:
    """What was posted, by whom, when, and how far the rest has come."""
    return await node.receipts(mandate)


@router.post("/mandates/{mandate}/receipts", status_code=201)
async def post(node: Node, mandate: Segment, body: Posting) -> JsonObject:
    """Post pending records."""
    return await node.post(mandate, body.files, body.output, body.format, body.currency)


@router.delete("/mandates/{mandate}/receipts/{receipt}")
async def unpost(node: Node, mandate: Segment, receipt: Segment) -> JsonObject:
    """Retract a receipt."""
    return await node.unpost(mandate, receipt)


@router.get("/mandates/{mandate}/seat")
async def seat_show(node: Node, mandate: Segment) -> JsonObject:
    """Who has the accounting seat."""
    return await node.seat_show(mandate)


@router.put("/mandates/{mandate}/seat")
async def seat_hand(node: Node, mandate: Segment, body: Heir) -> JsonObject:
    """Hand the accounting seat over."""
    return await node.seat_hand(mandate, body.device)
