"""Time stamps by RFC 3161: asked of an authority over HTTP, and checked.

The message that is stamped is the body of the manifest's frame; its imprint is SHA-256.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from p2psync.audit.der import sort_certificates
from p2psync.core.audit import NONCE_BYTES, Stamp
from p2psync.errors import CertificatesInvalid, InputUnreadable, TimeStampFailed, TimeStampWrong
from p2psync.limits import (
    AUDIT_STAMP_BYTES_MAX,
    CERTIFICATE_FILE_BYTES_MAX,
    CERTIFICATES_MAX,
    TEXT_BYTES_MAX,
    TIME_STAMP_SECONDS_MAX,
)


@dataclass(frozen=True, slots=True)
class StampCheck:
    """What a time stamp says, and whether that holds.

    ``at``: the authority's time, ``None`` when the stamp cannot be read. ``authority``: the address
    that was asked. ``signer``: the name in the certificate that signed. ``cause``: why it does not
    hold in itself. ``trusted``: whether its certificates lead to one that was given, ``None`` when
    none was; ``distrust`` says why not.
    """

    authority: str
    at: datetime | None
    signer: str
    cause: str = ""
    trusted: bool | None = None
    distrust: str = ""


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Read root certificates, PEM or DER; raises ``CertificatesInvalid`` or ``InputUnreadable``."""
    try:
        with path.open("rb") as file:
            data = file.read(CERTIFICATE_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputUnreadable(path=path, cause=error.strerror or error) from None
    try:
        if len(data) > CERTIFICATE_FILE_BYTES_MAX:
            raise ValueError("it is too large")
        if b"-----BEGIN" not in data:
            return [x509.load_der_x509_certificate(data)]
        found = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificatesInvalid(path=path, cause=error) from None
    if len(found) > CERTIFICATES_MAX:
        raise CertificatesInvalid(path=path, cause="too many")
    return found


def ask(authority: str, message: bytes, roots: Sequence[x509.Certificate]) -> Stamp:
    """Ask an authority for a time stamp of a message, and check what it answers.

    With ``roots`` its certificates must lead to one of them. Waits for at most
    ``TIME_STAMP_SECONDS_MAX``. Raises ``TimeStampFailed`` and ``TimeStampWrong``.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
    while True:
        request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
        nonce = request.nonce or 0
        if 0 < nonce < 1 << (8 * NONCE_BYTES):
            break
    response = _exchange(authority, request.as_bytes())
    stamp = Stamp(authority, nonce.to_bytes(NONCE_BYTES, "big"), response)
    found = check(stamp, message, roots)
    if found.cause or found.distrust:
        raise TimeStampWrong(authority=authority, cause=found.cause or found.distrust)
    return stamp


def _exchange(authority: str, request: bytes) -> bytes:
    import httpx

    place = urlsplit(authority)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise TimeStampFailed(authority=authority, cause="its address is no http or https URL")
    if len(authority.encode()) > TEXT_BYTES_MAX:
        raise TimeStampFailed(authority=authority[:80], cause="its address is too long")
    until = time.monotonic() + TIME_STAMP_SECONDS_MAX
    answer = bytearray()
    headers = {
        "Content-Type": "application/timestamp-query",
        "Accept": "application/timestamp-reply",
        "Accept-Encoding": "identity",
    }
    try:
        with (
            httpx.Client(timeout=TIME_STAMP_SECONDS_MAX, follow_redirects=False) as client,
            client.stream("POST", authority, content=request, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise TimeStampFailed(authority=authority, cause=f"HTTP {response.status_code}")
            for block in response.iter_raw(4096):
                answer += block
                if len(answer) > AUDIT_STAMP_BYTES_MAX - TEXT_BYTES_MAX - 64:
                    raise TimeStampFailed(authority=authority, cause="its answer is too large")
                if time.monotonic() > until:
                    raise TimeStampFailed(authority=authority, cause="it took too long")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        cause = str(error) or type(error).__name__
        raise TimeStampFailed(authority=authority, cause=cause) from None
    if not answer:
        raise TimeStampFailed(authority=authority, cause="its answer is empty")
    return bytes(answer)


def check(stamp: Stamp, message: bytes, roots: Sequence[x509.Certificate]) -> StampCheck:
    """Check a time stamp of a message; raises nothing."""
    from rfc3161_client import PKIStatus, VerificationError, VerifierBuilder
    from rfc3161_client import decode_timestamp_response as decode

    try:
        response = decode(sort_certificates(stamp.response))
        if PKIStatus(response.status) is not PKIStatus.GRANTED:
            said = "; ".join(response.status_string)[:200]
            name = PKIStatus(response.status).name.lower().replace("_", " ")
            cause = f"refused ({name}{': ' + said if said else ''})"
            return StampCheck(stamp.authority, None, "", cause)
        info = response.tst_info
        imprint = info.message_imprint
        at, signer = info.gen_time, _signer(response)
    except Exception as error:  # its parser raises several classes, some of them plain
        cause = f"it cannot be read ({type(error).__name__})"
        return StampCheck(stamp.authority, None, "", cause)
    cause = ""
    nonce = int.from_bytes(stamp.nonce, "big")
    if (imprint.hash_algorithm.dotted_string, imprint.message) != (
        "2.16.840.1.101.3.4.2.1",
        hashlib.sha256(message).digest(),
    ):
        cause = "it stamps something else (message imprint)"
    elif info.nonce != nonce:
        cause = "it answers another request (nonce)"
    if cause or not roots:
        return StampCheck(stamp.authority, at, signer, cause)
    try:
        VerifierBuilder(roots=list(roots), nonce=nonce).build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        return StampCheck(stamp.authority, at, signer, trusted=False, distrust=str(error)[:300])
    return StampCheck(stamp.authority, at, signer, trusted=True)


def _signer(response: object) -> str:
    """The name of who signed, as its certificate says it; empty when none is there."""
    signed = getattr(response, "signed_data", None)
    if signed is None:
        return ""
    infos = list(signed.signer_infos)
    for data in signed.certificates:
        certificate = x509.load_der_x509_certificate(data)
        if infos and certificate.serial_number == infos[0].serial_number:
            return certificate.subject.rfc4514_string()[:200]
    return ""
