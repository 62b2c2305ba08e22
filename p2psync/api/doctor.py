"""The endpoint of what is wrong (B-NET-5)."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query

from p2psync import limits
from p2psync.api.parts import Node, new_router
from p2psync.api.service import JsonObject
from p2psync.i18n import language, tell

router = new_router()


@router.get("/doctor")
async def doctor(
    node: Node,
    mandate: Annotated[str | None, Query(max_length=limits.TEXT_BYTES_MAX)] = None,
) -> JsonObject:
    """What is wrong, where, since when, and what to do."""
    said = await node.doctor(mandate)
    return {**said, "findings": [told(each, language()) for each in said["findings"]]}


def told(finding: Mapping[str, Any], language: str) -> JsonObject:
    """Return a finding with its text and hint in a language, and without their templates."""
    params = finding["params"]
    rest = {
        name: value
        for name, value in finding.items()
        if name not in ("template", "hint_template", "params")
    }
    return {
        **rest,
        "text": tell(finding["template"], params, language),
        "hint": tell(finding["hint_template"], params, language),
    }
