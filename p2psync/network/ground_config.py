"""How a machine gets out, and what it shows to who calls it: what ``ground`` is told."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from p2psync.network.address import TcpAddress
from p2psync.network.proxy import Proxy, Trouble


@dataclass(frozen=True, slots=True)
class Way:
    """An address, and whether the proxy calls it."""

    address: TcpAddress
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.address}{f' through the proxy {self.proxy.place}' if self.proxy else ''}"


@dataclass(frozen=True, slots=True)
class ProxyNews:
    """What a call through the proxy to ``target`` showed: no trouble, or which, and why."""

    proxy: Proxy
    target: TcpAddress
    trouble: Trouble | None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class GroundConfig:
    """How this machine gets out, and what it shows to who calls it."""

    proxy: Callable[[], Proxy | None] = lambda: None
    """Through which proxy calls may go now."""
    proxy_told: Callable[[ProxyNews], None] = lambda news: None
    proxy_seconds: float = 8.0
    """From calling the proxy to its answer."""
    ca: Path | None = None
    """A PEM file with CAs that are trusted besides the system's."""
    certificate: Callable[[], ssl.SSLContext | None] = lambda: None
    """What this machine shows where it listens with TLS."""
    reverse_proxies: frozenset[str] = frozenset()
    """IP addresses whose ``X-Forwarded-For`` is believed."""
