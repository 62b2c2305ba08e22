"""The two files in a node's home that lead to its local API."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from p2psync.limits import KIB

ADDRESS_FILE = "api.json"
TOKEN_FILE = "api.token"  # noqa: S105 - the name of a file
_FILE_BYTES_MAX = 4 * KIB


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where a node's API listens, which process it is, and the token (64 hexadecimal digits)."""

    host: str
    port: int
    pid: int
    version: str
    token: str

    @property
    def url(self) -> str:
        """The API's origin."""
        return f"http://{self.host}:{self.port}"


def write_address(home: Path, url: str, pid: int, version: str, token: str) -> None:
    """Write both files, readable by the owner alone; the token first."""
    _replace(home / TOKEN_FILE, token.encode())
    _replace(
        home / ADDRESS_FILE,
        json.dumps({"address": url, "pid": pid, "version": version}).encode(),
    )


def remove_address(home: Path) -> None:
    """Remove both files; no error when they are gone."""
    for name in (ADDRESS_FILE, TOKEN_FILE):
        (home / name).unlink(missing_ok=True)


def read_address(home: Path) -> ApiAddress | None:
    """Return what the files say; None when they are missing or make no sense."""
    try:
        with (home / ADDRESS_FILE).open("rb") as file:
            said = json.loads(file.read(_FILE_BYTES_MAX))
        with (home / TOKEN_FILE).open("rb") as file:
            token = file.read(_FILE_BYTES_MAX).decode("ascii").strip()
        scheme, _, rest = str(said["address"]).partition("://")
        host, _, port = rest.partition(":")
        if scheme != "http" or host != "127.0.0.1" or not token:
            return None
        return ApiAddress(host, int(port), int(said["pid"]), str(said["version"]), token)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.chmod(temporary, 0o600)
        file.write(content)
    os.replace(temporary, path)
