"""How an error becomes an HTTP answer, in the reader's language."""

from typing import Final

from starlette.responses import JSONResponse

from p2psync import errors
from p2psync.i18n import tell

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_STATUS_OF_EXIT_CODE: Final = {1: 500, 2: 400, 3: 409, 4: 503, 5: 422, 6: 507}
_STATUS_OF_CODE: Final = {
    errors.ApiUnauthorized.code: 401,
    errors.ApiHostRefused.code: 403,
    errors.ApiOriginRefused.code: 403,
    errors.ApiRouteUnknown.code: 404,
    errors.ApiMethodUnknown.code: 405,
    errors.ApiBodyTooSlow.code: 408,
    errors.ApiBodyTooLarge.code: 413,
    errors.ApiBodyType.code: 415,
    errors.ApiProtocolRefused.code: 505,
}


def status_of(error: errors.P2PSyncError) -> int:
    """Return the HTTP status that fits an error: by its code, else by its exit code."""
    return _STATUS_OF_CODE.get(error.code) or _STATUS_OF_EXIT_CODE.get(error.exit_code, 500)


def error_object(error: errors.P2PSyncError, language: str) -> dict[str, dict[str, object]]:
    """Return ``{"error": {"code", "text", "hint", "exit_code"}}``."""
    return {
        "error": {
            "code": error.code,
            "text": tell(error.template, error.params, language),
            "hint": tell(error.hint_template, error.params, language),
            "exit_code": error.exit_code,
        }
    }


def error_answer(error: errors.P2PSyncError, language: str, *, close: bool = False) -> JSONResponse:
    """Return the whole answer; ``close`` ends the connection, whose body may be unread."""
    headers = dict(HEADERS)
    if close:
        headers["Connection"] = "close"
    if isinstance(error, errors.ApiUnauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="p2psync"'
    return JSONResponse(error_object(error, language), status_of(error), headers)
