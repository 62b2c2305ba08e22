"""Offices that detach files and remove mandates: real nodes, and what each person sees."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from p2psync.node.timing import Clock
from p2psync.storage.events import EVERYTHING
from tests.node.rig import V1, Machine, founded, in_step, invited, linked, running


@asynccontextmanager
async def office(
    tmp_path: Path, role: str = "writer", clock: Clock | None = None
) -> AsyncIterator[tuple[Machine, Machine]]:
    """Anna has the accounting, Ben the invoicing file ``a.ecf``; they are not linked."""
    async with (
        running(tmp_path / "anna", clock=clock) as anna,
        running(tmp_path / "ben", clock=clock) as ben,
    ):
        await anna.service.identity_set("Anna")
        await ben.service.identity_set("Ben")
        await founded(anna)
        ticket = await invited(anna, role)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")
            await in_step(anna, ben)
        yield anna, ben


async def meet(anna: Machine, ben: Machine) -> None:
    """Link two machines until both have the same."""
    async with linked(anna, ben):
        await in_step(anna, ben)


async def events(machine: Machine, kind: str) -> list[dict[str, Any]]:
    """The events of a type, oldest first."""
    await machine.rest()
    await machine.node.notices.kept()
    found = await machine.store.events_since(0, EVERYTHING, 1000)
    return [event for event in found.events if event["type"] == kind]


async def cancelled(anna: Machine, ben: Machine, name: str = "a.ecf") -> None:
    """Ben deletes the postings that Anna has posted, and she posts that."""
    header = b"".join(V1.splitlines(keepends=True)[:2])
    async with linked(anna, ben):
        ben.file(name, header)
        await ben.look()
        if "save-held-back" in await ben.alerts():
            await ben.service.confirm("Books", name)
        await in_step(anna, ben)
        await anna.service.post("Books", [], None)
        await in_step(anna, ben)


async def names(machine: Machine) -> list[str]:
    """The mandates on a machine's list."""
    return [each["name"] for each in (await machine.service.mandate_list())["mandates"]]


async def files(machine: Machine, mandate: str = "Books") -> list[str]:
    """The files that a mandate is shown with."""
    return [each["name"] for each in (await machine.service.mandate_show(mandate))["files"]]


async def state(machine: Machine, mandate: str = "Books") -> dict[str, Any]:
    """How a mandate is listed."""
    (found,) = [
        each
        for each in (await machine.service.mandate_list())["mandates"]
        if each["name"] == mandate
    ]
    return dict(found)
