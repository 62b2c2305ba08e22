"""What a connection stands on: TCP, or WebSocket on it; called directly or through a proxy."""

import ssl
from functools import partial

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress
from p2psync.network.bytestream import ByteStream, Channel, tune
from p2psync.network.dial import connect, os_reason
from p2psync.network.ground_config import GroundConfig, ProxyNews, Way
from p2psync.network.proxy import Proxy, ProxyRefused, open_tunnel
from p2psync.network.tls import Tls, client_context
from p2psync.network.websocket import WebSocket

_HTTPS = 443
_TRUST_SECONDS = 3600
"""The system's store of CAs is read again after so long."""


class Ground:
    """Opens and accepts channels; ``silence_seconds`` as of the transport."""

    def __init__(self, config: GroundConfig, silence_seconds: float) -> None:
        self._config = config
        self._silence_seconds = silence_seconds
        self._trust: ssl.SSLContext | None = None
        self._trust_until = 0.0

    # -- calling

    def ways(self, address: TcpAddress, *, relay: bool) -> tuple[Way, ...]:
        """How an address is called: directly, and perhaps through the proxy.

        Proxies let calls to port 443 pass, and seldom others: only a relay, which its operator
        offered for calls from offices, is tried at any port.
        """
        direct = Way(address)
        proxy = self._config.proxy()
        if proxy is None or not proxy.covers(address):
            return (direct,)
        if relay or address.web or address.port == _HTTPS:
            return (direct, Way(address, proxy))
        return (direct,)

    async def open(self, way: Way) -> Channel:
        """A channel to an address, on which the upgrade follows; raises ``OSError`` or
        ``LinkBroken``."""
        address = way.address
        raw = await (self._directly(address) if way.proxy is None else self._through(way))
        try:
            if not address.web:
                return raw
            below: Channel = raw
            if address.web == "wss":
                name = (address.name or address.host).rstrip(".")
                below = tls = Tls(raw, await self._trusted(), name)
                await tls.shake_hands()
            # Imported late, here and below: it takes longer than the rest, and few need it.
            from p2psync.network.websocket_opening import open_websocket

            await open_websocket(below, _host_header(address))
            return WebSocket(below, client=True, sealed=address.web == "wss")
        except BaseException:
            raw.close()
            raise

    async def _directly(self, address: TcpAddress) -> ByteStream:
        stream = await connect(address)
        tune(stream, self._silence_seconds)
        return ByteStream(stream)

    async def _through(self, way: Way) -> ByteStream:
        assert way.proxy is not None
        tell = partial(ProxyNews, way.proxy, way.address)
        try:
            with trio.fail_after(self._config.proxy_seconds):
                raw = await self._tunnel(way.proxy, way.address)
        except ProxyRefused as error:
            self._config.proxy_told(tell(error.trouble, str(error)))
            raise
        except (LinkBroken, OSError, trio.TooSlowError) as error:
            late = isinstance(error, trio.TooSlowError)
            cause = "no answer in time" if late else os_reason(error)
            self._config.proxy_told(tell("unreachable", cause))
            raise LinkBroken(f"the proxy cannot be reached: {cause}") from None
        self._config.proxy_told(tell(None))
        return raw

    async def _tunnel(self, proxy: Proxy, address: TcpAddress) -> ByteStream:
        stream = await trio.open_tcp_stream(proxy.host, proxy.port)
        tune(stream, self._silence_seconds)
        raw = ByteStream(stream)
        raw.remote = None  # Who is behind the proxy is not seen.
        try:
            await open_tunnel(raw, proxy, address)
        except BaseException:
            raw.close()
            raise
        return raw

    async def _trusted(self) -> ssl.SSLContext:
        if self._trust is None or trio.current_time() > self._trust_until:
            try:
                self._trust = await trio.to_thread.run_sync(client_context, self._config.ca)
            except OSError as error:
                raise LinkBroken(
                    f"the CAs in {self._config.ca} cannot be read: {os_reason(error)}"
                ) from None
            self._trust_until = trio.current_time() + _TRUST_SECONDS
        return self._trust

    # -- being called

    async def accept(self, raw: ByteStream, listening: TcpAddress) -> Channel:
        """What a call to a listener stands on; raises ``LinkBroken``, and leaves ``raw`` open."""
        if not listening.web:
            return raw
        below: Channel = raw
        if listening.web == "wss":
            context = self._config.certificate()
            if context is None:
                raise LinkBroken("there is no certificate to show")
            below = tls = Tls(raw, context)
            await tls.shake_hands()
        from p2psync.network.websocket_opening import accept_websocket

        remote = await accept_websocket(below, self._config.reverse_proxies)
        return WebSocket(below, client=False, sealed=listening.web == "wss", remote=remote)


def _host_header(address: TcpAddress) -> str:
    host = address.name or address.host
    host = f"[{host}]" if ":" in host else host
    usual = 443 if address.web == "wss" else 80
    return host if address.port == usual else f"{host}:{address.port}"
