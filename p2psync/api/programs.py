"""The endpoints of names, suggestions, and of the programs that write files (B-VAL-1)."""

from typing import Annotated

from pydantic import Field

from p2psync import limits
from p2psync.api.parts import Body, Node, Segment, Text, new_router
from p2psync.api.service import JsonObject

router = new_router()

Short = Annotated[str, Field(min_length=1, max_length=limits.NAME_BYTES_MAX)]


class MandateName(Body):
    """The new name of a mandate."""

    name: Text


class SuggestedFile(Body):
    """A file that is to be suggested no more."""

    file: Text


class Program(Body):
    """The program that writes a file, and the state of its licence."""

    name: Short
    version: Short
    licence: Text


class Policy(Body):
    """States of a licence that are refused, and the oldest version of each program."""

    refuse: Annotated[list[Text], Field(default_factory=list, max_length=16)]
    minimums: Annotated[
        dict[Short, Short], Field(default_factory=dict, max_length=limits.POLICY_MINIMUMS_MAX)
    ]


@router.put("/mandates/{mandate}/name")
async def mandate_rename(node: Node, mandate: Segment, body: MandateName) -> JsonObject:
    """Give a mandate another name."""
    return await node.mandate_rename(mandate, body.name)


@router.get("/mandates/{mandate}/suggestions")
async def suggestion_list(node: Node, mandate: Segment) -> JsonObject:
    """The files that may belong to a mandate."""
    return await node.suggestion_list(mandate)


@router.post("/mandates/{mandate}/suggestions/dismiss")
async def suggestion_dismiss(node: Node, mandate: Segment, body: SuggestedFile) -> JsonObject:
    """Suggest a file no more."""
    return await node.suggestion_dismiss(mandate, body.file)


@router.get("/mandates/{mandate}/programs")
async def program_list(node: Node, mandate: Segment) -> JsonObject:
    """Each program that writes files of a mandate, and its problems."""
    return await node.program_list(mandate)


@router.put("/mandates/{mandate}/files/{file}/program")
async def program_register(
    node: Node, mandate: Segment, file: Segment, body: Program
) -> JsonObject:
    """Register the program that writes a file."""
    return await node.program_register(mandate, file, body.name, body.version, body.licence)


@router.get("/mandates/{mandate}/policy")
async def policy_show(node: Node, mandate: Segment) -> JsonObject:
    """Which programs' files a mandate refuses."""
    return await node.policy_show(mandate)


@router.put("/mandates/{mandate}/policy")
async def policy_set(node: Node, mandate: Segment, body: Policy) -> JsonObject:
    """Set which programs' files a mandate refuses."""
    return await node.policy_set(mandate, body.refuse, body.minimums)
