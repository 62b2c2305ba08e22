"""The endpoints of the relays that this node uses (B-NET-2)."""

from typing import Annotated

from fastapi import Query

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class RelayPlace(Body):
    """A relay's address with its token; with a mandate all its members are to use it."""

    address: Text
    mandate: Text | None = None


@router.get("/relays")
async def relay_list(node: Node) -> JsonObject:
    """The relays that this node uses, and how each of them is."""
    return await node.relay_list()


@router.get("/relays/group")
async def relay_group(
    node: Node,
    mandate: Annotated[str, Query(max_length=limits.TEXT_BYTES_MAX)],
    relay: Annotated[str, Query(max_length=limits.TEXT_BYTES_MAX)],
) -> JsonObject:
    """What a mandate is called at a relay."""
    return await node.relay_group(mandate, relay)


@router.post("/relays")
async def relay_add(node: Node, body: RelayPlace) -> JsonObject:
    """Use a relay."""
    return await node.relay_add(body.address, body.mandate)


@router.delete("/relays/{relay}")
async def relay_remove(
    node: Node,
    relay: Segment,
    mandate: Annotated[str | None, Query(max_length=limits.TEXT_BYTES_MAX)] = None,
) -> JsonObject:
    """Use a relay no more."""
    return await node.relay_remove(relay, mandate)
