"""Writes an audit file as a stream of blocks, in memory that does not grow with it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from p2psync.core import audit, entry
from p2psync.core.audit import Content, FileDigest, Head, Kind, Log, LogHead, Manifest
from p2psync.core.crypto import SigningKey
from p2psync.limits import AUDIT_PIECE_BYTES_MAX

_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """What a file is made of.

    ``entries`` are the bytes of entries, each after its ``prev`` and ``deps``; ``keys`` the epoch
    keys (32 bytes each), none for a file that only proves integrity; ``contents`` the versions
    whose content goes along, each with a way to read it in blocks.
    """

    head: Head
    logs: Iterable[Log]
    keys: Iterable[bytes]
    entries: Iterable[bytes]
    contents: Iterable[tuple[Content, Callable[[], Iterable[bytes]]]] = ()


@dataclass(slots=True)
class Writer:
    """Makes one file; ``manifest`` is what was signed, once ``blocks`` has come to its end."""

    source: Source
    device: SigningKey
    at_ms: int
    waiting: int
    software: str
    manifest: Manifest | None = None
    _digest: FileDigest = field(default_factory=FileDigest)
    _heads: dict[bytes, LogHead] = field(default_factory=dict)

    def blocks(self) -> Iterator[bytes]:
        """Yield the file's bytes."""
        block = bytearray(audit.MAGIC)
        self._digest.update(audit.MAGIC)
        for frame in self._frames():
            self._digest.update(frame)
            block += frame
            if len(block) >= _BLOCK_BYTES:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    def _frames(self) -> Iterator[bytes]:
        source = self.source
        yield audit.frame(Kind.HEAD, audit.dump_head(source.head))
        for log in audit.sorted_logs(list(source.logs)):
            yield audit.frame(Kind.LOG, audit.dump_log(log))
        sealed = True
        for key in source.keys:
            sealed = False
            yield audit.frame(Kind.KEY, key)
        entries = 0
        for raw in source.entries:
            self._note(raw)
            entries += 1
            yield audit.frame(Kind.ENTRY, raw)
        contents = 0
        for content, read in source.contents:
            contents += 1
            yield audit.frame(Kind.CONTENT, audit.dump_content(content))
            for block in read():
                for start in range(0, len(block), AUDIT_PIECE_BYTES_MAX):
                    piece = block[start : start + AUDIT_PIECE_BYTES_MAX]
                    yield audit.frame(Kind.PIECE, piece)
        self.manifest = Manifest(
            source.head.mandate,
            self.device.public,
            self.at_ms,
            sealed,
            entries,
            self.waiting,
            contents,
            tuple(sorted(self._heads.values())),
            self._digest.digest(),
            self.software,
        )
        yield audit.frame(Kind.MANIFEST, audit.sign_manifest(self.manifest, self.device))
        yield audit.frame(Kind.END, self._digest.digest())

    def _note(self, raw: bytes) -> None:
        item = entry.decode(raw)
        self._heads.pop(item.header.prev, None)
        self._heads[item.id] = LogHead(item.log, item.seq, item.id)
