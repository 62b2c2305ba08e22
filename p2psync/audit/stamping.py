"""Adds a time stamp to an audit file."""

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from cryptography import x509

from p2psync.audit import stamps
from p2psync.audit.frames import frames
from p2psync.audit.stamps import StampCheck
from p2psync.core import audit
from p2psync.core.audit import FileDigest, Kind, Stamp
from p2psync.errors import AuditFileError, FileBusy, InputUnreadable, StampsFull
from p2psync.limits import AUDIT_STAMPS_MAX, CHUNK_BYTES
from p2psync.storage.file_state import to_stat
from p2psync.storage.folder import Folder


def stamp(path: Path, authority: str, roots: Sequence[x509.Certificate]) -> StampCheck:
    """Have an authority stamp the manifest of an audit file, and put that into the file.

    With ``roots`` the authority's certificates must lead to one of them. The file is as it was, or
    has the stamp. Raises ``TimeStampFailed``, ``TimeStampWrong``, ``AuditFileError``,
    ``StampsFull``, ``InputUnreadable``, ``FileBusy`` and storage errors.
    """
    path = path.parent.resolve() / path.name
    try:
        with path.open("rb") as file, Folder.open(path.parent) as folder:
            before = to_stat(os.fstat(file.fileno()))
            message, end = _survey(path, file)
            made = stamps.ask(authority, message, roots)
            if folder.stat(path.name) != before:
                raise FileBusy(path=str(path))
            folder.replace(path.name, _stamped(file, end, made), before)
            return stamps.check(made, message, roots)
    except OSError as error:
        raise InputUnreadable(path=path, cause=error.strerror or error) from None


def _survey(path: Path, file: BinaryIO) -> tuple[bytes, int]:
    """The body of the manifest's frame, and where the end begins."""
    message = b""
    count = 0
    for frame in frames(file):
        if frame.kind is Kind.MANIFEST:
            message = frame.body
            manifest, holds = audit.load_manifest(frame.body)
            if not holds or manifest.digest != frame.digest:
                raise AuditFileError(cause="its manifest does not hold")
        elif frame.kind is Kind.STAMP:
            count += 1
        elif frame.kind is Kind.END:
            if frame.body != frame.digest:
                raise AuditFileError(cause="it was altered")
            if count >= AUDIT_STAMPS_MAX:
                raise StampsFull(path=path, limit=AUDIT_STAMPS_MAX)
            return message, frame.offset
    raise AssertionError("frames end with the end, or raise")


def _stamped(file: BinaryIO, end: int, made: Stamp) -> Iterator[bytes]:
    digest = FileDigest()
    for block in chain(_first(file, end), [audit.frame(Kind.STAMP, audit.dump_stamp(made))]):
        digest.update(block)
        yield block
    yield audit.frame(Kind.END, digest.digest())


def _first(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    file.seek(0)
    while size_bytes:
        block = file.read(min(CHUNK_BYTES, size_bytes))
        if not block:
            raise AuditFileError(cause="it is cut off")
        size_bytes -= len(block)
        yield block
