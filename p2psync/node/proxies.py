"""The HTTP proxy by which this node gets out: which one, and how it does (B-NET-2).

It comes from ``--proxy``, else from what a person set, else from the environment. What a person set
lies in a file of the home that its owner alone may read: it may hold a password.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import trio

from p2psync import limits
from p2psync.errors import (
    P2PSyncError,
    ProxyInvalid,
    ProxyPasswordRefused,
    ProxyRefusesRelay,
    ProxySettingUnreadable,
    ProxyUnreachable,
)
from p2psync.network.address import TcpAddress
from p2psync.network.ground_config import ProxyNews
from p2psync.network.proxy import (
    Proxy,
    parse_proxy,
    proxy_of_environment,
    read_exempt,
    with_password,
)
from p2psync.node import views
from p2psync.node.runner import wall_ms
from p2psync.storage.disk import sync_names

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]
Source = Literal["option", "setting", "environment"]
FILE = "proxy.json"
NONE = "none"
"""In place of a URL: no proxy, whatever the environment says."""
GRACE_SECONDS = 15.0
"""A proxy may refuse one way and open another: people are told when neither has changed."""
_WORKING_MAX = 64
_KEY = "proxy-refused"


class ProxyUse:
    """Which proxy is used, and what was heard of it; of one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._path: Path | None = None
        self._option: str | None = None
        self._environment: Mapping[str, str] = {}
        self._proxy: Proxy | None = None
        self._source: Source | None = None
        self.grace_seconds = GRACE_SECONDS
        self.changed: Callable[[], None] = lambda: None
        """Called when there is another way out."""
        self._forget()

    def _forget(self) -> None:
        self._working: dict[TcpAddress, None] = {}
        self._state = "unused"
        self._cause = ""
        self._since_ms = 0

    def load(self, path: Path, option: str | None, environment: Mapping[str, str]) -> None:
        """Learn which proxy to use; ``path`` is the file of the home.

        Raises ``ProxyInvalid`` for ``option``, ``ProxySettingUnreadable``. A bad environment is
        used no more than an empty one.
        """
        self._path, self._option, self._environment = path, option, environment
        self._choose()

    def _choose(self) -> None:
        self._proxy, self._source = None, None
        said = self._read()
        if self._option is not None:
            self._proxy, self._source = _of_text(self._option), "option"
        elif said is not None:
            self._proxy, self._source = said[0], "setting"
        else:
            with suppress(ProxyInvalid):
                self._proxy = proxy_of_environment(self._environment)
            self._source = None if self._proxy is None else "environment"
        if self._proxy is not None:
            exempt = self._environment.get("no_proxy") or self._environment.get("NO_PROXY") or ""
            self._proxy = replace(self._proxy, exempt=read_exempt(exempt))

    def current(self) -> Proxy | None:
        """The proxy that calls may go through now."""
        return self._proxy

    # -- commands -----------------------------------------------------------------------------

    def view(self) -> Json:
        """Which proxy, from where, and how it does; never a password."""
        proxy = self._proxy
        shown: Json = {
            "proxy": None if proxy is None else proxy.url,
            "source": self._source,
            "password": bool(proxy and proxy.password),
            "exempt": list(proxy.exempt) if proxy else [],
            "state": self._state if proxy else "off",
            "since": views.iso(self._since_ms) if self._since_ms else None,
        }
        if proxy and self._cause:
            shown["cause"] = self._cause
        return shown

    async def set(self, url: str, password: str | None) -> Json:
        """Use a proxy from now on, and after each start; ``none``: use none.

        Raises ``ProxyInvalid``, ``ProxySettingUnreadable``.
        """
        self._node.check_writable()
        proxy = _of_text(url)
        if proxy is not None and password is not None:
            proxy = with_password(proxy, password)
        text = NONE if proxy is None else proxy.url
        secret = "" if proxy is None else proxy.password
        said = json.dumps({"proxy": text, "password": secret})
        await trio.to_thread.run_sync(self._write, said)
        return self._changed()

    async def clear(self) -> Json:
        """Forget the proxy that was set; that of the environment counts again."""
        self._node.check_writable()
        await trio.to_thread.run_sync(self._remove)
        return self._changed()

    def _changed(self) -> Json:
        self._choose()
        self._forget()
        self._node.notices.settle("proxy-refused", key=_KEY)
        self.changed()
        return self.view()

    # -- the file -----------------------------------------------------------------------------

    def _unusable(self, cause: object) -> ProxySettingUnreadable:
        return ProxySettingUnreadable(path=self._path, cause=cause)

    def _read(self) -> tuple[Proxy | None] | None:
        """What a person set: a proxy, or none; nothing when nobody did."""
        assert self._path is not None
        try:
            with self._path.open("rb") as file:
                said = json.loads(file.read(8 * limits.PROXY_TEXT_BYTES_MAX))
            proxy = _of_text(str(said["proxy"]))
            return (with_password(proxy, str(said["password"])) if proxy else None,)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error.strerror or error) from None
        except (ValueError, KeyError, TypeError, ProxyInvalid):
            raise self._unusable("it cannot be read") from None

    def _write(self, text: str) -> None:
        assert self._path is not None
        fresh = self._path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise self._unusable(error.strerror or error) from None
        sync_names(str(self._path.parent))

    def _remove(self) -> None:
        assert self._path is not None
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error.strerror or error) from None
        sync_names(str(self._path.parent))

    # -- what is heard of it ------------------------------------------------------------------

    def on_news(self, news: ProxyNews) -> None:
        """A call went through the proxy, or did not."""
        if self._proxy is None or news.proxy.url != self._proxy.url:
            return
        if news.trouble is None:
            self._working[news.target] = None
            if len(self._working) > _WORKING_MAX:
                del self._working[next(iter(self._working))]
            self._now("works", "")
            self._node.notices.settle("proxy-refused", key=_KEY)
            return
        if news.trouble == "refused":
            self._working.pop(news.target, None)
            if self._working:
                return  # It opens other ways.
        else:
            self._working.clear()
        before = self._state
        self._now(news.trouble, news.cause)
        error = self._error(self._proxy, news)
        if news.trouble == "password-refused":
            self._tell(error)
        elif news.trouble != before:
            self._node.start_soon(partial(self._tell_later, self._since_ms, error))

    def _error(self, proxy: Proxy, news: ProxyNews) -> P2PSyncError:
        match news.trouble:
            case "password-refused":
                return ProxyPasswordRefused(proxy=proxy.place, cause=news.cause)
            case "refused":
                return ProxyRefusesRelay(proxy=proxy.place, cause=news.cause)
            case _:
                return ProxyUnreachable(proxy=proxy.place, cause=news.cause)

    def _now(self, state: str, cause: str) -> None:
        if state != self._state:
            self._since_ms = wall_ms()
        self._state, self._cause = state, cause

    async def _tell_later(self, since_ms: int, error: P2PSyncError) -> None:
        await trio.sleep(self.grace_seconds)
        if self._since_ms == since_ms and self._state != "works":
            self._tell(error)

    def _tell(self, error: P2PSyncError) -> None:
        self._node.notices.alert("proxy-refused", error, action="check-proxy", key=_KEY)


def _of_text(text: str) -> Proxy | None:
    return None if text.strip().lower() == NONE else parse_proxy(text)
