"""The endpoints of bundles (B-NET-4)."""

from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class Export(Body):
    """Where to write the bundle, and what its reader has already."""

    output: Text
    member: Text | None = None
    since: Text | None = None


class Import(Body):
    """Where the bundle is."""

    path: Text


@router.post("/mandates/{mandate}/bundle", status_code=201)
async def bundle_export(node: Node, mandate: Segment, body: Export) -> JsonObject:
    """Write a mandate's bundle."""
    return await node.bundle_export(mandate, body.output, body.member, body.since)


@router.post("/bundles")
async def bundle_import(node: Node, body: Import) -> JsonObject:
    """Take in a bundle."""
    return await node.bundle_import(body.path)
