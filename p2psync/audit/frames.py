"""Reads an audit file frame by frame, in memory that does not grow with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from p2psync.core.audit import (
    FRAME_HEAD_BYTES,
    MAGIC,
    FileDigest,
    Kind,
    may_follow,
    read_frame_head,
)
from p2psync.errors import AuditFileError


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, where it begins in the file, and the digest of all bytes before it.

    The digest is there for ``MANIFEST`` and ``END`` only, which repeat it.
    """

    kind: Kind
    body: bytes
    offset: int
    digest: bytes


def frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the frames of a file from its beginning; their order and lengths are checked.

    Raises ``AuditFileError`` where the file is none, ends too early, or goes on after its end.
    """
    digest = FileDigest()
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        cause = "it does not begin as one"
        if magic.startswith(MAGIC[:14]):
            cause = f"its version is {magic[14:].decode('ascii', 'replace').strip()}"
        raise AuditFileError(cause=cause)
    digest.update(magic)
    offset = len(magic)
    before: Kind | None = None
    while before is not Kind.END:
        head = file.read(FRAME_HEAD_BYTES)
        if len(head) < FRAME_HEAD_BYTES:
            raise AuditFileError(cause=f"it is cut off at byte {offset + len(head)}")
        try:
            kind, length = read_frame_head(head)
        except AuditFileError as error:
            raise AuditFileError(cause=f"at byte {offset}: {error.params['cause']}") from None
        if not may_follow(before, kind):
            cause = f"at byte {offset}: a {kind.name.lower()} that has no place there"
            raise AuditFileError(cause=cause)
        body = file.read(length)
        if len(body) < length:
            raise AuditFileError(
                cause=f"it is cut off at byte {offset + FRAME_HEAD_BYTES + len(body)}"
            )
        sums = kind in (Kind.MANIFEST, Kind.END)
        yield Frame(kind, body, offset, digest.digest() if sums else b"")
        digest.update(head)
        digest.update(body)
        offset += len(head) + length
        before = kind
    if file.read(1):
        raise AuditFileError(cause=f"it goes on after its end, at byte {offset}")
