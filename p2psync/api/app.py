"""The endpoints: HTTP to ``Service`` and back. Nothing here knows how the node works."""

from typing import Annotated, Any
from urllib.parse import unquote

import trio
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from p2psync import __version__, errors, limits
from p2psync.api.answers import HEADERS, error_answer
from p2psync.api.guard import Bounds
from p2psync.api.service import JsonObject, Service
from p2psync.api.stream import EventStream
from p2psync.i18n import language, localise

Segment = Annotated[str, Path(max_length=4 * limits.TEXT_BYTES_MAX), AfterValidator(unquote)]
"""One part of a path, percent-decoded only here (see ``Guard``)."""

Text = Annotated[str, Field(min_length=1, max_length=limits.TEXT_BYTES_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Name(_Body):
    """The new name of the person."""

    name: Text


class NewPassphrase(_Body):
    """A passphrase to lock with, when the key shall get one."""

    passphrase: Text | None = None


class Passphrase(_Body):
    """The passphrase that unlocks."""

    passphrase: Text


class NewMandate(_Body):
    """A mandate to make."""

    name: Text
    accounting: Text | None = None


class Attachment(_Body):
    """Files to attach, as absolute paths."""

    files: Annotated[list[Text], Field(min_length=1, max_length=limits.FILES_PER_MANDATE_MAX)]
    kind: Text
    period: Text | None = None
    follows: Text | None = None


class NewInvitation(_Body):
    """A ticket to make; the defaults are those of the command line."""

    role: Text = "writer"
    expires_seconds: Annotated[int, Field(gt=0, le=3660 * 24 * 3600)] = 14 * 24 * 3600
    uses: Annotated[int, Field(gt=0, le=limits.INVITATION_USES_MAX)] = 1
    passphrase: Text | None = None
    unsealed: bool = False


class Subscription(_Body):
    """The content of a ticket file, and what to attach at once."""

    ticket: Annotated[str, Field(max_length=2 * limits.TICKET_BYTES_MAX)]
    passphrase: Text | None = None
    attach: Text | None = None
    kind: Text | None = None


class Posting(_Body):
    """What to integrate; no files means all."""

    files: Annotated[list[Text], Field(max_length=limits.FILES_PER_MANDATE_MAX)] = []
    output: Text | None = None


class Confirmation(_Body):
    """The file whose held-back save shall be taken."""

    file: Text


class Waiting(_Body):
    """What to wait for."""

    synced: bool = True
    timeout_seconds: Annotated[float, Field(ge=0)] | None = None


class Restoration(_Body):
    """A version to bring back, in place or to ``output``."""

    file: Text
    version: Text
    output: Text | None = None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Node = Annotated[Service, Depends(_service)]
router = APIRouter(prefix="/v1")


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
    return await node.attach(mandate, body.files, body.kind, body.period, body.follows)


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


@router.get("/mandates/{mandate}/pending")
async def pending(node: Node, mandate: Segment) -> JsonObject:
    """What waits to be posted."""
    return await node.pending(mandate)


@router.get("/mandates/{mandate}/receipts")
async def receipts(node: Node, mandate: Segment) -> JsonObject:
    """What was posted, by whom, when."""
    return await node.receipts(mandate)


@router.post("/mandates/{mandate}/receipts", status_code=201)
async def post(node: Node, mandate: Segment, body: Posting) -> JsonObject:
    """Post pending records."""
    return await node.post(mandate, body.files, body.output)


@router.delete("/mandates/{mandate}/receipts/{receipt}")
async def unpost(node: Node, mandate: Segment, receipt: Segment) -> JsonObject:
    """Retract a receipt."""
    return await node.unpost(mandate, receipt)


@router.post("/mandates/{mandate}/confirmations", status_code=201)
async def confirm(node: Node, mandate: Segment, body: Confirmation) -> JsonObject:
    """Take a save that was held back."""
    return await node.confirm(mandate, body.file)


@router.post("/mandates/{mandate}/wait")
async def wait(node: Node, mandate: Segment, body: Waiting) -> JsonObject:
    """Answer when every connected member has what this node has."""
    return await node.wait(mandate, body.synced, body.timeout_seconds)


@router.get("/mandates/{mandate}/history")
async def history(
    node: Node,
    mandate: Segment,
    file: Annotated[str | None, Query(max_length=limits.TEXT_BYTES_MAX)] = None,
    at: Annotated[str | None, Query(max_length=100)] = None,
) -> JsonObject:
    """The versions of one file or of all."""
    return await node.history(mandate, file, at)


@router.post("/mandates/{mandate}/restore")
async def restore(node: Node, mandate: Segment, body: Restoration) -> JsonObject:
    """Bring a version back."""
    return await node.restore(mandate, body.file, body.version, body.output)


@router.get("/mandates/{mandate}/members")
async def member_list(node: Node, mandate: Segment) -> JsonObject:
    """Who subscribes to the mandate."""
    return await node.member_list(mandate)


@router.get("/alerts")
async def alerts(node: Node, mandate: str | None = None) -> JsonObject:
    """The alerts that nobody closed yet."""
    return await node.alerts(mandate)


@router.delete("/alerts/{alert}")
async def close_alert(node: Node, alert: Annotated[int, Path(ge=0, lt=1 << 63)]) -> JsonObject:
    """Close an alert."""
    return await node.close_alert(alert)


EventId = Annotated[int | None, Query(ge=0, lt=1 << 63)]


@router.get("/events", response_class=Response, response_model=None)
async def events(
    request: Request,
    node: Node,
    mandate: str | None = None,
    since: EventId = None,
    last_event_id: Annotated[int | None, Header(ge=0, lt=1 << 63)] = None,
) -> Response:
    """The event stream; ``Last-Event-ID`` wins over ``since``, as a reconnecting page needs."""
    if mandate is not None:
        # An unknown mandate is refused here, while the answer can still be an error.
        await node.mandate_show(mandate)
    state = request.app.state
    return EventStream(
        node.events(mandate, since if last_event_id is None else last_event_id),
        language(),
        state.bounds.heartbeat_seconds,
        state.closing,
    )


class _LocalisedAnswer(JSONResponse):
    """JSON with every message in the reader's language."""

    def __init__(self, content: Any = None, status_code: int = 200, **rest: Any) -> None:
        super().__init__(content, status_code, **rest)
        self.headers.update(HEADERS)

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return super().render(localise(content, language()))


def create_app(service: Service, bounds: Bounds, closing: trio.Event) -> FastAPI:
    """Return the endpoints over a service, without the guard that must stand before them."""
    app = FastAPI(
        title="p2psync",
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=_LocalisedAnswer,
    )
    app.state.service = service
    app.state.bounds = bounds
    app.state.closing = closing
    app.include_router(router)
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
