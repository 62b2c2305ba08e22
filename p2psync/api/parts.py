"""What the endpoints' modules share: parts of paths and bodies, and the service behind them."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from p2psync import limits
from p2psync.api.service import Service

Segment = Annotated[str, Path(max_length=4 * limits.TEXT_BYTES_MAX), AfterValidator(unquote)]
"""One part of a path, percent-decoded only here (see ``Guard``)."""

Text = Annotated[str, Field(min_length=1, max_length=limits.TEXT_BYTES_MAX)]


class Body(BaseModel):
    """A JSON body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Node = Annotated[Service, Depends(_service)]
