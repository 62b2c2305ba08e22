"""The relay's TLS certificate: read at the start, and again when its files change.

A renewal needs no restart: connections that are open go on, new ones see the new certificate.
"""

import logging
import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from p2psync import limits
from p2psync.errors import RelayCertificateUnreadable
from p2psync.network.tls import server_context

logger = logging.getLogger("p2psync.relay")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the chain and its key are, both as PEM files."""

    certificate: Path
    key: Path


class Certificate:
    """What is shown to who calls with TLS; nothing without ``files``."""

    def __init__(self, files: CertificateFiles | None) -> None:
        """Raises ``RelayCertificateUnreadable``."""
        self._files = files
        self._seen = _stamps(files)
        self._context = None if files is None else _read(files)
        self.until = None if files is None else _until(files)
        """When it expires, UTC."""

    def context(self) -> ssl.SSLContext | None:
        """What new connections are shown."""
        return self._context

    def take(self, files: CertificateFiles | None) -> None:
        """Show the certificate in other files; raises ``RelayCertificateUnreadable`` and changes
        nothing."""
        fresh = Certificate(files)
        self._files, self._seen = files, fresh._seen
        self._context, self.until = fresh._context, fresh.until

    def refresh(self) -> None:
        """Read the files again if they have changed; what cannot be read changes nothing."""
        stamps = _stamps(self._files)
        if stamps == self._seen:
            return
        try:
            self.take(self._files)
        except RelayCertificateUnreadable as error:
            # Half of a renewal may be there: the next change is looked at again.
            self._seen = stamps
            logger.error("the certificate stays as it was: %s", error.text)
        else:
            logger.info("the certificate was read again; it expires on %s", self.until)


def _stamps(files: CertificateFiles | None) -> tuple[tuple[int, ...], ...]:
    if files is None:
        return ()
    found: list[tuple[int, ...]] = []
    for path in (files.certificate, files.key):
        try:
            stat = os.stat(path)
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append(())
    return tuple(found)


def _read(files: CertificateFiles) -> ssl.SSLContext:
    try:
        return server_context(files.certificate, files.key)
    except OSError as error:
        raise _unreadable(files, error.strerror or error) from None


def _until(files: CertificateFiles) -> datetime:
    try:
        with files.certificate.open("rb") as file:
            chain = file.read(limits.TLS_FILE_BYTES_MAX)
        return x509.load_pem_x509_certificate(chain).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise _unreadable(files, error) from None


def _unreadable(files: CertificateFiles, cause: object) -> RelayCertificateUnreadable:
    return RelayCertificateUnreadable(certificate=files.certificate, key=files.key, cause=cause)
