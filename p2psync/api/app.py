"""The endpoints: HTTP to ``Service`` and back. Nothing here knows how the node works."""

from typing import Annotated, Any

import trio
from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from p2psync import __version__, errors, limits
from p2psync.api import (
    auditing,
    bundles,
    doctor,
    history,
    hooks,
    members,
    network,
    placing,
    posting,
    programs,
    relays,
    removal,
    retention,
)
from p2psync.api.answers import error_answer
from p2psync.api.guard import Bounds
from p2psync.api.parts import Answer, Body, Node, Segment, Text, new_router
from p2psync.api.programs import Program
from p2psync.api.service import JsonObject, Service
from p2psync.api.stream import EventStream
from p2psync.i18n import language


class Name(Body):
    """The new name of the person."""

    name: Text


class NewPassphrase(Body):
    """A passphrase to lock with, when the key shall get one."""

    passphrase: Text | None = None


class Passphrase(Body):
    """The passphrase that unlocks."""

    passphrase: Text


class NewMandate(Body):
    """A mandate to make."""

    name: Text
    accounting: Text | None = None


class Attachment(Body):
    """Files to attach, as absolute paths with their kind; or what is offered."""

    files: Annotated[
        list[Text], Field(default_factory=list, max_length=limits.FILES_PER_MANDATE_MAX)
    ]
    kind: Text | None = None
    period: Text | None = None
    follows: Text | None = None
    expect_seconds: Annotated[int, Field(ge=0, le=limits.EXPECTED_SECONDS_MAX)] | None = None
    offered: bool = False
    program: Program | None = None
    format: Annotated[str, Field(min_length=1, max_length=limits.DEFINITION_BYTES_MAX)] | None = (
        None
    )


class NewInvitation(Body):
    """A ticket to make; the defaults are those of the command line."""

    role: Text = "writer"
    expires_seconds: Annotated[int, Field(gt=0, le=3660 * 24 * 3600)] = 14 * 24 * 3600
    uses: Annotated[int, Field(gt=0, le=limits.INVITATION_USES_MAX)] = 1
    passphrase: Text | None = None
    unsealed: bool = False


class Subscription(Body):
    """The content of a ticket file, and what to attach at once."""

    ticket: Annotated[str, Field(max_length=2 * limits.TICKET_BYTES_MAX)]
    passphrase: Text | None = None
    attach: Text | None = None
    kind: Text | None = None


class Confirmation(Body):
    """The file whose held-back save shall be taken."""

    file: Text


class Waiting(Body):
    """What to wait for."""

    synced: bool = True
    timeout_seconds: Annotated[float, Field(ge=0)] | None = None


router = new_router()


@router.get("/status")
async def status(node: Node) -> JsonObject:
    """The node at a glance."""
    return await node.status()


@router.post("/stop")
async def stop(node: Node) -> JsonObject:
    """End the node."""
    return await node.stop()


@router.get("/identity")
async def identity_show(node: Node) -> JsonObject:
    """Who I am."""
    return await node.identity_show()


@router.put("/identity")
async def identity_set(node: Node, body: Name) -> JsonObject:
    """Set the person's name."""
    return await node.identity_set(body.name)


@router.post("/identity/lock")
async def identity_lock(node: Node, body: NewPassphrase | None = None) -> JsonObject:
    """Lock the key."""
    return await node.identity_lock(body.passphrase if body else None)


@router.post("/identity/unlock")
async def identity_unlock(node: Node, body: Passphrase) -> JsonObject:
    """Unlock the key."""
    return await node.identity_unlock(body.passphrase)


@router.get("/mandates")
async def mandate_list(node: Node) -> JsonObject:
    """All mandates of this user session."""
    return await node.mandate_list()


@router.post("/mandates", status_code=201)
async def mandate_create(node: Node, body: NewMandate) -> JsonObject:
    """Make a local mandate."""
    return await node.mandate_create(body.name, body.accounting)


@router.get("/mandates/{mandate}")
async def mandate_show(node: Node, mandate: Segment) -> JsonObject:
    """One mandate with its files and members."""
    return await node.mandate_show(mandate)


@router.post("/mandates/{mandate}/share")
async def mandate_share(node: Node, mandate: Segment) -> JsonObject:
    """Turn a local mandate into a shared one."""
    return await node.mandate_share(mandate)


@router.post("/mandates/{mandate}/files", status_code=201)
async def attach(node: Node, mandate: Segment, body: Attachment) -> JsonObject:
    """Attach files."""
    return await node.attach(
        mandate,
        body.files,
        body.kind,
        body.period,
        body.follows,
        expect_seconds=body.expect_seconds,
        offered=body.offered,
        program=None if body.program is None else body.program.model_dump(),
        format=body.format,
    )


@router.get("/mandates/{mandate}/invitations")
async def invite_list(node: Node, mandate: Segment) -> JsonObject:
    """The tickets made so far."""
    return await node.invite_list(mandate)


@router.post("/mandates/{mandate}/invitations", status_code=201)
async def invite(node: Node, mandate: Segment, body: NewInvitation) -> JsonObject:
    """Make a ticket."""
    return await node.invite(
        mandate, body.role, body.expires_seconds, body.uses, body.passphrase, body.unsealed
    )


@router.delete("/mandates/{mandate}/invitations/{invitation}")
async def invite_revoke(node: Node, mandate: Segment, invitation: Segment) -> JsonObject:
    """Take a ticket back."""
    return await node.invite_revoke(mandate, invitation)


@router.post("/subscriptions", status_code=201)
async def subscribe(node: Node, body: Subscription) -> JsonObject:
    """Subscribe to the mandate of a ticket."""
    return await node.subscribe(body.ticket, body.passphrase, body.attach, body.kind)


@router.post("/mandates/{mandate}/confirmations", status_code=201)
async def confirm(node: Node, mandate: Segment, body: Confirmation) -> JsonObject:
    """Take a save that was held back."""
    return await node.confirm(mandate, body.file)


@router.post("/mandates/{mandate}/wait")
async def wait(node: Node, mandate: Segment, body: Waiting) -> JsonObject:
    """Answer when every connected member has what this node has."""
    return await node.wait(mandate, body.synced, body.timeout_seconds)


EventId = Annotated[int | None, Query(ge=0, lt=1 << 63)]


@router.get("/events", response_class=Response, response_model=None)
async def events(
    request: Request,
    node: Node,
    mandate: str | None = None,
    since: EventId = None,
    type: hooks.Types = [],  # noqa: B006 # the query's name; fastapi copies the default
    severity: hooks.Severity | None = None,
    last_event_id: Annotated[int | None, Header(ge=0, lt=1 << 63)] = None,
) -> Response:
    """The event stream; ``Last-Event-ID`` wins over ``since``, as a reconnecting page needs.

    Only some types, or one severity, when they are asked for; passing news come all the same.
    """
    types = frozenset(type)
    known = {each["type"] for each in (await node.event_types())["types"]} if types else types
    for unknown in sorted(types - known):
        raise errors.EventTypeUnknown(type=unknown)
    if mandate is not None:
        # An unknown mandate is refused here, while the answer can still be an error.
        await node.mandate_show(mandate)
    state = request.app.state
    return EventStream(
        node.events(mandate, since if last_event_id is None else last_event_id),
        language(),
        state.bounds.heartbeat_seconds,
        state.closing,
        lambda event: (
            "id" not in event
            or ((not types or event["type"] in types) and severity in (None, event["severity"]))
        ),
    )


_ROUTERS = (
    router,
    hooks.router,
    auditing.router,
    bundles.router,
    doctor.router,
    posting.router,
    programs.router,
    relays.router,
    network.router,
    placing.router,
    removal.router,
    members.router,
    history.router,
    retention.router,
)


def create_app(service: Service, bounds: Bounds, closing: trio.Event) -> FastAPI:
    """Return the endpoints over a service, without the guard that must stand before them."""
    app = FastAPI(
        title="p2psync",
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Answer,
        # Included, each would be made a second time, while who asks first of all waits for it.
        routes=[route for each in _ROUTERS for route in each.routes],
    )
    app.state.service = service
    app.state.bounds = bounds
    app.state.closing = closing
    app.add_exception_handler(errors.P2PSyncError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    return app


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.P2PSyncError)
    return error_answer(error, language())


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    invalid = errors.ApiRequestInvalid(field=field, cause=first["msg"])
    return error_answer(invalid, language())


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"][:200]
    answer: errors.P2PSyncError
    if error.status_code == 405:
        answer = errors.ApiMethodUnknown(path=path, method=request.method)
    else:
        answer = errors.ApiRouteUnknown(path=path)
    return error_answer(answer, language())


async def _on_bug(request: Request, error: Exception) -> Response:
    # The details are for the log, where the guard writes them.
    return error_answer(errors.P2PSyncError(cause="see the node's log"), language())
