"""The endpoints of the way out of this node's network (B-NET-2)."""

from typing import Annotated

from pydantic import Field

from p2psync.api.parts import Body, Node, Text, new_router
from p2psync.api.service import JsonObject
from p2psync.limits import PROXY_TEXT_BYTES_MAX

router = new_router()


class ProxyPlace(Body):
    """A proxy's URL, and the password if it asks for one."""

    url: Text
    password: Annotated[str, Field(max_length=PROXY_TEXT_BYTES_MAX)] | None = None


@router.get("/network/proxy")
async def proxy_show(node: Node) -> JsonObject:
    """The proxy that this node uses, and how it does."""
    return await node.proxy_show()


@router.put("/network/proxy")
async def proxy_set(node: Node, body: ProxyPlace) -> JsonObject:
    """Use a proxy from now on."""
    return await node.proxy_set(body.url, body.password)


@router.delete("/network/proxy")
async def proxy_clear(node: Node) -> JsonObject:
    """Forget the proxy that was set."""
    return await node.proxy_clear()
