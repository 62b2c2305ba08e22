"""The endpoints of where files are: broken links, migrating, replacing (B-MIG-1 to B-MIG-3)."""

from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()


class Relinking(Body):
    """What a missing file is now: a path, or a candidate's name; none: the one that is offered."""

    candidate: Text | None = None


class Migration(Body):
    """The new place of a file, as an absolute path."""

    path: Text
    cancel_pending: bool = False


class Replacement(Body):
    """The file that is to be in the place of another, as an absolute path."""

    path: Text
    dry_run: bool = False


@router.get("/mandates/{mandate}/files/{file}/link")
async def link(node: Node, mandate: Segment, file: Segment) -> JsonObject:
    """Where a file is attached, and what it may be when it is not there."""
    return await node.link(mandate, file)


@router.post("/mandates/{mandate}/files/{file}/relink")
async def relink(
    node: Node, mandate: Segment, file: Segment, body: Relinking | None = None
) -> JsonObject:
    """Restore a broken link."""
    return await node.relink(mandate, file, body.candidate if body else None)


@router.post("/mandates/{mandate}/files/{file}/migrate")
async def migrate(node: Node, mandate: Segment, file: Segment, body: Migration) -> JsonObject:
    """Point a mandate at a new place or name of a file."""
    return await node.migrate(mandate, file, body.path, body.cancel_pending)


@router.post("/mandates/{mandate}/files/{file}/replace")
async def replace(node: Node, mandate: Segment, file: Segment, body: Replacement) -> JsonObject:
    """Put another file in the place of an attached one, or only tell what that would change."""
    return await node.replace(mandate, file, body.path, body.dry_run)
