"""What a hook calls: a program, without a shell, or a URL (a webhook). Both are bounded.

Webhooks follow the Standard Webhooks specification 1.0.0: headers ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature`` (HMAC-SHA256 over ``id.timestamp.body``).
"""

import base64
import binascii
import hashlib
import hmac
import importlib
import ipaddress
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from p2psync import __version__
from p2psync.errors import HookProgramMissing, HookSecretBad, HookUrlBad, HookUrlPlain
from p2psync.limits import (
    HOOK_COMMAND_SECONDS_MAX,
    HOOK_OUTPUT_BYTES_MAX,
    HOOK_OUTPUT_KEPT_BYTES,
    WEBHOOK_ANSWER_BYTES_MAX,
    WEBHOOK_SECONDS_MAX,
)

if TYPE_CHECKING:
    import httpx

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with is none
SECRET_BYTES = 32
_SECRET_BYTES_MIN, _SECRET_BYTES_MAX = 24, 64
_RETRY_AFTER_SECONDS_MAX = 4 * 3600
_OUTPUT_GRACE_SECONDS = 1.0
"""How long output is waited for that a program's children hold open after its end."""
_ENV_BYTES_MAX = 4096
_WRONG_CALL = frozenset({400, 405, 406, 411, 413, 414, 415, 422, 431, 451})
"""Answers that say that this very event is not taken: another time will not help."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: a text with its template, and what follows from it."""

    ok: bool
    template: str
    params: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False
    """The receiver does not take this event, whenever it comes."""
    gone: bool = False
    """The receiver wants no more events at all."""
    after_seconds: int = 0
    """The receiver asks not to be called again before."""

    def view(self) -> dict[str, Any]:
        """The outcome as it is kept and shown."""
        return {
            "ok": self.ok,
            "template": self.template,
            "params": dict(self.params),
            "text": self.template.format_map(self.params),
        }


# -- commands -------------------------------------------------------------------------------------


def find_program(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command with its program as an absolute path; raises ``HookProgramMissing``."""
    if not argv or any("\0" in word for word in argv):
        raise HookProgramMissing(program="".join(argv[:1]).replace("\0", "?"))
    found = shutil.which(argv[0])
    if found is None:
        raise HookProgramMissing(program=argv[0])
    return (os.path.abspath(found), *argv[1:])


def environment(event: Mapping[str, Any], home: Path) -> dict[str, str]:
    """The environment of a command: this process's, and what it is about.

    ``P2PSYNC_HOME`` lets the command call ``p2psync`` itself. What comes from others stands in
    values alone, never in names or arguments.
    """
    told = {
        "P2PSYNC_HOME": str(home),
        "P2PSYNC_EVENT_ID": event.get("id"),
        "P2PSYNC_EVENT_TYPE": event["type"],
        "P2PSYNC_EVENT_SEVERITY": event["severity"],
        "P2PSYNC_MANDATE": event.get("mandate"),
        "P2PSYNC_MANDATE_NAME": event.get("mandate_name"),
        "P2PSYNC_FILE": event.get("file"),
    }
    clean = {name: _clean(value) for name, value in told.items() if value is not None}
    return {**os.environ, **clean}


def _clean(value: object) -> str:
    return str(value).replace("\0", "")[:_ENV_BYTES_MAX]


async def run_command(
    argv: Sequence[str],
    content: bytes,
    env: Mapping[str, str],
    seconds: float = HOOK_COMMAND_SECONDS_MAX,
) -> Outcome:
    """Run a program with ``content`` as its standard input, in a session of its own.

    It is ended with all that it started when it takes too long or prints too much, and when this
    call is cancelled.
    """
    try:
        process = await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path.home() if Path.home().is_dir() else None,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(
            ok=False,
            template="it cannot be started: {cause}",
            params={"cause": error.strerror or str(error)},
        )
    output = bytearray()
    too_much = False
    in_time = False

    async def write() -> None:
        assert process.stdin is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await process.stdin.send_all(content)
        await process.stdin.aclose()

    async def read() -> None:
        nonlocal too_much
        assert process.stdout is not None
        taken = 0
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for part in process.stdout:
                taken += len(part)
                output.extend(part)
                del output[:-HOOK_OUTPUT_KEPT_BYTES]
                if taken > HOOK_OUTPUT_BYTES_MAX:
                    too_much = True
                    _kill(process)
                    return

    try:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                nursery.start_soon(read)
                await process.wait()
                in_time = True
                nursery.cancel_scope.deadline = trio.current_time() + _OUTPUT_GRACE_SECONDS
    finally:
        if process.returncode is None:
            _kill(process)
            with trio.CancelScope(shield=True):
                await process.wait()
        with trio.CancelScope(shield=True):
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
    said = output.decode("utf-8", "replace").strip()
    if too_much:
        return Outcome(
            ok=False,
            template="it was ended: it printed more than {bytes} bytes",
            params={"bytes": str(HOOK_OUTPUT_BYTES_MAX)},
        )
    if not in_time:
        return Outcome(
            ok=False,
            template="it was ended after {seconds} seconds",
            params={"seconds": f"{seconds:g}"},
        )
    if process.returncode:
        return Outcome(
            ok=False,
            template="exit code {exit_code}: {output}",
            params={"exit_code": str(process.returncode), "output": said},
        )
    return Outcome(ok=True, template="done")


def _kill(process: trio.Process) -> None:
    """End a program and, where there are sessions, all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


# -- webhooks -------------------------------------------------------------------------------------


def check_url(url: str, *, allow_http: bool) -> str:
    """Return a URL that may be called; raises ``HookUrlBad`` or ``HookUrlPlain``.

    Plain HTTP goes to this machine alone, unless told: what is sent names people and files.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise HookUrlBad(url=url) from None
    shown = "".join(each if 0x20 < ord(each) < 0x7F else "?" for each in url)
    if parts.scheme not in ("http", "https") or not host or shown != url:
        raise HookUrlBad(url=shown)
    if parts.username is not None or parts.password is not None:
        raise HookUrlBad(url=f"{parts.scheme}://…@{host}")  # a password is not shown again
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        raise HookUrlPlain(url=url)
    return url


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def new_secret(entropy: bytes) -> str:
    """Return a secret of fresh random bytes as text."""
    return SECRET_PREFIX + base64.b64encode(entropy).decode()


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret; raises ``HookSecretBad``."""
    prefix, _, encoded = text.strip().partition(SECRET_PREFIX)
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise HookSecretBad from None
    if prefix or not _SECRET_BYTES_MIN <= len(secret) <= _SECRET_BYTES_MAX:
        raise HookSecretBad
    return secret


def sign(secret: bytes, message: str, seconds: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``."""
    signed = b".".join((message.encode(), str(seconds).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


async def call_webhook(
    url: str, secret: bytes, message: str, body: bytes, now_seconds: int
) -> Outcome:
    """POST a body once; redirects are not followed and the answer is not kept."""
    headers = {
        "content-type": "application/json",
        "user-agent": f"p2psync/{__version__}",
        "webhook-id": message,
        "webhook-timestamp": str(now_seconds),
        "webhook-signature": sign(secret, message, now_seconds, body),
    }
    httpx: Any = await trio.to_thread.run_sync(partial(importlib.import_module, "httpx"))
    host = urlsplit(url).hostname or ""
    verify: Any = False
    if url.startswith("https:"):
        verify = await trio.to_thread.run_sync(_trust)
    try:
        with trio.fail_after(WEBHOOK_SECONDS_MAX):
            client = httpx.AsyncClient(
                verify=verify,
                trust_env=not is_loopback(host),  # no proxy leads to this machine
                follow_redirects=False,
                timeout=WEBHOOK_SECONDS_MAX,
            )
            request = client.stream("POST", url, content=body, headers=headers)
            async with client, request as answer:
                await _drain(answer)
                return _judge(answer)
    except trio.TooSlowError:
        return Outcome(
            ok=False,
            template="no answer within {seconds} seconds",
            params={"seconds": str(WEBHOOK_SECONDS_MAX)},
        )
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Outcome(
            ok=False,
            template="it cannot be reached: {cause}",
            params={"cause": str(error)[:HOOK_OUTPUT_KEPT_BYTES] or type(error).__name__},
        )


def _trust() -> ssl.SSLContext:
    """Whom this machine trusts; where it has no certificates, those of the HTTP library."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if os.name == "posix" and paths.cafile is None and paths.capath is None:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


async def _drain(answer: "httpx.Response") -> None:
    """Read a short answer to its end, which is polite; of any other only the head is needed."""
    length = answer.headers.get("content-length", "")
    is_number = length.isascii() and length.isdigit() and len(length) < 10
    if is_number and int(length) <= WEBHOOK_ANSWER_BYTES_MAX:
        async for _ in answer.aiter_raw():
            pass


def _judge(answer: "httpx.Response") -> Outcome:
    status = answer.status_code
    if 200 <= status < 300:
        return Outcome(ok=True, template="done")
    if 300 <= status < 400:
        return Outcome(
            ok=False,
            template="it leads elsewhere (HTTP {status}), which is not followed",
            params={"status": str(status)},
        )
    after = answer.headers.get("retry-after", "")
    return Outcome(
        ok=False,
        template="HTTP {status}",
        params={"status": str(status)},
        refused=status in _WRONG_CALL,
        gone=status == 410,
        after_seconds=min(int(after), _RETRY_AFTER_SECONDS_MAX)
        if after.isascii() and after.isdigit() and len(after) < 10
        else 0,
    )
