"""What the endpoints' modules share: parts of paths and bodies, and the service behind them."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from p2psync import limits
from p2psync.api.answers import HEADERS
from p2psync.api.service import Service
from p2psync.i18n import language, localise

Segment = Annotated[str, Path(max_length=4 * limits.TEXT_BYTES_MAX), AfterValidator(unquote)]
"""One part of a path, percent-decoded only here (see ``Guard``)."""

Text = Annotated[str, Field(min_length=1, max_length=limits.TEXT_BYTES_MAX)]


class Body(BaseModel):
    """A JSON body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(JSONResponse):
    """JSON with every message in the reader's language."""

    def __init__(self, content: Any = None, status_code: int = 200, **rest: Any) -> None:
        super().__init__(content, status_code, **rest)
        self.headers.update(HEADERS)

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return super().render(localise(content, language()))


def new_router() -> APIRouter:
    """Return a router for endpoints under ``/v1`` that answer in the reader's language."""
    return APIRouter(prefix="/v1", default_response_class=Answer)


# Not async, it would be called in a thread, which takes longer than most of what is asked for.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Node = Annotated[Service, Depends(_service)]
