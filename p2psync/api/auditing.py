"""The endpoint of audit files (B-HIS-2)."""

from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class Export(Body):
    """Where to write the audit file, and what is in it besides the signed entries."""

    output: Text
    keys: bool = True
    contents: bool = False


@router.post("/mandates/{mandate}/audit", status_code=201)
async def audit_export(node: Node, mandate: Segment, body: Export) -> JsonObject:
    """Write a mandate's audit file."""
    return await node.audit_export(mandate, body.output, body.keys, body.contents)
