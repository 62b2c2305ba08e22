"""TLS below WebSocket (RFC 8446): only networks on the way ask for it, the peer is proved by Noise.

Both ends run Python's ``ssl`` in memory, on any channel: TCP or a proxy's tunnel.
"""

import contextlib
import ssl
from pathlib import Path
from typing import Final, cast

from p2psync.engine.ports import LinkBroken
from p2psync.errors import CaUnreadable
from p2psync.network.bytestream import Channel
from p2psync.network.layer import Layer

_READ_BYTES = 64 * 1024
_scratch: Final = bytearray(_READ_BYTES)
"""Sealed bytes on their way from the channel below; nothing stays in it."""

_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_ISSUER = frozenset({18, 19, 20, 21})
"""OpenSSL's numbers of what is wrong with a certificate (X509_V_ERR_…)."""


class CertificateRefused(LinkBroken):
    """The certificate of who answers does not hold."""

    def __init__(self, error: ssl.SSLCertVerificationError, name: str) -> None:
        super().__init__(f"its TLS certificate {_trouble(error, name)}")


def _trouble(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    if code in (_EXPIRED, _NOT_YET):
        state = "has expired" if code == _EXPIRED else "is not valid yet"
        return f"{state}: look at this machine's clock, then ask the operator to renew it"
    if code in _OTHER_NAME:
        return f"is not for {name}: ask the operator for the right address"
    if code in _UNKNOWN_ISSUER:
        return (
            "is signed by nobody whom this machine trusts: where a company reads along, name its "
            "CA with --ca FILE; else ask the operator"
        )
    return f"is refused: {error.verify_message}"


def client_context(ca: Path | None = None) -> ssl.SSLContext:
    """Who is trusted: the system's store (or ``SSL_CERT_FILE``), and the CAs in the file ``ca``.

    Raises ``OSError`` when the file cannot be read, ``ssl.SSLError`` (one of them) when it holds no
    certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca is not None:
        context.load_verify_locations(cafile=ca)
    return context


def check_ca(path: Path) -> None:
    """Raise ``CaUnreadable`` unless a file holds certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:
        raise CaUnreadable(path=path, cause=error.strerror or error) from None


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server shows: a chain of certificates and its key, both as PEM files.

    Raises ``OSError``; ``ssl.SSLError``, one of them, when the files do not hold that.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A password would be asked for at the terminal, where a server has nobody.
    context.load_cert_chain(certificate, key, password=lambda: b"")
    return context


class Tls(Layer):
    """One end of TLS; nothing passes before ``shake_hands`` has returned."""

    def __init__(self, below: Channel, context: ssl.SSLContext, name: str | None = None) -> None:
        """``name``: the host that a client asks for; None at a server."""
        super().__init__(below)
        self._name = name or ""
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=name is None, server_hostname=name
        )

    async def shake_hands(self) -> None:
        """Run the handshake; raises ``CertificateRefused`` or ``LinkBroken``."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_all()
            except ssl.SSLCertVerificationError as error:
                self._say_last()
                raise CertificateRefused(error, self._name) from None
            except ssl.SSLError as error:
                self._say_last()
                raise LinkBroken(f"TLS failed: {_reason(error)}") from None
            else:
                await self._flush_all()
                return
            while (came := self._take_in()) is None:
                await self._below.readable()
            if not came:
                raise LinkBroken("the peer closed the connection in the TLS handshake")

    def _say_last(self) -> None:
        try:
            self._put(self._out.read())
        except LinkBroken:
            return

    async def _flush_all(self) -> None:
        self._put(self._out.read())
        while self._outbox:
            await self._below.writable()
            self._flush()

    def _take_in(self) -> int | None:
        """Hand sealed bytes to TLS; how many, 0 at the end, None when there are none."""
        with memoryview(_scratch) as view:
            came = self._below.receive_now(view)
            if came:
                self._in.write(view[:came])
            return came

    def _fill(self, buffer: memoryview) -> int | None:
        while True:
            count = self._open(buffer)
            if self._out.pending:
                self._put(self._out.read())
            if count:
                return count
            if self._ended:
                return 0
            came = self._take_in()
            if came is None:
                return None
            self._ended = came == 0

    def _open(self, buffer: memoryview) -> int:
        at = 0
        try:
            while at < len(buffer):
                # With a buffer it returns how many bytes it put there.
                count = cast(int, self._tls.read(len(buffer) - at, buffer[at:]))
                if not count:
                    self._ended = True
                    break
                at += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            raise LinkBroken(f"TLS failed: {_reason(error)}") from None
        return at

    def _wrap(self, data: memoryview) -> bytes:
        try:
            while data:
                data = data[self._tls.write(data) :]
        except ssl.SSLError as error:
            raise LinkBroken(f"TLS failed: {_reason(error)}") from None
        return self._out.read()

    def end(self) -> None:
        """Tell the peer that nothing more comes; reading goes on."""
        # It wants to read the peer's answer, for which nobody waits.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._put(self._out.read())


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
