"""The endpoints of detaching, closing and removing, and of what undoes each (B-DET, B-REM)."""

from p2psync.api.parts import Node, Segment, new_router
from p2psync.api.service import JsonObject

router = new_router()


@router.delete("/mandates/{mandate}/files/{file}")
async def detach(node: Node, mandate: Segment, file: Segment) -> JsonObject:
    """Detach a file."""
    return await node.detach(mandate, file)


@router.post("/mandates/{mandate}/files/{file}/reattach")
async def reattach(node: Node, mandate: Segment, file: Segment) -> JsonObject:
    """Undo the detaching of a file."""
    return await node.reattach(mandate, file)


@router.get("/mandates/{mandate}/removal")
async def removal_plan(node: Node, mandate: Segment) -> JsonObject:
    """What removing a mandate would do."""
    return await node.removal_plan(mandate)


@router.delete("/mandates/{mandate}")
async def mandate_remove(node: Node, mandate: Segment) -> JsonObject:
    """Take a mandate off this device's list."""
    return await node.mandate_remove(mandate)


@router.get("/removed-mandates")
async def removed_list(node: Node) -> JsonObject:
    """The mandates that were removed here and can come back."""
    return await node.removed_list()


@router.post("/mandates/{mandate}/restore-removed")
async def mandate_restore(node: Node, mandate: Segment) -> JsonObject:
    """Undo a removal."""
    return await node.mandate_restore(mandate)


@router.post("/mandates/{mandate}/close")
async def mandate_close(node: Node, mandate: Segment) -> JsonObject:
    """Close a mandate for everyone."""
    return await node.mandate_close(mandate)


@router.post("/mandates/{mandate}/reopen")
async def mandate_reopen(node: Node, mandate: Segment) -> JsonObject:
    """Undo the closing of a mandate."""
    return await node.mandate_reopen(mandate)
