"""The way out through an HTTP proxy: a tunnel by CONNECT (RFC 9110, section 9.3.6; RFC 7617)."""

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import ProxyInvalid
from p2psync.network.address import TcpAddress, is_dns_name, is_local
from p2psync.network.bytestream import Channel
from p2psync.network.http_head import HeadRefused, read_answer, read_head

_PORT = 8080
_SCHEMES = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)(?=\s|,|$)")

Trouble = Literal["unreachable", "password-refused", "refused"]
"""No proxy answers; it wants another user or password; it does not open this way."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, who we are to it, and which hosts are called without it."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    exempt: tuple[str, ...] = ()
    """Names, ``.suffixes``, IP addresses and networks, or ``*``, as in ``NO_PROXY``."""

    @property
    def url(self) -> str:
        """The URL, without the password."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"http://{user}{self.place}"

    @property
    def place(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def covers(self, address: TcpAddress) -> bool:
        """Whether a call to ``address`` may go through it: what is local, or exempt, never does."""
        host = address.host.rstrip(".").lower()
        if address.family in ("ip4", "ip6"):
            return not is_local(host) and not any(_holds(each, host) for each in self.exempt)
        if "." not in host or host.endswith((".local", ".localhost")):
            return False
        return not any(_names(each, host) for each in self.exempt)


def _holds(exempt: str, host: str) -> bool:
    if exempt == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exempt.strip("[]"), strict=False)
    except ValueError:
        return False


def _names(exempt: str, host: str) -> bool:
    suffix = exempt.lower().removeprefix("*").strip(".")
    return exempt == "*" or (bool(suffix) and (host == suffix or host.endswith("." + suffix)))


def parse_proxy(text: str) -> Proxy:
    """Read ``http://[USER[:PASSWORD]@]HOST[:PORT]``; raises ``ProxyInvalid``."""
    if len(text.encode("utf-8", "replace")) > limits.PROXY_TEXT_BYTES_MAX:
        raise ProxyInvalid(cause="it is too long")
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port or _PORT
    except ValueError:
        raise ProxyInvalid(cause="its host or port is none") from None
    if parts.scheme != "http":
        raise ProxyInvalid(cause=f"{parts.scheme}:// is not spoken with proxies, only http://")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyInvalid(cause="there is more behind its port")
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        if not is_dns_name(host):
            raise ProxyInvalid(cause="its host is neither a name nor an IP address") from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    _check_user(user, password)
    return Proxy(host, port, user, password)


def with_password(proxy: Proxy, password: str) -> Proxy:
    """The same with a password; raises ``ProxyInvalid``."""
    _check_user(proxy.user, password)
    return replace(proxy, password=password)


def _check_user(user: str, password: str) -> None:
    if len(password.encode()) > limits.PROXY_TEXT_BYTES_MAX:
        raise ProxyInvalid(cause="its password is too long")
    if ":" in user or not (user + password).isprintable():
        # RFC 7617: neither a colon nor control characters can be said.
        raise ProxyInvalid(cause="its user name or password holds a character that none may")


def read_exempt(text: str) -> tuple[str, ...]:
    """The parts of a ``NO_PROXY`` text, separated by commas or spaces; ports are left out."""
    found = []
    for part in re.split(r"[,\s]+", text[: 16 * limits.PROXY_TEXT_BYTES_MAX]):
        name, colon, port = part.rpartition(":")
        plain = name if colon and port.isdigit() and ":" not in name.strip("[]") else part
        found += [plain] if plain else []
    return tuple(found)


def proxy_of_environment(environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """What ``HTTPS_PROXY`` or ``ALL_PROXY``, and ``NO_PROXY``, say (lower case goes first).

    Raises ``ProxyInvalid``.
    """

    def said(name: str) -> str:
        return environment.get(name.lower()) or environment.get(name) or ""

    text = said("HTTPS_PROXY") or said("ALL_PROXY")
    return replace(parse_proxy(text), exempt=read_exempt(said("NO_PROXY"))) if text else None


class ProxyRefused(LinkBroken):
    """The proxy opened no tunnel; ``trouble`` tells which kind of no, the text says it plainly."""

    def __init__(self, trouble: Trouble, cause: str) -> None:
        super().__init__(cause)
        self.trouble: Trouble = trouble


async def open_tunnel(channel: Channel, proxy: Proxy, address: TcpAddress) -> None:
    """Have the proxy at the other end of ``channel`` call ``address``; all that follows is theirs.

    Raises ``ProxyRefused`` or ``LinkBroken``.
    """
    host = f"[{address.host}]" if address.family == "ip6" else address.host
    target = f"{host}:{address.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user or proxy.password:
        said = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {said}")
    await channel.send("\r\n".join([*lines, "", ""]).encode())
    try:
        for _ in range(limits.HTTP_INTERIM_ANSWERS_MAX + 1):
            answer = read_answer(await read_head(channel))
            if answer.status // 100 != 1:
                break
        else:
            raise HeadRefused("it answers that it will answer, again and again")
    except HeadRefused as error:
        raise ProxyRefused("unreachable", f"what answers there is no proxy: {error}") from None
    if answer.status // 100 == 2:
        return
    if answer.status == 407:
        raise ProxyRefused("password-refused", _unproven(proxy, answer.headers))
    raise ProxyRefused(
        "refused", f"it does not call {target}: {answer.status} {answer.reason}".rstrip()
    )


def _unproven(proxy: Proxy, headers: Mapping[str, str]) -> str:
    offered = list(dict.fromkeys(_SCHEMES.findall(headers.get("proxy-authenticate", ""))))
    if offered and not any(scheme.lower() == "basic" for scheme in offered):
        names = ", ".join(offered[:5])[:60]
        return f"it asks for {names}, and p2psync speaks Basic alone"
    if proxy.user or proxy.password:
        return "it does not take the user name or the password"
    return "it asks for a user name and a password"
