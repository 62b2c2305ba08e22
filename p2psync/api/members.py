"""The endpoints of a mandate's members: who they are, removing one, letting it in again (B-ID)."""

from p2psync.api.parts import Node, Segment, new_router
from p2psync.api.service import JsonObject

router = new_router()


@router.get("/mandates/{mandate}/members")
async def member_list(node: Node, mandate: Segment) -> JsonObject:
    """Who subscribes to the mandate, and who was removed."""
    return await node.member_list(mandate)


@router.get("/mandates/{mandate}/members/{device}/removal")
async def member_removal(node: Node, mandate: Segment, device: Segment) -> JsonObject:
    """What removing a device would do."""
    return await node.member_removal(mandate, device)


@router.delete("/mandates/{mandate}/members/{device}")
async def member_remove(node: Node, mandate: Segment, device: Segment) -> JsonObject:
    """Remove a device."""
    return await node.member_remove(mandate, device)


@router.post("/mandates/{mandate}/members/{device}/readmit")
async def member_readmit(node: Node, mandate: Segment, device: Segment) -> JsonObject:
    """Let a removed device in again."""
    return await node.member_readmit(mandate, device)
